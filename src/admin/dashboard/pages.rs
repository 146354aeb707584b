//! The page and its files.

use crate::admin::fault::Fault;
use crate::dashboard::{self, File, PAGE, POLICY};
use axum::extract::Path;
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};

pub(super) async fn lead() -> Redirect {
    // Relative to nothing: who stands before us may have another name.
    Redirect::to("/dashboard/")
}

pub(super) async fn page(headers: HeaderMap) -> Response {
    serve(&PAGE, &headers)
}

pub(super) async fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Fault> {
    let file = dashboard::file(&name).ok_or_else(|| Fault::not_found(&"there is no such file"))?;
    Ok(serve(file, &headers))
}

/// A browser keeps a file and asks each time whether it is still the same.
fn serve(file: &File, headers: &HeaderMap) -> Response {
    let tag = file.tag();
    let has_it = headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response =
        if has_it { StatusCode::NOT_MODIFIED.into_response() } else { file.bytes.into_response() };
    let head = response.headers_mut();
    for (name, value) in HEAD {
        head.insert(name, HeaderValue::from_static(value));
    }
    head.insert(CONTENT_TYPE, HeaderValue::from_static(file.content_type));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        head.insert(ETAG, tag);
    }
    response
}

const HEAD: [(&str, &str); 6] = [
    ("content-security-policy", POLICY),
    ("cache-control", "no-cache"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];
