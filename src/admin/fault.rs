//! What can go wrong with a call, as the caller is told it.

use crate::exchange::RecordError;
use crate::store::{ChangeError, ReadError};
use crate::telemetry::Chain;
use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

/// A call that changed nothing, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// What stands in the head beside that.
    header: Option<(HeaderName, HeaderValue)>,
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
    /// A fault of any kind.
    pub(super) fn new(status: StatusCode, code: &'static str, message: &impl ToString) -> Fault {
        Fault { status, code, message: message.to_string(), header: None }
    }

    /// The caller has not said who it is, or not rightly. `code` is EMQX's word for it.
    pub(super) fn unauthorized(code: &'static str, message: &impl ToString) -> Fault {
        let challenge = HeaderValue::from_static("Basic Realm=\"emqx-dashboard\"");
        let header = Some((WWW_AUTHENTICATE, challenge));
        Fault { header, ..Fault::new(StatusCode::UNAUTHORIZED, code, message) }
    }

    /// The caller may try again after so long.
    pub(super) fn too_many_requests(wait: Duration) -> Fault {
        Fault::wait("too many failed attempts from this address", wait)
    }

    /// The address has passwords checked too fast; it may go on in a moment.
    pub(super) fn too_fast(wait: Duration) -> Fault {
        Fault::wait("too many attempts from this address", wait)
    }

    fn wait(why: &str, wait: Duration) -> Fault {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let message = format!("{why}; try again in {seconds} s");
        let header = Some((RETRY_AFTER, seconds.into()));
        Fault { header, ..Fault::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS", &message) }
    }

    /// EMQX's word for it.
    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    /// The caller's mistake.
    pub(super) fn bad_request(message: &impl ToString) -> Fault {
        Fault::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
    }

    /// What the call names is not there.
    pub(super) fn not_found(message: &impl ToString) -> Fault {
        Fault::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    }

    /// Nobody of that client identifier is inside; in EMQX's words.
    pub(super) fn client_not_found() -> Fault {
        Fault { code: "CLIENTID_NOT_FOUND", ..Fault::not_found(&"Client ID not found") }
    }

    /// What the call asks for is in the way of something else.
    pub(super) fn conflict(message: &impl ToString) -> Fault {
        Fault::new(StatusCode::CONFLICT, "CONFLICT", message)
    }

    /// What the call would make is there.
    pub(super) fn already_exists(message: &impl ToString) -> Fault {
        Fault { code: "ALREADY_EXISTS", ..Fault::bad_request(message) }
    }

    pub(super) fn is_conflict(&self) -> bool {
        self.status == StatusCode::CONFLICT
    }

    pub(super) fn is_unauthorized(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    /// What people are told.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// The same about one of several.
    pub(super) fn within(self, what: &str) -> Fault {
        Fault { message: format!("{what}{}", self.message), ..self }
    }

    /// It is not what the caller has seen any more.
    pub(super) fn changed() -> Fault {
        let message = "it was changed meanwhile; look at it again";
        Fault::new(StatusCode::PRECONDITION_FAILED, "PRECONDITION_FAILED", &message)
    }

    /// Our own trouble.
    pub(super) fn internal(message: &impl ToString) -> Fault {
        Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", message)
    }
}

impl From<ChangeError> for Fault {
    fn from(error: ChangeError) -> Fault {
        let message = Chain(&error).to_string();
        match error {
            ChangeError::Exists(_) => Fault { code: "ALREADY_EXISTS", ..Fault::bad_request(&message) },
            ChangeError::TooMany(_) | ChangeError::TooLong { .. } | ChangeError::Ended(_) => {
                Fault::bad_request(&message)
            }
            ChangeError::Changed => Fault::changed(),
            ChangeError::Row(_) | ChangeError::Disk { .. } | ChangeError::Closed => Fault::internal(&message),
        }
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Fault {
        let message = Chain(&error).to_string();
        match error {
            ReadError::TooSlow(_) => Fault::bad_request(&format!("the filter {message}")),
            _ => Fault::internal(&message),
        }
    }
}

impl From<RecordError> for Fault {
    fn from(error: RecordError) -> Fault {
        let what = if error.field.is_none() { "the body " } else { "" };
        Fault::bad_request(&format!("{what}{}", error.without_line()))
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let body = FaultBody { code: self.code.to_owned(), message: self.message };
        let mut response = (self.status, Json(body)).into_response();
        response.headers_mut().extend(self.header);
        response
    }
}
