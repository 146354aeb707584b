//! What detection costs: time for each connection, memory under an attack of ever new names.
//!
//! `cargo bench --bench detection [-- --quick] [PART OF A ROW'S NAME]`. The policy is the recommended one, where every detector is on, unless a
//! row says otherwise. A price is that of a whole connection: accepted and ended, or refused. `p50` and `p99` are of
//! single connections, each with its own pair of clock readings, less the median of an empty pair; `mean` is a plain
//! loop. A fleet connects five times a device within a simulated hour; ten million IDs come within a minute.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "the table is the product")]
#![expect(clippy::cast_precision_loss, reason = "no count here reaches 2^52")]

use fastrand::Rng;
use mqtt_bouncer::admission::detection::{
    Arrival, ByClientId, Cause, Codes, Detection, Duplicates, End, Moment, NoConnect, Secret, Session,
    Settings, Stay, Visit, ZonePolicy,
};
use mqtt_bouncer::admission::{Client, Timestamp};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let scale = if quick { 10 } else { 1 };
    println!("{:<52} | {:>8} {:>8} {:>8}", "a connection", "p50", "p99", "mean");
    let fleet = 100_000 / scale;
    price("healthy: 100,000 devices, sessions of an hour", fleet * 5, |_| Knocker::fleet(fleet, 3600));
    price("short sessions of known devices", fleet * 5, |_| Knocker::fleet(fleet, 1));
    price("healthy, EMQX's detector alone", fleet * 5, |_| Knocker::fleet(fleet, 3600).under(emqx()));
    price("short sessions, EMQX's detector alone", fleet * 5, |_| Knocker::fleet(fleet, 1).under(emqx()));
    price("wrong password, repeated, 100,000 devices", fleet * 5, |_| Knocker::refused(fleet));
    price("ever new IDs, one address", fleet * 5, |_| Knocker::flood(Spread::One));
    price("malformed, ever new addresses", fleet * 5, |_| Knocker::malformed());
    println!();
    println!(
        "{:<52} | {:>8} {:>8} {:>8} | {:>9} {:>9}",
        "10 M IDs in a minute", "p50", "p99", "mean", "tables", "all"
    );
    let many = 10_000_000 / scale;
    for (name, spread) in [
        ("accepted, one address", Spread::One),
        ("accepted, ever new IPv4 addresses", Spread::V4),
        ("accepted, ever new IPv6 addresses", Spread::V6),
    ]
    .into_iter()
    .filter(|(name, _)| is_wanted(name))
    {
        let before = ALLOCATED.load(Ordering::Relaxed);
        let mut knocker = Knocker::flood(spread);
        let times = measure(&mut knocker, many, Duration::from_mins(1));
        let all = ALLOCATED.load(Ordering::Relaxed) - before;
        let (_, bytes) = knocker.detection.usage();
        println!(
            "{name:<52} | {} | {:>5.0} MiB {:>5.0} MiB",
            times.text(),
            bytes as f64 / MIB,
            all as f64 / MIB,
        );
    }
}

/// What `[flapping_detect] enable = true` makes.
fn emqx() -> ZonePolicy {
    ZonePolicy {
        by_clientid: Some(ByClientId::default()),
        duplicates: Some(Duplicates::default()),
        ..ZonePolicy::off("default")
    }
}

/// Whether the row was asked for by a part of its name, or none was.
fn is_wanted(name: &str) -> bool {
    let mut asked = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).peekable();
    asked.peek().is_none() || asked.any(|part| name.contains(&part))
}

const MIB: f64 = 1_048_576.0;

fn price(name: &str, connections: usize, knocker: impl Fn(usize) -> Knocker) {
    if !is_wanted(name) {
        return;
    }
    let times = measure(&mut knocker(connections), connections, Duration::from_hours(1));
    println!("{name:<52} | {}", times.text());
}

struct Times {
    p50: f64,
    p99: f64,
    mean: f64,
}

impl Times {
    fn text(&self) -> String {
        format!("{:>5.0} ns {:>5.0} ns {:>5.0} ns", self.p50, self.p99, self.mean)
    }
}

/// The first half is timed one by one, the second as a whole; both within so much simulated time.
fn measure(knocker: &mut Knocker, connections: usize, span: Duration) -> Times {
    let step = u64::try_from(span.as_micros()).unwrap_or(u64::MAX) / connections.max(1) as u64;
    let clock = percentiles((0..10_000).map(|_| Instant::now().elapsed().as_nanos()).collect()).0;
    let mut singles = Vec::with_capacity(connections / 2);
    for _ in 0..connections / 2 {
        let visitor = knocker.next();
        knocker.micros += step;
        let start = Instant::now();
        knocker.knock(&visitor);
        singles.push(start.elapsed().as_nanos());
    }
    let mut spent = Duration::ZERO;
    let mut left = connections / 2;
    while left > 0 {
        let visitors: Vec<Visitor> = (0..left.min(100_000)).map(|_| knocker.next()).collect();
        let start = Instant::now();
        for visitor in &visitors {
            knocker.micros += step;
            knocker.knock(visitor);
        }
        spent += start.elapsed();
        left -= visitors.len();
    }
    let (p50, p99) = percentiles(singles);
    let mean = spent.as_nanos() as f64 / (connections / 2).max(1) as f64;
    Times { p50: p50 - clock, p99: p99 - clock, mean }
}

