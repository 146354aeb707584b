//! Dials brokers.

use super::options::TcpOptions;
use super::stream::Stream;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// A broker's address: `IP:PORT`, or `NAME:PORT` that is looked up at every dial.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    text: String,
    addr: Option<SocketAddr>,
}

/// A text that is no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a server; expected IP:PORT or NAME:PORT, e.g. \"127.0.0.1:1884\"")]
pub struct ServerError;

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Server, ServerError> {
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return if addr.port() == 0 {
                Err(ServerError)
            } else {
                Ok(Server { text: text.to_owned(), addr: Some(addr) })
            };
        }
        let (name, port) = text.rsplit_once(':').ok_or(ServerError)?;
        let is_name = !name.is_empty()
            && name.len() <= 253
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
            // An IPv4 address that does not parse is a mistake, not a name.
            && !name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let port: u16 = port.parse().map_err(|_| ServerError)?;
        if is_name && port != 0 { Ok(Server { text: text.to_owned(), addr: None }) } else { Err(ServerError) }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// How to reach a group of brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// The brokers; at least one.
    pub servers: Vec<Server>,
    /// How long one dial may take, name look-up included.
    pub connect_timeout: Duration,
    /// Options of the connections to them.
    pub tcp: TcpOptions,
}

/// A group of brokers that can stand in for each other.
#[derive(Debug)]
pub struct Upstream {
    settings: UpstreamSettings,
    turn: AtomicUsize,
}

/// One attempt to reach a broker, and what came of it.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The broker.
    pub server: &'a Server,
    /// How long it took, name look-up included.
    pub took: Duration,
    /// It could be reached.
    pub is_connected: bool,
}

/// No broker of the group could be reached.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to {server}")]
pub struct DialError {
    /// The broker that was tried last.
    pub server: Server,
    /// What came of it.
    #[source]
    pub source: io::Error,
}

impl Upstream {
    /// A group with these settings.
    pub fn new(settings: UpstreamSettings) -> Upstream {
        Upstream { settings, turn: AtomicUsize::new(0) }
    }

    /// Connects to the broker whose turn it is; when it cannot be reached, to the next one, until each was tried
    /// once. Each attempt is shown to `attempted`.
    ///
    /// # Errors
    /// None of them answered; tells of the last.
    pub async fn dial(
        &self,
        mut attempted: impl FnMut(&Attempt<'_>),
    ) -> Result<(Stream, &Server), DialError> {
        let servers = &self.settings.servers;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % servers.len().max(1);
        let mut failure = None;
        for server in servers.iter().cycle().skip(turn).take(servers.len()) {
            let began = Instant::now();
            let connected = self.try_connect(server, self.settings.connect_timeout).await;
            attempted(&Attempt { server, took: began.elapsed(), is_connected: connected.is_ok() });
            match connected {
                Ok(stream) => return Ok((stream, server)),
                Err(source) => failure = Some((server, source)),
            }
        }
        let (server, source) = match failure {
            Some((server, source)) => (server.clone(), source),
            None => (Server { text: "nobody".into(), addr: None }, io::ErrorKind::NotFound.into()),
        };
        Err(DialError { server, source })
    }

    /// The brokers of the group.
    pub fn servers(&self) -> &[Server] {
        &self.settings.servers
    }

    /// Whether a broker takes connections now. The connection is closed at once; brokers hold that against nobody.
    pub async fn probe(&self, server: &Server, patience: Duration) -> bool {
        self.try_connect(server, patience.min(self.settings.connect_timeout)).await.is_ok()
    }

    async fn try_connect(&self, server: &Server, patience: Duration) -> io::Result<Stream> {
        timeout(patience, self.connect(server)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn connect(&self, server: &Server) -> io::Result<Stream> {
        let stream = match server.addr {
            Some(addr) => TcpStream::connect(addr).await?,
            None => TcpStream::connect(&server.text).await?,
        };
        self.settings.tcp.apply(&stream)?;
        Ok(stream.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn servers_are_addresses_or_names_with_a_port() {
        for good in ["127.0.0.1:1883", "[::1]:1883", "broker:1883", "a.b-c.example:8883", "localhost:1"] {
            assert_eq!(good.parse::<Server>().map(|server| server.to_string()), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "broker",
            "broker:",
            ":1883",
            "broker:0",
            "127.0.0.1:0",
            "300.0.0.1:1883",
            "::1:1883",
            "mqtt://broker:1883",
            "broker:99999",
            "a b:1",
        ] {
            assert_eq!(bad.parse::<Server>(), Err(ServerError), "{bad}");
        }
    }

    async fn broker() -> (TcpListener, Server) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let server = listener.local_addr().expect("bound").to_string().parse().expect("a server");
        (listener, server)
    }

    fn upstream(servers: Vec<Server>) -> Upstream {
        let connect_timeout = Duration::from_secs(5);
        Upstream::new(UpstreamSettings { servers, connect_timeout, tcp: TcpOptions::default() })
    }

    #[tokio::test]
    async fn brokers_take_turns_and_a_dead_one_is_passed_over() {
        let ((first, a), (second, b), (dead, c)) = (broker().await, broker().await, broker().await);
        drop(dead);
        let upstream = upstream(vec![a.clone(), b.clone(), c]);
        let mut reached = Vec::new();
        for _ in 0..4 {
            let (_stream, server) = upstream.dial(|_| {}).await.expect("two live brokers");
            reached.push(server.clone());
        }
        assert_eq!(reached, [a.clone(), b, a.clone(), a]);
        drop((first, second));
    }

    #[tokio::test]
    async fn a_group_of_dead_brokers_says_which_and_why() {
        let (listener, server) = broker().await;
        drop(listener);
        let error = upstream(vec![server.clone()]).dial(|_| {}).await.expect_err("nobody listens");
        assert_eq!(error.to_string(), format!("cannot connect to {server}"));
        assert_eq!(error.source.kind(), io::ErrorKind::ConnectionRefused);
    }
}
