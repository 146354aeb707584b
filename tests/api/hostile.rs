//! What callers cannot do to the API.

use crate::harness::{Answer, PASSWORD, Running, Site, basic, request};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const IMPATIENT: &str = "[admin]\nbind = \"127.0.0.1:0\"\npassword_file = \"password\"\napi_key_file = \"keys\"\n\
                         header_timeout = \"300ms\"\nbody_timeout = \"300ms\"\nmax_connections = 8\n";

fn is_alive(proxy: &Running) -> bool {
    proxy.get("/api/v5/status").status == 200
}

fn until_closed(mut stream: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => answer,
    }
}

#[test]
fn slow_heads_and_idle_connections_are_closed() {
    let site = Site::new(IMPATIENT);
    let proxy = site.serve();
    for begin in ["", "GET /api/v5/status HTTP/1.1\r\nHost: x\r\n"] {
        let mut stream = proxy.connect();
        stream.write_all(begin.as_bytes()).expect("connected");
        // Else the read would time out, after longer than that.
        until_closed(stream);
    }
    // A connection that has had its answer.
    let mut stream = proxy.connect();
    let call = format!("GET /api/v5/status HTTP/1.1\r\nHost: x\r\n{}\r\n", basic("file-key", "file-secret"));
    stream.write_all(call.as_bytes()).expect("connected");
    assert!(String::from_utf8_lossy(&until_closed(stream)).starts_with("HTTP/1.1 200"));
}

