//! The bodies of calls: how large, how slow, and of which type they may be.

use super::fault::Fault;
use super::settings::Limits;
use super::strict;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use futures_util::stream;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use std::io;
use std::time::Duration;
use tokio::time::timeout;

/// A body that is JSON, or a fault of EMQX's form.
pub(super) struct Json<T>(pub(super) T);

/// The text of a body that says that it is JSON, or of an empty one.
pub(super) struct JsonBytes(pub(super) Bytes);

/// Calls whose body is read while it comes. It may be of any length, and only its silence is limited.
fn is_streamed(path: &str) -> bool {
    path.ends_with("/import")
}

/// What somebody may send who has not said who it is: a name and a password.
const MAX_LOGIN: usize = 16 << 10;

/// The request with a body that keeps the limits: all of it, or as it comes where it is streamed.
pub(super) async fn limited(request: Request, limits: &Limits, is_known: bool) -> Result<Request, Fault> {
    let (head, body) = request.into_parts();
    if is_known && is_streamed(head.uri.path()) {
        return Ok(Request::from_parts(head, never_silent(body, limits.body_timeout)));
    }
    let max = if is_known { limits.max_body } else { limits.max_body.min(MAX_LOGIN) };
    // Nothing is read of a body that says itself that it is too large.
    if announced(&head.headers).is_some_and(|length| length > max) {
        return Err(too_large(max));
    }
    let read = timeout(limits.body_timeout, Limited::new(body, max).collect()).await;
    let slow =
        |_| Fault::new(StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT", &"the body did not come in time");
    let bytes = read.map_err(slow)?.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => too_large(max),
        None => Fault::bad_request(&"the body ended before its end"),
    })?;
    Ok(Request::from_parts(head, Body::from(bytes.to_bytes())))
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(max: usize) -> Fault {
    let message = format!("the body is too large; expected at most {max} bytes");
    Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", &message)
}

/// A body that breaks off when nothing comes for so long.
fn never_silent(body: Body, patience: Duration) -> Body {
    let frames = stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        match timeout(patience, body.frame()).await {
            Ok(Some(Ok(frame))) => Some((Ok(frame.into_data().unwrap_or_default()), Some(body))),
            Ok(Some(Err(error))) => Some((Err(io::Error::other(error)), None)),
            Ok(None) => None,
            Err(_) => Some((Err(io::Error::new(io::ErrorKind::TimedOut, "the body stopped coming")), None)),
        }
    });
    Body::from_stream(frames)
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Json<T>, Fault> {
        let JsonBytes(bytes) = JsonBytes::from_request(request, state).await?;
        let is_list = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
        if is_list && strict::is_object::<T>() {
            return Err(Fault::bad_request(&"the body is not as expected: it is a list; expected an object"));
        }
        let wrong =
            |error: serde_json::Error| Fault::bad_request(&format!("the body is not as expected: {error}"));
        serde_json::from_slice(&bytes).map(Json).map_err(wrong)
    }
}

impl<S: Send + Sync> FromRequest<S> for JsonBytes {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<JsonBytes, Fault> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_json = kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("application/json"));
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|_| Fault::bad_request(&"the body cannot be read"))?;
        if !is_json && !bytes.is_empty() {
            let message = "content-type:application/json Required";
            return Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", &message));
        }
        Ok(JsonBytes(bytes))
    }
}
