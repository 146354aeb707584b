//! Prices of the network index beside those of prefix-trie and of a loop over all rules, in one run.
//!
//! `cargo bench --bench networks [-- N...]`. Every address is asked once, so nothing is warm but what its neighbours
//! warmed. `p50` is the median of single look-ups, each with its own pair of clock readings, less the median of an
//! empty pair; `mean` is a plain loop. prefix-trie stands without the lock that a shared one would need. Values are
//! `Arc<u64>`, made beforehand: `B/net` is the index alone, in bytes requested from the allocator.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "it has no caller but its author")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "the table is the product")]
#![expect(clippy::cast_precision_loss, reason = "no count here reaches 2^52")]

use fastrand::Rng;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mqtt_bouncer::admission::{NetworkMap, canonical};
use prefix_trie::joint::JointPrefixMap;
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::{HashMap, HashSet};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Instant;

type Rule = (IpNet, Arc<u64>);

fn main() {
    let sizes: Vec<usize> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![10, 1_000, 100_000, 1_000_000] } else { sizes };
    println!(
        "{:>9} {:<11} | {:>8} {:>8} | {:>8} {:>8} | {:>9} {:>9} | {:>6} | {:>9}",
        "networks", "index", "miss p50", "mean", "hit p50", "mean", "insert", "remove", "B/net", "bulk"
    );
    for size in sizes {
        let world = World::new(size, &mut Rng::with_seed(size as u64));
        world.measure("NetworkMap", ours);
        world.measure("prefix-trie", theirs);
        if size <= 1_000 {
            world.measure("loop", naive);
        }
    }
}

/// What is asked of each index: the same rules, addresses and changes for all of them.
struct World {
    rules: Vec<Rule>,
    more: Vec<Rule>,
    misses: Vec<IpAddr>,
    hits: Vec<IpAddr>,
}

struct Prices {
    miss: (f64, f64),
    hit: (f64, f64),
    insert: f64,
    remove: f64,
    bytes: f64,
    bulk: f64,
}

impl World {
    fn new(size: usize, rng: &mut Rng) -> World {
        let sites: Vec<u32> = (0..5_000).map(|_| 0x2000_0000 | rng.u32(..) >> 8).collect();
        let mut nets: Vec<IpNet> = Vec::new();
        let mut known = HashSet::new();
        while nets.len() < size + size.min(CHANGES) {
            let net = random_net(rng, &sites);
            if known.insert(net) {
                nets.push(net);
            }
        }
        let mut rules: Vec<Rule> = nets.into_iter().map(|net| (net, Arc::new(rng.u64(..)))).collect();
        let more = rules.split_off(size);
        let hits = (0..QUESTIONS).map(|_| within(rules[rng.usize(..size)].0, rng)).collect();
        let judge = Judge::new(&rules);
        let mut misses = Vec::new();
        while misses.len() < QUESTIONS {
            let addr = if rng.u8(..10) < 8 {
                IpAddr::V4(rng.u32(..).into())
            } else {
                within(random_v6(rng, &sites), rng)
            };
            if !judge.covers(addr) {
                misses.push(addr);
            }
        }
        World { rules, more, misses, hits }
    }

    fn measure(&self, name: &str, index: impl Fn(&World) -> Prices) {
        let p = index(self);
        println!(
            "{:>9} {name:<11} | {:>5.0} ns {:>5.0} ns | {:>5.0} ns {:>5.0} ns | {:>6.2} us {:>6.2} us | {:>6.1} | {:>6.1} ms",
            self.rules.len(),
            p.miss.0,
            p.miss.1,
            p.hit.0,
            p.hit.1,
            p.insert,
            p.remove,
            p.bytes,
            p.bulk
        );
    }

    fn bytes(&self, before: isize) -> f64 {
        (ALLOCATED.load(Ordering::Relaxed) - before) as f64 / self.rules.len() as f64
    }
}

fn ours(world: &World) -> Prices {
    let rules = world.rules.clone();
    let before = ALLOCATED.load(Ordering::Relaxed);
    let map = NetworkMap::default();
    let bulk = millis(|| map.extend(rules));
    let bytes =
        world.bytes(before) + (world.rules.len() * size_of::<Rule>()) as f64 / world.rules.len() as f64;
    let ask = |addr| {
        let mut found = 0_u64;
        let _ = map.for_each_covering(addr, |_, value| {
            found = found.wrapping_add(**value);
            ControlFlow::<()>::Continue(())
        });
        found
    };
    let (miss, hit) = (price(&world.misses, ask), price(&world.hits, ask));
    let insert = each(&world.more, |(net, value)| map.insert(net, value).is_some());
    let remove = each(&world.more, |(net, _)| map.remove(net).is_some());
    Prices { miss, hit, insert, remove, bytes, bulk }
}

