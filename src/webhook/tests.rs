//! A webhook and the receivers that it may meet, over real sockets.

mod receiver;
mod tls;

use super::*;
use receiver::{Receiver, Reply, Told};
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket};

/// Long enough for the slowest machine; a test that fails waits for it.
const LONG: Duration = Duration::from_mins(1);
const AT: i64 = 1_795_256_880;

fn settings(url: &str) -> WebhookSettings {
    WebhookSettings { timeout: LONG, ..WebhookSettings::new(url.parse().expect("a URL")) }
}

fn to(addr: SocketAddr) -> WebhookSettings {
    settings(&format!("http://{addr}/hook?from=edge"))
}

/// A webhook that waits hardly at all between attempts.
fn start(settings: WebhookSettings) -> Webhook {
    let back_off = BackOff { first: Duration::from_millis(1), most: Duration::from_millis(1) };
    Webhook::start_with(settings, back_off).expect("started")
}

/// Sends these, waits until all of them are counted.
async fn sent(settings: WebhookSettings, events: &[&'static str]) -> Counts {
    let webhook = start(settings);
    for event in events {
        assert!(webhook.send(Bytes::from_static(event.as_bytes()), AT));
    }
    webhook.stop(LONG).await
}

fn delivered(delivered: u64) -> Counts {
    Counts { delivered, ..Counts::default() }
}

fn failed(failed: u64) -> Counts {
    Counts { failed, ..Counts::default() }
}

fn bodies(told: &[Told]) -> Vec<&str> {
    told.iter().map(|told| std::str::from_utf8(&told.body).expect("text")).collect()
}

#[tokio::test]
async fn an_event_is_posted_as_json() {
    let receiver = Receiver::start([]).await;
    let webhook = to(receiver.addr());
    assert_eq!(sent(webhook, &[r#"{"event":"ban"}"#]).await, delivered(1));

    let told = receiver.told();
    let [told] = &*told else { panic!("{told:?}") };
    assert_eq!((told.method.as_str(), told.target.as_str()), ("POST", "/hook?from=edge"));
    assert_eq!(told.body, r#"{"event":"ban"}"#);
    for (name, value) in [
        ("host", receiver.addr().to_string().as_str()),
        ("content-type", "application/json"),
        ("content-length", "15"),
        ("user-agent", concat!("mqtt-bouncer/", env!("CARGO_PKG_VERSION"))),
        ("x-mqtt-bouncer-timestamp", "1795256880"),
    ] {
        assert_eq!(told.header(name), Some(value), "{name}");
    }
    assert_eq!(told.header("x-mqtt-bouncer-signature"), None);
}

/// The signature is what Python makes of it:
/// `hmac.new(b"s3cret", b'1795256880.{"event":"ban"}', hashlib.sha256).hexdigest()`.
#[tokio::test]
async fn an_event_is_signed_when_there_is_a_secret() {
    let receiver = Receiver::start([]).await;
    let secret = Some("s3cret".parse().expect("a secret"));
    let webhook = WebhookSettings { secret, ..to(receiver.addr()) };
    assert_eq!(sent(webhook, &[r#"{"event":"ban"}"#]).await, delivered(1));
    assert_eq!(
        receiver.told()[0].header("x-mqtt-bouncer-signature"),
        Some("sha256=ad963ce1f0d0b6bf60a6de7bdf06bf0f1bd491c4a5ecb71cb4358962753ebcca")
    );
}

#[tokio::test]
async fn events_come_in_order_and_stop_waits_for_them() {
    let receiver = Receiver::start([]).await;
    assert_eq!(sent(to(receiver.addr()), &["a", "b", "c", "d", "e"]).await, delivered(5));
    assert_eq!(bodies(&receiver.told()), ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn an_event_is_sent_again_as_it_was_until_it_is_taken() {
    let replies = [500, 429, 408, 503].map(|status| Reply::Status(status, "retry-after: 0"));
    let receiver = Receiver::start(replies).await;
    let secret = Some("s3cret".parse().expect("a secret"));
    let webhook = WebhookSettings { secret, ..to(receiver.addr()) };
    assert_eq!(sent(webhook, &["a", "b"]).await, delivered(2));

    let told = receiver.told();
    assert_eq!(bodies(&told), ["a", "a", "a", "a", "a", "b"]);
    let signatures: Vec<_> = told.iter().map(|told| told.header("x-mqtt-bouncer-signature")).collect();
    assert!(signatures[..5].iter().all(|signature| *signature == signatures[0]), "{signatures:?}");
    assert_ne!(signatures[0], signatures[5]);
}

#[tokio::test]
async fn after_the_last_attempt_an_event_is_given_up() {
    let receiver = Receiver::start([500, 500, 500].map(|status| Reply::Status(status, ""))).await;
    let webhook = WebhookSettings { max_attempts: 3, ..to(receiver.addr()) };
    assert_eq!(sent(webhook, &["a", "b"]).await, Counts { failed: 1, ..delivered(1) });
    assert_eq!(bodies(&receiver.told()), ["a", "a", "a", "b"]);
}

#[tokio::test]
async fn an_event_that_is_refused_is_given_up_at_once() {
    for status in [400, 401, 404, 410] {
        let receiver = Receiver::start([Reply::Status(status, "")]).await;
        assert_eq!(sent(to(receiver.addr()), &["a"]).await, failed(1));
        assert_eq!(bodies(&receiver.told()), ["a"], "{status}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Receiver::start([]).await;
    let location = format!("location: http://{}/", elsewhere.addr()).leak();
    let receiver = Receiver::start([307, 302].map(|status| Reply::Status(status, location))).await;
    assert_eq!(sent(to(receiver.addr()), &["a", "b"]).await, failed(2));
    assert_eq!(bodies(&receiver.told()), ["a", "b"]);
    assert!(elsewhere.told().is_empty());
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_is_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let webhook = to(silent.local_addr().expect("bound"));
    let webhook = WebhookSettings { timeout: Duration::from_millis(20), max_attempts: 2, ..webhook };
    assert_eq!(sent(webhook, &["a"]).await, failed(1));
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_tried_again_and_given_up() {
    // Bound and not listening: connections are refused, and nobody else gets the port.
    let absent = TcpSocket::new_v4().expect("a socket");
    absent.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
    assert_eq!(sent(to(absent.local_addr().expect("bound")), &["a", "b"]).await, failed(2));
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_again() {
    let receiver =
        Receiver::start([Reply::Bytes(""), Reply::Bytes("HTTP/1.1 2"), Reply::Bytes("MQTT\r\n\r\n")]);
    let receiver = receiver.await;
    assert_eq!(sent(to(receiver.addr()), &["a"]).await, delivered(1));
    assert_eq!(bodies(&receiver.told()), ["a", "a", "a", "a"]);
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let receiver = Receiver::start([Reply::Endless("HTTP/1.1 200 OK\r\n\r\n")]).await;
    assert_eq!(sent(to(receiver.addr()), &["a", "b"]).await, delivered(2));
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    let receiver = Receiver::start([Reply::Endless("HTTP/1.1 200 OK\r\nx: ")]).await;
    assert_eq!(sent(to(receiver.addr()), &["a"]).await, delivered(1));
    assert_eq!(bodies(&receiver.told()), ["a", "a"]);
}

#[tokio::test]
async fn events_that_find_no_place_are_dropped_and_counted() {
    let receiver = Receiver::start([]).await;
    let webhook = start(WebhookSettings { queue: 2, ..to(receiver.addr()) });
    // Nobody else runs in this thread before the first await.
    let taken = ["a", "b", "c", "d"].map(|event| webhook.send(Bytes::from_static(event.as_bytes()), AT));
    assert_eq!(taken, [true, true, false, false]);
    assert_eq!(webhook.counts(), Counts { dropped: 2, ..Counts::default() });
    assert_eq!(webhook.stop(LONG).await, Counts { dropped: 2, ..delivered(2) });
    assert_eq!(bodies(&receiver.told()), ["a", "b"]);
}

#[tokio::test]
async fn stop_drops_what_it_has_no_patience_for() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let webhook = start(to(silent.local_addr().expect("bound")));
    let other = webhook.clone();
    for event in ["a", "b", "c"] {
        assert!(webhook.send(Bytes::from_static(event.as_bytes()), AT));
    }
    let _connection = silent.accept().await.expect("the worker connects");
    assert_eq!(webhook.stop(Duration::ZERO).await, Counts { dropped: 3, ..Counts::default() });
    assert!(!other.send(Bytes::from_static(b"d"), AT));
    assert_eq!(other.stop(LONG).await, Counts { dropped: 4, ..Counts::default() });
}

#[tokio::test]
async fn a_queue_for_nobody_holds_one() {
    let receiver = Receiver::start([]).await;
    for queue in [0, usize::MAX] {
        let webhook = WebhookSettings { queue, max_attempts: 0, ..to(receiver.addr()) };
        assert_eq!(sent(webhook, &["a"]).await, delivered(1));
    }
}

#[test]
fn settings_show_neither_the_secret_nor_the_path() {
    let secret = Some("hunter2".parse().expect("a secret"));
    let settings = WebhookSettings { secret, ..settings("https://example.org/services/t0ken") };
    let shown = format!("{settings:?}");
    assert!(shown.contains("https://example.org"), "{shown}");
    assert!(!shown.contains("hunter2") && !shown.contains("t0ken"), "{shown}");
}
