//! Accepts connections, and keeps accepting when the system runs out of something.

use super::address::Address;
use super::options::TcpOptions;
use super::peer::Peer;
use super::shortage::Shortage;
use super::stream::Stream;
use super::unix::{FileOptions, SocketFile};
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::Instant;

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    /// The name of a Unix socket that is ours. It goes before the socket: while that is open, no other file can have the
    /// number by which this one is known.
    file: Option<SocketFile>,
    socket: Queue,
    local: Address,
    /// Somebody else holds it, too, and decides how it listens and when it is closed.
    is_shared: bool,
    shortage: Shortage,
}

#[derive(Debug)]
enum Queue {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The instruction `BPF_RET | BPF_K`: keep so many bytes of the packet; none drops it.
const BPF_RETURN: u16 = 0x06;

/// How a socket listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenOptions {
    /// How many connections may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
    pub backlog: i32,
    /// An IPv6 socket takes no IPv4.
    pub ipv6_only: bool,
    /// Other processes may listen there, too, and the kernel shares the connections out.
    pub reuse_port: bool,
    /// The mark that packets of its connections have (SO_MARK), for routing and firewalls.
    pub mark: Option<u32>,
    /// It may have an address that is not this machine's (IP_TRANSPARENT), for packets that a firewall takes here.
    pub transparent: bool,
    /// Whose the file of a Unix socket is.
    pub file: FileOptions,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions {
            backlog: 4096,
            ipv6_only: false,
            reuse_port: false,
            mark: None,
            transparent: false,
            file: FileOptions::default(),
        }
    }
}

/// What the system does not let this process do.
#[derive(Debug, thiserror::Error)]
#[error("{option} needs the capability {capability}, which this process does not have")]
struct NotAllowed {
    option: &'static str,
    capability: &'static str,
    #[source]
    source: io::Error,
}

fn allowed(outcome: io::Result<()>, option: &'static str, capability: &'static str) -> io::Result<()> {
    outcome.map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => {
            io::Error::new(io::ErrorKind::PermissionDenied, NotAllowed { option, capability, source })
        }
        _ => source,
    })
}

