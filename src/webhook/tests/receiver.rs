//! A receiver that answers as it is told, and then 200.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// What a receiver does with one request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reply {
    /// Answers with this status and header line.
    Status(u16, &'static str),
    /// Sends these bytes and closes.
    Bytes(&'static str),
    /// Sends these bytes, and then more and more.
    Endless(&'static str),
}

/// A request that came.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) method: String,
    pub(super) target: String,
    headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Told {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }
}

#[derive(Debug, Clone, Default)]
struct Script {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    told: Arc<Mutex<Vec<Told>>>,
}

pub(super) struct Receiver {
    addr: SocketAddr,
    script: Script,
    _task: AbortOnDropHandle<()>,
}

impl Receiver {
    pub(super) async fn start(replies: impl IntoIterator<Item = Reply>) -> Receiver {
        Receiver::start_with(replies, None).await
    }

    pub(super) async fn start_tls(tls: TlsAcceptor) -> Receiver {
        Receiver::start_with([], Some(tls)).await
    }

    async fn start_with(replies: impl IntoIterator<Item = Reply>, tls: Option<TlsAcceptor>) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let addr = listener.local_addr().expect("bound");
        let replies = Arc::new(Mutex::new(replies.into_iter().collect()));
        let script = Script { replies, ..Script::default() };
        let task = tokio::spawn(accept(listener, tls, script.clone()));
        Receiver { addr, script, _task: AbortOnDropHandle::new(task) }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The requests so far.
    pub(super) fn told(&self) -> Vec<Told> {
        self.script.told.lock().expect("no panic").clone()
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, script: Script) {
    while let Ok((socket, _)) = listener.accept().await {
        let (tls, script) = (tls.clone(), script.clone());
        tokio::spawn(async move {
            match tls {
                None => serve(socket, script).await,
                // Whoever does not trust us goes away.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(socket).await {
                        serve(stream, script).await;
                    }
                }
            }
        });
    }
}

/// Serves one request.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, script: Script) {
    let reply = script.replies.lock().expect("no panic").pop_front();
    let (status, header) = match reply {
        None => (200, ""),
        Some(Reply::Status(status, header)) => (status, header),
        Some(Reply::Bytes(bytes)) => {
            read_request(&mut stream, &script).await;
            return stream.write_all(bytes.as_bytes()).await.unwrap_or_default();
        }
        Some(Reply::Endless(bytes)) => {
            read_request(&mut stream, &script).await;
            let _ = stream.write_all(bytes.as_bytes()).await;
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
            return;
        }
    };
    let answer = service_fn(|request: Request<Incoming>| {
        let script = script.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.expect("a body").to_bytes();
            script.told.lock().expect("no panic").push(Told {
                method: head.method.to_string(),
                target: head.uri.to_string(),
                headers: head.headers,
                body,
            });
            let mut response = Response::new(Full::new(Bytes::from_static(b"thanks")));
            *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            if let Some((name, value)) = header.split_once(": ") {
                response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

/// Reads a request whose body is one byte.
async fn read_request(stream: &mut (impl AsyncRead + Unpin), script: &Script) {
    let mut bytes = Vec::new();
    let body = loop {
        bytes.push(stream.read_u8().await.expect("a request"));
        if let [.., b'\r', b'\n', b'\r', b'\n', body] = &*bytes {
            break Bytes::copy_from_slice(&[*body]);
        }
    };
    let told = Told { method: String::new(), target: String::new(), headers: HeaderMap::new(), body };
    script.told.lock().expect("no panic").push(told);
}
