//! What a record costs to read and to write, per format.
//!
//! `cargo bench --bench exchange [-- --quick] [-- N]`: N bans, a million unless told otherwise, `--quick` for ten
//! thousand. Files are in memory, so that nothing but the format is measured; `B/record` is what a record takes in the
//! file. Bans are what a list is mostly made of: client identifiers and addresses, half of them with an end, one reason
//! for many, all with milliseconds.
#![expect(clippy::expect_used, reason = "it has no caller but its author")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "the table is the product")]
#![expect(clippy::cast_precision_loss, reason = "no count here reaches 2^52")]

use fastrand::Rng;
use mqtt_bouncer::admission::{As, Ban, Terms, Timestamp, Until, Who};
use mqtt_bouncer::exchange::{Format, ReadOptions, Writer, read};
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

fn main() {
    let mut args = std::env::args();
    let is_quick = args.any(|arg| arg == "--quick");
    let count = std::env::args().find_map(|arg| arg.parse().ok());
    let count = count.unwrap_or(if is_quick { 10_000 } else { 1_000_000 });
    let bans = bans(count, &mut Rng::with_seed(1));
    println!(
        "{:<10} | {:>9} {:>8} | {:>8} {:>10} {:>12} | {:>8} {:>10} {:>12}",
        "format", "records", "B/record", "write", "ns/record", "records/s", "read", "ns/record", "records/s"
    );
    for format in Format::ALL {
        measure(format, &bans);
    }
}

fn measure(format: Format, bans: &[Ban]) {
    let (mut writer, begin) = (Writer::new(format, Vec::new()), Instant::now());
    let written = bans.iter().filter(|ban| writer.write(ban).is_ok()).count();
    let file = writer.finish().expect("memory");
    let write = begin.elapsed();

    let options = ReadOptions { now: NOW, by: "bench".into(), kind: None, keep_expired: false };
    let begin = Instant::now();
    let mut records = 0;
    for ban in read(format, file.as_slice(), options) {
        black_box(ban.expect("a file").expect("a ban"));
        records += 1;
    }
    let read = begin.elapsed();
    assert_eq!(records, written, "{format}");

    let each = |time: Duration| time.as_secs_f64() * 1e9 / written as f64;
    println!(
        "{:<10} | {written:>9} {:>8.1} | {:>6.0}ms {:>10.0} {:>12.0} | {:>6.0}ms {:>10.0} {:>12.0}",
        format.as_str(),
        file.len() as f64 / written as f64,
        write.as_secs_f64() * 1e3,
        each(write),
        1e9 / each(write),
        read.as_secs_f64() * 1e3,
        each(read),
        1e9 / each(read),
    );
}

fn bans(count: usize, rng: &mut Rng) -> Vec<Ban> {
    let ban = |index: usize| {
        let (kind, who) = match index % 4 {
            0 => (As::PeerHost, Ipv4Addr::from(rng.u32(..)).to_string()),
            _ => (As::ClientId, format!("sensor-{:08x}-{index}", rng.u32(..))),
        };
        let until = match index % 2 {
            // A plain list has no ends: half of the bans are for it, too.
            0 => Until::Infinity,
            _ => Until::Moment(Timestamp::from_millis(NOW.as_millis() + rng.i64(1..1_000_000_000))),
        };
        let reason =
            if (index / 100).is_multiple_of(2) { "flapping is detected" } else { "too many attempts" };
        let at = Timestamp::from_millis(NOW.as_millis() - rng.i64(0..1_000_000_000));
        let terms = Terms { by: "flapping detector".into(), reason: reason.into(), at, until };
        Ban { who: Who::new(kind, &who, None).expect("a name"), terms }
    };
    (0..count).map(ban).collect()
}

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