/// A socket that was handed over cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("the socket that was handed over {0}")]
struct Unusable(&'static str);

impl Listener {
    /// Binds `addr` and listens. `[::]` listens on IPv4, too.
    ///
    /// # Errors
    /// The address is in use, is not this machine's, or its port is reserved.
    pub fn bind(addr: SocketAddr) -> io::Result<Listener> {
        Listener::open_tcp(addr, &ListenOptions::default(), &TcpOptions::default())
    }

    /// Binds `addr` while `neighbour`, which this process is about to close, still holds an overlapping address.
    ///
    /// # Errors
    /// As [`bind`](Listener::bind).
    pub fn bind_beside(
        addr: SocketAddr,
        neighbour: &Listener,
        options: &ListenOptions,
        connections: &TcpOptions,
    ) -> io::Result<Listener> {
        let was_shared = neighbour.socket().reuse_port()?;
        neighbour.socket().set_reuse_port(true)?;
        let shared = ListenOptions { reuse_port: true, ..options.clone() };
        let listener = Listener::open_tcp(addr, &shared, connections);
        neighbour.socket().set_reuse_port(was_shared)?;
        let listener = listener?;
        // Nobody else may join the port once the neighbour has gone, unless everybody may.
        listener.socket().set_reuse_port(options.reuse_port)?;
        Ok(listener)
    }

    /// As [`bind`](Listener::bind), with these options, and with these for its connections.
    ///
    /// # Errors
    /// Likewise, and an option is not allowed.
    pub fn open_tcp(
        addr: SocketAddr,
        options: &ListenOptions,
        connections: &TcpOptions,
    ) -> io::Result<Listener> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        // Connections of an earlier process that linger in TIME_WAIT must not keep the port.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(options.reuse_port)?;
        if addr.is_ipv6() {
            socket.set_only_v6(options.ipv6_only)?;
        }
        if options.transparent {
            let set = if addr.is_ipv4() {
                socket.set_ip_transparent_v4(true)
            } else {
                socket.set_ip_transparent_v6(true)
            };
            allowed(set, "transparent", "CAP_NET_ADMIN or CAP_NET_RAW")?;
        }
        if let Some(mark) = options.mark {
            allowed(socket.set_mark(mark), "mark", "CAP_NET_ADMIN")?;
        }
        connections.pass_on(&SockRef::from(&socket))?;
        socket.bind(&addr.into())?;
        socket.listen(options.backlog)?;
        Listener::new(socket, None, false)
    }

    /// Makes a Unix socket at `path` and listens. A file that a process which is gone has left there is replaced; the file
    /// is removed with the listener.
    ///
    /// # Errors
    /// Somebody listens there, what is there is no socket, or the folder or the rights are not to be had.
    pub fn open_unix(path: &Path, options: &ListenOptions) -> io::Result<Listener> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let file = SocketFile::bind(&socket, path, &options.file)?;
        socket.listen(options.backlog)?;
        Listener::new(socket, Some(file), false)
    }

    /// Listens on a socket that listens already, and that others hold, too.
    ///
    /// # Errors
    /// It does not listen, or has no connections to give.
    pub fn take_over(socket: OwnedFd) -> io::Result<Listener> {
        let socket = Socket::from(socket);
        let unusable = |how| io::Error::new(io::ErrorKind::InvalidInput, Unusable(how));
        if ![Domain::IPV4, Domain::IPV6, Domain::UNIX].contains(&socket.domain()?) {
            return Err(unusable("is neither of IP nor of Unix"));
        }
        if socket.r#type()? != Type::STREAM {
            return Err(unusable("has no connections; expected ListenStream="));
        }
        if !socket.is_listener()? {
            return Err(unusable("is a connection already; expected Accept=no"));
        }
        Listener::new(socket, None, true)
    }

    fn new(socket: Socket, file: Option<SocketFile>, is_shared: bool) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let (local, socket) = if let Some(addr) = local.as_socket() {
            (Address::Tcp(addr), Queue::Tcp(TcpListener::from_std(socket.into())?))
        } else {
            // One that was handed over may have a name outside of the file system, or none.
            let path = local.as_pathname().unwrap_or(Path::new("@"));
            (Address::Unix(path.into()), Queue::Unix(UnixListener::from_std(socket.into())?))
        };
        Ok(Listener { file, socket, local, is_shared, shortage: Shortage::default() })
    }

    fn socket(&self) -> SockRef<'_> {
        match &self.socket {
            Queue::Tcp(socket) => SockRef::from(socket),
            Queue::Unix(socket) => SockRef::from(socket),
        }
    }

    /// Whether its connections have the options that it was given for them. Those of a socket that others hold, too, are
    /// to be set one by one.
    pub fn passes_options_on(&self) -> bool {
        !self.is_shared
    }

    /// Other options for connections to come.
    pub fn pass_on(&self, connections: &TcpOptions) {
        if self.is_shared || matches!(self.socket, Queue::Unix(_)) {
            return;
        }
        if let Err(error) = connections.pass_on(&self.socket()) {
            tracing::warn!(listen = %self.local, %error, "cannot change the options of its connections");
        }
    }

    /// Where it listens; the port is the real one where port 0 was asked for.
    pub fn local(&self) -> &Address {
        &self.local
    }

    /// The address of a network that it listens on, where it does.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local.tcp()
    }

    /// The next connection. Never fails: it waits until the system can accept again.
    pub async fn accept(&self) -> (Stream, Peer) {
        let mut trouble = Backoff::default();
        loop {
            match self.socket.accept().await {
                Ok(accepted) => {
                    if self.shortage.is_over() {
                        tracing::info!(listen = %self.local, "accepting connections again");
                    }
                    return accepted;
                }
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    if !trouble.is_in_trouble() && self.shortage.is_news(Instant::now()) {
                        tracing::error!(listen = %self.local, %error, "cannot accept connections; trying on");
                    }
                    tokio::time::sleep(trouble.next_delay()).await;
                }
            }
        }
    }

    /// Lets nobody else into the queue, so that it can be emptied before the socket is closed: closing resets whoever
    /// is in it. A client that knocks meanwhile gets no answer, and tries again a second later, when another socket
    /// may listen there; one that knocks at a Unix socket finds none. A socket that others hold, too, is left to them, with
    /// those who are in its queue.
    pub fn stop_queueing(&self) {
        if self.is_shared {
            return;
        }
        if let Some(file) = &self.file {
            return file.remove();
        }
        let drop_all = SockFilter::new(BPF_RETURN, 0, 0, 0);
        // A kernel without socket filters resets those who come in the last moment; nothing else is lost.
        if let Err(error) = self.socket().attach_filter(&[drop_all]) {
            tracing::debug!(listen = %self.local, %error, "cannot hold new connections back");
        }
    }

    /// A connection that is waiting when no others are let in any more, if there is one. Asks the system and not the
    /// runtime, which may not have heard of it yet.
    pub fn take_last(&self) -> Option<(Stream, Peer)> {
        if self.is_shared {
            return None;
        }
        let (socket, peer) = self.socket().accept().ok()?;
        socket.set_nonblocking(true).ok()?;
        match &self.socket {
            Queue::Tcp(_) => {
                Some((TcpStream::from_std(socket.into()).ok()?.into(), peer.as_socket()?.into()))
            }
            Queue::Unix(_) => Some((UnixStream::from_std(socket.into()).ok()?.into(), Peer::Unix)),
        }
    }
}

