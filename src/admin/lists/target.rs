//! What a call is about: a list, and whom on it.

use super::list_named;
use crate::admin::fault::Fault;
use crate::admin::query::decoded;
use crate::admission::{As, List, Match, Who, WhoError};
use crate::telemetry::Shown;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;

/// The list in a path `/api/v5/{list}…`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed(pub(super) List);

/// The list, kind and name in a path `/api/v5/{list}/{as}/{who}`. Escapes that are none are a mistake, and so are bytes
/// that are not UTF-8: neither names anybody.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) list: List,
    pub(super) kind: As,
    pub(super) who: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Listed {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Listed, Fault> {
        list_named(&segment(parts, 2)?).map(Listed)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Target, Fault> {
        let Listed(list) = Listed::from_request_parts(parts, state).await?;
        let kind = segment(parts, 3)?;
        let kind: As =
            kind.parse().map_err(|error| Fault::bad_request(&format!("{} {error}", Shown(&kind))))?;
        Ok(Target { list, kind, who: segment(parts, 4)? })
    }
}

/// A piece of the path, without its escapes.
fn segment(parts: &Parts, index: usize) -> Result<String, Fault> {
    decoded(parts.uri.path().split('/').nth(index + 1).unwrap_or_default())
}

impl Target {
    /// Whom it names. `matching` is for patterns.
    pub(super) fn named(&self, matching: Option<Match>) -> Result<Who, Fault> {
        let mistake = |error: WhoError| Fault::bad_request(&format!("who: {} {error}", Shown(&self.who)));
        Who::new(self.kind, &self.who, matching).map_err(mistake)
    }
}
