//! What reading a CONNECT and following a session cost: `cargo bench --bench connect`.
//!
//! First a table of allocations, ours held to none; then times, ours beside those of mqttbytes on the same packets.
//! mqttbytes gets its packet as `Bytes` that are there already, so no copy is counted against it. The goals are 150 ns
//! for the 3.1.1 packet and 300 ns for the first of version 5; an accepted connection costs tens of microseconds.

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use mqtt_bouncer::wire::mqtt::connect::{self, Connect};
use mqtt_bouncer::wire::mqtt::frame::Frames;
use mqtt_bouncer::wire::mqtt::session::Session;
use mqtt_bouncer::wire::mqtt::{Reading, Version};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

fn main() {
    let samples = [v311(), v5_with_properties(), v5_with_will()];
    count_allocations(&samples);

    let mut criterion = Criterion::default().configure_from_args();
    time_connect(&mut criterion, &samples);
    time_session(&mut criterion);
    criterion.final_summary();
}

/// A packet, and what to call it.
struct Sample {
    name: &'static str,
    version: Version,
    packet: Vec<u8>,
}

/// The largest packet that either reader takes, in bytes.
const MAX_SIZE: usize = 65_536;

const CLIENT_ID: &str = "sensor-4f2a9c0b7d1e-0042";
const LOGIN: [&str; 2] = ["device@example.org", "correct horse battery"];

/// Session Expiry Interval, Receive Maximum, Maximum Packet Size, and one User Property.
const PROPERTIES: &[u8] =
    b"\x20\x11\x00\x00\x0e\x10\x21\x00\x14\x27\x00\x01\x00\x00\x26\x00\x06region\x00\x08eu-west1";
/// Will Delay Interval and Message Expiry Interval.
const WILL_PROPERTIES: &[u8] = b"\x0a\x18\x00\x00\x00\x1e\x02\x00\x00\x0e\x10";

fn v311() -> Sample {
    let packet = frame(&[b"\x00\x04MQTT\x04\xc2\x00\x3c", &strings(&[CLIENT_ID]), &strings(&LOGIN)]);
    Sample { name: "3.1.1", version: Version::V311, packet }
}

fn v5_with_properties() -> Sample {
    let head = b"\x00\x04MQTT\x05\xc2\x00\x3c";
    let packet = frame(&[head, PROPERTIES, &strings(&[CLIENT_ID]), &strings(&LOGIN)]);
    Sample { name: "5, 4 properties", version: Version::V5, packet }
}

fn v5_with_will() -> Sample {
    let will = strings(&["devices/sensor-4f2a9c0b7d1e-0042/status", "{\"online\":false}"]);
    let head = b"\x00\x04MQTT\x05\xee\x00\x3c";
    let packet = frame(&[head, PROPERTIES, &strings(&[CLIENT_ID]), WILL_PROPERTIES, &will, &strings(&LOGIN)]);
    Sample { name: "5, 4 properties, will", version: Version::V5, packet }
}

/// Strings with their lengths in front.
fn strings(strings: &[&str]) -> Vec<u8> {
    let string = |string: &&str| {
        let [.., high, low] = string.len().to_be_bytes();
        [&[high, low], string.as_bytes()].concat()
    };
    strings.iter().flat_map(string).collect()
}

/// A CONNECT of less than 16 KB.
fn frame(body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let [low, ..] = body.len().to_le_bytes();
    let [high, ..] = (body.len() >> 7).to_le_bytes();
    let length = if high == 0 { vec![low] } else { vec![low | 0x80, high] };
    [&[0x10], &length[..], &body].concat()
}

fn by_us(packet: &[u8]) -> Option<Connect<'_>> {
    match connect::read(packet, MAX_SIZE) {
        Ok(Reading::Complete(connect)) => Some(connect),
        _ => None,
    }
}

fn v4_by_mqttbytes(packet: &Bytes) -> Option<mqttbytes::v4::Connect> {
    let header = mqttbytes::check(packet.iter(), MAX_SIZE).ok()?;
    mqttbytes::v4::Connect::read(header, packet.clone()).ok()
}