fn percentiles(mut times: Vec<u128>) -> (f64, f64) {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or(0) as f64;
    (at(50), at(99))
}

#[derive(Debug, Clone, Copy)]
enum Spread {
    One,
    V4,
    V6,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Session(u64),
    Refused,
    Malformed,
}

struct Visitor {
    id: String,
    peer: IpAddr,
    credentials: u64,
}

/// Whoever connects, and what it connects to.
struct Knocker {
    detection: Detection,
    policy: Arc<ZonePolicy>,
    rng: Rng,
    micros: u64,
    kind: Kind,
    spread: Spread,
    /// How many there are, if they come again.
    fleet: Option<usize>,
}

impl Knocker {
    fn new(kind: Kind, spread: Spread, fleet: Option<usize>) -> Knocker {
        let detection = Detection::new(Settings::default(), Secret::new(7), Moment::from_micros(0));
        let policy = Arc::new(ZonePolicy::recommended("default"));
        // An hour after the start: nothing is excused by learning any more.
        let micros = 3_600_000_000 * 2;
        Knocker { detection, policy, rng: Rng::with_seed(1), micros, kind, spread, fleet }
    }

    fn fleet(count: usize, seconds: u64) -> Knocker {
        Knocker::new(Kind::Session(seconds), Spread::V4, Some(count))
    }

    fn under(self, policy: ZonePolicy) -> Knocker {
        Knocker { policy: Arc::new(policy), ..self }
    }

    fn refused(count: usize) -> Knocker {
        Knocker::new(Kind::Refused, Spread::V4, Some(count))
    }

    fn flood(spread: Spread) -> Knocker {
        Knocker::new(Kind::Session(1), spread, None)
    }

    fn malformed() -> Knocker {
        Knocker::new(Kind::Malformed, Spread::V4, None)
    }

    fn next(&mut self) -> Visitor {
        let number = match self.fleet {
            Some(count) => self.rng.usize(..count) as u64,
            None => self.rng.u64(..),
        };
        // Spread out, and the same for the same number.
        let hash = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31);
        #[expect(clippy::cast_possible_truncation, reason = "some bits of it")]
        let peer = match self.spread {
            Spread::One => IpAddr::from([192, 0, 2, 1]),
            Spread::V4 => Ipv4Addr::from_bits(hash as u32).into(),
            Spread::V6 => Ipv6Addr::from_bits(u128::from(hash) << 64 | u128::from(number)).into(),
        };
        Visitor { id: format!("device-{number:016x}"), peer, credentials: hash }
    }

    fn knock(&self, visitor: &Visitor) {
        let (at, now) = (Timestamp::from_millis(1_800_000_000_000), Moment::from_micros(self.micros));
        let client = Client::new(visitor.peer, &visitor.id, Some(&visitor.id));
        let credentials = Some(visitor.credentials);
        let end = match self.kind {
            Kind::Malformed => End::NoConnect(NoConnect::Malformed),
            Kind::Refused => End::Session(session(None, Some(5), Duration::from_millis(20))),
            Kind::Session(seconds) => {
                let lived = Duration::from_secs(seconds);
                let (assigned_client_id, is_exempt, upstream) = (None, false, BROKER);
                let arrival = Arrival { client, assigned_client_id, credentials, is_exempt, upstream };
                let began = Moment::from_micros(self.micros - u64::try_from(lived.as_micros()).unwrap_or(0));
                let (stay, findings) = self.detection.accepted(&self.policy, &arrival, at, began);
                black_box(findings);
                End::Session(session(Some(stay), Some(0), lived))
            }
        };
        let visit = Visit { client, assigned_client_id: None, credentials, is_exempt: false, end };
        black_box(self.detection.ended(&self.policy, &visit, at, now));
    }
}

const BROKER: &str = "10.0.0.1:1883";

fn session(stay: Option<Stay>, connack: Option<u8>, lived: Duration) -> Session<'static> {
    Session {
        upstream: BROKER,
        stay,
        lived,
        codes: Codes::V3,
        connack,
        client_disconnect: Some(0),
        broker_disconnect: None,
        cause: Cause::ClientClosed,
    }
}

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

#[allow(unsafe_code, reason = "an allocator cannot be written without; this one forwards to the system's")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(ptr, layout) }
    }
}
