//! Prices of the API: single bans by one caller and by 32 at once, pages of a list of a million, and what clients of the
//! proxy feel of 32 callers who do nothing else.
//!
//! `cargo bench --bench api [-- --quick | --beside | --watched]`: the binary, spoken to through its socket over connections
//! that are kept; with `--quick` ten thousand bans; with `--beside` only the last of the three; with `--watched` what clients
//! feel of open dashboards. The callers of that one are a
//! process that runs when nobody else wants to, since what they take of the processors is no price of the proxy's.
//!
//! What the API takes from the data path shows where there is nothing left to take it from: sixteen clients keep every
//! processor at work, with callers and without in turns, and what they get done is counted. A client that is alone on
//! the machine is timed, too. Then callers mostly keep processors awake and warm or busy, which anybody's callers do; so
//! the same callers also call another proxy, which the client has nothing to do with.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "it has no caller but its author")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "the table is the product")]
#![expect(clippy::cast_precision_loss, reason = "no count here reaches 2^52")]

#[path = "api/watched.rs"]
mod watched;

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_mqtt-bouncer");

fn main() {
    if let Some(socket) = std::env::args().skip_while(|argument| argument != CALLERS).nth(1) {
        return call_for_ever(Path::new(&socket));
    }
    let mut pages = std::env::args().skip_while(|argument| argument != watched::PAGES).skip(1);
    if let (Some(socket), Some(count)) = (pages.next(), pages.next()) {
        return watched::be_open(Path::new(&socket), count.parse().expect("a number"));
    }
    if std::env::args().any(|argument| argument == "--watched") {
        return watched::watched();
    }
    if std::env::args().any(|argument| argument == "--beside") {
        return beside();
    }
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
    beside();
}

/// How a process of this benchmark is told to be the callers.
const CALLERS: &str = "--callers";

/// What clients who want all there is get of it, in turns with callers and without; and how long a single ban takes then.
fn saturated() {
    let (_folder, _proxy, socket) = proxy_before_an_echo();
    let addr = listens_at(&socket);
    let works: [(&str, Work); 2] =
        [("round trips of 64 bytes", round_trips), ("CONNECT to CONNACK", connects)];
    for (what, work) in works {
        let [mut alone, mut beside, mut ratios] = [const { Vec::new() }; 3];
        let (mut bans, mut seconds) = (0, 0.0);
        for round in 0..SATURATED_ROUNDS {
            let mut call = || {
                let (before, began) = (bans_of(&socket), Instant::now());
                let callers = Callers::start(&socket);
                beside.push(rate(addr, work));
                drop(callers);
                bans += bans_of(&socket) - before;
                seconds += began.elapsed().as_secs_f64();
            };
            // In turns, whichever comes first: machines get faster and slower by themselves.
            if round % 2 == 0 {
                alone.push(rate(addr, work));
                call();
            } else {
                call();
                alone.push(rate(addr, work));
            }
            ratios.push(beside[round] / alone[round]);
        }
        let [alone, beside, ratio] = [alone, beside, ratios].map(median);
        println!(
            "{:<62} {alone:>8.0} /s alone {beside:>8.0} /s beside 32 callers: x {ratio:.3} ({:.0} bans made /s)",
            format!("{what}, {CLIENTS} clients"),
            bans as f64 / seconds,
        );
        let mut times = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| rate(addr, work));
            let mut caller = Caller::new(&socket);
            for number in 0..100 {
                let body = format!(r#"{{"as":"clientid","who":"{}-{number}"}}"#, what.replace(' ', "-"));
                let began = Instant::now();
                caller.call("POST", "/api/v5/banned", body.as_bytes());
                times.push(began.elapsed());
            }
        });
        row(&format!("POST of one, beside {what} of {CLIENTS} clients"), &mut times);
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// What a client does until then, and how often it got it done.
type Work = fn(SocketAddr, Instant) -> u64;

const CLIENTS: usize = 16;
const SATURATED_ROUNDS: usize = 15;

/// How much of this work all clients get done in a second.
fn rate(addr: SocketAddr, work: Work) -> f64 {
    let began = Instant::now();
    let until = began + Duration::from_secs(1);
    let done: u64 = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(move || work(addr, until))).collect();
        clients.into_iter().map(|client| client.join().expect("no panic")).sum()
    });
    done as f64 / began.elapsed().as_secs_f64()
}

fn round_trips(addr: SocketAddr, until: Instant) -> u64 {
    let mut client = connect(addr);
    let (packet, mut answer) = (publish(), [0; 64]);
    let mut done = 0;
    while Instant::now() < until {
        client.write_all(&packet).expect("sent");
        client.read_exact(&mut answer).expect("it comes back");
        done += 1;
    }
    done
}

fn connects(addr: SocketAddr, until: Instant) -> u64 {
    let mut done = 0;
    while Instant::now() < until {
        drop(connect(addr));
        done += 1;
    }
    done
}

/// How many bans there are.
fn bans_of(socket: &Path) -> u64 {
    let page = Caller::new(socket).call("GET", "/api/v5/banned?limit=1", b"");
    let (_, count) = page.split_once("\"count\":").expect("a count");
    count.split(|byte: char| !byte.is_ascii_digit()).next().expect("digits").parse().expect("a number")
}

