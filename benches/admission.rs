//! What asking the ban list costs, from a small list to a huge one: `cargo bench --bench admission`.
//!
//! Clients are never seen before and asked about once each: whoever repeats them measures the processor's caches.
//! `-- --huge` adds the list of ten million exact bans; `-- --hits` prices the counting of refusals alone.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a bench prints what it found"
)]
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use mqtt_bouncer::admission::{As, Ban, BanList, Client, Match, Terms, Timestamp, Until, Who};
use mqtt_bouncer::bouncer::Bouncer;
use mqtt_bouncer::clock::Clock;
use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const CHECKS: usize = 200_000;
const ROUNDS: usize = 5;

fn main() {
    let mut random = fastrand::Rng::with_seed(7);
    if std::env::args().any(|argument| argument == "--hits") {
        return hits(&mut random);
    }
    println!("checks of clients that no ban names, and of clients that one names, in ns; each client is new");
    println!(
        "{:<44} {:>7} {:>7} {:>7} | {:>7} {:>7} | {:>9}",
        "list", "p50", "p99", "mean", "hit p50", "p99", "MiB"
    );
    for (exact, networks, patterns) in [(100, 10, 10), (10_000, 1_000, 1_000), (1_000_000, 100_000, 10_000)] {
        let before = resident_mib();
        let list = BanList::default();
        fill(&list, exact, networks, patterns, &mut random);
        list.compact();
        let name = format!("{exact} exact, {networks} networks, {patterns} patterns");
        row(&name, &list, exact, before, &mut random);
        if exact == 1_000_000 {
            additions(&list);
        }
    }
    hits(&mut random);
    if std::env::args().any(|argument| argument == "--huge") {
        let before = resident_mib();
        let list = BanList::default();
        fill(&list, 10_000_000, 0, 0, &mut random);
        row("10000000 exact", &list, 10_000_000, before, &mut random);
    }
}

fn row(name: &str, list: &BanList, exact: usize, before: f64, random: &mut fastrand::Rng) {
    let mut stranger = || (device(random.u64(..)), format!("user-{:016x}", random.u64(..)), address(random));
    let strangers: Vec<_> = (0..CHECKS).map(|_| stranger()).collect();
    let misses = time(&strangers, |(id, username, peer)| {
        let client = Client::new(*peer, id, Some(username));
        assert!(list.check(black_box(&client), NOW).is_none());
    });
    let known: Vec<_> = (0..CHECKS).map(|_| device(random.u64(..exact as u64))).collect();
    let peer = IpAddr::from([192, 0, 2, 1]);
    let hits = time(&known, |id| {
        assert!(list.check(black_box(&Client::new(peer, id, None)), NOW).is_some());
    });
    println!(
        "{name:<44} {:>7} {:>7} {:>7} | {:>7} {:>7} | {:>9.0}",
        misses.p50,
        misses.p99,
        misses.mean,
        hits.p50,
        hits.p99,
        resident_mib() - before
    );
}

fn additions(list: &BanList) {
    for kind in [As::ClientId, As::PeerHostNet, As::ClientIdRe] {
        let bans: Vec<_> = (0..1000_u64)
            .map(|n| match kind {
                As::ClientId => format!("added-{n}"),
                As::PeerHostNet => format!("10.{}.{}.0/24", n / 250, n % 250),
                _ => format!("^added{n}-[a-z]+-\\d{{4}}$"),
            })
            .map(|who| ban(Who::new(kind, &who, None).expect("a name"), &"bench".into()))
            .collect();
        let mut times: Vec<_> = bans
            .into_iter()
            .map(|ban| {
                let begin = Instant::now();
                list.insert(ban).expect("room");
                begin.elapsed()
            })
            .collect();
        times.sort_unstable();
        println!("  add one {kind:<12} to that list: p50 {:?}, p99 {:?}", times[500], times[990]);
    }
}

