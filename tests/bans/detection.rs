//! What becomes of a client that is found out: it is banned, and one can see why.

use crate::harness::{BANNED, Running, Site, admitting_broker};
use std::io::{Read, Write};
use std::net::TcpStream;
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

    let table = site.succeed(&["bans", "list"]);
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
    let found = site.succeed(&["detections"]);
    assert!(found.contains(" default would_ban clientid flapper until 20"), "{found}");
}

#[test]
fn whoever_is_exempt_may_flap() {
    let site = Site::with_broker(admitting_broker(), FLAPPING);
    let proxy = site.serve();
    site.succeed(&["exemptions", "add", "clientid", "probe"]);
    assert_eq!(flap(&proxy, "probe"), 50);
    assert_eq!(site.succeed(&["detections"]), "");
}
