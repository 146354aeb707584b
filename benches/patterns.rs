//! What a check of never-seen identifiers costs by number of rules, beside the naive loop and `RegexSet`.
//!
//! `cargo bench --bench patterns` prints a table per rule set; `-- --quick` leaves out what takes minutes. Each
//! identifier is checked once and timed alone, the clock's own cost subtracted; figures are medians of
//! [`ROUNDS`] rounds. Figures of the rivals are from the same identifiers in the same run.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench measures and prints"
)]
#![expect(clippy::indexing_slicing, reason = "a panic here harms nobody")]
#![expect(clippy::cast_precision_loss, reason = "figures for humans")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mqtt_bouncer::admission::{Class, Match, Pattern, PatternIndex};
use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    println!("clock {} ns\n", clock_cost().as_nanos());
    for kind in [Kind::Realistic, Kind::Shared, Kind::Crowded] {
        println!("{kind:?}\n{HEADER}");
        for count in [10, 100, 1_000, 10_000, 100_000] {
            if count == 100_000 && (quick || matches!(kind, Kind::Crowded)) {
                continue;
            }
            index(kind, count);
            if matches!(kind, Kind::Realistic) && count <= 10_000 && !quick {
                naive(kind, count);
                regex_set(kind, count);
            }
        }
        println!();
    }
    hot_changes();
    long_identifiers();
}

/// The rule sets.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// 30 % `^word-[a-z]+-\d{4}$`, 20 % `^testN-\d+$`, 20 % `.*botN.*`, 20 % `^acmeN/`, 10 % alternations.
    Realistic,
    /// The same, anchored ones behind one of four fleet prefixes, and identifiers of those fleets.
    Shared,
    /// Nine of ten begin with `^dev-` and differ in classes only.
    Crowded,
}

fn rules(kind: Kind, count: usize) -> Vec<String> {
    let mut random = Random(7);
    let fleet = |n: usize| match kind {
        Kind::Shared => ["fleet-a-", "fleet-b-", "dev-", "gw-"][n % 4],
        Kind::Realistic | Kind::Crowded => "",
    };
    (0..count)
        .map(|n| match (kind, n % 10) {
            (Kind::Crowded, 1..) => {
                format!("^dev-[{}-z]{{{}}}-\\d{{{}}}$", letter(n % 23), n / 23 % 20 + 1, n / 460 + 1)
            }
            (_, 0..=2) => format!("^{}{}{n}-[a-z]+-\\d{{4}}$", fleet(n / 10), random.word(5)),
            (_, 3..=4) => format!("^{}test{n}-\\d+$", fleet(n / 10)),
            (_, 5..=6) => format!(".*bot{n}.*"),
            (_, 7..=8) => format!("^{}acme{n}/", fleet(n / 10)),
            (_, _) => format!("^{}(?:{}|{})-{n}-[0-9a-f]+$", fleet(n / 10), random.word(4), random.word(6)),
        })
        .collect()
}

/// Identifiers of 24 bytes. None comes twice; `hits` are made to match one of the rules.
fn identifiers(kind: Kind, rules: usize, count: usize, hits: bool, random: &mut Random) -> Vec<Vec<u8>> {
    let one = |random: &mut Random| {
        let n = random.below(rules.max(20) / 10) * 10;
        let head = match (kind, hits) {
            (Kind::Crowded, false) => format!("dev-{}-", random.word(6)),
            (Kind::Crowded, true) => format!("dev-zz-{}", random.below(10)),
            (Kind::Realistic | Kind::Shared, true) => match random.below(2) {
                0 => format!("gw-bot{}-", n + 5),
                _ => format!("xbot{}", n + 6),
            },
            (Kind::Shared, false) => match random.below(4) {
                0 => format!("fleet-a-{}{}-", random.word(5), random.below(10_000)),
                1 => format!("fleet-b-test{}x", random.below(10_000)),
                2 => format!("dev-acme{}-", random.below(10_000)),
                _ => format!("gw-{}-bo", random.word(4)),
            },
            (Kind::Realistic, false) => match random.below(4) {
                0 => format!("{}-{}-", random.word(5), random.word(3)),
                1 => format!("test{}x", random.below(100_000)),
                2 => format!("acme{}-", random.below(100_000)),
                _ => format!("sensor-{}-", random.word(4)),
            },
        };
        let mut id = head.into_bytes();
        while id.len() < 24 && !(hits && matches!(kind, Kind::Crowded)) {
            id.push(ALPHABET[random.below(ALPHABET.len())]);
        }
        id
    };
    (0..count).map(|_| one(random)).collect()
}

