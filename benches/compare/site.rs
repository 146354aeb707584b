//! The proxies, their lists and their certificate; and what the system says of a process.

use super::broker::Broker;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_mqtt-bouncer");
const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare");

/// How many client identifiers, user names and networks are banned, each.
pub(crate) const BANNED: usize = 100_000;
/// How long a proxy may take to start.
const PATIENCE: Duration = Duration::from_mins(1);

/// One of the banned client identifiers.
pub(crate) fn banned_name(index: usize) -> String {
    format!("banned-{index:010}-fleet")
}

fn banned_user(index: usize) -> String {
    format!("banned-user-{index:08}")
}

fn banned_network(index: usize) -> String {
    format!("{}.{}.{}.0/24", 11 + (index >> 16), (index >> 8) & 0xff, index & 0xff)
}

/// As operators write them; none matches a client of ours.
fn pattern(index: usize) -> String {
    const WORDS: [&str; 8] = ["probe", "scan", "crawler", "flood", "zombie", "spam", "miner", "worm"];
    let word = WORDS[index % WORDS.len()];
    match index % 10 {
        0..=2 => format!(r"^{word}{index}-[a-z]+-\d{{4}}$"),
        3 | 4 => format!(r"^test{index}-\d+$"),
        5 | 6 => format!(".*bot{index}x.*"),
        7 | 8 => format!("^acme{index}/"),
        _ => format!("^(?:{word}|evil){index}[_-]"),
    }
}

/// The certificate and the key of all, as PEM.
pub(crate) struct Certificate {
    pub(crate) cert: String,
    pub(crate) key: String,
}

/// What the lists of a proxy have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lists {
    /// Client identifiers, user names and networks: all or none.
    pub(crate) has_names: bool,
    pub(crate) patterns: usize,
}

/// Where the proxies find their files.
pub(crate) struct Site {
    folder: TempDir,
    pub(crate) certificate: Certificate,
}

