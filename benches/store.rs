//! Prices of the store: a large import, a start, and single changes by one writer and by many at once.
//!
//! `cargo bench --bench store [-- --quick] [FOLDER]`. The file is made in FOLDER, by default the one for temporary
//! files: what an fsync costs depends on the disk. Bans are of random names of 24 bytes and addresses, a third of them
//! each with an end; a thousand reasons.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "it has no caller but its author")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "the table is the product")]
#![expect(clippy::cast_precision_loss, reason = "no count here reaches 2^52")]

use fastrand::Rng;
use mqtt_bouncer::admission::{As, Ban, List, Terms, Timestamp, Until, Who};
use mqtt_bouncer::bouncer::Bouncer;
use mqtt_bouncer::clock::Clock;
use mqtt_bouncer::store::{Change, Filter, Reader, Store};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let is_quick = args.iter().any(|arg| arg == "--quick");
    let folder =
        args.iter().find(|arg| !arg.starts_with("--")).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder).expect("a folder");
    let path = folder.path().join("bans.db");
    let (rows, singles) = if is_quick { (20_000, 200) } else { (1_000_000, 3_000) };

    let mut rng = Rng::with_seed(7);
    let reasons: Vec<Arc<str>> = (0..1_000).map(|n| format!("reason number {n}").into()).collect();
    let mut bans = |count: usize| -> Vec<Ban> { (0..count).map(|_| ban(&mut rng, &reasons)).collect() };

    for follower in [None, Some(Bouncer::new(Clock::system()))] {
        let name = if follower.is_some() { "with a bouncer" } else { "alone" };
        let file = folder.path().join(name).join("bans.db");
        let changes: Vec<_> = bans(rows).into_iter().map(|ban| Change::Put(List::Bans, ban)).collect();
        let (store, _) = Store::open(&file, follower).expect("a store");
        row(&format!("import {rows} at once, {name}"), rows, || {
            store.change_blocking(changes).expect("written");
        });
        store.close();
        let size = file.metadata().expect("a file").len();
        println!(
            "{:<44} {:>9.1} MB  {:>7.1} B each",
            "  its file",
            size as f64 / 1e6,
            size as f64 / rows as f64
        );
        std::fs::rename(&file, &path).expect("renamed");
    }

    row("open, nothing loaded", rows, || Store::open(&path, None).expect("a store").0.close());
    let mut opened = None;
    row("open and load into a bouncer", rows, || {
        opened = Some(Store::open(&path, Some(Bouncer::new(Clock::system()))).expect("a store"));
    });
    let (store, loaded) = opened.expect("a store");
    assert!(loaded.bans > rows - rows / 1_000, "an address may come twice");
    let reader = Reader::open(&path).expect("a reader");
    row("read all of it", rows, || {
        reader.for_each(List::Bans, &Filter::default(), |_| ControlFlow::Continue(())).expect("read");
    });
    let filter = Filter { text: Some("zzz".to_owned()), ..Filter::default() };
    row("count by a part of the name", rows, || drop(reader.count(List::Bans, &filter)));
    drop(reader);
    for writers in [1, 32] {
        let each: Vec<Vec<Ban>> = (0..writers).map(|_| bans(singles)).collect();
        let started = Instant::now();
        let mut waits: Vec<f64> = std::thread::scope(|scope| {
            let threads: Vec<_> = each.into_iter().map(|bans| scope.spawn(|| add(&store, bans))).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("added")).collect()
        });
        let rate = (writers * singles) as f64 / started.elapsed().as_secs_f64();
        waits.sort_unstable_by(f64::total_cmp);
        let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
        println!(
            "{:<44} {rate:>9.0} /s  p50 {:.3} ms, p99 {:.3} ms",
            format!("single adds, {writers} at once"),
            at(50),
            at(99)
        );
    }
    let by = Timestamp::from_millis(i64::MAX);
    let ended = Change::RemoveEnded { list: List::Bans, by, limit: 10_000 };
    row("remove 10,000 that have ended", 10_000, || {
        _ = store.change_blocking(vec![ended]).expect("written");
    });
    row("clear", rows, || _ = store.change_blocking(vec![Change::Clear(List::Bans)]).expect("written"));
    store.close();
}

/// Milliseconds of each of these changes.
fn add(store: &Store, bans: Vec<Ban>) -> Vec<f64> {
    let now = Timestamp::from_millis(0);
    bans.into_iter()
        .map(|ban| {
            let started = Instant::now();
            store.change_blocking(vec![Change::Add(List::Bans, ban, now)]).expect("written");
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect()
}

fn row(name: &str, count: usize, work: impl FnOnce()) {
    let started = Instant::now();
    work();
    let seconds = started.elapsed().as_secs_f64();
    println!("{name:<44} {:>9.3} s   {:>7.2} us each", seconds, seconds * 1e6 / count as f64);
}

fn ban(rng: &mut Rng, reasons: &[Arc<str>]) -> Ban {
    let who = if rng.u8(..4) == 0 {
        Who::PeerHost(std::net::Ipv4Addr::from(rng.u32(..)).into())
    } else {
        let name: String = std::iter::repeat_with(|| rng.alphanumeric()).take(24).collect();
        Who::new(if rng.bool() { As::ClientId } else { As::Username }, &name, None).expect("a name")
    };
    let until = if rng.u8(..3) == 0 {
        Until::Moment(Timestamp::from_millis(1_800_000_000_000 + rng.i64(..100_000_000_000)))
    } else {
        Until::Infinity
    };
    let reason = Arc::clone(&reasons[rng.usize(..reasons.len())]);
    Ban {
        who,
        terms: Terms { by: "benchmark".into(), reason, at: Timestamp::from_millis(1_790_000_000_000), until },
    }
}
