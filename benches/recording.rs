//! What it costs a connection that detection's facts are remembered, for the question what other limits would do.
//!
//! `cargo bench --bench recording`: a connection of a device among 10,000 is accepted and ended, with every detector off,
//! with nothing remembered and with 16 MiB, in turns; by one thread and by four at once. A price is that of the whole
//! connection, two facts; the difference is that of remembering.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "the table is the product")]
#![expect(clippy::cast_precision_loss, reason = "no count here reaches 2^52")]
#![expect(clippy::indexing_slicing, reason = "it has no caller but its author")]

use mqtt_bouncer::admission::Client;
use mqtt_bouncer::admission::detection::{Arrival, Cause, Codes, End, Session, Settings, Visit, ZonePolicy};
use mqtt_bouncer::bouncer::Bouncer;
use mqtt_bouncer::clock::Clock;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn main() {
    for threads in [1, 4] {
        let mut prices = [const { Vec::new() }; 2];
        for round in 0..ROUNDS {
            for turn in 0..2 {
                let which = (round + turn) % 2;
                prices[which].push(price(if which == 0 { 0 } else { 16 << 20 }, threads));
            }
        }
        let [without, with] = prices.map(|mut prices| {
            prices.sort_by(f64::total_cmp);
            prices[prices.len() / 2]
        });
        println!(
            "{threads} threads: {without:.0} ns a connection without, {with:.0} ns with: {:.0} ns a fact",
            (with - without) / 2.0
        );
    }
}

const ROUNDS: usize = 15;
const DEVICES: u32 = 10_000;
const CONNECTIONS: u32 = 400_000;

/// Nanoseconds of a thread for a connection.
fn price(memory: usize, threads: u32) -> f64 {
    let bouncer = Bouncer::with_detection(Clock::system(), Settings::default(), memory);
    let policy = Arc::new(ZonePolicy::off("default"));
    let names: Vec<_> = (0..DEVICES).map(|device| format!("device-{device:08}")).collect();
    let took: Duration = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let (bouncer, policy, names) = (&bouncer, &policy, &names);
                scope.spawn(move || {
                    let began = Instant::now();
                    for number in 0..CONNECTIONS / threads {
                        connect(bouncer, policy, names, (number * 7 + thread) % DEVICES);
                    }
                    began.elapsed()
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_default()).sum()
    });
    took.as_nanos() as f64 / f64::from(CONNECTIONS)
}

fn connect(bouncer: &Bouncer, policy: &Arc<ZonePolicy>, names: &[String], device: u32) {
    let peer = IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + device));
    let client = Client::new(peer, &names[device as usize], Some("user"));
    let upstream = "127.0.0.1:1884";
    let (assigned_client_id, credentials, is_exempt) = (None, Some(u64::from(device)), false);
    let arrival = Arrival { client, assigned_client_id, credentials, is_exempt, upstream };
    let stay = bouncer.accepted(policy, &arrival);
    let session = Session {
        upstream,
        stay,
        lived: Duration::from_mins(1),
        codes: Codes::V5,
        connack: Some(0),
        client_disconnect: Some(0),
        broker_disconnect: None,
        cause: Cause::ClientClosed,
    };
    let end = End::Session(session);
    bouncer.ended(policy, &Visit { client, assigned_client_id, credentials, is_exempt, end });
}