/// What counting a refusal costs, of a ban that has refused somebody before.
fn hits(random: &mut fastrand::Rng) {
    for (bans, name) in [(1, "one ban, again and again"), (1_000, "1000 bans"), (10_000, "10000 bans")] {
        let bouncer = Bouncer::new(Clock::manual(NOW));
        let names: Vec<_> =
            (0..bans).map(|number| Who::new(As::ClientId, &device(number), None).expect("a name")).collect();
        for who in &names {
            bouncer.hit(who);
        }
        let hit: Vec<&Who> = (0..CHECKS).map(|_| &names[random.usize(..names.len())]).collect();
        let Times { p50, p99, mean } = time(&hit, |who| bouncer.hit(who));
        println!("a hit of {name:<35} {p50:>7} {p99:>7} {mean:>7}");
    }
}

fn fill(list: &BanList, exact: usize, networks: usize, patterns: usize, random: &mut fastrand::Rng) {
    let by: Arc<str> = "bench".into();
    for n in 0..exact as u64 {
        list.insert(ban(Who::ClientId(device(n).into()), &by)).expect("room");
    }
    for _ in 0..networks {
        let (addr, len) = match address(random) {
            addr @ IpAddr::V4(_) => (addr, random.u8(16..=24)),
            addr @ IpAddr::V6(_) => (addr, random.u8(48..=64)),
        };
        let who =
            Who::new(As::PeerHostNet, &format!("{}/{len}", banned_half(addr)), None).expect("a network");
        list.insert(ban(who, &by)).expect("room");
    }
    for n in 0..patterns {
        let source = match n % 10 {
            0..3 => format!("^word{n}-[a-z]+-\\d{{4}}$"),
            3..5 => format!("^test{n}-\\d+$"),
            5..7 => format!(".*bot{n}x.*"),
            7..9 => format!("^acme{n}/"),
            _ => format!("^(red|green|blue){n}-\\d+$"),
        };
        let who = Who::new(As::ClientIdRe, &source, Some(Match::Search)).expect("a pattern");
        list.insert(ban(who, &by)).expect("room");
    }
}

fn ban(who: Who, by: &Arc<str>) -> Ban {
    Ban { who, terms: Terms { by: Arc::clone(by), reason: Arc::clone(by), at: NOW, until: Until::Infinity } }
}

/// An identifier of 24 characters; those below ten million may be banned.
fn device(number: u64) -> String {
    format!("dev-{:020x}", u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C) & ((1 << 80) - 1))
}

/// An address of the half of the space that nothing is banned in; four of five are IPv4.
fn address(random: &mut fastrand::Rng) -> IpAddr {
    if random.u8(..5) < 4 {
        IpAddr::from((random.u32(..) | 0x8000_0000).to_be_bytes())
    } else {
        IpAddr::from((0x2001_0db8_u128 << 96 | 1 << 95 | random.u128(..) >> 33).to_be_bytes())
    }
}

/// The same address in the other half.
fn banned_half(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V4(v4) => IpAddr::from((u32::from(v4) & 0x7FFF_FFFF).to_be_bytes()),
        IpAddr::V6(v6) => IpAddr::from((u128::from(v6) & !(1 << 95)).to_be_bytes()),
    }
}

struct Times {
    p50: u128,
    p99: u128,
    mean: u128,
}

/// Times `check` on every one of `clients`, once each in every round; the median of the rounds.
fn time<C>(clients: &[C], check: impl Fn(&C)) -> Times {
    let clock = (0..1000).map(|_| Instant::now().elapsed()).min().unwrap_or_default();
    let mut rounds: Vec<Times> = (0..ROUNDS)
        .map(|round| {
            let part = clients.len() / ROUNDS;
            let mut times: Vec<Duration> = clients[round * part..(round + 1) * part]
                .iter()
                .map(|client| {
                    let begin = Instant::now();
                    check(client);
                    begin.elapsed().saturating_sub(clock)
                })
                .collect();
            times.sort_unstable();
            let mean = times.iter().sum::<Duration>().as_nanos() / part as u128;
            Times { p50: times[part / 2].as_nanos(), p99: times[part * 99 / 100].as_nanos(), mean }
        })
        .collect();
    rounds.sort_unstable_by_key(|times| times.p50);
    rounds.swap_remove(ROUNDS / 2)
}

/// What the process holds in memory, in MiB.
fn resident_mib() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: f64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096.0 / f64::from(1 << 20)
}
