//! Takes connections, on the socket and on the listener, and serves HTTP/1 on each.

use super::auth::Origin;
use super::settings::{Limits, ListenSettings};
use super::socket::Socket;
use super::stalled::Stalled;
use super::strangers;
use super::tls;
use crate::net::linger;
use crate::net::listener::Listener;
use crate::net::peer::Peer;
use crate::net::slots::Slots;
use crate::net::stop::Stop;
use crate::net::stream::Stream;
use crate::net::tls::TlsFileError;
use arc_swap::{ArcSwap, ArcSwapOption};
use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1::{Builder, Connection};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{info, warn};

/// What can be changed of a listener while it serves.
#[derive(Debug)]
pub struct Gate {
    slots: Slots,
    tls: ArcSwapOption<ServerConfig>,
}

/// What a gate is given: settings whose files were read.
#[derive(Debug)]
pub struct GateSettings {
    max_connections: usize,
    tls: Option<Arc<ServerConfig>>,
}

impl GateSettings {
    /// Reads the certificate.
    ///
    /// # Errors
    /// It cannot be shown.
    pub fn read(settings: &ListenSettings) -> Result<GateSettings, TlsFileError> {
        let tls = settings.tls.as_ref().map(tls::server_config).transpose()?;
        Ok(GateSettings { max_connections: settings.max_connections, tls })
    }
}

impl Gate {
    /// A gate with these settings.
    pub fn new(settings: GateSettings) -> Gate {
        let GateSettings { max_connections, tls } = settings;
        Gate { slots: Slots::new(max_connections), tls: ArcSwapOption::new(tls) }
    }

    /// Changes the settings for connections to come.
    pub fn adjust(&self, settings: GateSettings) {
        let GateSettings { max_connections, tls } = settings;
        self.slots.resize(max_connections);
        self.tls.store(tls);
    }
}

/// The calls, and what all connections share.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) router: Router,
    pub(super) limits: Arc<ArcSwap<Limits>>,
    pub(super) connections: TaskTracker,
}

/// What a call knows of the connection that it comes over.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// It is encrypted.
    pub(super) is_tls: bool,
    /// Raised when calls that go on and on have to end.
    pub(super) stop: Stop,
}

/// How many callers the socket has at once. Those of the listener take none of these places.
const SOCKET_CONNECTIONS: usize = 256;

impl Server {
    /// Serves the socket until `stop` is raised, and those who are in by then to the end of their calls.
    pub(super) async fn keep_socket(self, socket: Socket, stop: Stop) {
        let Socket { listener, file } = socket;
        let slots = Slots::new(SOCKET_CONNECTIONS);
        let accept = async {
            loop {
                let slot = slots.take().await;
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let (server, stop) = (self.clone(), stop.clone());
                        self.connections.spawn(async move {
                            server.serve(stream, Origin::Socket, Line { is_tls: false, stop }).await;
                            drop(slot);
                        });
                    }
                    Err(error) => {
                        warn!(%error, "cannot accept connections of the command line; trying on");
                        sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = stop.raised() => {}
            () = accept => {}
        }
        self.connections.close();
        self.connections.wait().await;
        drop(file);
    }

    /// Serves a listener until `stop` is raised, and those who are in by then to the end of their calls.
    pub(super) async fn keep_listener(self, listener: Arc<Listener>, gate: Arc<Gate>, stop: Stop) {
        let accept = async {
            loop {
                let slot = gate.slots.take().await;
                // An address of a network is all that the API listens on.
                let (Stream::Tcp(stream), Peer::At(peer)) = listener.accept().await else { continue };
                let (server, stop, tls) = (self.clone(), stop.clone(), gate.tls.load_full());
                self.connections.spawn(async move {
                    server.serve_peer(stream, Origin::Peer(peer), tls, stop).await;
                    drop(slot);
                });
            }
        };
        tokio::select! {
            biased;
            () = stop.raised() => {}
            () = accept => {}
        }
        let address = listener.local().clone();
        drop(listener);
        info!(%address, "API is no longer listening");
        self.connections.close();
        self.connections.wait().await;
    }

    async fn serve_peer(self, stream: TcpStream, peer: Origin, tls: Option<Arc<ServerConfig>>, stop: Stop) {
        // Answers are small, and whoever waits for one waits for all of it.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else {
            return self.serve(stream, peer, Line { is_tls: false, stop }).await;
        };
        let patience = self.limits.load().header_timeout;
        match timeout(patience, TlsAcceptor::from(tls).accept(stream)).await {
            Ok(Ok(stream)) => self.serve(stream, peer, Line { is_tls: true, stop }).await,
            Ok(Err(error)) => strangers::broken(peer, &error),
            Err(late) => strangers::broken(peer, &late),
        }
    }

    async fn serve<S>(self, stream: S, origin: Origin, line: Line)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let limits = self.limits.load_full();
        let (router, stop) = (self.router, line.stop.clone());
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(origin);
            request.extensions_mut().insert(line.clone());
            Box::pin(router.clone().oneshot(request))
        });
        let mut connection = Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(Stalled::new(stream, limits.body_timeout)), service);
        if let Err(error) = finish(&mut connection, &stop).await {
            strangers::broken(origin, &error);
        }
        // Whoever is told that a body is too large is still sending it, and would not read the answer after a reset.
        linger::close(connection.into_parts().io.into_inner(), b"").await;
    }
}

/// Serves a connection to its end; once `stop` is raised, to the end of the call that it is at.
async fn finish<I, S, F>(connection: &mut Connection<I, S>, stop: &Stop) -> hyper::Result<()>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = Body, Error = Infallible, Future = F>
        + Unpin,
    F: Future + Unpin,
{
    let ended = tokio::select! {
        biased;
        ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => Some(ended),
        () = stop.raised() => None,
    };
    if let Some(ended) = ended {
        return ended;
    }
    Pin::new(&mut *connection).graceful_shutdown();
    poll_fn(|cx| connection.poll_without_shutdown(cx)).await
}

/// How many headers a call may have, and how long its head may be, in bytes.
const MAX_HEADERS: usize = 64;
const MAX_HEAD: usize = 64 << 10;
