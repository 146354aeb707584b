//! Prices of the API: single bans by one caller and by 32 at once, and pages of a list of a million.
//!
//! `cargo bench --bench api [-- --quick]`: the binary, spoken to through its socket over connections that are kept; with
//! `--quick` ten thousand bans.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "it has no caller but its author")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "the table is the product")]
#![expect(clippy::cast_precision_loss, reason = "no count here reaches 2^52")]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_mqtt-bouncer");

fn main() {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let (count, singles) = if is_quick { (10_000, 500) } else { (1_000_000, 3_000) };
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("bouncer.toml");
    let text = "[node]\ndata_dir = \"data\"\n[[listener]]\nname = \"mqtt\"\nbind = \"127.0.0.1:0\"\n\
                [upstream]\nservers = [\"127.0.0.1:1\"]\n\
                [[ban]]\nas = \"clientid\"\nwho = \"file-bot\"\n";
    fs::write(&config, text).expect("written");
    let list = folder.path().join("list.jsonl");
    fs::write(&list, lines(count)).expect("written");
    let _proxy = Proxy::start(&config);
    let socket = folder.path().join("data/control.sock");
    let body = fs::read(&list).expect("written");
    let began = Instant::now();
    let answer = Caller::new(&socket).call("POST", "/api/v5/banned/import", &body);
    println!(
        "{:<62} {:>8.2} s   {answer}",
        format!("import of {count}, one call"),
        began.elapsed().as_secs_f64()
    );

    for callers in [1, 32] {
        post(&socket, callers, singles * if callers == 1 { 1 } else { 4 });
    }
    for query in PAGES {
        page(&socket, query, if is_quick { 50 } else { 300 });
    }
    deep(&socket, "sort=at&order=desc&limit=1000");
    let began = Instant::now();
    let length = Caller::new(&socket).call("GET", "/api/v5/banned/export", b"").len();
    println!("{:<62} {:>8.2} s   {length} bytes", "export of all", began.elapsed().as_secs_f64());
}

const PAGES: &[&str] = &[
    "",
    "page=100",
    "limit=1000",
    "clientid=device-500",
    "view=full",
    "as=username",
    "by=ops",
    "by=import&as=clientid&sort=who",
    "sort=who",
    "sort=at&order=desc",
    "sort=until",
    "sort=until&order=desc",
    "sort=hits&order=desc",
    "sort=last_hit&order=desc",
    "sort=by",
    "status=active",
    "status=expired",
    "gte_until=2085-01-01T00:00:00Z&lte_until=2086-01-01T00:00:00Z",
    "gte_at=2026-06-01T00:00:00Z",
    "source=file",
    "text=7f",
    "like_clientid=^7f",
    // What no index serves.
    "sort=reason",
    "text=nowhere",
    "like_clientid=nowhere$",
    "page=9000",
];

fn post(socket: &Path, callers: usize, total: usize) {
    let began = Instant::now();
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..callers)
            .map(|index| {
                scope.spawn(move || {
                    let mut caller = Caller::new(socket);
                    let mut times = Vec::new();
                    for number in 0..total / callers {
                        let body =
                            format!(r#"{{"as":"clientid","who":"single-{callers}-{index}-{number}"}}"#);
                        let began = Instant::now();
                        caller.call("POST", "/api/v5/banned", body.as_bytes());
                        times.push(began.elapsed());
                    }
                    times
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    row(&format!("POST of one, {callers} at a time ({rate:.0} /s)"), &mut times);
}

fn page(socket: &Path, query: &str, times: usize) {
    let mut caller = Caller::new(socket);
    let path = format!("/api/v5/banned?{query}");
    let began = Instant::now();
    caller.call("GET", &path, b"");
    // What is slow is not asked for often.
    let times = if began.elapsed() > Duration::from_millis(50) { 5 } else { times };
    let mut taken: Vec<_> = (0..times)
        .map(|_| {
            let began = Instant::now();
            caller.call("GET", &path, b"");
            began.elapsed()
        })
        .collect();
    row(&format!("GET ?{query}"), &mut taken);
}

/// Walks through all of a list by cursor.
fn deep(socket: &Path, query: &str) {
    let mut caller = Caller::new(socket);
    let (mut taken, mut cursor) = (Vec::new(), String::new());
    loop {
        let began = Instant::now();
        let answer = caller.call("GET", &format!("/api/v5/banned?{query}{cursor}"), b"");
        taken.push(began.elapsed());
        let Some((_, next)) = answer.split_once("\"next_cursor\":\"") else { break };
        cursor = format!("&cursor={}", next.split('"').next().expect("an end"));
    }
    row(&format!("all {} pages of {query}, by cursor", taken.len()), &mut taken);
}

fn row(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
    println!("{what:<62} p50 {:>8.2} ms  p99 {:>8.2} ms", at(50), at(99));
}

/// Client identifiers, user names and addresses, a tenth of them with an end, some of which are past.
fn lines(count: usize) -> String {
    let mut random = fastrand::Rng::with_seed(7);
    let mut lines = String::new();
    for number in 0..count {
        let end = match number % 10 {
            0 => format!(",\"until\":{}", 3_600_000_000 + random.u32(..200_000_000)),
            _ => String::new(),
        };
        let (kind, who) = match number % 20 {
            0 => ("peerhost", std::net::Ipv4Addr::from_bits(random.u32(..)).to_string()),
            1 => ("username", format!("user-{number}")),
            2 => ("clientid", format!("device-{number}")),
            _ => ("clientid", format!("{:016x}-{number}", random.u64(..))),
        };
        let by = if number % 1_000 == 0 { "ops" } else { "import" };
        let (reason, at) = (number % 7, 1_780_000_000 + random.u32(..10_000_000));
        writeln!(
            lines,
            "{{\"as\":\"{kind}\",\"who\":\"{who}\",\"by\":\"{by}\",\"reason\":\"reason {reason}\",\"at\":{at}{end}}}"
        )
        .expect("memory");
    }
    lines
}

/// A connection that is kept.
struct Caller(BufReader<UnixStream>);

impl Caller {
    fn new(socket: &Path) -> Caller {
        Caller(BufReader::new(UnixStream::connect(socket).expect("the proxy answers")))
    }

    fn call(&mut self, method: &str, path: &str, body: &[u8]) -> String {
        let stream = self.0.get_mut();
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        stream.write_all(&request).expect("sent");
        let (mut length, mut is_chunked, mut status) = (0, false, String::new());
        loop {
            let line = self.line();
            if status.is_empty() {
                status.clone_from(&line);
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().expect("a number");
            }
            is_chunked |= line == "transfer-encoding: chunked";
            if line.is_empty() {
                break;
            }
        }
        let mut body = Vec::new();
        loop {
            if is_chunked {
                length = usize::from_str_radix(&self.line(), 16).expect("a length");
            }
            let start = body.len();
            body.resize(start + length, 0);
            self.0.read_exact(&mut body[start..]).expect("a body");
            if !is_chunked {
                break;
            }
            self.line();
            if length == 0 {
                break;
            }
        }
        let body = String::from_utf8(body).expect("UTF-8");
        assert!(status.contains(" 200 "), "{path}: {status}: {body}");
        body
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("an answer");
        line.trim_end().to_owned()
    }
}

struct Proxy(Child);

impl Proxy {
    fn start(config: &PathBuf) -> Proxy {
        let mut command = Command::new(BINARY);
        let mut child = command
            .arg("serve")
            .arg("--config")
            .arg(config)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).expect("a log") > 0, "the proxy did not start");
            if line.contains("listening listener=mqtt") {
                break;
            }
        }
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Proxy(child)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