fn index(kind: Kind, count: usize) {
    let sources = rules(kind, count);
    let before = HEAP.load(Ordering::Relaxed);
    let start = Instant::now();
    let index = PatternIndex::new();
    let refused =
        index.extend(sources.iter().map(|source| (Pattern::parse(source, Match::Search).unwrap(), 0_u32)));
    let built = start.elapsed();
    assert!(refused.is_empty());
    assert_eq!(index.len(), count);
    let check = |id: &[u8]| index.is_match(id);
    let ids = identifiers(kind, count, 1_000, false, &mut Random(1));
    let found = ids.iter().filter(|id| check(id)).count();
    let heap = HEAP.load(Ordering::Relaxed).saturating_sub(before);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed);
    assert_eq!(ids.iter().filter(|id| check(id)).count(), found);
    assert_eq!(allocations, ALLOCATIONS.load(Ordering::Relaxed), "a check allocates nothing");
    report("index", kind, count, built, heap, SAMPLES, check);
    assert_eq!(index.undecided(), 0);
}

fn naive(kind: Kind, count: usize) {
    let before = HEAP.load(Ordering::Relaxed);
    let start = Instant::now();
    let regexes: Vec<Regex> = rules(kind, count)
        .iter()
        .map(|source| RegexBuilder::new(source).unicode(false).build().unwrap())
        .collect();
    let built = start.elapsed();
    let heap = HEAP.load(Ordering::Relaxed).saturating_sub(before);
    let check = |id: &[u8]| regexes.iter().any(|regex| regex.is_match(id));
    report("in turn", kind, count, built, heap, SAMPLES.min(2_000_000 / count), check);
}

fn regex_set(kind: Kind, count: usize) {
    let before = HEAP.load(Ordering::Relaxed);
    let start = Instant::now();
    let set: RegexSet = RegexSetBuilder::new(rules(kind, count))
        .unicode(false)
        .size_limit(1 << 30)
        .dfa_size_limit(512 << 20)
        .build()
        .unwrap();
    let built = start.elapsed();
    let check = |id: &[u8]| set.is_match(id);
    black_box(check(b"warm"));
    let heap = HEAP.load(Ordering::Relaxed).saturating_sub(before);
    report("RegexSet", kind, count, built, heap, SAMPLES.min(20_000), check);
}

fn report(
    name: &str,
    kind: Kind,
    count: usize,
    built: Duration,
    heap: usize,
    samples: usize,
    check: impl Fn(&[u8]) -> bool,
) {
    let mut random = Random(99);
    let mut measure = |hits: bool| {
        let mut rounds: Vec<Figures> = (0..ROUNDS)
            .map(|_| Figures::of(&identifiers(kind, count, samples, hits, &mut random), &check))
            .collect();
        rounds.sort_by_key(|figures| figures.mean);
        rounds.swap_remove(ROUNDS / 2)
    };
    let (miss, hit) = (measure(false), measure(true));
    println!(
        "{name:9} {count:7} {:9.1} {:8.1} | {:7} {:7} {:7} {:4.1}% | {:7} {:7} {:7} {:4.1}%",
        built.as_secs_f64() * 1e3,
        heap as f64 / 1e6,
        miss.p50,
        miss.p99,
        miss.mean,
        miss.found * 100.0,
        hit.p50,
        hit.p99,
        hit.mean,
        hit.found * 100.0,
    );
}

/// Makes the nth rule.
type Shape = fn(usize) -> String;

struct Figures {
    p50: u128,
    p99: u128,
    mean: u128,
    found: f64,
}

impl Figures {
    fn of(ids: &[Vec<u8>], check: impl Fn(&[u8]) -> bool) -> Figures {
        let clock = clock_cost();
        let mut found = 0;
        let mut times: Vec<u128> = ids
            .iter()
            .map(|id| {
                let start = Instant::now();
                found += usize::from(black_box(check(black_box(id))));
                start.elapsed().saturating_sub(clock).as_nanos()
            })
            .collect();
        times.sort_unstable();
        let len = times.len();
        Figures {
            p50: times[len / 2],
            p99: times[len * 99 / 100],
            mean: times.iter().sum::<u128>() / len as u128,
            found: found as f64 / len as f64,
        }
    }
}

