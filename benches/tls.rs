//! What TLS costs, beside HAProxy: handshakes a second, full and resumed, the processor time of the proxy, and the memory
//! of a session that idles.
//!
//! `cargo bench --bench tls [-- --quick]`: the binary and Debian's `haproxy` in TCP mode, with as many threads, the same
//! certificate (ECDSA P-256) and the same broker, which says yes and nothing else. Both get the same load in turns, which
//! of them first changes by the round; a ratio is the median of those of the rounds. The clients offer one cipher suite
//! and see to it that both proxies take the same group (X25519), so that both compute the same. They believe whoever
//! answers: what they compute is no price of the proxy's. Still they and the broker need the same processors, which makes
//! rates more alike than the proxies are; processor time tells those apart.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "it has no caller but its author")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "the table is the product")]
#![expect(clippy::cast_precision_loss, reason = "no count here reaches 2^52")]

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, NamedGroup, SignatureScheme,
    StreamOwned, SupportedProtocolVersion,
};

const BINARY: &str = env!("CARGO_BIN_EXE_mqtt-bouncer");

/// How much is done.
struct Amount {
    rounds: usize,
    /// Connections of one kind to one proxy in one round.
    handshakes: usize,
    /// Sessions that idle.
    sessions: usize,
}

const WHOLE: Amount = Amount { rounds: 7, handshakes: 2_000, sessions: 4_000 };
const QUICK: Amount = Amount { rounds: 1, handshakes: 300, sessions: 300 };

/// Clients at once.
const CLIENTS: usize = 16;
/// How long one proxy may take for one load; what is not done then is not counted.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long after the last answer a proxy is given to close and free what the clients have left.
const SETTLING: Duration = Duration::from_millis(300);

fn main() {
    let amount = if std::env::args().any(|argument| argument == "--quick") { QUICK } else { WHOLE };
    // A session is two files here and two in the proxy, which inherits the limit.
    allow_files(u64::try_from(2 * amount.sessions + 1_000).expect("it is small"));
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site { folder: folder.path(), broker: broker() };
    site.write_certificate();

    println!(
        "{} rounds of {} connections by {CLIENTS} clients; medians, and medians of the rounds' ratios",
        amount.rounds, amount.handshakes
    );
    println!("{:<24}{:>14}{:>14}{:>8}", "", "mqtt-bouncer", "HAProxy", "ratio");
    let proxies = [site.start_own(), site.start_haproxy()];
    for load in LOADS {
        compare(load, &proxies, &amount);
    }
    drop(proxies);
    for version in [&TLS13, &TLS12] {
        let own = idle(&site.start_own(), version, amount.sessions);
        let other = idle(&site.start_haproxy(), version, amount.sessions);
        let what = format!("idle session, TLS {}", name(version));
        row(&what, "bytes", &[own], &[other], 0);
    }
}

/// One kind of connection.
#[derive(Clone, Copy)]
struct Load {
    version: &'static SupportedProtocolVersion,
    kind: HandshakeKind,
}

const LOADS: [Load; 4] = [
    Load { version: &TLS13, kind: HandshakeKind::Full },
    Load { version: &TLS13, kind: HandshakeKind::Resumed },
    Load { version: &TLS12, kind: HandshakeKind::Full },
    Load { version: &TLS12, kind: HandshakeKind::Resumed },
];

fn compare(load: Load, proxies: &[Proxy; 2], amount: &Amount) {
    let (mut rates, mut prices) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
    // One that is not counted warms caches and memory.
    for round in 0..=amount.rounds {
        for turn in 0..2 {
            let at = (round + turn) % 2;
            let (rate, price) = proxies[at].bear(load, amount.handshakes);
            if round > 0 {
                rates[at].push(rate);
                prices[at].push(price);
            }
        }
    }
    let kind = if load.kind == HandshakeKind::Full { "full" } else { "resumed" };
    let what = format!("{kind}, TLS {}", name(load.version));
    row(&what, "/s", &rates[0], &rates[1], 0);
    row("", "CPU s per 1,000", &prices[0], &prices[1], 3);
}

