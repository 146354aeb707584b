//! What is set on every connection's socket.

use super::stream::Stream;
use socket2::{SockRef, TcpKeepalive};
use std::io;
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
        socket.set_nodelay(true)?;
        if let Some(idle) = self.keepalive {
            let interval = (idle / 3).max(Duration::from_secs(1));
            let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(3);
            SockRef::from(socket).set_tcp_keepalive(&keepalive)?;
        }
        if self.user_timeout.is_some() {
            SockRef::from(socket).set_tcp_user_timeout(self.user_timeout)?;
        }
        Ok(())
    }
}
