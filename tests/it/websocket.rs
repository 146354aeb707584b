//! Listeners that speak WebSocket.

use crate::harness::*;
use mqtt_bouncer::admission::As;
use mqtt_bouncer::metrics::Outcome;
use mqtt_bouncer::wire::websocket::frame::{Header, Opcode, apply_mask, control};
use tokio::io::AsyncReadExt;

const MASK: [u8; 4] = [1, 2, 3, 4];
const WS: &str = "type = \"ws\"";
const YES: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

fn request(more: &str) -> Vec<u8> {
    format!(
        "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{more}\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

fn masked(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Header::new(Opcode::Binary, payload.len(), Some(MASK)).as_bytes().to_vec();
    let begin = bytes.len();
    bytes.extend_from_slice(payload);
    apply_mask(&mut bytes[begin..], MASK, 0);
    bytes
}

/// A client whose upgrade was answered.
async fn upgraded(proxy: &Proxy, more: &str) -> Client {
    let mut client = proxy.connect().await;
    client.send(&request(more)).await;
    client.receive(YES).await;
    client
}

#[tokio::test]
async fn packets_cross_the_borders_of_frames_both_ways() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, WS, ""));
    let mut client = upgraded(&proxy, "").await;
    let connect = connect_v311("dev");
    let (head, tail) = connect.split_at(5);
    let both = [tail, &frame(0x30, b"\0\x01tx")[..]].concat();
    client.send(&[masked(head), masked(b""), masked(&both)].concat()).await;
    let mut inside = broker.accept().await;
    inside.receive(&connect).await;
    inside.receive(&frame(0x30, b"\0\x01tx")).await;
    inside.send(b"\x20\x02\0\0").await;
    client.receive(b"\x82\x04\x20\x02\0\0").await;
    client.send(&control(Opcode::Ping, b"?", Some(MASK))).await;
    client.receive(b"\x8a\x01?").await;
    // The broker's end is told as a close.
    drop(inside);
    assert_eq!(client.rest().await, b"\x88\x02\x03\xe8");
}

#[tokio::test]
async fn a_banned_client_is_told_in_a_frame_and_then_that_it_is_over() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, WS, ""));
    proxy.ban(As::ClientId, "bad");
    let mut client = upgraded(&proxy, "").await;
    client.send(&masked(&connect_v5("bad"))).await;
    assert_eq!(client.rest().await, b"\x82\x05\x20\x03\x00\x8a\x00\x88\x02\x03\xe8");
    assert!(!broker.was_called());
}

#[tokio::test]
async fn what_is_no_upgrade_is_refused_in_http_and_counted() {
    let broker = Broker::start().await;
    let rules = "type = \"ws\"\nwebsocket = { path = \"/door\", hosts = [\"a.example\"], origins = [\"https://b.example\"] }";
    let proxy = Proxy::start(&config(broker.addr, rules, ""));
    let changed = |pairs: &[(&str, &str)]| {
        let text = String::from_utf8(request("Origin: https://b.example\r\n")).expect("text");
        let text = text.replace("/mqtt", "/door").replace("localhost", "a.example:80");
        pairs.iter().fold(text, |text, (from, to)| text.replace(from, to)).into_bytes()
    };
    let cases = [
        (changed(&[("/door", "/mqtt")]), "404"),
        (changed(&[("a.example", "c.example")]), "421"),
        (changed(&[("b.example", "c.example")]), "403"),
        (changed(&[("GET", "POST")]), "405"),
        (changed(&[("Host:", "Content-Length: 3\r\nHost:")]), "400"),
        (changed(&[("Protocol: mqtt", "Protocol: soap")]), "400"),
        (changed(&[("Version: 13", "Version: 7")]), "426"),
    ];
    let count = cases.len() as u64;
    for (request, status) in cases {
        let mut client = proxy.connect().await;
        client.send(&request).await;
        let answer = String::from_utf8(client.rest().await).expect("text");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    for stranger in [&connect_v311("dev")[..], b"\x16\x03\x01\x02\0"] {
        let mut client = proxy.connect().await;
        client.send(stranger).await;
        assert_eq!(client.rest().await, b"");
    }
    assert_eq!(proxy.count(Outcome::WebSocketFailed), count + 2);
    let mut good = proxy.connect().await;
    good.send(&changed(&[])).await;
    good.receive(YES).await;
    assert!(!broker.was_called());
}

#[tokio::test]
async fn a_frame_that_breaks_a_rule_ends_the_session_with_its_code() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "type = \"ws\"\nwebsocket = { max_frame_size = 100 }", ""));
    for (bytes, close) in [
        (masked(&[0; 101]), b"\x88\x02\x03\xf1"),
        (b"\x81\x80\0\0\0\0".to_vec(), b"\x88\x02\x03\xeb"),
        (b"\x82\x01x".to_vec(), b"\x88\x02\x03\xea"),
    ] {
        let mut client = upgraded(&proxy, "").await;
        client.send(&masked(&connect_v311("dev"))).await;
        let mut inside = broker.accept().await;
        inside.receive(&connect_v311("dev")).await;
        client.send(&bytes).await;
        let mut answer = [0; 4];
        client.0.read_exact(&mut answer).await.expect("a close");
        assert_eq!(&answer, close);
        inside.ended().await;
    }
}

#[tokio::test]
async fn behind_an_http_proxy_the_client_is_known_by_its_own_address() {
    let broker = Broker::start().await;
    let rules =
        "type = \"ws\"\ntrusted = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\nwebsocket = { forwarded_for = true }";
    let proxy = Proxy::start(&config(broker.addr, rules, ""));
    proxy.ban(As::PeerHost, "192.0.2.66");
    for (list, is_banned) in [
        ("X-Forwarded-For: 192.0.2.66\r\n", true),
        ("X-Forwarded-For: 192.0.2.66, 10.1.2.3\r\n", true),
        ("X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.66:4711\r\n", true),
        // Written by the client itself, or by nobody knows whom.
        ("X-Forwarded-For: 192.0.2.66, 192.0.2.7\r\n", false),
        ("X-Forwarded-For: 192.0.2.66, unknown, 10.1.2.3\r\n", false),
        ("", false),
    ] {
        let mut client = upgraded(&proxy, list).await;
        client.send(&masked(&connect_v5("dev"))).await;
        if is_banned {
            assert_eq!(client.rest().await, b"\x82\x05\x20\x03\x00\x8a\x00\x88\x02\x03\xe8", "{list}");
        } else {
            broker.accept().await.receive(&connect_v5("dev")).await;
        }
    }
    let untrusting = "type = \"ws\"\ntrusted = [\"10.0.0.0/8\"]\nwebsocket = { forwarded_for = true }";
    let proxy = Proxy::start(&config(broker.addr, untrusting, ""));
    proxy.ban(As::PeerHost, "192.0.2.66");
    let mut client = upgraded(&proxy, "X-Forwarded-For: 192.0.2.66\r\n").await;
    client.send(&masked(&connect_v5("dev"))).await;
    broker.accept().await.receive(&connect_v5("dev")).await;
}