impl Site {
    pub(crate) fn new() -> Site {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let (cert, key) = (params.self_signed(&key).expect("signed").pem(), key.serialize_pem());
        let site =
            Site { folder: tempfile::tempdir().expect("a folder"), certificate: Certificate { cert, key } };
        let Certificate { cert, key } = &site.certificate;
        site.write("server.pem", cert);
        site.write("server.key", key);
        site.write("both.pem", &format!("{cert}{key}"));
        site
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).expect("written");
    }

    pub(crate) fn start_own(&self, broker: Broker, lists: Lists) -> Proxy {
        // Each has a folder of its own, for its store.
        let folder = tempfile::tempdir_in(self.folder.path()).expect("a folder");
        let mut bans = String::new();
        let mut ban = |kind: &str, who: String| {
            let who = who.replace('\\', r"\\");
            writeln!(bans, r#"{{"as":"{kind}","who":"{who}"}}"#).expect("memory");
        };
        for index in 0..if lists.has_names { BANNED } else { 0 } {
            ban("clientid", banned_name(index));
            ban("username", banned_user(index));
            ban("peerhost_net", banned_network(index));
        }
        (0..lists.patterns).for_each(|index| ban("clientid_re", pattern(index)));
        fs::write(folder.path().join("bans.jsonl"), bans).expect("written");
        let text = format!(
            "[node]\ndata_dir = \"data\"\n\
             [log]\nmax_connection_lines = 1\n\
             [banned]\nbootstrap_file = \"bans.jsonl\"\n\
             [flapping_detect]\nenable = true\n\
             [[listener]]\nname = \"plain\"\nbind = \"127.0.0.1:0\"\n\
             [[listener]]\nname = \"tls\"\ntype = \"tls\"\nbind = \"127.0.0.1:0\"\n\
             [listener.tls]\ncert = \"../server.pem\"\nkey = \"../server.key\"\n\
             [upstream]\nservers = [\"{}\"]\n",
            broker.plain
        );
        let file = folder.path().join("bouncer.toml");
        fs::write(&file, text).expect("written");
        let mut command = supervised(BINARY);
        command.arg("serve").arg("--config").arg(file).stderr(Stdio::piped());
        if let Some(library) = std::env::var_os("PRELOAD") {
            command.env("LD_PRELOAD", library);
        }
        let mut child = Running(command.spawn().expect("the binary runs"));
        let mut log = BufReader::new(child.0.stderr.take().expect("piped"));
        let (mut plain, mut tls) = (None, None);
        while plain.is_none() || tls.is_none() {
            let mut line = String::new();
            assert!(log.read_line(&mut line).expect("a log") > 0, "the proxy did not start");
            assert!(!line.contains("ERROR"), "{line}");
            let address = |name| {
                let (_, told) = line.split_once(&format!("listening listener={name} address="))?;
                told.split_whitespace().next()?.parse::<SocketAddr>().ok()
            };
            plain = plain.or_else(|| address("plain"));
            tls = tls.or_else(|| address("tls"));
        }
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let proxy =
            Proxy { child, plain: plain.expect("told"), tls: tls.expect("told"), _folder: Some(folder) };
        proxy.await_listening();
        proxy
    }

    pub(crate) fn start_haproxy(&self, broker: Broker, lists: Lists) -> Proxy {
        let list = |file, name: fn(usize) -> String| {
            let names = (0..if lists.has_names { BANNED } else { 0 }).map(name);
            self.write(file, &names.fold(String::new(), |text, name| text + &name + "\n"));
        };
        list("clientids", banned_name);
        list("usernames", banned_user);
        list("networks", banned_network);
        // It cannot say which ports it was given.
        let free = || TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
        let (plain, tls) = (free(), free());
        let here = Path::new(HERE);
        let mut command = supervised("haproxy");
        // In the foreground, in one process.
        command.arg("-db").arg("-f").arg(here.join("haproxy.cfg"));
        command.env("THREADS", available_parallelism().map_or(1, usize::from).to_string());
        command.env("REFUSE", here.join("refuse.lua"));
        command.env("CERTIFICATE", self.path("both.pem"));
        command.env("LISTS", self.folder.path());
        command.env("PLAIN", plain.port().to_string()).env("TLS", tls.port().to_string());
        command.env("BROKER", broker.plain.to_string());
        if lists.patterns > 0 {
            let text = (0..lists.patterns).map(pattern).fold(String::new(), |text, one| text + &one + "\n");
            self.write("patterns", &text);
            command.env("PATTERNS", self.path("patterns"));
        }
        let child = Running(command.spawn().expect("haproxy is there (apt-get install haproxy)"));
        let proxy = Proxy { child, plain, tls, _folder: None };
        proxy.await_listening();
        proxy
    }
}

/// A program that does not outlive this one, however this one ends.
pub(crate) fn supervised(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// A process of ours, ended with this.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A proxy that runs.
pub(crate) struct Proxy {
    child: Running,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    _folder: Option<TempDir>,
}

impl Proxy {
    fn await_listening(&self) {
        let until = Instant::now() + PATIENCE;
        for addr in [self.plain, self.tls] {
            while TcpStream::connect(addr).is_err() {
                let has_ended =
                    !Path::new(&format!("/proc/{}/stat", self.id())).exists() || self.cpu().is_none();
                assert!(!has_ended && Instant::now() < until, "a proxy did not start");
                sleep(Duration::from_millis(20));
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.0.id()
    }

    /// The seconds of the processor that all its threads took so far; `None` when it has ended. Linux counts in
    /// hundredths, whatever its clock. \[proc_pid_stat(5)\]
    pub(crate) fn cpu(&self) -> Option<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).ok()?;
        let (_, fields) = stat.rsplit_once(") ")?;
        if fields.starts_with('Z') {
            return None;
        }
        let times = fields.split(' ').skip(11).take(2);
        Some(times.map(|ticks| ticks.parse::<f64>().expect("a number") / 100.0).sum())
    }

    /// Its memory in bytes, with its share of what it has in common with others.
    pub(crate) fn memory(&self) -> f64 {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.id())).expect("Linux");
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).expect("a figure");
        line.trim().trim_end_matches(" kB").trim().parse::<f64>().expect("a number") * 1024.0
    }
}