/// Where the proxy listens.
fn listens_at(socket: &Path) -> SocketAddr {
    let status = Caller::new(socket).call("GET", "/api/v5/status", b"");
    let (_, addr) = status.split_once("\"address\":\"").expect("a listener");
    addr.split('"').next().expect("an end").parse().expect("an address")
}

/// A PUBLISH of 64 bytes.
fn publish() -> Vec<u8> {
    let mut packet = vec![0x30, 62, 0, 1, b't'];
    packet.resize(64, b'x');
    packet
}

/// What a client feels of the API: round trips within a session, and new sessions, in turns with callers and without.
fn beside() {
    saturated();
    let (_folder, _proxy, socket) = proxy_before_an_echo();
    let (_other_folder, _other_proxy, other_socket) = proxy_before_an_echo();
    let addr = listens_at(&socket);
    let [mut quiet, mut others, mut busy] = [const { [const { Vec::new() }; 2] }; 3];
    for _ in 0..ROUNDS {
        feel(addr, &mut quiet);
        for (called, times) in [(&other_socket, &mut others), (&socket, &mut busy)] {
            let callers = Callers::start(called);
            feel(addr, times);
            drop(callers);
        }
    }
    for (at, what) in ["round trip of 64 bytes", "CONNECT to CONNACK"].into_iter().enumerate() {
        row(&format!("{what}, idle machine"), &mut quiet[at]);
        row(&format!("{what}, beside 32 callers of another"), &mut others[at]);
        row(&format!("{what}, beside 32 callers of its proxy"), &mut busy[at]);
        for (whom, base) in [("an idle machine", &quiet[at]), ("callers of another", &others[at])] {
            let median = |times: &[Duration]| times[times.len() / 2].as_secs_f64();
            let mean = |times: &[Duration]| times.iter().sum::<Duration>().as_secs_f64() / times.len() as f64;
            let (p50, all) = (median(&busy[at]) / median(base), mean(&busy[at]) / mean(base));
            println!("{:<62} p50 x {p50:.3}  mean x {all:.3}", format!("  its own callers against {whom}"));
        }
    }
}

/// A proxy whose broker sends everything back, and where it is called.
fn proxy_before_an_echo() -> (tempfile::TempDir, Proxy, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("bouncer.toml");
    let text = format!(
        "[node]\ndata_dir = \"data\"\n[log]\nmax_connection_lines = 1\n[[listener]]\nname = \"mqtt\"\nbind = \"127.0.0.1:0\"\n\
         [upstream]\nservers = [\"{}\"]\n",
        echo()
    );
    fs::write(&config, text).expect("written");
    let proxy = Proxy::start(&config);
    let socket = folder.path().join("data/control.sock");
    (folder, proxy, socket)
}

const ROUNDS: usize = 6;

/// Times some seconds of a client's life.
fn feel(addr: SocketAddr, times: &mut [Vec<Duration>; 2]) {
    let [trips, connects] = times;
    let mut client = connect(addr);
    let (packet, mut answer) = (publish(), [0; 64]);
    let until = Instant::now() + Duration::from_millis(1_500);
    while Instant::now() < until {
        let began = Instant::now();
        client.write_all(&packet).expect("sent");
        client.read_exact(&mut answer).expect("it comes back");
        trips.push(began.elapsed());
    }
    let until = Instant::now() + Duration::from_millis(1_500);
    while Instant::now() < until {
        let began = Instant::now();
        drop(connect(addr));
        connects.push(began.elapsed());
    }
}

/// A client that was let in.
fn connect(addr: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(addr).expect("the proxy answers");
    client.set_nodelay(true).expect("a socket");
    client.write_all(b"\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x02ab").expect("sent");
    client.read_exact(&mut [0; 4]).expect("a CONNACK");
    client
}

/// A broker that says yes and sends everything back.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let addr = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            std::thread::spawn(move || -> std::io::Result<()> {
                client.set_nodelay(true)?;
                client.read_exact(&mut [0; 16])?;
                client.write_all(b"\x20\x02\0\0")?;
                let mut back = client.try_clone()?;
                std::io::copy(&mut client, &mut back).map(drop)
            });
        }
    });
    addr
}

/// How many call at once.
const AT_ONCE: usize = 32;

/// A process of 32 callers, who run when nobody else wants to.
struct Callers(Child);

impl Callers {
    fn start(socket: &Path) -> Callers {
        let own = std::env::current_exe().expect("this benchmark");
        let child = Command::new("chrt")
            .args(["--idle", "0"])
            .arg(own)
            .arg(CALLERS)
            .arg(socket)
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.expect("chrt is there");
        let said = BufReader::new(child.stdout.take().expect("piped"));
        assert_eq!(said.lines().take(AT_ONCE).count(), AT_ONCE, "all of them call");
        Callers(child)
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// 32 callers who make, look at and lift bans as fast as they can, until they are killed.
fn call_for_ever(socket: &Path) {
    std::thread::scope(|scope| {
        for index in 0..AT_ONCE {
            scope.spawn(move || {
                let mut caller = Caller::new(socket);
                caller.call("GET", "/api/v5/status", b"");
                println!("calling");
                for number in 0..u32::MAX {
                    let who = format!("single-{}-{index}-{number}", std::process::id());
                    let body = format!(r#"{{"as":"clientid","who":"{who}"}}"#);
                    caller.call("POST", "/api/v5/banned", body.as_bytes());
                    caller.call("GET", "/api/v5/banned?limit=10&sort=who", b"");
                }
            });
        }
    });
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
