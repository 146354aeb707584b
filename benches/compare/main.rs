//! What the proxy costs, beside HAProxy that does the same job, and beside no proxy at all.
//!
//! `cargo bench --bench compare [-- ROW…] [--quick] [--calls]`: the binary and Debian's `haproxy` (mode tcp, MQTT fields,
//! the same lists, a CONNACK in Lua), with as many threads, the same certificate and the same broker, get the same load
//! in turns, which of them first changes by the round. A row is named with or without what follows its dash; without
//! a name all are measured, which takes a quarter of an hour. A ratio is the median of those of the rounds. `--calls` counts
//! system calls instead, with `strace`, where that is installed. `PRELOAD=LIBRARY` in the environment has the binary use
//! another allocator.
//!
//! Clients, broker and proxy share the machine, so rates are what all of it gives. The processor time is the proxy's
//! alone.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "it has no caller but its author")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "the table is the product")]
#![expect(clippy::format_push_string, reason = "a line at a time is short")]
#![expect(clippy::cast_precision_loss, reason = "no count here reaches 2^52")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "no figure here is large or negative"
)]

mod broker;
mod calls;
mod client;
mod loads;
mod site;
mod table;

use broker::{Broker, LARGE, SMALL};
use client::Way;
use loads::{Load, Run, idle, put};
use site::{Lists, Proxy, Site};
use std::net::SocketAddr;
use std::time::Duration;
use table::Table;

/// What is measured.
struct Row {
    name: &'static str,
    measure: fn(&Bench),
}

const ROWS: [Row; 15] = [
    Row { name: "admitted", measure: |bench| bench.compare(&[("admitted", Load::Come(Way::Plain))]) },
    Row { name: "admitted-tls", measure: |bench| bench.compare(&[("admitted, TLS", Load::Come(Way::Tls))]) },
    Row {
        name: "admitted-resumed",
        measure: |bench| bench.compare(&[("admitted, TLS resumed", Load::Come(Way::Resumed))]),
    },
    Row {
        name: "admitted-tls12",
        measure: |bench| {
            bench.compare(&[
                ("admitted, TLS 1.2", Load::Come(Way::Tls12)),
                ("admitted, TLS 1.2 resumed", Load::Come(Way::Resumed12)),
            ]);
        },
    },
    Row { name: "refused", measure: |bench| bench.compare(&[("refused", Load::Knock(Way::Plain))]) },
    Row { name: "refused-tls", measure: |bench| bench.compare(&[("refused, TLS", Load::Knock(Way::Tls))]) },
    Row { name: "patterns", measure: Bench::patterns },
    Row { name: "roundtrip", measure: |bench| bench.round_trips(Way::Plain) },
    Row { name: "roundtrip-tls", measure: |bench| bench.round_trips(Way::Tls) },
    Row { name: "bulk", measure: |bench| bench.bulk(Way::Plain) },
    Row { name: "bulk-tls", measure: |bench| bench.bulk(Way::Tls) },
    Row { name: "idle", measure: |bench| bench.idle("idle", Way::Plain, 8_000) },
    Row { name: "idle-tls", measure: |bench| bench.idle("idle, TLS", Way::Tls, 4_000) },
    Row { name: "idle-tls12", measure: |bench| bench.idle("idle, TLS 1.2", Way::Tls12, 4_000) },
    Row { name: "flood", measure: Bench::flood },
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    for name in &wanted {
        let names = ROWS.map(|row| row.name).join(", ");
        assert!(ROWS.iter().any(|row| row.name == name.as_str()), "{name} is no row; there are {names}");
    }
    allow_files(20_000);
    let bench = Bench::new(has("--quick"));
    if has("--calls") {
        return calls::count(&bench);
    }
    println!("{} rounds of {:?}; medians, and medians of the rounds' ratios", bench.rounds, bench.time);
    Table::head();
    for row in ROWS.iter().filter(|row| wanted.is_empty() || wanted.iter().any(|name| *name == row.name)) {
        (row.measure)(&bench);
    }
}

/// The broker, the files, and how much is done.
struct Bench {
    site: Site,
    broker: Broker,
    rounds: usize,
    time: Duration,
    /// What a count is divided by.
    part: usize,
}

const NAMES: Lists = Lists { has_names: true, patterns: 0 };
const EMPTY: Lists = Lists { has_names: false, patterns: 0 };

impl Bench {
    fn new(is_quick: bool) -> Bench {
        let site = Site::new();
        let broker = broker::start(&site.certificate);
        let (rounds, time, part) =
            if is_quick { (1, Duration::from_millis(300), 20) } else { (5, Duration::from_millis(1_200), 1) };
        Bench { site, broker, rounds, time, part }
    }

    fn start(&self, lists: Lists) -> [Target; 2] {
        let haproxy = Target::proxy("HAProxy", self.site.start_haproxy(self.broker, lists));
        [haproxy, Target::proxy("mqtt-bouncer", self.site.start_own(self.broker, lists))]
    }

    fn direct(&self) -> Target {
        Target { name: "direct".to_owned(), addrs: (self.broker.plain, self.broker.tls), proxy: None }
    }

