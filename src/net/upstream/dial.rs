//! Takes one client to a server: the one that is chosen, and when it cannot be reached, others.

use super::Upstream;
use super::health::Event;
use super::member::{Lease, Member};
use super::server::Server;
use crate::net::shortage::is_shortage;
use crate::net::stream::Stream;
use crate::net::websocket;
use crate::wire::proxy_protocol::{self, Announcement, Tlvs, Version};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// One attempt to reach a server, and what came of it.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// The group that it was tried for.
    pub group: &'a str,
    /// The server.
    pub server: &'a Server,
    /// How long it took, name look-up included.
    pub took: Duration,
    /// Why it could not be reached; `None` when it was.
    pub error: Option<&'a io::Error>,
    /// What that has changed.
    pub event: Option<Event>,
}

/// No server could be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Each that was tried failed.
    #[error("cannot connect to {server}")]
    Failed {
        /// The one that was tried last.
        server: Server,
        /// What came of it.
        #[source]
        source: io::Error,
    },
    /// Every server is being drained.
    #[error("every server of the group is drained")]
    Drained,
}

impl DialError {
    /// True when this machine has run out of something. That was said already, not for each client.
    pub fn is_shortage(&self) -> bool {
        matches!(self, DialError::Failed { source, .. } if is_shortage(source))
    }
}

/// A connection to a server.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub stream: Stream,
    /// Where it leads.
    pub server: Server,
    /// The place that it takes there.
    pub lease: Lease,
    place: Place,
    began: Instant,
}

/// A server of a group, or of the group that is its spare.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) group: Arc<Upstream>,
    pub(super) index: usize,
}

impl Place {
    pub(super) fn member(&self) -> Option<&Member> {
        self.group.members().get(self.index)
    }
}

/// Whom a connection is for.
#[derive(Debug, Clone, Copy)]
pub struct Introduction<'c> {
    /// Where the client comes from and where it had connected to; `None` where it came by a Unix socket.
    pub ends: Option<(SocketAddr, SocketAddr)>,
    /// What else is known of it.
    pub tlvs: Tlvs<'c>,
}

impl Introduction<'_> {
    /// The header that says it. In the place of a client without an address stands the proxy, with the ends of its own
    /// connection, as far as that has any.
    fn header(&self, version: Version, stream: &Stream) -> Vec<u8> {
        let socket = stream.socket();
        let own = || Some((socket.local_addr().ok()?.as_socket()?, socket.peer_addr().ok()?.as_socket()?));
        match self.ends.or_else(own) {
            Some((source, destination)) => {
                proxy_protocol::header(version, &Announcement { source, destination, tlvs: self.tlvs })
            }
            None => proxy_protocol::header_without_addresses(version),
        }
    }
}

/// The way of one client to a server. Each server is tried once, and no more of them than the group allows.
#[derive(Debug)]
pub struct Dialling<'c> {
    client: Option<Introduction<'c>>,
    group: Arc<Upstream>,
    key: Option<u64>,
    tried: Vec<Lease>,
    deadline: Instant,
    failure: Option<DialError>,
}