fn row(what: &str, unit: &str, own: &[f64], other: &[f64], digits: usize) {
    let ratio = median(own.iter().zip(other).map(|(own, other)| own / other));
    let (own, other) = (median(own.iter().copied()), median(other.iter().copied()));
    println!("{what:<24}{own:>14.digits$}{other:>14.digits$}{ratio:>8.2}  {unit}");
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn name(version: &SupportedProtocolVersion) -> &'static str {
    if version.version == TLS13.version { "1.3" } else { "1.2" }
}

/// The bytes of memory that one session takes while it idles.
fn idle(proxy: &Proxy, version: &'static SupportedProtocolVersion, count: usize) -> f64 {
    let load = Load { version, kind: HandshakeKind::Full };
    // What every proxy needs once is no price of a session's.
    proxy.bear(load, CLIENTS * 10);
    let before = proxy.resident();
    let config = config(load);
    let next = AtomicUsize::new(0);
    let sessions: Vec<Session> = std::thread::scope(|scope| {
        let client = || {
            let mut sessions = Vec::new();
            while next.fetch_add(1, Ordering::Relaxed) < count {
                sessions.push(proxy.enter(&config));
            }
            sessions
        };
        let threads: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    sleep(SETTLING);
    let after = proxy.resident();
    assert_eq!(sessions.len(), count, "some did not get in");
    after.saturating_sub(before) as f64 / count as f64
}

/// A client that is inside.
type Session = StreamOwned<ClientConnection, TcpStream>;

/// A proxy that runs.
struct Proxy {
    child: Child,
    addr: SocketAddr,
}

impl Proxy {
    /// Has clients come and go. Returns how many in a second, and the seconds of the processor that the proxy took for
    /// a thousand.
    fn bear(&self, load: Load, count: usize) -> (f64, f64) {
        // Each has a memory of its own: it resumes what it was given itself.
        let configs: Vec<_> = (0..CLIENTS).map(|_| config(load)).collect();
        if load.kind == HandshakeKind::Resumed {
            for config in &configs {
                leave(self.enter(config));
            }
        }
        let next = AtomicUsize::new(0);
        let cpu = self.cpu_seconds();
        let began = Instant::now();
        let may_come = &|| next.fetch_add(1, Ordering::Relaxed) < count && began.elapsed() < PATIENCE;
        let done: usize = std::thread::scope(|scope| {
            let client = |config| scope.spawn(move || self.come_and_go(config, load.kind, may_come));
            let threads: Vec<_> = configs.iter().map(client).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        let rate = done as f64 / began.elapsed().as_secs_f64();
        sleep(SETTLING);
        (rate, (self.cpu_seconds() - cpu) * 1_000.0 / done as f64)
    }

    /// One client, as often as it may.
    fn come_and_go(
        &self,
        config: &Arc<ClientConfig>,
        kind: HandshakeKind,
        may_come: impl Fn() -> bool,
    ) -> usize {
        let mut done = 0;
        while may_come() {
            let session = self.enter(config);
            assert_eq!(session.conn.handshake_kind(), Some(kind));
            if let Some(group) = session.conn.negotiated_key_exchange_group() {
                assert_eq!(group.name(), NamedGroup::X25519);
            }
            leave(session);
            done += 1;
        }
        done
    }

    /// Connects and is let in by the broker.
    fn enter(&self, config: &Arc<ClientConfig>) -> Session {
        let socket = TcpStream::connect(self.addr).expect("the proxy listens");
        socket.set_nodelay(true).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let name = ServerName::try_from("localhost").expect("a name");
        let conn = ClientConnection::new(Arc::clone(config), name).expect("a good configuration");
        let mut session = StreamOwned::new(conn, socket);
        let packet = format!("\x10\x1c\0\x04MQTT\x04\x02\0\0\0\x10{:016x}", fastrand::u64(..));
        session.write_all(packet.as_bytes()).expect("a handshake");
        session.flush().expect("connected");
        let mut connack = [0; 4];
        session.read_exact(&mut connack).expect("a CONNACK");
        assert_eq!(&connack, b"\x20\x02\0\0");
        session
    }

    /// In all its threads, so far. Linux counts in hundredths, whatever its clock. \[proc_pid_stat(5)\]
    fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("Linux");
        let (_, fields) = stat.rsplit_once(") ").expect("a name");
        let times = fields.split(' ').skip(11).take(2);
        times.map(|ticks| ticks.parse::<f64>().expect("a number") / 100.0).sum()
    }

    /// Its memory in bytes.
    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a figure");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Closes, without waiting for what the proxy says to that.
fn leave(mut session: Session) {
    session.conn.send_close_notify();
    session.flush().expect("connected");
}

fn config(load: Load) -> Arc<ClientConfig> {
    let provider = Arc::new(CryptoProvider {
        cipher_suites: vec![
            provider::cipher_suite::TLS13_AES_128_GCM_SHA256,
            provider::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        ],
        // OpenSSL wants the one of its certificate to be among them. [RFC 8422, section 5.1]
        kx_groups: vec![provider::kx_group::X25519, provider::kx_group::SECP256R1],
        ..provider::default_provider()
    });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[load.version])
        .expect("suites for it")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous))
        .with_no_client_auth();
    if load.kind == HandshakeKind::Full {
        config.resumption = Resumption::disabled();
    }
    Arc::new(config)
}

/// Believes whoever answers.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// Where the proxies find their files and their broker.
struct Site<'a> {
    folder: &'a Path,
    broker: SocketAddr,
}

