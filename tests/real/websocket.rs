//! Strangers at a WebSocket listener: bad upgrades, attempts to smuggle, and frames that break the rules.

use crate::harness::{
    Broker, Client, Proxy, SilentBroker, StubBroker, Version, await_close, config, connect, dial, listener,
    packet, string,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// A good request, with these lines added behind the first.
fn request(more: &str) -> String {
    format!(
        "GET /mqtt HTTP/1.1\r\n{more}Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// A good request, with one thing changed.
fn changed(from: &str, to: &str) -> String {
    let good = request("");
    assert!(good.contains(from), "{from}");
    good.replace(from, to)
}

/// A frame with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).ok().filter(|length| *length < 126).expect("a short payload");
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

const BINARY: u8 = 0x82;

/// The end of the head of an answer.
const END: &[u8] = b"\r\n\r\n";

/// Reads the answer to a good request.
fn await_upgrade(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(END) {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

fn upgraded(addr: SocketAddr) -> TcpStream {
    let mut stream = dial(addr);
    stream.write_all(request("").as_bytes()).expect("connected");
    await_upgrade(&mut stream);
    stream
}

/// A client that was let in, has said that it is over and keeps its connection, and its broker's end.
pub(crate) fn said_close(addr: SocketAddr, broker: &StubBroker, client_id: &str) -> (TcpStream, TcpStream) {
    let mut stream = upgraded(addr);
    stream.write_all(&frame(BINARY, &connect(Version::V311, client_id))).expect("connected");
    let inside = broker.accept();
    let mut connack = [0; 6];
    stream.read_exact(&mut connack).expect("a CONNACK in a frame");
    stream.write_all(&frame(0x88, b"\x03\xe8")).expect("connected");
    (stream, inside)
}

/// Requests that become no WebSocket: what they are, their bytes, how the answer begins, and what the log calls it.
fn requests() -> Vec<(&'static str, Vec<u8>, &'static str, &'static str)> {
    let bad = |name, text: String, status| (name, text.into_bytes(), status, "websocket_failed");
    let with = |name, more: &str, status| bad(name, request(more), status);
    let body = |name, more: &str| bad(name, request(more) + "0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n", "400");
    vec![
        body("both lengths", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        body("chunks", "Transfer-Encoding: chunked\r\n"),
        body("chunks in disguise", "Transfer-Encoding: xchunked\r\n"),
        body("chunks by halves", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
        body("a body", "Content-Length: 5\r\n"),
        body("a length with a sign", "Content-Length: +0\r\n"),
        body("lengths that differ", "Content-Length: 0\r\nContent-Length: 5\r\n"),
        body("a length of nothing and of something", "Content-Length: 0, 5\r\n"),
        with("a folded line", "X-A: b\r\n c\r\n", "400"),
        with("a folded line that hides a length", "X-A: b\r\n Content-Length: 5\r\n", "400"),
        with("a name with a space", "Content-Length : 5\r\n", "400"),
        with("a line without a name", ": x\r\n", "400"),
        with("a line without a colon", "nonsense\r\n", "400"),
        with("a zero byte", "X-A: a\0b\r\n", "400"),
        with("a bare CR", "X-A: a\rb\r\n", "400"),
        with("a bare LF that hides a line", "X-A: a\nX-Forwarded-For: 192.0.2.1\r\n", "400"),
        bad("bare LFs alone", request("").replace('\r', ""), "400"),
        with("two hosts", "Host: other\r\n", "400"),
        with("two keys", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "400"),
        bad("no host", changed("Host: localhost\r\n", ""), "400"),
        bad("no key", changed("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), "400"),
        bad("a short key", changed("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), "400"),
        bad("a key that is none", changed("dGhlIHNhbXBsZSBub25jZQ==", "!"), "400"),
        bad("an old version", changed("Version: 13", "Version: 8"), "426"),
        bad("two versions", changed("Version: 13", "Version: 13, 8"), "426"),
        bad("no upgrade", changed("Upgrade: websocket", "Upgrade: h2c"), "426"),
        bad("no upgrade of the connection", changed("Connection: Upgrade", "Connection: close"), "426"),
        bad("another protocol", changed("Protocol: mqtt", "Protocol: soap"), "400"),
        bad("another path", changed("/mqtt", "/mqtt/../admin"), "404"),
        bad("a whole address", changed("/mqtt", "http://localhost/mqtt"), "404"),
        bad("another method", changed("GET", "POST"), "405"),
        bad("a method in small letters", changed("GET", "get"), "405"),
        bad("a tunnel", changed("GET /mqtt", "CONNECT broker:1883"), "405"),
        bad("HTTP/1.0", changed("HTTP/1.1", "HTTP/1.0"), "505"),
        bad("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "505"),
        with("too many lines", &"X-A: x\r\n".repeat(65), "431"),
        with("a long line", &format!("X-A: {}\r\n", "a".repeat(9000)), "431"),
        bad("a long path", changed("/mqtt", &format!("/{}", "a".repeat(9000))), "431"),
        ("HTTP/0.9", b"GET /mqtt\r\n\r\n".to_vec(), "", "websocket_failed"),
        ("MQTT", connect(Version::V5, "dev"), "", "websocket_failed"),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), "", "websocket_failed"),
        ("zeros", vec![0; 9000], "", "websocket_failed"),
        ("half of it", request("").as_bytes()[..40].to_vec(), "", "closed_early"),
        ("nothing", Vec::new(), "", "probe"),
    ]
}

#[test]
fn requests_that_smuggle_or_are_malformed_are_refused_with_one_line_and_the_listener_goes_on() {
    let broker = SilentBroker::start();
    let proxy = Proxy::start(&config(broker.addr(), "type = \"ws\"", ""));
    let mut expected = Vec::new();
    for (name, bytes, status, outcome) in requests() {
        let mut stream = dial(proxy.addr);
        // Who is refused at its first bytes may hear of it before it has sent the last.
        let _ = stream.write_all(&bytes);
        if matches!(outcome, "closed_early" | "probe") {
            stream.shutdown(Shutdown::Write).expect("connected");
        }
        let peer = stream.local_addr().expect("bound");
        let answer = String::from_utf8_lossy(&await_close(&mut stream)).into_owned();
        if status.is_empty() {
            assert_eq!(answer, "", "{name}");
        } else {
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer:?}");
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{name}: {answer:?}");
        }
        expected.push((name, peer, outcome));
        drop(upgraded(proxy.addr));
    }
    broker.assert_untouched();
    let log = proxy.stop();
    for (name, peer, outcome) in expected {
        let about: Vec<_> = log.iter().filter(|line| line.contains(&format!("peer={peer} "))).collect();
        assert_eq!(about.len(), 1, "{name}: {about:#?}");
        assert!(about[0].contains(&format!("outcome={outcome} ")), "{name}: {}", about[0]);
    }
}

/// Frames that break a rule, and the code of the close that answers them.
fn frames() -> Vec<(&'static str, Vec<u8>, u16)> {
    let header = |bytes: &[u8]| bytes.to_vec();
    vec![
        ("no mask", b"\x82\x01x".to_vec(), 1002),
        ("the first reserved bit", frame(0xC2, b"x"), 1002),
        ("the second reserved bit", frame(0xA2, b"x"), 1002),
        ("the third reserved bit", frame(0x92, b"x"), 1002),
        ("an unknown kind of data", frame(0x83, b"x"), 1002),
        ("an unknown kind of control", frame(0x8B, b"x"), 1002),
        ("text", frame(0x81, b"x"), 1003),
        ("half a ping", frame(0x09, b"x"), 1002),
        ("half a close", frame(0x08, b"\x03\xe8"), 1002),
        ("a long ping", [header(b"\x89\xfe\x00\x7e\0\0\0\0"), vec![0; 126]].concat(), 1002),
        ("more of nothing", frame(0x80, b"x"), 1002),
        ("a message inside another", [frame(0x02, b"\x10"), frame(BINARY, b"x")].concat(), 1002),
        ("a length that is longer than it needs", header(b"\x82\xfe\x00\x05\0\0\0\0"), 1002),
        ("a length of eight bytes for little", header(b"\x82\xff\0\0\0\0\0\0\x01\x00\0\0\0\0"), 1002),
        ("a length below zero", header(b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"), 1002),
        ("more than there is memory", header(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"), 1009),
        ("one byte too many", header(b"\x82\xfe\x03\xe9\0\0\0\0"), 1009),
        ("a close with half a code", frame(0x88, b"\x03"), 1002),
        ("a close with a code that nobody sends", frame(0x88, b"\x03\xed"), 1002),
        ("a close whose reason is no text", frame(0x88, b"\x03\xe8\xff"), 1002),
        ("a second request", request("").into_bytes(), 1002),
        ("MQTT without a frame", connect(Version::V5, "dev"), 1002),
    ]
}

const MAX_FRAME: &str = "type = \"ws\"\nwebsocket = { max_frame_size = 1000 }";

#[test]
fn frames_that_break_a_rule_before_the_connect_are_refused_and_count_as_malformed() {
    let broker = SilentBroker::start();
    let proxy = Proxy::start(&config(broker.addr(), MAX_FRAME, ""));
    let mut expected = Vec::new();
    for (name, bytes, code) in frames() {
        // Once behind the answer, and once together with the request.
        for is_early in [false, true] {
            let mut stream = dial(proxy.addr);
            let request = request("").into_bytes();
            if is_early {
                stream.write_all(&[request, bytes.clone()].concat()).expect("connected");
                await_upgrade(&mut stream);
            } else {
                stream.write_all(&request).expect("connected");
                await_upgrade(&mut stream);
                stream.write_all(&bytes).expect("connected");
            }
            assert_eq!(await_close(&mut stream), close(code), "{name}");
            expected.push((name, stream.local_addr().expect("bound")));
        }
        drop(upgraded(proxy.addr));
    }
    broker.assert_untouched();
    let log = proxy.stop();
    for (name, peer) in expected {
        let about: Vec<_> = log.iter().filter(|line| line.contains(&format!("peer={peer} "))).collect();
        assert_eq!(about.len(), 1, "{name}: {about:#?}");
        assert!(
            about[0].contains(" refused ") && about[0].contains("outcome=malformed "),
            "{name}: {}",
            about[0]
        );
    }
}

/// The last frame of a server.
fn close(code: u16) -> Vec<u8> {
    [&b"\x88\x02"[..], &code.to_be_bytes()].concat()
}

#[test]
fn frames_that_break_a_rule_end_their_session_and_no_other() {
    let broker = Broker::start();
    let other = format!("{MAX_FRAME}\n{}", listener("plain", 0));
    let proxy = Proxy::start(&config(broker.addr, &other, ""));
    let mut neighbour = Client::enter(proxy.listening_since(0, "plain"), Version::V5, "neighbour");
    for (name, bytes, code) in frames() {
        let mut stream = entered(proxy.addr, "dev");
        stream.write_all(&bytes).expect("connected");
        assert_eq!(await_close(&mut stream), close(code), "{name}");
        neighbour.assert_alive();
    }
}

/// A client that a broker has let in.
fn entered(addr: SocketAddr, client_id: &str) -> TcpStream {
    let mut stream = upgraded(addr);
    stream.write_all(&frame(BINARY, &connect(Version::V311, client_id))).expect("connected");
    let mut connack = [0; 6];
    stream.read_exact(&mut connack).expect("a CONNACK");
    assert_eq!(connack, *b"\x82\x04\x20\x02\x00\x00");
    stream
}

#[test]
fn a_client_that_comes_in_crumbs_is_served_and_one_that_never_ends_is_not() {
    let broker = Broker::start();
    let proxy = Proxy::start(&config(broker.addr, "type = \"ws\"", ""));
    let mut stream = dial(proxy.addr);
    for byte in request("").bytes() {
        stream.write_all(&[byte]).expect("connected");
    }
    await_upgrade(&mut stream);
    // Every byte of the CONNECT in a message of its own, with nothing and with signs of life between them.
    for byte in connect(Version::V5, "crumbs") {
        for part in [frame(0x02, b""), frame(0x8A, b"alive"), frame(0x80, &[byte])].concat() {
            stream.write_all(&[part]).expect("connected");
        }
    }
    let mut head = [0; 4];
    stream.read_exact(&mut head).expect("a CONNACK");
    assert_eq!((head[0], head[2]), (BINARY, 0x20));

    // The time is for all of it, however little comes at a time.
    proxy.reload(
        &config(broker.addr, "type = \"ws\"\nconnect_timeout = \"500ms\"", ""),
        "config file is in use",
    );
    for (begin, drip) in [("GET /", b"a".to_vec()), (&request(""), frame(0x8A, b""))] {
        let (mark, mut stream) = (proxy.log().mark(), dial(proxy.addr));
        stream.set_read_timeout(Some(Duration::from_millis(20))).expect("open");
        stream.write_all(begin.as_bytes()).expect("connected");
        // Until it is closed: with FIN, or with RST where more was on its way.
        let is_open = |stream: &mut TcpStream| match stream.read(&mut [0; 4096]) {
            Ok(count) => count > 0,
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        };
        while is_open(&mut stream) && stream.write_all(&drip).is_ok() {}
        let peer = format!("peer={} ", stream.local_addr().expect("bound"));
        proxy.log().wait_for(mark, &[&peer, "outcome=connect_timeout"]);
    }
    drop(entered(proxy.addr, "after"));
}

#[test]
fn whoever_asks_for_pongs_without_end_and_reads_none_is_no_burden() {
    let broker = Broker::start();
    let proxy = Proxy::start(&config(broker.addr, "type = \"ws\"", ""));
    let mut stream = entered(proxy.addr, "asks");
    let before = proxy.process().resident_memory();
    let pings = frame(0x89, &[b'?'; 125]).repeat(100);
    for _ in 0..200 {
        stream.write_all(&pings).expect("connected");
    }
    // What it says after that has come through.
    let words = packet(0x30, &[&string("asks"), b"on"]);
    stream
        .write_all(
            &[frame(BINARY, &packet(0x82, &[b"\0\x01", &string("asks"), b"\0"])), frame(BINARY, &words)]
                .concat(),
        )
        .expect("connected");
    let mut heard = Vec::new();
    while !heard.windows(words.len()).any(|window| window == words) {
        let mut more = [0; 4096];
        let count = stream.read(&mut more).expect("more");
        assert_ne!(count, 0, "closed");
        heard.extend_from_slice(&more[..count]);
    }
    let grown = proxy.process().resident_memory().saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB more");
}
