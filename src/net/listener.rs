//! Accepts connections, and keeps accepting when the system runs out of something.

use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    local: SocketAddr,
}

/// The instruction `BPF_RET | BPF_K`: keep so many bytes of the packet; none drops it.
const BPF_RETURN: u16 = 0x06;

/// How many connections may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

impl Listener {
    /// Binds `addr` and listens. `[::]` listens on IPv4 too, unless the system says otherwise.
    ///
    /// # Errors
    /// The address is in use, is not this machine's, or its port is reserved.
    pub fn bind(addr: SocketAddr) -> io::Result<Listener> {
        Listener::open(addr, false)
    }

    /// Binds `addr` while `neighbour`, which this process is about to close, still holds an overlapping address.
    ///
    /// # Errors
    /// As [`bind`](Listener::bind).
    pub fn bind_beside(addr: SocketAddr, neighbour: &Listener) -> io::Result<Listener> {
        SockRef::from(&neighbour.socket).set_reuse_port(true)?;
        let listener = Listener::open(addr, true);
        SockRef::from(&neighbour.socket).set_reuse_port(false)?;
        let listener = listener?;
        // Nobody else may join the port once the neighbour has gone.
        SockRef::from(&listener.socket).set_reuse_port(false)?;
        Ok(listener)
    }

    fn open(addr: SocketAddr, reuse_port: bool) -> io::Result<Listener> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        // Connections of an earlier process that linger in TIME_WAIT must not keep the port.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(reuse_port)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from_std(socket.into())?;
        let local = socket.local_addr()?;
        Ok(Listener { socket, local })
    }

    /// The address that it listens on; the port is the real one where port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The next connection. Never fails: it waits until the system can accept again.
    pub async fn accept(&self) -> (TcpStream, SocketAddr) {
        let mut trouble = Backoff::default();
        loop {
            match self.socket.accept().await {
                Ok(accepted) => {
                    if trouble.is_in_trouble() {
                        tracing::info!(listen = %self.local, "accepting connections again");
                    }
                    return accepted;
                }
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    if !trouble.is_in_trouble() {
                        tracing::error!(listen = %self.local, %error, "cannot accept connections; trying on");
                    }
                    tokio::time::sleep(trouble.next_delay()).await;
                }
            }
        }
    }

    /// Lets nobody else into the queue, so that it can be emptied before the socket is closed: closing resets whoever
    /// is in it. A client that knocks meanwhile gets no answer, and tries again a second later, when another socket
    /// may listen there.
    pub fn stop_queueing(&self) {
        let drop_all = SockFilter::new(BPF_RETURN, 0, 0, 0);
        // A kernel without socket filters resets those who come in the last moment; nothing else is lost.
        if let Err(error) = SockRef::from(&self.socket).attach_filter(&[drop_all]) {
            tracing::debug!(listen = %self.local, %error, "cannot hold new connections back");
        }
    }

    /// A connection that is waiting already, if there is one. Asks the system and not the runtime, which may not have
    /// heard of it yet.
    pub fn try_accept(&self) -> Option<(TcpStream, SocketAddr)> {
        let (socket, peer) = SockRef::from(&self.socket).accept().ok()?;
        socket.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(socket.into()).ok()?, peer.as_socket()?))
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

    #[tokio::test]
    async fn a_port_that_listens_is_taken_and_only_a_known_neighbour_may_join() {
        let everywhere = Listener::bind(([0, 0, 0, 0], 0).into()).expect("a free port");
        let port = everywhere.local_addr().port();
        let error = Listener::bind(loopback(port)).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);

        let beside = Listener::bind_beside(loopback(port), &everywhere).expect("allowed by its neighbour");
        drop(everywhere);
        assert_eq!(Listener::bind(loopback(port)).expect_err("taken").kind(), io::ErrorKind::AddrInUse);
        assert_eq!(beside.local_addr(), loopback(port));
    }
}
