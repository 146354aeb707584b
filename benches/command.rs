//! What an operator waits for: `mqtt-bouncer bans import` of a long list, and the start of a proxy that has one.
//!
//! `cargo bench --bench command`, a million bans; `-- --quick` takes ten thousand.

#![expect(clippy::expect_used, reason = "it has no caller but its author")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "the table is the product")]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_mqtt-bouncer");

fn main() {
    let count = if std::env::args().any(|argument| argument == "--quick") { 10_000 } else { 1_000_000 };
    let folder = tempfile::tempdir().expect("a folder");
    let broker = broker();
    let config = folder.path().join("bouncer.toml");
    let text = format!(
        "[node]\ndata_dir = \"data\"\n[[listener]]\nname = \"mqtt\"\nbind = \"127.0.0.1:0\"\n[upstream]\nservers = [\"{broker}\"]\n"
    );
    fs::write(&config, text).expect("written");
    let list = folder.path().join("list.jsonl");
    fs::write(&list, lines(count)).expect("written");
    let bytes = fs::metadata(&list).expect("written").len();
    println!("{count} bans, {bytes} bytes of JSON Lines");

    row("import on a stopped proxy", || bans(&config, &["import", path(&list)]));
    row("import of the same, all known", || bans(&config, &["import", path(&list)]));
    row("rehearsal of the same (--dry-run)", || bans(&config, &["import", "--dry-run", path(&list)]));
    row("export", || bans(&config, &["export", path(&folder.path().join("out.jsonl"))]));

    let began = Instant::now();
    let proxy = Proxy::start(&config);
    proxy.admit();
    println!("{:<42} {:>8.2} s", "start to the first admitted client", began.elapsed().as_secs_f64());
    println!("{:<42} {:>8} MiB", "resident then", proxy.resident_mib());
    row("clear on a running proxy", || bans(&config, &["clear", "--yes"]));
    row("import on a running proxy", || bans(&config, &["import", path(&list)]));
    let file = fs::metadata(folder.path().join("data/bans.db")).expect("a store").len();
    println!("{:<42} {:>8} MiB", "the store's file", file >> 20);
}

fn row(what: &str, work: impl FnOnce()) {
    let began = Instant::now();
    work();
    println!("{what:<42} {:>8.2} s", began.elapsed().as_secs_f64());
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Client identifiers with a few reasons, a tenth of them with an end; networks; addresses.
fn lines(count: usize) -> String {
    let mut random = fastrand::Rng::with_seed(7);
    let mut lines = String::new();
    for number in 0..count {
        let end = if number % 10 == 0 { ",\"until\":\"2090-01-01T00:00:00+00:00\"" } else { "" };
        let (kind, who) = match number % 20 {
            0 => ("peerhost", std::net::Ipv4Addr::from_bits(random.u32(..)).to_string()),
            1 => ("username", format!("user-{number}")),
            _ => ("clientid", format!("{:016x}-{number}", random.u64(..))),
        };
        let reason = number % 7;
        writeln!(
            lines,
            "{{\"as\":\"{kind}\",\"who\":\"{who}\",\"by\":\"import\",\"reason\":\"reason {reason}\",\"at\":\"2026-01-01T00:00:00+00:00\"{end}}}"
        )
        .expect("memory");
    }
    lines
}

fn bans(config: &Path, arguments: &[&str]) {
    let mut command = Command::new(BINARY);
    command.arg("bans").args(arguments).arg("--config").arg(config);
    let output = command.output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A broker that accepts whoever comes.
fn broker() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut connect = [0; 64];
            let _ = stream.read(&mut connect);
            let _ = stream.write_all(b"\x20\x02\x00\x00");
        }
    });
    addr
}

struct Proxy {
    child: Child,
    addr: SocketAddr,
}

impl Proxy {
    fn start(config: &Path) -> Proxy {
        let mut child = Command::new(BINARY)
            .arg("serve")
            .arg("--config")
            .arg(config)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let addr = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).expect("a log") > 0, "the proxy did not start");
            if let Some((_, addr)) = line.trim_end().rsplit_once("listening listener=mqtt address=") {
                break addr.parse().expect("an address");
            }
        };
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Proxy { child, addr }
    }

    fn admit(&self) {
        let mut stream = TcpStream::connect(self.addr).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        stream.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a").expect("connected");
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"\x20\x02\x00\x00");
    }

    fn resident_mib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a figure");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") >> 10
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