impl Site<'_> {
    fn write_certificate(&self) {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let (cert, key) = (params.self_signed(&key).expect("signed").pem(), key.serialize_pem());
        self.write("server.pem", &cert);
        self.write("server.key", &key);
        self.write("both.pem", &format!("{cert}{key}"));
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.folder.join(file), text).expect("written");
    }

    fn start_own(&self) -> Proxy {
        let text = format!(
            "[node]\ndata_dir = \"data\"\n[log]\nmax_connection_lines = 1\n\
             [[listener]]\nname = \"mqtts\"\ntype = \"tls\"\nbind = \"127.0.0.1:0\"\n\
             [listener.tls]\ncert = \"server.pem\"\nkey = \"server.key\"\n\
             [upstream]\nservers = [\"{}\"]\n",
            self.broker
        );
        self.write("bouncer.toml", &text);
        let mut command = Command::new(BINARY);
        command.arg("serve").arg("--config").arg(self.folder.join("bouncer.toml"));
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary runs");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let addr = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).expect("a log") > 0, "the proxy did not start");
            if let Some((_, told)) = line.split_once("listening listener=mqtts address=") {
                break told.split_whitespace().next().expect("an address").parse().expect("an address");
            }
        };
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Proxy { child, addr }
    }

    fn start_haproxy(&self) -> Proxy {
        // It cannot say which port it was given.
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
        let text = format!(
            "global\n  nbthread {}\n  maxconn 6000\n  ssl-default-bind-options ssl-min-ver TLSv1.2\n\
             defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
             frontend mqtts\n  bind 127.0.0.1:{port} ssl crt {}\n  default_backend broker\n\
             backend broker\n  server broker {}\n",
            available_parallelism().map_or(1, usize::from),
            self.folder.join("both.pem").display(),
            self.broker
        );
        self.write("haproxy.cfg", &text);
        let mut command = Command::new("haproxy");
        // In the foreground, in one process.
        command.arg("-db").arg("-f").arg(self.folder.join("haproxy.cfg"));
        let child = command.spawn().expect("haproxy is there (apt-get install haproxy)");
        let mut proxy = Proxy { child, addr: ([127, 0, 0, 1], port).into() };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(proxy.addr).is_err() {
            let has_ended = proxy.child.try_wait().expect("a child").is_some();
            assert!(!has_ended && Instant::now() < until, "haproxy did not start");
            sleep(Duration::from_millis(20));
        }
        proxy
    }
}

/// A broker that accepts whoever comes, on one thread.
fn broker() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let addr = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            loop {
                let Ok((mut client, _)) = listener.accept().await else { continue };
                tokio::spawn(async move {
                    let mut packet = [0; 64];
                    if client.read(&mut packet).await? > 0 {
                        client.write_all(b"\x20\x02\0\0").await?;
                    }
                    while client.read(&mut packet).await? > 0 {}
                    std::io::Result::Ok(())
                });
            }
        });
    });
    addr
}

/// Raises the limit of open files, ours and so that of the proxies.
fn allow_files(count: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < count) {
        let maximum = limit.maximum.map(|maximum| maximum.max(count));
        let wanted = Rlimit { current: Some(count), maximum };
        setrlimit(Resource::Nofile, wanted).expect("so many files may be open (ulimit -Hn)");
    }
}