fn v5_by_mqttbytes(packet: &Bytes) -> Option<mqttbytes::v5::Connect> {
    let header = mqttbytes::check(packet.iter(), MAX_SIZE).ok()?;
    mqttbytes::v5::Connect::read(header, packet.clone()).ok()
}

#[expect(clippy::print_stdout, reason = "a bench talks to whoever runs it")]
fn count_allocations(samples: &[Sample]) {
    println!("{:<24}{:>8}{:>16}{:>16}", "allocations per read", "bytes", "mqtt-bouncer", "mqttbytes");
    for Sample { name, version, packet } in samples {
        let bytes = shared(packet);
        let (ours, we_read) = allocations(|| by_us(packet).is_some_and(|it| it.client_id == CLIENT_ID));
        let (theirs, they_read) = allocations(|| match version {
            Version::V5 => v5_by_mqttbytes(&bytes).is_some_and(|it| it.client_id == CLIENT_ID),
            _ => v4_by_mqttbytes(&bytes).is_some_and(|it| it.client_id == CLIENT_ID),
        });
        println!("{name:<24}{:>8}{ours:>16}{theirs:>16}", packet.len());
        assert!(we_read && they_read, "{name} is not read");
        assert_eq!(ours, 0, "reading {name} allocates");
    }

    let chunk = publishes();
    let mut session = Session::new(Version::V5, 60);
    let (count, passed) = allocations(|| session.from_client(&chunk).is_ok());
    assert!(passed && count == 0, "watching a session allocates");
    println!();
}

/// `Bytes` whose later clones allocate nothing.
fn shared(packet: &[u8]) -> Bytes {
    let bytes = Bytes::copy_from_slice(packet);
    // The first clone of such bytes makes their counter.
    drop(bytes.clone());
    bytes
}

fn time_connect(criterion: &mut Criterion, samples: &[Sample]) {
    for Sample { name, version, packet } in samples {
        let mut group = criterion.benchmark_group(format!("CONNECT {name}"));
        group.bench_function("mqtt-bouncer", |bencher| bencher.iter(|| by_us(black_box(packet))));
        let bytes = shared(packet);
        group.bench_function("mqttbytes", |bencher| match version {
            Version::V5 => bencher.iter(|| v5_by_mqttbytes(black_box(&bytes))),
            _ => bencher.iter(|| v4_by_mqttbytes(black_box(&bytes))),
        });
        group.finish();
    }
}

const PUBLISH_SIZE: usize = 64;
const PUBLISHES: usize = 16 * 1024 / PUBLISH_SIZE;

/// A chunk of a session, 16 KiB: PUBLISH packets of 64 bytes.
fn publishes() -> Vec<u8> {
    let mut packet = b"\x30\x3e\x00\x0bsensors/new".to_vec();
    packet.resize(PUBLISH_SIZE, b'x');
    packet.repeat(PUBLISHES)
}

/// The throughput is in packets: 100 Melem/s are 10 ns for each.
fn time_session(criterion: &mut Criterion) {
    let chunk = publishes();
    let mut group = criterion.benchmark_group("PUBLISH of 64 B in 16 KiB");
    group.throughput(Throughput::Elements(PUBLISHES as u64));
    group.bench_function("Frames::next", |bencher| {
        let mut frames = Frames::default();
        bencher.iter(|| {
            let mut rest = black_box(&chunk[..]);
            while let Some(piece) = frames.next(&mut rest) {
                black_box(piece);
            }
        });
    });
    group.bench_function("Session::from_client", |bencher| {
        let mut session = Session::new(Version::V5, 60);
        bencher.iter(|| session.from_client(black_box(&chunk)));
    });
    group.finish();
}

/// How often memory was asked for while `work` was done, and what it returned.
fn allocations<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let result = work();
    (ALLOCATIONS.load(Ordering::Relaxed) - before, result)
}

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The system's allocator, and a count of what is asked of it.
struct Counting;

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: every call goes to the system's allocator as it came, which keeps the contract; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that the system's allocator wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above; `block` came from the system's allocator, for nothing else hands out any.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Not an atomic increment, which would cost mqttbytes time: allocations of two threads at once may count as one, but
/// while something is counted there is only one thread.
fn count() {
    ALLOCATIONS.store(ALLOCATIONS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}