    /// The same loads for HAProxy, ours and nobody.
    fn compare(&self, loads: &[(&str, Load)]) {
        let mut targets = Vec::from(self.start(NAMES));
        targets.push(self.direct());
        for (what, load) in loads {
            // A broker refuses nobody.
            let count = if matches!(load, Load::Knock(_)) { 2 } else { 3 };
            self.alternate(what, *load, &targets[..count], self.time);
        }
    }

    fn alternate(&self, what: &str, load: Load, targets: &[Target], time: Duration) {
        let mut table = Table::new(what, load, targets.iter().map(|target| target.name.clone()));
        // One that is not counted warms caches and memory.
        for round in 0..=self.rounds {
            for turn in 0..targets.len() {
                let at = (round + turn) % targets.len();
                // What it has done since its last turn is for the sake of that.
                table.settle(at, targets[at].cpu());
                table.add(at, targets[at].bear(load, time), round > 0);
            }
        }
        for (at, target) in targets.iter().enumerate() {
            table.settle(at, target.cpu());
        }
        table.print();
    }

    /// What a list of patterns costs those who are on none.
    fn patterns(&self) {
        let lists = |patterns| Lists { has_names: true, patterns };
        let haproxy = |patterns| {
            Target::proxy(
                &format!("HAProxy, {patterns}"),
                self.site.start_haproxy(self.broker, lists(patterns)),
            )
        };
        let own = |patterns| {
            Target::proxy(
                &format!("mqtt-bouncer, {patterns}"),
                self.site.start_own(self.broker, lists(patterns)),
            )
        };
        let load = Load::Come(Way::Plain);
        self.alternate("admitted, patterns", load, &[haproxy(0), haproxy(1_000)], self.time);
        let own = [own(0), own(1_000), own(10_000)];
        self.alternate("admitted, patterns", load, &own, self.time);
    }

    fn round_trips(&self, way: Way) {
        let mut targets = Vec::from(self.start(NAMES));
        targets.push(self.direct());
        let suffix = if way.is_tls() { ", TLS" } else { "" };
        for payload in [64, 1024] {
            for connections in [1, 100, 1_000] {
                let connections = if connections > self.part { connections / self.part } else { connections };
                let load = Load::RoundTrips { way, connections, payload };
                let what = format!("{payload} B by {connections}{suffix}");
                self.alternate(&what, load, &targets, self.time / 2);
            }
        }
    }

    fn bulk(&self, way: Way) {
        let mut targets = Vec::from(self.start(NAMES));
        targets.push(self.direct());
        let suffix = if way.is_tls() { ", TLS" } else { "" };
        for (size, payload) in [("16 KiB", SMALL), ("1 MiB", LARGE)] {
            self.alternate(&format!("up {size}{suffix}"), Load::Up { way, payload }, &targets, self.time);
            self.alternate(&format!("down {size}{suffix}"), Load::Down { way, payload }, &targets, self.time);
        }
    }

    /// Lists would leave free memory behind that sessions take unnoticed, so there are none.
    fn idle(&self, what: &str, way: Way, count: usize) {
        let count = count / self.part;
        let mut values = [Vec::new(), Vec::new()];
        let mut errors = 0;
        for _ in 0..self.rounds.min(3) {
            for (at, target) in self.start(EMPTY).iter().enumerate() {
                let run = idle(way, target.addr(way), count, || target.memory());
                errors += run.seen.errors;
                values[at].push((run.prices.1 - run.prices.0) / run.seen.done);
            }
        }
        Table::line(what, "bytes each", &values, 0);
        Table::tell_errors(errors, None);
    }

    fn flood(&self) {
        let mut targets = Vec::from(self.start(NAMES));
        targets.truncate(2);
        for (what, banned) in [("20,000/s", 0), ("20,000/s, flooded", 4_000)] {
            let load = Load::Flooded { connections: 100, messages: 20_000, banned };
            self.alternate(what, load, &targets, self.time * 2);
        }
    }
}

/// Who gets a load.
struct Target {
    name: String,
    /// Plain and with TLS.
    addrs: (SocketAddr, SocketAddr),
    proxy: Option<Proxy>,
}

impl Target {
    fn proxy(name: &str, proxy: Proxy) -> Target {
        Target { name: name.to_owned(), addrs: (proxy.plain, proxy.tls), proxy: Some(proxy) }
    }

    fn addr(&self, way: Way) -> SocketAddr {
        if way.is_tls() { self.addrs.1 } else { self.addrs.0 }
    }

    fn bear(&self, load: Load, time: Duration) -> Run {
        put(load, self.addr(load.way()), time, || self.cpu())
    }

    fn cpu(&self) -> f64 {
        self.proxy.as_ref().map_or(0.0, |proxy| proxy.cpu().expect("it lives"))
    }

    fn memory(&self) -> f64 {
        self.proxy.as_ref().map_or(0.0, Proxy::memory)
    }
}

/// Raises the limit of open files, ours and so that of the proxies.
fn allow_files(count: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(count, |maximum| maximum.min(count));
    if limit.current.is_some_and(|current| current < wanted) {
        let wanted = Rlimit { current: Some(wanted), maximum: limit.maximum };
        setrlimit(Resource::Nofile, wanted).expect("so many files may be open (ulimit -Hn)");
    }
}