#[test]
fn slow_bodies_are_given_up() {
    let site = Site::new(IMPATIENT);
    let proxy = site.serve();
    let key = basic("file-key", "file-secret");
    for (path, headers, expected) in [
        ("/api/v5/login", "", (408, "REQUEST_TIMEOUT")),
        ("/api/v5/explain", &*key, (408, "REQUEST_TIMEOUT")),
        ("/api/v5/banned/import?mode=put", &*key, (400, "BAD_REQUEST")),
    ] {
        let mut stream = proxy.connect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n{headers}\r\n{{"
        );
        stream.write_all(head.as_bytes()).expect("connected");
        let answer = Answer::read(&String::from_utf8_lossy(&until_closed(stream)));
        assert_eq!(answer.fault(), (expected.0, expected.1.to_owned()), "{path}");
    }
    assert!(is_alive(&proxy));
}

#[test]
fn an_import_may_take_as_long_as_it_likes_while_it_goes_on() {
    let site = Site::new(IMPATIENT);
    let proxy = site.serve();
    let mut stream = proxy.connect();
    let key = basic("file-key", "file-secret");
    let head = format!(
        "POST /api/v5/banned/import?mode=put HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{key}\r\n"
    );
    stream.write_all(head.as_bytes()).expect("connected");
    let (pause, sleeping) = std::sync::mpsc::channel::<()>();
    for number in 0..8 {
        let record = format!("{{\"as\":\"clientid\",\"who\":\"c{number}\"}}\n");
        stream.write_all(format!("{:x}\r\n{record}\r\n", record.len()).as_bytes()).expect("taken");
        let _ = sleeping.recv_timeout(Duration::from_millis(100));
    }
    drop(pause);
    stream.write_all(b"0\r\n\r\n").expect("taken");
    let answer = Answer::read(&String::from_utf8_lossy(&until_closed(stream)));
    assert_eq!((answer.status, &answer.json()["added"]), (200, &8.into()), "{answer:?}");
}

#[test]
fn large_bodies_are_refused_whether_they_say_so_or_not() {
    let site = Site::new("");
    let proxy = site.serve();
    let key = basic("file-key", "file-secret");
    let body = "x".repeat(10 << 20);
    let answer = proxy.call("POST", "/api/v5/explain", &key, &body);
    assert_eq!(
        answer.body,
        r#"{"code":"PAYLOAD_TOO_LARGE","message":"the body is too large; expected at most 1048576 bytes"}"#
    );
    assert_eq!(answer.status, 413);
    let chunked = format!(
        "POST /api/v5/explain HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n{key}\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let answer = Answer::read(&proxy.raw(chunked.as_bytes()));
    assert_eq!(answer.fault(), (413, "PAYLOAD_TOO_LARGE".to_owned()));
    // Whoever has not logged in has less.
    let body = format!("{{\"username\":\"admin\",\"password\":\"{}\"}}", "x".repeat(20_000));
    assert_eq!(proxy.call("POST", "/api/v5/login", "", &body).status, 413);
    let body = format!("{{\"peer\":\"10.0.0.1\",\"clientid\":\"{}\"}}", "x".repeat(900_000));
    assert_eq!(proxy.call("POST", "/api/v5/explain", &key, &body).status, 200);
}

#[test]
fn many_connections_wait_for_one_another_and_the_socket_has_its_own() {
    let site = Site::new(IMPATIENT);
    let proxy = site.serve();
    let idle: Vec<_> = (0..100).map(|_| proxy.connect()).collect();
    assert_eq!(site.run(&["status", "--json"], "").0, Some(0), "the socket is not concerned");
    // Each is closed after a while, and whoever waits behind them gets in.
    assert!(is_alive(&proxy));
    drop(idle);
}

#[test]
fn garbage_is_answered_or_closed_and_hurts_nobody() {
    let site = Site::new("");
    let proxy = site.serve();
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "x: y\r\n".repeat(1000));
    let tls_hello: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let mqtt: &[u8] = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a";
    let bytes: Vec<u8> = (0..=255).cycle().take(4096).collect();
    for sent in [
        b"\r\n\r\n\r\n" as &[u8],
        b"\x00\x00\x00\x00\r\n\r\n",
        tls_hello,
        mqtt,
        &bytes,
        long.as_bytes(),
        many.as_bytes(),
        b"GET\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ] {
        let mut stream = proxy.connect();
        let _ = stream.write_all(sent);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let answer = until_closed(stream);
        let text = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    }
    assert!(is_alive(&proxy));
}

#[test]
fn old_http_is_served_and_a_missing_host_refused() {
    let site = Site::new("");
    let proxy = site.serve();
    let key = basic("file-key", "file-secret");
    assert!(
        proxy.raw(format!("GET /api/v5/status HTTP/1.0\r\n{key}\r\n").as_bytes()).starts_with("HTTP/1.0 200")
    );
    let answer = Answer::read(
        &proxy.raw(format!("GET /api/v5/status HTTP/1.1\r\nConnection: close\r\n{key}\r\n").as_bytes()),
    );
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (400, r#"{"code":"BAD_REQUEST","message":"the Host header is missing"}"#)
    );
}

#[test]
fn requests_cannot_be_smuggled() {
    let site = Site::new("");
    let proxy = site.serve();
    let key = basic("file-key", "file-secret");
    let both = format!(
        "POST /api/v5/explain HTTP/1.1\r\nHost: x\r\n{key}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /api/v5/status HTTP/1.1\r\nHost: x\r\n{key}\r\n"
    );
    let answers = proxy.raw(both.as_bytes());
    assert!(answers.matches("HTTP/1.1 ").count() <= 1 || !answers.contains("uptime_seconds"), "{answers}");
    let twice = format!(
        "POST /api/v5/explain HTTP/1.1\r\nHost: x\r\n{key}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"
    );
    assert!(proxy.raw(twice.as_bytes()).starts_with("HTTP/1.1 400"));
    assert!(is_alive(&proxy));
}

#[test]
fn bodies_of_another_type_or_form_are_told_so() {
    let site = Site::new("");
    let proxy = site.serve();
    let text = "POST /api/v5/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}";
    let answer = Answer::read(&proxy.raw(text.as_bytes()));
    assert_eq!(
        answer.body,
        r#"{"code":"UNSUPPORTED_MEDIA_TYPE","message":"content-type:application/json Required"}"#
    );
    assert_eq!(answer.status, 415);
    let deep = "[".repeat(10_000);
    for body in ["[1", "null", "{\"username\":1,\"password\":2}", &deep, "\u{0}"] {
        assert_eq!(
            proxy.call("POST", "/api/v5/login", "", body).fault(),
            (400, "BAD_REQUEST".to_owned()),
            "{body:.20}"
        );
    }
    let invalid = [request("POST", "/api/v5/login", "", "12345678").as_bytes(), b""].concat();
    let invalid: Vec<u8> = invalid.iter().map(|byte| if *byte == b'1' { 0xff } else { *byte }).collect();
    assert!(proxy.raw(&invalid).starts_with("HTTP/"));
    assert!(is_alive(&proxy));
}

#[test]
fn a_flood_of_logins_is_answered_and_bounded() {
    let site = Site::new("");
    let proxy = site.serve();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let logins: Vec<_> = (0..40).map(|_| scope.spawn(|| proxy.login("admin", "guess").status)).collect();
        logins.into_iter().map(|login| login.join().expect("no panic")).collect()
    });
    let count = |status| statuses.iter().filter(|found| **found == status).count();
    assert_eq!((count(401), count(429)), (5, 35), "{statuses:?}");
    assert_eq!(proxy.login("admin", PASSWORD).status, 429);
}