/// Adds rules to 10,000 while another thread checks, and compares its checks with those of a quiet index.
fn hot_changes() {
    println!(
        "changes at 10,000 realistic rules, another thread checking, us\n             p50      p99      max"
    );
    let index = PatternIndex::new();
    index.extend(
        rules(Kind::Realistic, 10_000).iter().map(|rule| (Pattern::parse(rule, Match::Search).unwrap(), 0)),
    );
    let is_over = AtomicBool::new(false);
    let check_all = |until: &dyn Fn(usize) -> bool| {
        let mut random = Random(5);
        let mut times = Vec::new();
        while !until(times.len()) {
            for id in identifiers(Kind::Realistic, 10_000, 10_000, false, &mut random) {
                let start = Instant::now();
                black_box(index.is_match(&id));
                times.push(start.elapsed());
            }
        }
        times
    };
    row("quiet check", check_all(&|len| len >= 200_000));
    std::thread::scope(|scope| {
        let checks = scope.spawn(|| check_all(&|_| is_over.load(Ordering::Relaxed)));
        let shapes: [(&str, Shape); 4] = [
            ("anchored", |n| format!(r"^hot{n}-[a-z]+-\d{{4}}$")),
            ("floating", |n| format!(r"hot{n}\d+x")),
            ("alternatives", |n| format!(r"^(?:hot|cold|warm){n}-\d+$")),
            ("unfilterable", |n| format!(r"^\d{{{}}}[a-f]{{{}}}$", n % 30 + 1, n / 30 + 1)),
        ];
        for (name, shape) in shapes {
            let add = |n| {
                let source = shape(n);
                let start = Instant::now();
                index.insert(Pattern::parse(&source, Match::Search).unwrap(), 0).unwrap();
                start.elapsed()
            };
            row(name, (0..900).map(add).collect());
            let start = Instant::now();
            index.compact();
            println!("  compact {:8.1} ms", start.elapsed().as_secs_f64() * 1e3);
            let remove = |n| {
                let source = shape(n);
                let start = Instant::now();
                index.remove(&source).unwrap();
                start.elapsed()
            };
            row("  remove", (0..900).map(remove).collect());
        }
        is_over.store(true, Ordering::Relaxed);
        row("busy check", checks.join().unwrap());
    });
    println!();
}

fn row(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let len = times.len();
    println!(
        "{name:12} {:8.2} {:8.2} {:8.2}",
        micros(times[len / 2]),
        micros(times[len * 99 / 100]),
        micros(times[len - 1])
    );
}

/// 64 KiB, from harmless to hostile.
fn long_identifiers() {
    println!("identifiers of 65,535 bytes at 10,000 rules");
    let mut sources = rules(Kind::Realistic, 9_000);
    sources.extend((0..1_000).map(|n| format!(r"bot{n}[a-z]{{1,20}}(?:x|y\d)+$")));
    let index = PatternIndex::new();
    index.extend(sources.iter().map(|rule| (Pattern::parse(rule, Match::Search).unwrap(), 0)));
    let mut random = Random(3);
    let cases = [
        ("random", random.word(65_535)),
        ("one letter", "a".repeat(65_535)),
        (
            "every rule's text",
            (0..)
                .flat_map(|n: usize| format!("bot{}z", n % 1_000).into_bytes())
                .map(char::from)
                .take(65_535)
                .collect(),
        ),
        ("one rule's text", "bot7z".repeat(13_107)),
    ];
    for (name, id) in cases {
        let mut times: Vec<Duration> = (0..ROUNDS)
            .map(|_| {
                let start = Instant::now();
                let _: ControlFlow<()> = index.for_each_match(id.as_bytes(), |_| ControlFlow::Continue(()));
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        let undecided = index.undecided();
        println!("{name:18} {:8.2} ms, undecided so far {undecided}", times[ROUNDS / 2].as_secs_f64() * 1e3);
    }
    println!("classes {:?}", Class::ALL.map(|class| (class.to_string(), index.count(class))));
}

fn clock_cost() -> Duration {
    let mut costs: Vec<Duration> = (0..1001).map(|_| Instant::now().elapsed()).collect();
    costs.sort_unstable();
    costs[500]
}

fn letter(n: usize) -> char {
    char::from(ALPHABET[n % 26])
}

/// xorshift64*: the same sets in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % limit
    }

    fn word(&mut self, len: usize) -> String {
        (0..len).map(|_| letter(self.below(26))).collect()
    }
}

struct Counting;

#[expect(unsafe_code, reason = "an allocator that counts")]
// SAFETY: everything is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HEAP.fetch_add(layout.size(), Ordering::Relaxed);
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HEAP.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
static HEAP: AtomicUsize = AtomicUsize::new(0);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

const HEADER: &str = "            rules  build ms  heap MB |  miss50  miss99    mean found |   hit50   hit99    mean found (ns)";
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const SAMPLES: usize = 50_000;
const ROUNDS: usize = 5;
