//! One attempt: connect, POST, see what the receiver says of it.
//!
//! Each attempt has a connection of its own: events are rare, and a connection that was kept could have died unseen.

use super::worker::Post;
use super::{Event, Secret, Url, WebhookError, WebhookSettings};
use crate::net::trust;
use aws_lc_rs::hmac;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, DATE, HOST, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use std::fmt::Write;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{self, CertificateError};
use tokio_util::task::AbortOnDropHandle;

/// Whoever is told.
pub(super) struct Receiver {
    url: Url,
    host: HeaderValue,
    timeout: Duration,
    tls: Option<TlsConnector>,
    key: Option<hmac::Key>,
}

/// An attempt that did not deliver.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("cannot connect")]
    Unreachable(#[source] io::Error),
    #[error("its certificate is from no authority that the system or ca_file knows")]
    UnknownAuthority,
    #[error("cannot speak TLS with it")]
    Tls(#[source] io::Error),
    #[error("the connection broke")]
    Broke(#[source] hyper::Error),
    #[error("it answered {status}")]
    Busy { status: StatusCode, retry_after: Option<Duration> },
    #[error("it answered {status}; redirects are not followed")]
    Redirected { status: StatusCode },
    #[error("it answered {status}")]
    Refused { status: StatusCode },
}

impl PostError {
    /// True when another attempt may fare better.
    pub(super) fn may_pass(&self) -> bool {
        !matches!(self, PostError::Redirected { .. } | PostError::Refused { .. })
    }

    /// How long the receiver asked to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            PostError::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// How much of an answer's body is read, and for how long: reading what a receiver says is polite, and no more.
const MAX_ANSWER: usize = 64 * 1024;
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);

/// How much of an answer's head is held.
const MAX_HEAD: usize = 64 * 1024;

const TIMESTAMP: &str = "x-mqtt-bouncer-timestamp";
const SIGNATURE: &str = "x-mqtt-bouncer-signature";
const OUR_NAME: &str = concat!("mqtt-bouncer/", env!("CARGO_PKG_VERSION"));

impl Post for Receiver {
    async fn post(&self, event: &Event) -> Result<(), PostError> {
        let called = timeout(self.timeout, self.call(event)).await;
        let (answer, _connection) = called.map_err(|_| PostError::TimedOut(self.timeout))??;
        let (head, body) = answer.into_parts();
        let verdict = judge(head.status, &head.headers);
        // Whatever comes of it, the receiver has spoken.
        let _ = timeout(ANSWER_PATIENCE, read_some(body)).await;
        verdict
    }
}

/// An answer whose body comes while the connection is held.
type Answer = (Response<Incoming>, AbortOnDropHandle<()>);

impl Receiver {
    pub(super) fn new(settings: WebhookSettings) -> Result<Receiver, WebhookError> {
        let WebhookSettings { url, secret, timeout, ca_file, .. } = settings;
        let tls = url.is_https().then(|| trust::connector(ca_file.as_deref())).transpose()?;
        let key = secret.as_ref().map(Secret::expose).map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret));
        let host = header(url.authority());
        Ok(Receiver { url, host, timeout, tls, key })
    }

    async fn call(&self, event: &Event) -> Result<Answer, PostError> {
        let host = self.url.host();
        let socket = TcpStream::connect((&*host.to_str(), self.url.port())).await;
        let socket = socket.map_err(PostError::Unreachable)?;
        match &self.tls {
            Some(tls) => {
                self.exchange(tls.connect(host.clone(), socket).await.map_err(explain)?, event).await
            }
            None => self.exchange(socket, event).await,
        }
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        event: &Event,
    ) -> Result<Answer, PostError> {
        let mut http = http1::Builder::new();
        let shaken = http.max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(PostError::Broke)?;
        let connection = AbortOnDropHandle::new(tokio::spawn(async {
            // How it ended, the exchange knows.
            let _ = connection.await;
        }));
        let answer = sender.send_request(self.request(event)).await.map_err(PostError::Broke)?;
        Ok((answer, connection))
    }

    fn request(&self, event: &Event) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(event.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from(self.url.path().clone());
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(OUR_NAME));
        headers.insert(TIMESTAMP, HeaderValue::from(event.at_epoch_seconds));
        if let Some(key) = &self.key {
            headers.insert(SIGNATURE, header(signature(key, event)));
        }
        request
    }
}

