//! Peers that are no MQTT clients, or no good ones: each ends, costs one line of the log, and never meets the broker.

use crate::harness::{Proxy, SilentBroker, Version, await_close, config, connect, dial, packet, string};
use std::io::Write;
use std::net::Shutdown;

/// What is sent, what is answered before the close, and what the log calls it.
struct Stranger {
    sends: Vec<u8>,
    answer: &'static [u8],
    outcome: &'static str,
    end: End,
}

#[derive(PartialEq)]
enum End {
    /// The stranger waits to be closed.
    Waits,
    /// It closes its half first.
    Closes,
}

#[test]
fn strangers_are_refused_with_one_line_each_and_the_broker_never_meets_them() {
    let strangers = strangers();
    let broker = SilentBroker::start();
    let proxy = Proxy::start(&config(broker.addr(), "connect_timeout = \"300ms\"", ""));
    let mut expected = Vec::new();
    for stranger in &strangers {
        let mut stream = dial(proxy.addr);
        stream.write_all(&stranger.sends).expect("connected");
        if stranger.end == End::Closes {
            stream.shutdown(Shutdown::Write).expect("connected");
        }
        let answer = await_close(&mut stream);
        assert_eq!(answer, stranger.answer, "to {:?}", stranger.sends.escape_ascii().to_string());
        expected.push((stream.local_addr().expect("bound"), stranger.outcome));
    }
    broker.assert_untouched();

    let log = proxy.stop();
    for (peer, outcome) in expected {
        let about: Vec<_> = log.iter().filter(|line| line.contains(&format!("peer={peer} "))).collect();
        assert_eq!(about.len(), 1, "{outcome}: {about:#?}");
        assert!(about[0].contains(&format!("outcome={outcome} ")), "{outcome}: {}", about[0]);
    }
}

fn strangers() -> Vec<Stranger> {
    let waits =
        |sends: &[u8], answer, outcome| Stranger { sends: sends.to_vec(), answer, outcome, end: End::Waits };
    let closes =
        |sends: &[u8], outcome| Stranger { sends: sends.to_vec(), answer: b"", outcome, end: End::Closes };
    let twice = |version| connect(version, "twice").repeat(2);
    let half = &connect(Version::V5, "interrupted")[..10];
    let level_6 = packet(0x10, &[&string("MQTT"), b"\x06\x02\0\0\0", &string("tomorrow")]);
    let publish = packet(0x30, &[&string("topic"), b"payload"]);
    vec![
        waits(b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n", b"", "not_mqtt"),
        waits(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03TLS ClientHello", b"", "not_mqtt"),
        waits(b"SSH-2.0-OpenSSH_9.2\r\n", b"", "not_mqtt"),
        waits(&noise(2000), b"", "not_mqtt"),
        waits(&publish, b"", "not_mqtt"),
        waits(&level_6, b"\x20\x03\x00\x84\x00", "unsupported_version"),
        waits(&twice(Version::V311), b"", "protocol_error"),
        waits(&twice(Version::V5), b"\x20\x03\x00\x82\x00", "protocol_error"),
        waits(b"", b"", "connect_timeout"),
        waits(half, b"", "connect_timeout"),
        closes(half, "closed_early"),
        closes(b"", "probe"),
    ]
}

/// Bytes of no meaning, the same in every run.
fn noise(count: usize) -> Vec<u8> {
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let states = std::iter::successors(next(&1), next);
    states.map(|state| state.to_be_bytes()[0]).take(count).collect()
}