impl<'c> Dialling<'c> {
    pub(super) fn new(group: Arc<Upstream>, key: Option<u64>) -> Dialling<'c> {
        let deadline = Instant::now() + group.settings().total_timeout;
        Dialling { client: None, group, key, tried: Vec::new(), deadline, failure: None }
    }

    /// Has those servers told of the client that are to be told.
    #[must_use]
    pub fn introduce(self, client: Introduction<'c>) -> Dialling<'c> {
        Dialling { client: Some(client), ..self }
    }

    /// Connects to the server that is chosen; when it cannot be reached, to another one. Each attempt is shown to
    /// `attempted`. Called again, it goes on with those that were not tried.
    ///
    /// # Errors
    /// Nobody answered; tells of the last that was tried.
    pub async fn next(&mut self, mut attempted: impl FnMut(&Attempt<'_>)) -> Result<Connected, DialError> {
        while let Some((place, lease, patience)) = self.choose() {
            let Some(member) = place.member() else { break };
            let (began, settings) = (Instant::now(), place.group.settings());
            let server = member.server().clone();
            let connected = connect(&place.group, member, patience, self.client.as_ref()).await;
            let now = Instant::now();
            let (error, event) = match &connected {
                Ok(_) => {
                    place.group.note_connected();
                    (None, member.reached(now))
                }
                Err(error) if place.group.is_short(error) => (Some(error), None),
                // Who was given less time than usual is not to blame for having taken it.
                Err(error) if patience < settings.connect_timeout && is_timeout(error) => (Some(error), None),
                Err(error) => (Some(error), member.missed((began, now), settings, error)),
            };
            let took = now.saturating_duration_since(began);
            attempted(&Attempt { group: place.group.name(), server: &server, took, error, event });
            match connected {
                Ok(stream) => return Ok(Connected { stream, server, lease, place, began }),
                Err(source) => self.failed(lease, server, source),
            }
        }
        Err(self.failure.take().unwrap_or(DialError::Drained))
    }

    /// The server has closed a connection before it had a byte of the client: that is one more attempt that has failed.
    pub fn rejected(
        &mut self,
        connected: Connected,
        source: io::Error,
        attempted: impl FnOnce(&Attempt<'_>),
    ) {
        let Connected { server, lease, place, began, .. } = connected;
        if let Some(member) = place.member() {
            let now = Instant::now();
            let event = member.missed((began, now), place.group.settings(), &source);
            let (took, error) = (now.saturating_duration_since(began), Some(&source));
            attempted(&Attempt { group: place.group.name(), server: &server, took, error, event });
        }
        self.failed(lease, server, source);
    }

    fn failed(&mut self, lease: Lease, server: Server, source: io::Error) {
        self.tried.push(lease);
        self.failure = Some(DialError::Failed { server, source });
    }

    /// Who is tried next, with a place there, and for how long.
    fn choose(&self) -> Option<(Place, Lease, Duration)> {
        let (now, settings) = (Instant::now(), self.group.settings());
        let left = self.deadline.saturating_duration_since(now);
        if left.is_zero() || self.tried.len() >= settings.max_tries {
            return None;
        }
        let (place, lease) = Upstream::choose(&self.group, &self.tried, self.key, now)?;
        let patience = place.group.settings().connect_timeout.min(left);
        Some((place, lease, patience))
    }
}

fn is_timeout(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut
}

/// Connects, within `patience`; where the group speaks TLS, up to the end of the handshake. A server that is to be told
/// for whom is told of `client`, or else of us: not every broker keeps a connection that is said to be nobody's (LOCAL).
pub(super) async fn connect(
    group: &Upstream,
    member: &Member,
    patience: Duration,
    client: Option<&Introduction<'_>>,
) -> io::Result<Stream> {
    let deadline = Instant::now() + patience;
    let connecting = async {
        let mut stream: Stream = if let Some(path) = member.server().path() {
            connect_to_path(path).await?.into()
        } else {
            let (socket, addr) = connect_to_any(&member.resolve().await?, deadline).await?;
            let stream = socket.into();
            group.settings.tcp.towards(addr.ip()).apply(&stream)?;
            stream
        };
        if let Some(version) = group.settings.proxy_protocol {
            let us = Introduction { ends: None, tlvs: Tlvs::default() };
            let header = client.unwrap_or(&us).header(version, &stream);
            stream.write_all(&header).await?;
        }
        let stream = match &group.tls {
            None => stream,
            Some(tls) => tls.connect(member.server(), stream).await?,
        };
        match &group.settings.websocket {
            None => Ok(stream),
            Some(path) => {
                let dialled = websocket::dial(stream, member.server().authority(), path).await?;
                Ok(Stream::WebSocket(Box::new(dialled)))
            }
        }
    };
    timeout_at(deadline, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// A Unix socket whose queue is full says so at once, where an address has the caller wait. It is asked again for as long
/// as the caller has patience: a broker that is busy is not one that is down.
async fn connect_to_path(path: &Path) -> io::Result<UnixStream> {
    const PAUSE: Duration = Duration::from_millis(5);
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(PAUSE).await,
            connected => return connected,
        }
    }
}

/// As [`TcpStream::connect`], but the system is only asked what went wrong where something did.
async fn connect_to(addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if let Err(error) = socket.connect(&addr.into())
        && error.raw_os_error() != Some(EINPROGRESS)
    {
        return Err(error);
    }
    let socket = TcpStream::from_std(socket.into())?;
    let ready = socket.ready(Interest::WRITABLE | Interest::ERROR).await?;
    if ready.is_error() || ready.is_write_closed() {
        return Err(socket.take_error()?.unwrap_or_else(|| io::ErrorKind::ConnectionAborted.into()));
    }
    Ok(socket)
}

const EINPROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

/// Tries one address after the other. One that does not answer must leave time for those behind it.
async fn connect_to_any(addrs: &[SocketAddr], deadline: Instant) -> io::Result<(TcpStream, SocketAddr)> {
    let mut failure = io::ErrorKind::NotFound.into();
    for (index, addr) in addrs.iter().enumerate() {
        let behind = u32::try_from(addrs.len() - index).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / behind.max(1);
        failure = match timeout(share, connect_to(*addr)).await {
            Ok(Ok(socket)) => return Ok((socket, *addr)),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockAddr;
    use tokio::net::TcpListener;
    use tokio_test::{assert_pending, task};

    #[tokio::test]
    async fn a_unix_socket_with_a_full_queue_is_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        listener.bind(&SockAddr::unix(&path).expect("a path")).expect("bound");
        listener.listen(0).expect("listens");
        let mut callers = Vec::new();
        let mut last = loop {
            let mut connecting = task::spawn(connect_to_path(&path));
            match connecting.poll() {
                std::task::Poll::Ready(connected) => callers.push(connected.expect("there is room")),
                std::task::Poll::Pending => break connecting,
            }
        };
        assert_pending!(last.poll());
        let _accepted = listener.accept().expect("one of them");
        last.await.expect("there is room now");
        drop(listener);
        let error = connect_to_path(&path).await.expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn every_address_of_a_name_is_tried() {
        let (dead, alive) = (
            TcpListener::bind("127.0.0.1:0").await.expect("a free port"),
            TcpListener::bind("127.0.0.1:0").await.expect("a free port"),
        );
        let addrs = [&dead, &alive, &dead].map(|listener| listener.local_addr().expect("bound"));
        drop(dead);
        let deadline = Instant::now() + Duration::from_secs(5);
        let (socket, addr) = connect_to_any(&addrs, deadline).await.expect("one of them");
        assert_eq!((socket.peer_addr().ok(), Some(addr)), (alive.local_addr().ok(), alive.local_addr().ok()));
        drop(alive);
        let error = connect_to_any(&addrs, deadline).await.expect_err("none of them");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(connect_to_any(&[], deadline).await.expect_err("none").kind(), io::ErrorKind::NotFound);
    }
}
