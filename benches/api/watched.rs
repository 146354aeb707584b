//! What clients feel of open dashboards: the same work with none, one and five of them, in turns.
//!
//! An open dashboard is what its page does with a view that follows the feed: it reads each event when it comes, and asks
//! for the page of clients that it shows. The readers are a process that runs when nobody else wants to, as browsers on
//! other machines would cost this one nothing.

use super::{
    CLIENTS, Caller, connect, connects, listens_at, median, proxy_before_an_echo, rate, round_trips,
};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How a process of this benchmark is told to be so many open dashboards.
pub(super) const PAGES: &str = "--pages";

const OPEN: [usize; 3] = [0, 1, 5];
const ROUNDS: usize = 24;

/// Those who are inside and do nothing: what the page of clients is made of.
const INSIDE: usize = 500;

pub(super) fn watched() {
    let (_folder, _proxy, socket) = proxy_before_an_echo();
    let addr = listens_at(&socket);
    let _inside: Vec<_> = (0..INSIDE).map(|_| connect(addr)).collect();
    let works: [(&str, super::Work); 2] =
        [("round trips of 64 bytes", round_trips), ("CONNECT to CONNACK", connects)];
    for (what, work) in works {
        let mut rates = [const { Vec::new() }; OPEN.len()];
        for round in 0..ROUNDS {
            // Each of them is first, second and last as often: machines get faster and slower by themselves.
            for turn in 0..OPEN.len() {
                let which = (round + turn) % OPEN.len();
                let pages = Pages::open(&socket, OPEN[which]);
                rates[which].push(rate(addr, work));
                drop(pages);
            }
        }
        let alone = rates[0].clone();
        for (open, rates) in OPEN.into_iter().zip(rates) {
            let ratios = rates.iter().zip(&alone).map(|(rate, alone)| rate / alone).collect();
            println!(
                "{:<62} {:>8.0} /s  x {:.3}",
                format!("{what}, {CLIENTS} clients, {open} dashboards open"),
                median(rates),
                median(ratios),
            );
        }
    }
    one_client(&socket, addr);
}

/// What a client that is alone feels.
fn one_client(socket: &Path, addr: SocketAddr) {
    let mut times = [const { Vec::new() }; OPEN.len()];
    for round in 0..ROUNDS {
        for turn in 0..OPEN.len() {
            let which = (round + turn) % OPEN.len();
            let pages = Pages::open(socket, OPEN[which]);
            let until = Instant::now() + Duration::from_millis(500);
            while Instant::now() < until {
                let began = Instant::now();
                drop(connect(addr));
                times[which].push(began.elapsed());
            }
            drop(pages);
        }
    }
    for (open, mut times) in OPEN.into_iter().zip(times) {
        super::row(&format!("CONNECT to CONNACK, 1 client, {open} dashboards open"), &mut times);
    }
}

/// A process that is open dashboards.
struct Pages(Option<Child>);

impl Pages {
    /// They have read an event and a page when this returns.
    fn open(socket: &Path, count: usize) -> Pages {
        if count == 0 {
            return Pages(None);
        }
        let own = std::env::current_exe().expect("this benchmark");
        let mut command = Command::new("chrt");
        command.args(["--idle", "0"]).arg(own).arg(PAGES).arg(socket).arg(count.to_string());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("chrt is there");
        let said = BufReader::new(child.stdout.take().expect("piped"));
        assert_eq!(said.lines().take(count).count(), count, "all of them are open");
        Pages(Some(child))
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Is so many dashboards until the process is killed.
pub(super) fn be_open(socket: &Path, count: usize) {
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                let mut caller = Caller::new(socket);
                let mut feed = UnixStream::connect(socket).expect("the proxy answers");
                feed.write_all(b"GET /dashboard/feed HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
                let mut events = 0;
                for line in BufReader::new(feed).lines() {
                    let line = line.expect("the feed goes on");
                    assert!(!line.starts_with("HTTP/1.1") || line.contains(" 200 "), "{line}");
                    if line.starts_with("data: ") {
                        caller.call("GET", "/api/v5/clients?limit=50&sort=connected_at&order=desc", b"");
                        events += 1;
                        if events == 1 {
                            println!("open");
                        }
                    }
                }
            });
        }
    });
}
