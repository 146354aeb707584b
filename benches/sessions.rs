//! What it costs to know who is inside and who was turned away: `cargo bench --bench sessions`.
//!
//! Names have 24 characters, and each client its own address; user names are shared by a thousand clients each.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a bench prints what it found"
)]
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use mqtt_bouncer::admission::{Client, Timestamp};
use mqtt_bouncer::refused::{Attempt, Codes, Reason, Refused, RefusedSettings};
use mqtt_bouncer::sessions::{Entered, Guest, Sessions};
use mqtt_bouncer::wire::mqtt::Version;
use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn main() {
    println!("sessions                enter p50    p99   mean | leave p50    p99   mean |  bytes each");
    let mut random = fastrand::Rng::with_seed(7);
    for count in [10_000, 100_000, 1_000_000] {
        registry(count, &mut random);
    }
    papaya(100_000, &mut random);
    together(100_000);
    println!("refused                  note p50    p99   mean");
    refused(10_000, &mut random);
    refused(100_000, &mut random);
}

fn registry(count: u64, random: &mut fastrand::Rng) {
    let (sessions, people) = (Sessions::default(), People::default());
    let mut inside: Vec<Entered> = Vec::with_capacity(count as usize + 1);
    let before = resident();
    inside.extend((0..count).map(|number| people.enter(&sessions, number)));
    let bytes = (resident() - before) as f64 / count as f64;
    let (mut entering, mut leaving) = (Vec::new(), Vec::new());
    for number in count..count + SAMPLES {
        let guest = people.names(number);
        let begin = Instant::now();
        let entered = people.enter_as(&sessions, &guest);
        entering.push(begin.elapsed());
        let leaver = std::mem::replace(&mut inside[random.usize(..count as usize)], entered);
        let begin = Instant::now();
        drop(leaver);
        leaving.push(begin.elapsed());
    }
    println!("{count:<22} {} | {} | {bytes:>8.0}", Times(&mut entering), Times(&mut leaving));

    let finding = time(|| {
        let live = &inside[random.usize(..count as usize)];
        assert!(sessions.of_client_id(black_box(live.client_id())).next().is_some());
    });
    let begin = Instant::now();
    let seen = sessions.walk().flatten().filter(|live| live.client_id().contains("ffff")).count();
    println!("    find by name {finding:?}; walk and look at each {:?} ({seen} found)", begin.elapsed());
}

/// What the alternative takes: lock-free maps. None of them can hold a name that several sessions share, so here nobody
/// shares one.
fn papaya(count: u64, random: &mut fastrand::Rng) {
    type Map<V> = papaya::HashMap<u64, V, foldhash::fast::RandomState>;
    let (by_number, names): (Map<Arc<[u8; 232]>>, [Map<u64>; 3]) = Default::default();
    let enter = |number: u64| {
        by_number.pin().insert(number, Arc::new([0; 232]));
        for names in &names {
            names.pin().insert(number, number);
        }
    };
    (0..count).for_each(enter);
    let (mut entering, mut leaving) = (Vec::new(), Vec::new());
    let mut inside: Vec<u64> = (0..count).collect();
    for number in count..count + SAMPLES {
        let begin = Instant::now();
        enter(number);
        entering.push(begin.elapsed());
        let leaver = std::mem::replace(&mut inside[random.usize(..count as usize)], number);
        let begin = Instant::now();
        by_number.pin().remove(&leaver);
        for names in &names {
            names.pin().remove(&leaver);
        }
        leaving.push(begin.elapsed());
    }
    println!("{:<22} {} | {} |", format!("{count}, papaya"), Times(&mut entering), Times(&mut leaving));
}

/// Two threads that enter and leave at once.
fn together(count: u64) {
    let (sessions, people) = (Sessions::default(), People::default());
    let _inside: Vec<Entered> = (0..count).map(|number| people.enter(&sessions, number)).collect();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for thread in 1..=2 {
            let (sessions, people) = (&sessions, &people);
            scope.spawn(move || {
                for number in 0..SAMPLES {
                    drop(people.enter(sessions, count * thread * 10 + number));
                }
            });
        }
    });
    println!("    two threads at once: {:?} for one to enter and leave", begin.elapsed() / SAMPLES as u32);
}

