use super::*;

/// The request of RFC 6455, section 1.3, for MQTT.
const REQUEST: &str = "GET /mqtt?x=1 HTTP/1.1\r\nHost: Server.example.com:8083\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Origin: http://example.com\r\nSec-WebSocket-Protocol: chat, mqtt\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn rules() -> Rules {
    Rules { path: "/mqtt".to_owned(), hosts: Vec::new(), origins: Vec::new() }
}

fn upgrade(text: &str) -> Result<Upgrade, Refused> {
    match read(text.as_bytes())? {
        Reading::Complete(upgrade) => rules().check(&upgrade).map(|()| upgrade),
        Reading::NeedMore(_) => panic!("incomplete: {text}"),
    }
}

#[test]
fn the_example_of_the_specification_is_answered() {
    let upgrade = upgrade(REQUEST).expect("an upgrade");
    assert_eq!((&*upgrade.path, &*upgrade.host), ("/mqtt", "server.example.com"));
    assert_eq!(upgrade.size, REQUEST.len());
    let response = String::from_utf8(upgrade.response()).expect("text");
    assert!(response.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{response}");
    assert!(response.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{response}");
    assert!(response.contains("\r\nSec-WebSocket-Protocol: mqtt\r\n"), "{response}");
}

#[test]
fn a_request_is_awaited_to_its_end_and_what_follows_is_left() {
    for end in 0..REQUEST.len() {
        assert_eq!(read(&REQUEST.as_bytes()[..end]), Ok(Reading::NeedMore(1)), "{end}");
    }
    let followed = format!("{REQUEST}\u{2}more");
    assert_eq!(upgrade(&followed).expect("an upgrade").size, REQUEST.len());
}

#[test]
fn mqtt_of_the_client_s_first_choice_is_spoken() {
    let choose =
        |offered: &str| upgrade(&REQUEST.replace("chat, mqtt", offered)).map(|upgrade| upgrade.protocol);
    assert_eq!(choose("mqttv3.1, mqtt"), Ok("mqttv3.1"));
    assert_eq!(choose("MQTT"), Err(Refused::Protocol));
    assert_eq!(choose("chat\r\nSec-WebSocket-Protocol: mqtt"), Ok("mqtt"));
}

#[test]
fn each_reason_to_refuse_has_its_status() {
    let replace = |what: &str, with: &str| {
        assert!(REQUEST.contains(what), "{what}");
        REQUEST.replace(what, with)
    };
    let many = format!("Origin: {}\r\nOrigin", "x".repeat(MAX_REQUEST));
    let cases = [
        (replace("GET", "POST"), Refused::Method, "405"),
        (replace("HTTP/1.1", "HTTP/1.0"), Refused::HttpVersion, "505"),
        (replace("HTTP/1.1", "HTTP/2.0"), Refused::HttpVersion, "505"),
        (replace("Upgrade: websocket", "Upgrade: h2c"), Refused::NoUpgrade, "426"),
        (replace("keep-alive, Upgrade", "close"), Refused::NoUpgrade, "426"),
        (replace("Version: 13", "Version: 8"), Refused::Version, "426"),
        (
            replace("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 8"),
            Refused::Header("Sec-WebSocket-Version"),
            "400",
        ),
        (
            replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ=="),
            Refused::Header("Sec-WebSocket-Key"),
            "400",
        ),
        (replace("Host: ", "Hst: "), Refused::Header("Host"), "400"),
        (replace("Host: ", "Host: a\r\nHost: "), Refused::Header("Host"), "400"),
        (replace("Host: ", "Host : "), Refused::Header("line"), "400"),
        (replace("Host: ", "Content-Length: 5\r\nHost: "), Refused::Body, "400"),
        (
            replace("Host: ", "Content-Length: 0\r\nContent-Length: 5\r\nHost: "),
            Refused::Header("Content-Length"),
            "400",
        ),
        (replace("Host: ", "Transfer-Encoding: chunked\r\nHost: "), Refused::Body, "400"),
        (replace("Host: ", "X-A: 1\r\n folded\r\nHost: "), Refused::Header("line"), "400"),
        (replace("Host: ", "X-A: 1\nHost: "), Refused::LineEnd, "400"),
        (REQUEST.replace('\r', ""), Refused::LineEnd, "400"),
        (format!("\n{REQUEST}"), Refused::LineEnd, "400"),
        (replace("chat, mqtt", "chat"), Refused::Protocol, "400"),
        (replace("/mqtt?x=1", "/other"), Refused::Path, "404"),
        (replace("/mqtt?x=1", "/mqtt/../mqtt"), Refused::Path, "404"),
        (replace("Origin", &many), Refused::TooLarge, "431"),
    ];
    for (request, refused, status) in cases {
        assert_eq!(upgrade(&request), Err(refused), "{request}");
        let response = String::from_utf8(refused.response()).expect("text");
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
        let (head, body) = response.split_once("\r\n\r\n").expect("a head and a body");
        assert!(
            head.contains("Connection: close") && head.contains(&format!("Content-Length: {}", body.len()))
        );
    }
}

#[test]
fn what_is_no_http_gets_no_answer() {
    for bytes in
        [&b"\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x02ab"[..], b"\x16\x03\x01\x02\0", b"PROXY TCP4\r\n\r\n"]
    {
        let refused = read(bytes).expect_err("no request");
        assert_eq!((refused, refused.response()), (Refused::NotHttp, Vec::new()));
    }
}

#[test]
fn hosts_and_origins_are_held_to_the_rules() {
    let Ok(Reading::Complete(upgrade)) = read(REQUEST.as_bytes()) else { panic!("an upgrade") };
    let hosts = |hosts: &[&str]| Rules { hosts: hosts.iter().map(ToString::to_string).collect(), ..rules() };
    assert_eq!(hosts(&["server.example.com"]).check(&upgrade), Ok(()));
    assert_eq!(hosts(&["example.com"]).check(&upgrade), Err(Refused::Host));
    let origins =
        |origins: &[&str]| Rules { origins: origins.iter().map(ToString::to_string).collect(), ..rules() };
    assert_eq!(origins(&["https://other.example", "http://EXAMPLE.com"]).check(&upgrade), Ok(()));
    assert_eq!(origins(&["https://example.com"]).check(&upgrade), Err(Refused::Origin));
    let Ok(Reading::Complete(device)) = read(REQUEST.replace("Origin", "X-Origin").as_bytes()) else {
        panic!("an upgrade")
    };
    assert_eq!(origins(&["https://example.com"]).check(&device), Ok(()), "no browser");
}

#[test]
fn our_own_request_is_one_that_we_take_and_its_answer_one_that_we_believe() {
    let key = key([7; 16]);
    let ours = request("broker.example:8083", "/mqtt", &key);
    let Ok(Reading::Complete(upgrade)) = read(&ours) else { panic!("an upgrade") };
    assert_eq!((rules().check(&upgrade), &*upgrade.host), (Ok(()), "broker.example"));
    let answer = upgrade.response();
    for end in 0..answer.len() {
        assert_eq!(read_answer(&answer[..end], &key), Ok(Reading::NeedMore(1)));
    }
    assert_eq!(read_answer(&[&answer[..], b"\x82\x00"].concat(), &key), Ok(Reading::Complete(answer.len())));

    let text = String::from_utf8(answer).expect("text");
    for (from, to, problem) in [
        ("101 Switching Protocols", "404 Not Found", NotUpgraded::Status(404)),
        ("Upgrade: websocket", "Upgrade: h2c", NotUpgraded::Header("Upgrade")),
        ("Connection: Upgrade", "Connection: close", NotUpgraded::Header("Connection")),
        (
            "Sec-WebSocket-Protocol: mqtt",
            "Sec-WebSocket-Protocol: soap",
            NotUpgraded::Header("Sec-WebSocket-Protocol"),
        ),
        ("HTTP/1.1", "MQTT/1.1", NotUpgraded::NotHttp),
    ] {
        assert_eq!(read_answer(text.replace(from, to).as_bytes(), &key), Err(problem), "{from}");
    }
    assert_eq!(read_answer(text.as_bytes(), "another"), Err(NotUpgraded::Header("Sec-WebSocket-Accept")));
}

#[test]
fn ports_are_no_part_of_a_host() {
    for (host, name) in [
        ("a.example:1", "a.example"),
        ("[::1]:8083", "[::1]"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("a", "a"),
    ] {
        assert_eq!(without_port(host), name);
    }
}
