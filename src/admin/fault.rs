//! What can go wrong with a call, as the caller is told it.

use crate::store::ChangeError;
use crate::telemetry::Chain;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A call that changed nothing, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    status: StatusCode,
    code: &'static str,
    message: String,
}

/// The body of a fault.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct FaultBody {
    /// For programs: `BAD_REQUEST`, `NOT_FOUND`, `ALREADY_EXISTS`, …
    pub(super) code: String,
    /// For people.
    pub(super) message: String,
}

impl Fault {
    /// The caller's mistake.
    pub(super) fn bad_request(message: &impl ToString) -> Fault {
        Fault { status: StatusCode::BAD_REQUEST, code: "BAD_REQUEST", message: message.to_string() }
    }

    /// What the call names is not there.
    pub(super) fn not_found(message: &impl ToString) -> Fault {
        Fault { status: StatusCode::NOT_FOUND, code: "NOT_FOUND", message: message.to_string() }
    }

    /// Our own trouble.
    pub(super) fn internal(message: &impl ToString) -> Fault {
        Fault {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "INTERNAL_ERROR",
            message: message.to_string(),
        }
    }
}

impl From<ChangeError> for Fault {
    fn from(error: ChangeError) -> Fault {
        let message = Chain(&error).to_string();
        match error {
            ChangeError::Exists(_) => Fault { code: "ALREADY_EXISTS", ..Fault::bad_request(&message) },
            ChangeError::TooMany(_) | ChangeError::TooLong { .. } => Fault::bad_request(&message),
            ChangeError::Row(_) | ChangeError::Disk { .. } | ChangeError::Closed => Fault::internal(&message),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let body = FaultBody { code: self.code.to_owned(), message: self.message };
        (self.status, Json(body)).into_response()
    }
}
