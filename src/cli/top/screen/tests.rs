use super::*;
use serde_json::json;

/// Numbers after so many seconds, of a proxy that lets ten clients in each second and refuses two.
fn stats(seconds: u64) -> Stats {
    let statuses = json!({ "active": 3, "expired": 1, "deleting_soon": 0 });
    let took = json!({ "count": 0, "sum_seconds": 0.0, "buckets": [] });
    let patterns = json!({ "classes": {}, "undecided": 0 });
    let value: Value = json!({
        "node": "edge\u{1b}[2J", "version": "1.2.3", "started_at": "", "started_at_seconds": 5.0,
        "uptime_seconds": seconds, "state": "running",
        "listeners": { "mqtt": {
            "connections": seconds * 12, "live_connections": 41, "max_connections": 100_000, "live_sessions": 40,
            "outcomes": { "admitted": seconds * 10, "banned": seconds * 2, "probe": 0 },
            "bytes_to_broker": seconds * 1_500_000, "bytes_to_client": 0,
        }},
        "refused": { "clientid": seconds * 2 }, "bans": { "clientid": statuses, "username": statuses },
        "exemptions": {}, "ban_patterns": patterns, "exemption_patterns": patterns,
        "checks": { "count": seconds * 20, "sampled": took },
        "detections": { "by_clientid": { "bans": seconds, "shadow": 0 }, "hammering": { "bans": 0, "shadow": 0 } },
        "tables": { "keys": 1, "bytes": 2, "automatic_ban_bytes": 3, "lost": 0 },
        "store": { "commits": 0, "changes": 0, "errors": 0, "last_commit_seconds": 0.0, "file_bytes": 0, "wal_bytes": 0 },
        "webhook": { "delivered": 0, "failed": 0, "dropped": 0 }, "log": { "suppressed_lines": 0 },
        "upstreams": [],
        "upstream": { "broker.example:1883": {
            "is_configured": true, "is_reachable": true, "connected": seconds * 10, "failed": 0,
            "connecting": took, "live_sessions": 40,
        }},
        "reloads": { "succeeded": 0, "failed": 0, "last_success_seconds": null }, "requests": [],
        "process": { "cpu_seconds": seconds, "resident_bytes": 25_000_000, "open_files": 99, "max_files": 1024, "threads": 4 },
    });
    serde_json::from_value(value).expect("numbers")
}

fn refused() -> Value {
    json!({ "data": [
        { "peerhost": "192.0.2.1", "last_at": "2030-03-17T17:46:40+00:00", "count": 17, "reason": "banned",
          "others": false, "clientid": "bot\u{1b}[2J" },
        { "peerhost": "2001:db8::/64", "last_at": "2030-03-17T17:46:41+00:00", "count": 1234,
          "reason": "not_authorized", "others": true, "clientid": null },
    ]})
}

#[test]
fn an_ordinary_terminal_shows_all_that_matters() {
    let (before, now) = (stats(100), stats(102));
    let lines = View { before: Some(&before), now: &now, refused: &refused(), trouble: None }
        .lines(Size { width: 80, height: 30 });
    let expected = r#"mqtt-bouncer 1.2.3  "edge\u{1b}[2J"  running  up 00:01:42
cpu 100 %  memory 25.0 MB  files 99 of 1,024  threads 4  checks/s 20.0
detection 1 keys in 2 B  store 0 B on disk, commits/s 0.0

LISTENER             SESSIONS      CONNS      LIMIT    NEW/s     IN/s    OUT/s
mqtt                       40         41    100,000     12.0   1.5 MB      0 B

OUTCOME                   /s       ALL  BANS             ACTIVE    ENDED  HITS/s
admitted                10.0     1,020  clientid              3        1     2.0
banned                   2.0       204  username              3        1     0.0

BROKER                               STATE   SESSIONS  CONNECTS/s  FAILED/s
broker.example:1883                     up         40        10.0       0.0

DETECTOR                  /s       BANS     SHADOW
by_clientid              1.0        102          0

REFUSED                      LAST   TIMES             REASON CLIENT ID
192.0.2.1                17:46:40      17             banned "bot\u{1b}[2J"
2001:db8::/64            17:46:41   1,234     not_authorized (others)"#;
    assert_eq!(lines.join("\n"), expected);
}

#[test]
fn nothing_is_wider_or_higher_than_the_terminal() {
    let (before, now) = (stats(1), stats(2));
    for (width, height) in [(80, 24), (40, 10), (1, 1), (200, 3)] {
        let refused = refused();
        let view = View {
            before: Some(&before),
            now: &now,
            refused: &refused,
            trouble: Some("cannot reach the proxy"),
        };
        let lines = view.lines(Size { width, height });
        assert!(lines.len() <= height, "{width} {height}");
        for line in lines {
            assert!(console::measure_text_width(&line) <= width, "{width}: {line}");
            assert!(!line.contains('\u{1b}'), "{line:?}");
        }
    }
}

#[test]
fn rates_of_a_proxy_that_was_started_anew_are_not_known() {
    let (before, mut now) = (stats(100), stats(1));
    now.started_at_seconds = 200.0;
    let lines = View { before: Some(&before), now: &now, refused: &refused(), trouble: None }
        .lines(Size { width: 80, height: 24 });
    assert!(lines[1].ends_with("checks/s -"), "{}", lines[1]);
}
