//! What a call is given beside its body, and what the caller is told when it cannot be that.

use super::fault::Fault;
use axum::extract::FromRequestParts;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

/// What stands behind the question mark.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

/// The parts of the path.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Query<T>, Fault> {
        let raw = parts.uri.query().unwrap_or_default();
        if !is_text(raw) {
            return Err(Fault::bad_request(&"the query is not UTF-8, or has a broken percent-escape"));
        }
        let query = axum::extract::Query::from_request_parts(parts, state).await;
        let axum::extract::Query(query) =
            query.map_err(|rejection: QueryRejection| Fault::bad_request(&rejection.body_text()))?;
        Ok(Query(query))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Path<T>, Fault> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        let axum::extract::Path(path) =
            path.map_err(|rejection: PathRejection| Fault::bad_request(&rejection.body_text()))?;
        Ok(Path(path))
    }
}

/// True when it is text once it is decoded. Else it would be read as the name of somebody else.
pub(super) fn is_text(encoded: &str) -> bool {
    let is_hex = |digit: Option<char>| digit.is_some_and(|digit| digit.is_ascii_hexdigit());
    let mut escapes = encoded.split('%').skip(1).map(str::chars);
    escapes.all(|mut escape| is_hex(escape.next()) && is_hex(escape.next()))
        && percent_decode_str(encoded).decode_utf8().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_is_a_query() {
        for text in ["", "a=b&c", "a=%C3%BC+%20", "a=%25", "ü"] {
            assert!(is_text(text), "{text}");
        }
        for broken in ["%", "a=%", "a=%f", "a=%zz", "a=%ff", "a=%C3", "%%20", "a=%ü"] {
            assert!(!is_text(broken), "{broken}");
        }
    }
}