/// Signs the time with the body, so that neither can be sent again with another.
fn signature(key: &hmac::Key, event: &Event) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(event.at_epoch_seconds.to_string().as_bytes());
    context.update(b".");
    context.update(&event.body);
    let mut text = "sha256=".to_owned();
    for byte in context.sign().as_ref() {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[expect(clippy::expect_used, reason = "host names, addresses and numbers are visible ASCII")]
fn header(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("visible ASCII")
}

/// Tells what an operator can mend.
fn explain(error: io::Error) -> PostError {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        // An authority that shares a known one's name, and not its key, makes a bad signature.
        Some(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => PostError::UnknownAuthority,
        _ => PostError::Tls(error),
    }
}

/// What an answer means. Pure.
fn judge(status: StatusCode, headers: &HeaderMap) -> Result<(), PostError> {
    match status {
        status if status.is_success() => Ok(()),
        status if status.is_redirection() => Err(PostError::Redirected { status }),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Err(PostError::Busy { status, retry_after: retry_after(headers) })
        }
        status if status.is_server_error() => {
            Err(PostError::Busy { status, retry_after: retry_after(headers) })
        }
        status => Err(PostError::Refused { status }),
    }
}

/// Seconds, or a moment, which is compared with the receiver's own clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let moment = |text: &str| rfc2822::parse(text).ok().map(|moment| moment.timestamp());
    let now: Timestamp = moment(headers.get(DATE)?.to_str().ok()?)?;
    moment(text)?.duration_since(now).try_into().ok()
}

async fn read_some(mut body: Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read >= MAX_ANSWER {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderName;

    /// What Python says:
    /// `hmac.new(b"s3cret", b'1795256880.{"event":"ban"}', hashlib.sha256).hexdigest()`.
    #[test]
    fn an_event_is_signed_as_the_document_says() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"s3cret");
        let event =
            Event { body: Bytes::from_static(br#"{"event":"ban"}"#), at_epoch_seconds: 1_795_256_880 };
        assert_eq!(
            signature(&key, &event),
            "sha256=ad963ce1f0d0b6bf60a6de7bdf06bf0f1bd491c4a5ecb71cb4358962753ebcca"
        );
    }

    fn verdict(status: u16, headers: &[(HeaderName, &'static str)]) -> Result<(), PostError> {
        let headers =
            headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        judge(StatusCode::from_u16(status).expect("a status"), &headers)
    }

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        for status in [200, 201, 202, 204, 299] {
            assert!(verdict(status, &[]).is_ok(), "{status}");
        }
        for status in [408, 429, 500, 502, 503, 504, 599] {
            assert!(verdict(status, &[]).expect_err("failed").may_pass(), "{status}");
        }
        for status in [101, 300, 301, 302, 307, 308, 400, 401, 403, 404, 410, 413, 600, 999] {
            assert!(!verdict(status, &[]).expect_err("failed").may_pass(), "{status}");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_moment_of_the_receivers_clock() {
        let date = (DATE, "Sat, 21 Nov 2026 10:28:00 GMT");
        for (headers, seconds) in [
            (vec![(RETRY_AFTER, "7")], Some(7)),
            (vec![(RETRY_AFTER, "Sat, 21 Nov 2026 10:28:30 GMT"), date.clone()], Some(30)),
            (vec![(RETRY_AFTER, "Sat, 21 Nov 2026 10:27:30 GMT"), date], None),
            (vec![(RETRY_AFTER, "Sat, 21 Nov 2026 10:28:30 GMT")], None),
            (vec![(RETRY_AFTER, "-1")], None),
            (vec![(RETRY_AFTER, "soon")], None),
            (vec![], None),
        ] {
            let error = verdict(503, &headers).expect_err("failed");
            assert_eq!(error.retry_after(), seconds.map(Duration::from_secs), "{headers:?}");
        }
    }
}