/// A full table under a flood, and clients that are let in beside it.
fn refused(max_entries: usize, random: &mut fastrand::Rng) {
    let refused = Refused::new(RefusedSettings { max_entries, ttl: Duration::from_hours(72) });
    let (people, name): (People, Arc<str>) = (People::default(), "mqtt".into());
    let attempt = |number: u64, peer: IpAddr| {
        let (client_id, username, _) = people.names(number);
        let begin = Instant::now();
        refused.note(
            &Attempt {
                client: Client::new(peer, &client_id, Some(&username)),
                has_password: Some(true),
                is_tls: false,
                server_name: None,
                via: None,
                listener: &name,
                zone: &name,
                reason: Reason::Broker(Codes::V5, 0x87),
                ban: None,
            },
            NOW,
        );
        begin.elapsed()
    };
    let empty = time(|| refused.admitted(black_box(&Client::new(IpAddr::from([10, 0, 0, 1]), "x", None))));
    let full = max_entries as u64;
    (0..full).for_each(|number| {
        attempt(number, addr(number));
    });
    let mut new: Vec<_> = (full..full + SAMPLES).map(|number| attempt(number, addr(number))).collect();
    let mut again: Vec<_> = (0..SAMPLES)
        .map(|_| {
            let number = full + SAMPLES - 1 - random.u64(..full / 2);
            attempt(number, addr(number))
        })
        .collect();
    let mut flood: Vec<_> =
        (0..SAMPLES).map(|number| attempt(1 << 40 | number, [192, 0, 2, 1].into())).collect();
    println!("{max_entries:<6} new, another goes {}", Times(&mut new));
    println!("{max_entries:<6} known again      {}", Times(&mut again));
    println!("{max_entries:<6} one place floods {}", Times(&mut flood));
    let stranger = time(|| {
        let client_id = format!("dev-{}", random.u64(..));
        refused.admitted(black_box(&Client::new(addr(random.u64(..)), &client_id, None)));
    });
    println!("    let in while nobody is listed {empty:?}; while the table is full {stranger:?}");
}

/// Clients with names, and what they share.
struct People {
    listener: Arc<str>,
}

impl Default for People {
    fn default() -> People {
        People { listener: "mqtt".into() }
    }
}

impl People {
    /// Client identifier, user name and address.
    fn names(&self, number: u64) -> (String, String, SocketAddr) {
        let _ = &self.listener;
        let client_id = format!(
            "dev-{:020x}",
            u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C) & ((1 << 80) - 1)
        );
        (client_id, format!("tenant-{}", number / 1000), (addr(number), 40_000).into())
    }

    fn enter(&self, sessions: &Sessions, number: u64) -> Entered {
        self.enter_as(sessions, &self.names(number))
    }

    fn enter_as(&self, sessions: &Sessions, names: &(String, String, SocketAddr)) -> Entered {
        let (client_id, username, peer) = names;
        sessions.enter(Guest {
            client_id,
            username: Some(username),
            peer: (*peer).into(),
            listener: Arc::clone(&self.listener),
            zone: Arc::clone(&self.listener),
            upstream: "127.0.0.1:1884",
            version: Version::V5,
            clean_start: true,
            keep_alive: 60,
            via: None,
            is_tls: false,
            tls: None,
            cert_cn: None,
            since: NOW,
            received: 80,
        })
    }
}

fn addr(number: u64) -> IpAddr {
    IpAddr::from(((number as u32).wrapping_mul(0x9E37_79B1)).to_be_bytes())
}

const SAMPLES: u64 = 200_000;

/// The mean of many.
fn time(mut what: impl FnMut()) -> Duration {
    let begin = Instant::now();
    (0..SAMPLES).for_each(|_| what());
    begin.elapsed() / SAMPLES as u32
}

/// Each timed alone.
struct Times<'t>(&'t mut Vec<Duration>);

impl std::fmt::Display for Times<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let clock = (0..1000).map(|_| Instant::now().elapsed()).min().unwrap_or_default();
        let mut times: Vec<u128> = self.0.iter().map(|time| time.saturating_sub(clock).as_nanos()).collect();
        times.sort_unstable();
        let mean = times.iter().sum::<u128>() / times.len() as u128;
        write!(f, "{:>8} {:>6} {mean:>6}", times[times.len() / 2], times[times.len() * 99 / 100])
    }
}

/// What the process holds in memory, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number") * 4096
}
