//! What a call is given, and what the caller is told when it cannot be that.

use super::fault::Fault;
use axum::extract::FromRequestParts;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::request::Parts;
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
