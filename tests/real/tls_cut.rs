//! Handshakes that are cut short, garbage, and giants. After each the listener serves.

use crate::harness::{Pki, Proxy, SilentBroker, Version, await_close, config, connect, dial, text};
use crate::tls_strangers::{GOOD, TLS12, alert, hello, message, record};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::thread;

/// The first flight of openssl with these options, as it comes from its socket.
pub(crate) fn first_flight(options: &[&str]) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("bound").to_string();
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &addr, "-servername", "localhost"])
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    let (mut stream, _) = listener.accept().expect("openssl calls");
    let mut header = [0; 5];
    stream.read_exact(&mut header).expect("a record");
    let mut fragment = vec![0; u16::from_be_bytes([header[3], header[4]]).into()];
    stream.read_exact(&mut fragment).expect("all of it");
    let _ = child.kill();
    let _ = child.wait();
    [&header[..], &fragment].concat()
}

#[test]
fn a_hello_that_is_cut_anywhere_is_closed_early_and_the_listener_serves() {
    let (pki, broker) = (Pki::new(), SilentBroker::start());
    let proxy = Proxy::start(&config(broker.addr(), &pki.listener(""), ""));
    let mut cut = 0;
    for options in [&["-tls1_2"][..], &["-tls1_3", "-alpn", "mqtt"]] {
        let hello = first_flight(options);
        for count in 1..hello.len() {
            let mut stream = dial(proxy.addr);
            stream.write_all(&hello[..count]).expect("connected");
            stream.shutdown(Shutdown::Write).expect("connected");
            assert_eq!(await_close(&mut stream), b"", "after {count} of {} bytes", hello.len());
            cut += 1;
        }
        drop(pki.handshake(dial(proxy.addr)).expect("it serves"));
        // All of it, and no more.
        let mut stream = dial(proxy.addr);
        stream.write_all(&hello).expect("connected");
        stream.shutdown(Shutdown::Write).expect("connected");
        assert_eq!(await_close(&mut stream).first(), Some(&22), "an answer");
        cut += 1;
    }
    assert!(cut > 300, "{cut}");
    broker.assert_untouched();
    let log = proxy.stop();
    let early = log.iter().filter(|line| line.contains("outcome=closed_early")).count();
    assert_eq!(early, cut, "{log:#?}");
}

/// Takes what a client says to a server until so many bytes have passed, and closes then.
fn cut_after(server: SocketAddr, count: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("bound");
    thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let mut to_server = dial(server);
        let (mut from_server, mut to_client) =
            (to_server.try_clone().expect("open"), client.try_clone().expect("open"));
        let back = thread::spawn(move || drop(std::io::copy(&mut from_server, &mut to_client)));
        let mut few = Read::take(&mut client, count as u64);
        let _ = std::io::copy(&mut few, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
        let _ = back.join();
    });
    addr
}

#[test]
fn a_handshake_that_is_cut_after_the_first_answer_is_closed_early_and_the_listener_serves() {
    let (pki, broker) = (Pki::new(), SilentBroker::start());
    let proxy = Proxy::start(&config(broker.addr(), &pki.listener(""), ""));
    for (version, first) in [("-tls1_2", first_flight(&["-tls1_2"])), ("-tls1_3", first_flight(&["-tls1_3"]))]
    {
        // The rest of a handshake has 74 bytes in 1.3, a few more in 1.2.
        for more in [0, 1, 4, 5, 6, 7, 20, 40, 63] {
            let mark = proxy.log().mark();
            let way = cut_after(proxy.addr, first.len() + more);
            let told = text(&pki.openssl(way, &[version, "-servername", "localhost"]));
            proxy.log().wait_for(mark, &["no CONNECT", "outcome=closed_early"]);
            assert!(!told.contains("panicked"), "{told}");
        }
        drop(pki.handshake(dial(proxy.addr)).expect("it serves"));
    }
    broker.assert_untouched();
}

#[test]
fn garbage_and_giants_are_refused_at_once_and_cost_no_memory() {
    let (pki, broker) = (Pki::new(), SilentBroker::start());
    let proxy = Proxy::start(&config(broker.addr(), &pki.listener(""), ""));
    let good = hello(TLS12, &[GOOD], &[0]);
    let giant = |length: [u8; 3]| record(&[&[1], &length[..], &[3, 3]].concat());
    let crumbs = |count: usize| -> Vec<u8> {
        let fragment = message(&vec![0; 60_000]);
        fragment[..count].iter().flat_map(|byte| record(&[*byte])).collect()
    };
    let (decode_error, overflow, unexpected) = (Some(50), Some(22), Some(10));
    let tries = [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), None),
        ("plain MQTT", connect(Version::V5, "dev"), None),
        ("zeros", vec![0; 20_000], None),
        ("ones", vec![0xFF; 20_000], None),
        ("an alert", b"\x15\x03\x01\x00\x02\x02\x28".to_vec(), None),
        ("a heartbeat", b"\x18\x03\x02\x00\x03\x01\x40\x00".to_vec(), None),
        ("a change of ciphers", b"\x14\x03\x03\x00\x01\x01".to_vec(), None),
        ("data", b"\x17\x03\x03\x00\x05hello".to_vec(), None),
        ("a record of nothing", b"\x16\x03\x01\x00\x00".to_vec(), overflow),
        ("a record that is too long", b"\x16\x03\x01\x40\x01".to_vec(), overflow),
        ("a record of the greatest length", b"\x16\x03\x01\xff\xff".to_vec(), overflow),
        ("another message", record(b"\x02\x00\x00\x00"), unexpected),
        ("16 MB", giant([0xFF, 0xFF, 0xFF]), decode_error),
        ("128 KB", giant([2, 0, 0]), decode_error),
        ("a hello of nothing", record(b"\x01\x00\x00\x00"), decode_error),
        ("a hello of zeros", record(&message(&[0; 400])), decode_error),
        ("crumbs", crumbs(23_000), decode_error),
    ];
    let count = tries.len();
    drop(pki.handshake(dial(proxy.addr)).expect("it serves"));
    let before = proxy.process().resident_memory();
    for (name, bytes, expected) in tries {
        assert_eq!(alert(&proxy, &bytes), expected, "{name}");
        drop(pki.handshake(dial(proxy.addr)).expect("it serves"));
    }
    // Every byte of a good one changed, one at a time: refused or answered, and never the end of anything.
    for index in 0..good.len() {
        let mut bytes = good.clone();
        bytes[index] ^= 0x55;
        let mut stream = dial(proxy.addr);
        stream.write_all(&bytes).expect("connected");
        stream.shutdown(Shutdown::Write).expect("connected");
        await_close(&mut stream);
    }
    let grown = proxy.process().resident_memory().saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB more");
    drop(pki.handshake(dial(proxy.addr)).expect("it serves"));
    broker.assert_untouched();
    let log = proxy.stop();
    let refused = log.iter().filter(|line| line.contains("outcome=tls_failed")).count();
    assert!(refused >= count, "{refused}");
}
