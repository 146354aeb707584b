//! What becomes of a client that is found out: it is banned, and one can see why.

use crate::harness::{BANNED, Running, Site, admitting_broker};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

const FLAPPING: &str = "[flapping_detect]\nenable = true\nmax_count = 3\n[detection]\nlearning = \"0s\"\n\
                        [detection.escalation]\nfactor = 2\njitter_percent = 0\n";

/// A client that is let in and goes at once; true when it was let in.
fn come_and_go(proxy: &Running, client_id: &str) -> bool {
    let mut stream = TcpStream::connect(proxy.addr).expect("the proxy listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    stream.write_all(&Running::connect(client_id)).expect("connected");
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).expect("an answer");
    stream.write_all(b"\xe0\x00").expect("connected");
    stream.shutdown(std::net::Shutdown::Write).expect("connected");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("no reset");
    answer[3] == 0
}

/// Lets a client flap until it is kept out; returns how often it was let in.
fn flap(proxy: &Running, client_id: &str) -> usize {
    let limit = 50;
    (0..limit).position(|_| !come_and_go(proxy, client_id)).unwrap_or(limit)
}

#[test]
fn who_flaps_is_banned_and_one_can_see_why_and_lift_it() {
    let broker = admitting_broker();
    let site = Site::with_broker(broker, FLAPPING);
    let proxy = site.serve();
    let let_in = flap(&proxy, "flapper");
    // The end of the third session is judged while the next one may already be coming.
    assert!((3..=6).contains(&let_in), "{let_in}");
    assert!(come_and_go(&proxy, "steady"));

    // A ban is in force before it is on disk, which `list` reads.
    let table = site.until(&["bans", "list"], "flapper");
    assert!(table.contains("\"flapping detector\" flapper  \"flapping is detected\""), "{table}");
    let explained = site.run(&["explain", "--clientid", "flapper", "--peer", "127.0.0.1"]);
    assert_eq!(explained.code, Some(2));
    assert!(
        explained.stdout.contains("    automatic ban number 1: by_clientid counted 3 of 3 in 60 s, from 127.0.0.1, as flapper; blame: client "),
        "{}",
        explained.stdout
    );
    let found = site.succeed(&["detections"]);
    assert!(found.contains(" default ban clientid flapper until 20"), "{found}");
    let json: serde_json::Value =
        serde_json::from_str(&site.succeed(&["detections", "--json"])).expect("JSON");
    assert_eq!((&json["detector"], &json["evidence"]["limit"]), (&"by_clientid".into(), &3.into()));

    // It is kept: after a restart it is still banned, and its evidence is there without a proxy, too.
    drop(proxy);
    let explained = site.run(&["explain", "--clientid", "flapper"]);
    assert!(explained.stdout.contains("automatic ban number 1: by_clientid"), "{}", explained.stdout);
    let proxy = site.serve();
    assert_eq!(proxy.knock("flapper"), BANNED);
    site.succeed(&["bans", "remove", "clientid", "flapper"]);
    assert!(come_and_go(&proxy, "flapper"));
}

#[test]
fn shadows_tell_and_ban_nobody() {
    let site = Site::with_broker(
        admitting_broker(),
        &FLAPPING.replace("max_count = 3", "max_count = 3\nshadow = true"),
    );
    let proxy = site.serve();
    assert_eq!(flap(&proxy, "flapper"), 50);
    assert_eq!(site.names("bans"), [""; 0]);
    let found = site.until(&["detections"], "would_ban");
    assert!(found.contains(" default would_ban clientid flapper until 20"), "{found}");
}

/// A receiver of webhooks: its URL, and the requests that it gets.
fn receiver() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/hook", listener.local_addr().expect("bound"));
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.expect("accepts"));
            let (mut request, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).expect("a header");
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a number");
                }
                if line.trim().is_empty() {
                    break;
                }
                request.push_str(&line);
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("a body");
            request.push_str(&String::from_utf8(body).expect("text"));
            stream.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("connected");
            let _ = sender.send(request);
        }
    });
    (url, requests)
}

#[test]
fn a_webhook_is_told_of_a_ban() {
    let (url, requests) = receiver();
    let webhook = format!("{FLAPPING}[webhook]\nurl = \"{url}\"\nsecret = \"0123456789abcdef\"\n");
    let site = Site::with_broker(admitting_broker(), &webhook);
    let proxy = site.serve();
    flap(&proxy, "flapper");
    let request = requests.recv_timeout(Duration::from_secs(20)).expect("an event");
    let (headers, body) = request.split_at(request.find('{').expect("a body"));
    let headers = headers.to_ascii_lowercase();
    assert!(headers.starts_with("post /hook http/1.1"), "{headers}");
    assert!(headers.contains("x-mqtt-bouncer-signature: sha256="), "{headers}");
    let event: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let text = |key: &str| event[key].as_str().expect("a text").to_owned();
    assert_eq!(["event", "as", "who", "detector"].map(text), ["ban", "clientid", "flapper", "by_clientid"]);
    assert_eq!(event["evidence"]["addresses"][0], "127.0.0.1");
}

#[test]
fn whoever_is_exempt_may_flap() {
    let site = Site::with_broker(admitting_broker(), FLAPPING);
    let proxy = site.serve();
    site.succeed(&["exemptions", "add", "clientid", "probe"]);
    assert_eq!(flap(&proxy, "probe"), 50);
    assert_eq!(site.succeed(&["detections"]), "");
}