impl Queue {
    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Queue::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                Ok((stream.into(), peer.into()))
            }
            Queue::Unix(socket) => Ok((socket.accept().await?.0.into(), Peer::Unix)),
        }
    }
}

/// True when an accept failed because that one connection went away, and the next may well succeed.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Growing pauses between attempts that fail, so that a shortage (file descriptors, memory) does not become a busy
/// loop.
#[derive(Debug, Default)]
struct Backoff {
    delay: Option<Duration>,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(1);

    fn is_in_trouble(&self) -> bool {
        self.delay.is_some()
    }

    fn next_delay(&mut self) -> Duration {
        let delay = self.delay.map_or(Self::FIRST, |delay| (delay * 2).min(Self::LONGEST));
        self.delay = Some(delay);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second() {
        let mut backoff = Backoff::default();
        let delays: Vec<_> = (0..9).map(|_| backoff.next_delay().as_millis()).collect();
        assert_eq!(delays, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    }

    fn loopback(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn open(addr: SocketAddr, options: &ListenOptions) -> io::Result<Listener> {
        Listener::open_tcp(addr, options, &TcpOptions::default())
    }

    #[tokio::test]
    async fn connections_have_the_options_that_their_listener_was_given() {
        let mut options = TcpOptions {
            keepalive: Some(Duration::from_secs(90)),
            user_timeout: Some(Duration::from_secs(7)),
        };
        let listener =
            Listener::open_tcp(loopback(0), &ListenOptions::default(), &options).expect("a free port");
        for _ in 0..2 {
            let client = TcpStream::connect(listener.local_addr().expect("TCP")).await.expect("listening");
            let (stream, _) = listener.accept().await;
            let socket = stream.socket();
            assert!(socket.tcp_nodelay().expect("set"));
            assert_eq!(socket.keepalive().ok(), Some(options.keepalive.is_some()));
            assert_eq!(socket.tcp_user_timeout().ok(), Some(options.user_timeout));
            if let Some(keepalive) = options.keepalive {
                let set = (socket.tcp_keepalive_time(), socket.tcp_keepalive_interval());
                assert_eq!((set.0.ok(), set.1.ok()), (Some(keepalive), Some(keepalive / 3)));
                assert_eq!(socket.tcp_keepalive_retries().ok(), Some(3));
            }
            drop(client);
            options = TcpOptions::default();
            listener.pass_on(&options);
        }
    }

    fn port_of(listener: &Listener) -> u16 {
        listener.local_addr().expect("an address").port()
    }

    #[tokio::test]
    async fn a_port_that_listens_is_taken_and_only_a_known_neighbour_may_join() {
        let everywhere = Listener::bind(([0, 0, 0, 0], 0).into()).expect("a free port");
        let port = port_of(&everywhere);
        let error = Listener::bind(loopback(port)).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);

        let beside = Listener::bind_beside(
            loopback(port),
            &everywhere,
            &ListenOptions::default(),
            &TcpOptions::default(),
        )
        .expect("allowed by its neighbour");
        drop(everywhere);
        assert_eq!(Listener::bind(loopback(port)).expect_err("taken").kind(), io::ErrorKind::AddrInUse);
        assert_eq!(beside.local_addr(), Some(loopback(port)));
    }

    #[tokio::test]
    async fn an_ipv6_socket_takes_ipv4_unless_it_is_told_not_to() {
        for (ipv6_only, is_taken) in [(false, true), (true, false)] {
            let options = ListenOptions { ipv6_only, ..ListenOptions::default() };
            let listener = open("[::]:0".parse().expect("an address"), &options).expect("a free port");
            let connected = TcpStream::connect(loopback(port_of(&listener))).await;
            assert_eq!(connected.is_ok(), is_taken);
        }
    }

    #[tokio::test]
    async fn a_port_that_is_shared_can_be_bound_twice() {
        let options = ListenOptions { reuse_port: true, ..ListenOptions::default() };
        let one = open(loopback(0), &options).expect("a free port");
        let port = port_of(&one);
        assert!(open(loopback(port), &options).is_ok());
        assert!(Listener::bind(loopback(port)).is_err());
    }
}