fn theirs(world: &World) -> Prices {
    let rules = world.rules.clone();
    let before = ALLOCATED.load(Ordering::Relaxed);
    let mut map = JointPrefixMap::new();
    let bulk = millis(|| {
        for (net, value) in rules {
            map.insert(net, value);
        }
    });
    let bytes =
        world.bytes(before) + (world.rules.len() * size_of::<Rule>()) as f64 / world.rules.len() as f64;
    let ask = |addr| map.cover(&IpNet::from(addr)).map(|(_, value)| **value).fold(0, u64::wrapping_add);
    let (miss, hit) = (price(&world.misses, ask), price(&world.hits, ask));
    let insert = each(&world.more, |(net, value)| map.insert(net, value).is_some());
    let remove = each(&world.more, |(net, _)| map.remove(&net).is_some());
    Prices { miss, hit, insert, remove, bytes, bulk }
}

fn naive(world: &World) -> Prices {
    let rules = &world.rules;
    let ask = |addr: IpAddr| {
        rules
            .iter()
            .filter(|(net, _)| net.contains(&addr))
            .map(|(_, value)| **value)
            .fold(0, u64::wrapping_add)
    };
    let (miss, hit) = (price(&world.misses, ask), price(&world.hits, ask));
    Prices { miss, hit, insert: 0.0, remove: 0.0, bytes: size_of::<Rule>() as f64, bulk: 0.0 }
}

/// Median and mean of one look-up, in nanoseconds. The first half of the addresses serves the one, the second the
/// other.
fn price(addrs: &[IpAddr], ask: impl Fn(IpAddr) -> u64) -> (f64, f64) {
    let (single, looped) = addrs.split_at(addrs.len() / 2);
    let median = |ask: &dyn Fn(IpAddr) -> u64| {
        let mut times: Vec<u128> = single
            .iter()
            .map(|addr| {
                let start = Instant::now();
                black_box(ask(black_box(*addr)));
                start.elapsed().as_nanos()
            })
            .collect();
        times.sort_unstable();
        times[times.len() / 2] as f64
    };
    let empty = median(&|_| 0);
    let p50 = median(&ask) - empty;
    let start = Instant::now();
    for addr in looped {
        black_box(ask(black_box(*addr)));
    }
    (p50, start.elapsed().as_nanos() as f64 / looped.len() as f64)
}

/// Median microseconds of one change.
fn each(rules: &[Rule], mut change: impl FnMut(Rule) -> bool) -> f64 {
    let mut times: Vec<f64> = rules
        .iter()
        .map(|rule| millis(|| black_box(change(rule.clone()))))
        .map(|millis| millis * 1e3)
        .collect();
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}

fn millis<R>(work: impl FnOnce() -> R) -> f64 {
    let start = Instant::now();
    drop(work());
    start.elapsed().as_secs_f64() * 1e3
}

/// 80 % IPv4. Half of the IPv6 networks lie in a few thousand sites of /40, as abuse lists have it.
fn random_net(rng: &mut Rng, sites: &[u32]) -> IpNet {
    if rng.u8(..10) >= 8 {
        return random_v6(rng, sites);
    }
    let length = match rng.u8(..100) {
        0..45 => 32,
        45..80 => 24,
        _ => rng.u8(16..24),
    };
    canonical(Ipv4Net::new(rng.u32(..).into(), length).expect("a length").into())
}

fn random_v6(rng: &mut Rng, sites: &[u32]) -> IpNet {
    let random = rng.u128(..) >> 32;
    let front = if rng.bool() { sites[rng.usize(..sites.len())] } else { 0x2000_0000 | rng.u32(..) >> 3 };
    let length = [32, 36, 40, 44, 48, 56, 64][rng.usize(..7)];
    let addr = Ipv6Addr::from_bits(u128::from(front) << 96 | random);
    canonical(Ipv6Net::new(addr, length).expect("a length").into())
}

fn within(net: IpNet, rng: &mut Rng) -> IpAddr {
    match net {
        IpNet::V4(net) => {
            Ipv4Addr::from_bits(net.addr().to_bits() | rng.u32(..) & net.hostmask().to_bits()).into()
        }
        IpNet::V6(net) => {
            Ipv6Addr::from_bits(net.addr().to_bits() | rng.u128(..) & net.hostmask().to_bits()).into()
        }
    }
}

/// Says which addresses miss: one set of networks for each length.
struct Judge(HashMap<(bool, u8), HashSet<IpNet>>);

impl Judge {
    fn new(rules: &[Rule]) -> Judge {
        let mut by_length: HashMap<_, HashSet<IpNet>> = HashMap::new();
        for (net, _) in rules {
            by_length.entry((net.addr().is_ipv4(), net.prefix_len())).or_default().insert(*net);
        }
        Judge(by_length)
    }

    fn covers(&self, addr: IpAddr) -> bool {
        self.0.iter().any(|((v4, length), nets)| {
            *v4 == addr.is_ipv4() && IpNet::new(addr, *length).is_ok_and(|net| nets.contains(&net.trunc()))
        })
    }
}

const QUESTIONS: usize = 400_000;
const CHANGES: usize = 20_000;

static ALLOCATED: AtomicIsize = AtomicIsize::new(0);

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

#[allow(unsafe_code, reason = "an allocator cannot be written without; this one forwards to the system's")]
#[allow(clippy::cast_possible_wrap, reason = "no layout exceeds isize::MAX")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size() as isize, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        unsafe { System.dealloc(ptr, layout) }
    }
}
