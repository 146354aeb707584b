//! What a crowd may cost.

use crate::harness::{
    Broker, Client, Proxy, SilentBroker, Version, await_close, config, connect, dial, eventually, string,
};
use std::io::Write;
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

const CANNOT_ACCEPT: &str = "cannot accept connections";

#[test]
fn running_out_of_file_descriptors_is_said_once_and_costs_no_time_and_passes() {
    let broker = Broker::start();
    let proxy = Proxy::start_with_open_files(64, &config(broker.addr, "connect_timeout = \"1h\"", ""));
    let crowd: Vec<_> = (0..100).map(|_| dial(proxy.addr)).collect();
    proxy.log().wait_for(0, &["ERROR", CANNOT_ACCEPT]);

    let before = proxy.process().processor_time();
    sleep(WATCHED);
    let spent = proxy.process().processor_time() - before;
    assert!(spent < 50, "{spent} hundredths of a second of processor time in {WATCHED:?}");
    assert_eq!(proxy.log().count(CANNOT_ACCEPT), 1);

    drop(crowd);
    proxy.log().wait_for(0, &["accepting connections again"]);
    // While the crowd is leaving, there may be no descriptor for the way to the broker.
    eventually("a client to be let in", || Client::knock(proxy.addr, Version::V5, "late").is_ok());
}

const CANNOT_DIAL: &str = "cannot open connections to brokers";

/// Depending on how many there are, the last one is missing at the door or on the way to the broker.
#[test]
fn running_out_of_file_descriptors_is_held_against_no_broker() {
    let mut told = [0, 0];
    for holders in [0, 1] {
        let broker = Broker::start();
        let proxy = Proxy::start_with_open_files(64, &config(broker.addr, "connect_timeout = \"1h\"", ""));
        let _holding: Vec<_> = (0..holders).map(|_| dial(proxy.addr)).collect();
        let knock = |number: usize| {
            let mut stream = dial(proxy.addr);
            stream.write_all(&connect(Version::V5, &format!("crowd-{number}"))).expect("connected");
            stream
        };
        let mut crowd: Vec<_> = (0..100).map(knock).collect();
        let lines = || [CANNOT_ACCEPT, CANNOT_DIAL].map(|line| proxy.log().count(line));
        eventually("a shortage", || lines() != [0, 0]);
        // Some leave and others come, again and again: each time there is one, and each time there is none.
        for round in 0..10 {
            crowd.drain(..5);
            crowd.extend((0..5).map(|number| knock(100 * (round + 1) + number)));
            sleep(Duration::from_millis(50));
        }
        let before = proxy.process().processor_time();
        sleep(WATCHED);
        let spent = proxy.process().processor_time() - before;
        assert!(spent < 50, "{spent} hundredths of a second of processor time in {WATCHED:?}");
        let lines = lines();
        assert!(lines.iter().all(|count| *count <= 1), "{lines:?}");
        told = [told[0] + lines[0], told[1] + lines[1]];
        for (words, level) in [("no broker", "WARN"), ("left alone", "WARN"), (CANNOT_DIAL, "ERROR")] {
            let count = proxy.log().lines_with(&[level, words]).len();
            assert!(count <= usize::from(level == "ERROR"), "{count} lines: {words}");
        }
        drop(crowd);
        eventually("a client to be let in", || Client::knock(proxy.addr, Version::V5, "late").is_ok());
        if lines[1] > 0 {
            proxy.log().wait_for(0, &["INFO", "opening connections to brokers again"]);
        }
    }
    assert!(told[0] > 0 && told[1] > 0, "{told:?}");
}

/// How long a process is watched that has nothing to do.
const WATCHED: Duration = Duration::from_secs(2);

#[test]
fn a_connect_that_announces_256_mb_costs_no_memory() {
    let broker = SilentBroker::start();
    let proxy = Proxy::start(&config(broker.addr(), "", ""));
    // What every process needs once.
    drop(liar(&proxy));
    let before = proxy.process().resident_memory();

    let mut crowd: Vec<_> = (0..200).map(|_| liar(&proxy)).collect();
    for stream in &mut crowd {
        // MQTT 5: packet too large.
        assert_eq!(await_close(stream), b"\x20\x03\x00\x95\x00");
    }
    let grown = proxy.process().resident_memory().saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB more for 200 connections");
    broker.assert_untouched();
    drop(crowd);
    let log = proxy.stop();
    assert_eq!(log.iter().filter(|line| line.contains("outcome=too_large")).count(), 201);
}

/// A client that announces the largest packet there is, and begins to send it.
fn liar(proxy: &Proxy) -> TcpStream {
    let mut stream = dial(proxy.addr);
    let header = [b"\x10\xff\xff\xff\x7f".as_slice(), &string("MQTT"), b"\x05"].concat();
    stream.write_all(&[header, vec![0; 60_000]].concat()).expect("connected");
    stream
}
