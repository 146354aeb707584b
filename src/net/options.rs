//! What is set on every connection's socket.

use super::stream::Stream;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// Socket options of a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpOptions {
    /// Probe a silent peer after this long, then every third of it, and give it up after the third probe that it does
    /// not answer; `None` never probes.
    pub keepalive: Option<Duration>,
    /// Give a peer up that has not acknowledged what was sent for so long (TCP_USER_TIMEOUT); `None` leaves it to the system.
    pub user_timeout: Option<Duration>,
}

impl TcpOptions {
    /// Sets the options, and TCP_NODELAY: MQTT packets are small, and nobody waits for the next one. A connection by a
    /// Unix socket has none of them. For a connection that nothing is wrapped around yet.
    ///
    /// # Errors
    /// The peer has gone already, as a rule.
    pub fn apply(&self, stream: &Stream) -> io::Result<()> {
        let Stream::Tcp(socket) = stream else { return Ok(()) };
        self.set(&SockRef::from(socket))
    }

    /// Sets them on a socket that listens: on Linux, its connections have them from the beginning. Five system calls for
    /// each of them are saved.
    pub(super) fn pass_on(&self, listening: &SockRef<'_>) -> io::Result<()> {
        // It may have had others before.
        listening.set_keepalive(self.keepalive.is_some())?;
        listening.set_tcp_user_timeout(self.user_timeout)?;
        self.set(listening)
    }

    fn set(&self, socket: &SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_nodelay(true)?;
        if let Some(idle) = self.keepalive {
            let interval = (idle / 3).max(Duration::from_secs(1));
            let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(3);
            socket.set_tcp_keepalive(&keepalive)?;
        }
        if self.user_timeout.is_some() {
            socket.set_tcp_user_timeout(self.user_timeout)?;
        }
        Ok(())
    }

    /// What of them makes sense for a connection to this address. A peer on this machine does not vanish silently: the
    /// kernel that would answer a probe closes its connections.
    pub(super) fn towards(&self, peer: IpAddr) -> TcpOptions {
        TcpOptions { keepalive: self.keepalive.filter(|_| !peer.to_canonical().is_loopback()), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpStream, UnixStream};

    #[tokio::test]
    async fn connections_have_the_options_that_are_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let options = TcpOptions {
            keepalive: Some(Duration::from_secs(90)),
            user_timeout: Some(Duration::from_millis(1500)),
        };
        let stream = Stream::from(TcpStream::connect(addr).await.expect("listening"));
        options.apply(&stream).expect("connected");
        let socket = stream.socket();
        assert!(socket.tcp_nodelay().expect("set") && socket.keepalive().expect("set"));
        let keepalive = (socket.tcp_keepalive_time(), socket.tcp_keepalive_interval());
        assert_eq!(keepalive.0.ok(), Some(Duration::from_secs(90)));
        assert_eq!(keepalive.1.ok(), Some(Duration::from_secs(30)));
        assert_eq!(socket.tcp_keepalive_retries().ok(), Some(3));
        assert_eq!(socket.tcp_user_timeout().ok(), Some(Some(Duration::from_millis(1500))));

        let stream = Stream::from(TcpStream::connect(addr).await.expect("listening"));
        TcpOptions::default().apply(&stream).expect("connected");
        assert!(!stream.socket().keepalive().expect("set"));
        assert_eq!(stream.socket().tcp_user_timeout().ok(), Some(None));
        let towards = |address: &str| options.towards(address.parse().expect("an address"));
        assert_eq!(towards("192.0.2.1"), options);
        for local in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(towards(local), TcpOptions { keepalive: None, ..options });
        }
        let (one, _other) = UnixStream::pair().expect("sockets");
        options.apply(&one.into()).expect("nothing to set");
    }
}
