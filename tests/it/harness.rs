//! A proxy on a free port, a broker that remembers what it was sent, and a client that speaks in bytes.

use mqtt_bouncer::admission::{As, Ban, List, Terms, Timestamp, Until, Who};
use mqtt_bouncer::app::App;
use mqtt_bouncer::clock::Clock;
use mqtt_bouncer::config::Config;
use mqtt_bouncer::metrics::Outcome;
use mqtt_bouncer::telemetry::Telemetry;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::time::timeout;

/// How long anything that ought to happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// Waits for what ought to happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: did not happen"))
}

/// Waits until something that cannot be awaited is so.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    soon(what, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// A proxy with a listener `mqtt` in front of a [`Broker`].
pub(crate) struct Proxy {
    pub(crate) app: App,
    pub(crate) clock: Clock,
}

/// A config with one listener on a free port; `more` goes to the listener, `rest` to the end of the file.
pub(crate) fn config(broker: SocketAddr, more: &str, rest: &str) -> String {
    format!(
        "[[listener]]\nname = \"mqtt\"\nbind = \"127.0.0.1:0\"\n{more}\n[upstream]\nservers = [\"{broker}\"]\n{rest}\n"
    )
}

pub(crate) fn parse(text: &str) -> Config {
    Config::parse("test.toml", text).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

impl Proxy {
    pub(crate) fn start(text: &str) -> Proxy {
        let (config, clock) = (parse(text), Clock::manual(NOW));
        let telemetry = Telemetry::new(config.log);
        let app = App::start(config, clock.clone(), telemetry).expect("free ports");
        Proxy { app, clock }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.app.local_addr("mqtt").expect("a listener named mqtt")
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.addr()).await
    }

    pub(crate) fn ban(&self, kind: As, who: &str) {
        let terms = Terms { by: "test".into(), reason: "testing".into(), at: NOW, until: Until::Infinity };
        let who = Who::new(kind, who, None).expect("a name");
        self.app.bouncer().put(List::Bans, Ban { who, terms }).expect("room");
    }

    pub(crate) fn count(&self, outcome: Outcome) -> u64 {
        self.app.metrics().outcome(outcome)
    }

    /// Waits until this many connections had this outcome.
    pub(crate) async fn until_counted(&self, outcome: Outcome, count: u64) {
        until(outcome.as_str(), || self.count(outcome) >= count).await;
        assert_eq!(self.count(outcome), count, "{outcome}");
    }
}

/// A client made of bytes.
pub(crate) struct Client<S = TcpStream>(pub S);

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> Client {
        let stream = TcpStream::connect(addr).await.expect("the proxy listens");
        stream.set_nodelay(true).expect("connected");
        Client(stream)
    }
}

impl Client<UnixStream> {
    pub(crate) async fn connect_to(path: &Path) -> Client<UnixStream> {
        Client(UnixStream::connect(path).await.expect("the proxy listens"))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("connected");
    }

    pub(crate) async fn receive(&mut self, expected: &[u8]) {
        let mut bytes = vec![0; expected.len()];
        soon("receive", self.0.read_exact(&mut bytes)).await.expect("connected");
        assert_eq!(bytes, expected);
    }

    /// All that comes until the other side ends; a reset is a failure.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        soon("end", self.0.read_to_end(&mut bytes)).await.expect("no reset");
        bytes
    }

    /// Waits for the end, however it comes.
    pub(crate) async fn ended(&mut self) {
        let mut bytes = Vec::new();
        let _ = soon("end", self.0.read_to_end(&mut bytes)).await;
    }
}

/// A broker that accepts everybody and remembers every byte.
pub(crate) struct Broker {
    pub(crate) addr: SocketAddr,
    connections: Mutex<mpsc::UnboundedReceiver<TcpStream>>,
    closed: Arc<Notify>,
}

impl Broker {
    pub(crate) async fn start() -> Broker {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Broker::on(listener)
    }

    fn on(listener: TcpListener) -> Broker {
        let addr = listener.local_addr().expect("bound");
        let (sender, connections) = mpsc::unbounded_channel();
        let closed = Arc::new(Notify::new());
        let close = Arc::clone(&closed);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (stream, _) = accepted.expect("accepts");
                        if sender.send(stream).is_err() {
                            return;
                        }
                    }
                    () = close.notified() => return,
                }
            }
        });
        Broker { addr, connections: Mutex::new(connections), closed }
    }

    /// The next connection from the proxy.
    pub(crate) async fn accept(&self) -> Client {
        Client(
            soon("a connection to the broker", async { self.connections.lock().await.recv().await })
                .await
                .expect("open"),
        )
    }

    /// True when the proxy has made a connection that nobody accepted.
    pub(crate) fn was_called(&self) -> bool {
        self.connections.try_lock().is_ok_and(|connections| !connections.is_empty())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.closed.notify_one();
    }
}

/// A CONNECT of 3.1.1 with this client identifier.
pub(crate) fn connect_v311(client_id: &str) -> Vec<u8> {
    connect(b"\x00\x04MQTT\x04\x02\x00\x3c", &[client_id])
}

/// A CONNECT of 3.1 with this client identifier.
pub(crate) fn connect_v31(client_id: &str) -> Vec<u8> {
    connect(b"\x00\x06MQIsdp\x03\x02\x00\x3c", &[client_id])
}

/// A CONNECT of MQTT 5 with this client identifier.
pub(crate) fn connect_v5(client_id: &str) -> Vec<u8> {
    connect(b"\x00\x04MQTT\x05\x02\x00\x3c\x00", &[client_id])
}

/// A CONNECT of 3.1.1 with a user name.
pub(crate) fn connect_as(client_id: &str, username: &str) -> Vec<u8> {
    connect(b"\x00\x04MQTT\x04\x82\x00\x3c", &[client_id, username])
}

fn connect(header: &[u8], strings: &[&str]) -> Vec<u8> {
    let mut body = header.to_vec();
    for string in strings {
        body.extend(u16::try_from(string.len()).expect("short").to_be_bytes());
        body.extend(string.as_bytes());
    }
    frame(0x10, &body)
}

/// A packet with this first byte and body.
pub(crate) fn frame(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first_byte];
    let mut length = body.len();
    loop {
        let byte = u8::try_from(length & 0x7F).expect("seven bits");
        length >>= 7;
        packet.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}
