//! `/api/v5/banned` as EMQX has it: statuses, bodies, quirks.

use crate::api::Api;
use crate::harness::{BANNED, Site, UNAVAILABLE};
use serde_json::{Value, json};

const BANS: &str = "/api/v5/banned";

fn site() -> (Site, crate::harness::Running, Api) {
    let site = Site::new("");
    let proxy = site.serve();
    let api = Api::of(&site);
    (site, proxy, api)
}

#[test]
fn a_ban_is_answered_as_it_is_in_force() {
    let (_site, proxy, api) = site();
    let body = r#"{"as":"peerhost_net","who":"192.168.0.77/24","by":"ops","reason":"scan","at":1786096800,
                   "until":"2030-11-11T10:24:00+08:00"}"#;
    let answer = api.post(BANS, body);
    assert_eq!((answer.status, answer.kind.as_str()), (200, "application/json"));
    let expected = r#"{"as":"peerhost_net","who":"192.168.0.0/24","by":"ops","reason":"scan","at":"2026-08-07T10:00:00+00:00","until":"2030-11-11T02:24:00+00:00"}"#;
    assert_eq!(answer.body, expected);

    let again = api.post(BANS, body).fault();
    assert_eq!(again, (400, "ALREADY_EXISTS".to_owned(), expected.to_owned()));

    let least = api.post(BANS, r#"{"as":"clientid","who":"bot-1"}"#).json();
    assert_eq!(
        (&least["by"], &least["reason"], &least["until"]),
        (&json!("mgmt_api"), &json!(""), &json!("infinity"))
    );
    assert!(least["at"].as_str().is_some_and(|at| at.len() == 25 && at.ends_with("+00:00")), "{least}");
    assert_eq!(proxy.knock("bot-1"), BANNED);
    assert_eq!(api.delete("/api/v5/banned/clientid/bot-1").status, 204);
    assert_eq!(proxy.knock("bot-1"), UNAVAILABLE);
}

#[test]
fn times_are_read_as_emqx_reads_them() {
    let (_site, _proxy, api) = site();
    for (index, (until, expected)) in [
        ("\"infinity\"", "infinity"),
        ("null", "infinity"),
        ("1920594240", "2030-11-11T02:24:00+00:00"),
        ("\"1920594240\"", "2030-11-11T02:24:00+00:00"),
        ("\"2030-11-11T02:24:00Z\"", "2030-11-11T02:24:00+00:00"),
        ("\"2030-11-11T02:24:00.9-00:00\"", "2030-11-11T02:24:00+00:00"),
    ]
    .into_iter()
    .enumerate()
    {
        let body = format!(r#"{{"as":"clientid","who":"c{index}","until":{until}}}"#);
        assert_eq!(api.post(BANS, &body).json()["until"], expected, "{until}");
    }
}

#[test]
fn a_ban_that_has_ended_is_not_in_the_way() {
    let (_site, _proxy, api) = site();
    let line = r#"{"as":"clientid","who":"old","reason":"before","until":1000000000}"#;
    assert_eq!(api.post("/api/v5/banned/import?keep_expired=true", line).status, 200);
    assert_eq!(api.post(BANS, r#"{"as":"clientid","who":"old","reason":"now"}"#).json()["reason"], "now");
}

#[test]
fn every_field_that_is_wrong_is_named() {
    let (_site, _proxy, api) = site();
    for (body, expected) in [
        ("", "the body is not a JSON object: EOF while parsing a value"),
        ("{", "the body is not a JSON object: EOF while parsing an object"),
        ("[]", "the body is not a JSON object: invalid type: sequence, expected an object"),
        ("\"x\"", "the body is not a JSON object: invalid type: string"),
        ("{}", "as: is missing"),
        (r#"{"as":"clientid"}"#, "who: is missing"),
        (r#"{"who":"x"}"#, "as: is missing"),
        (r#"{"as":null,"who":"x"}"#, "as: is missing"),
        (
            r#"{"as":"ip","who":"x"}"#,
            "as: \"ip\" is not a kind of ban; expected one of clientid, username, cert_cn",
        ),
        (r#"{"as":1,"who":"x"}"#, "as: is a number; expected a string"),
        (r#"{"as":"clientid","who":7}"#, "who: is a number; expected a string"),
        (r#"{"as":"clientid","who":""}"#, "who: \"\" is empty; expected 1 to 65535 bytes"),
        (r#"{"as":"clientid","who":"a\u0000b"}"#, "who: \"a\\u{0}b\" holds U+0000"),
        (r#"{"as":"peerhost","who":"localhost"}"#, "who: \"localhost\" is not an IP address"),
        (r#"{"as":"peerhost_net","who":"10.0.0/8"}"#, "who: \"10.0.0/8\" is not a network"),
        (
            r#"{"as":"clientid_re","who":"bot-[0-9"}"#,
            "who: \"bot-[0-9\" is not a usable pattern: the pattern is wrong at byte 4",
        ),
        (r#"{"as":"clientid","who":"x","by":[]}"#, "by: is a list; expected a string"),
        (r#"{"as":"clientid","who":"x","reason":{}}"#, "reason: is an object; expected a string"),
        (r#"{"as":"clientid","who":"x","at":"soon"}"#, "at: \"soon\" is not a moment"),
        (r#"{"as":"clientid","who":"x","at":-1}"#, "at: \"-1\" is not a moment"),
        (r#"{"as":"clientid","who":"x","until":1.5}"#, "until: is a number with a fraction"),
        (r#"{"as":"clientid","who":"x","until":true}"#, "until: is true or false"),
        (r#"{"as":"clientid","who":"x","until":"never"}"#, "until: \"never\" is not an end"),
        (r#"{"as":"clientid","who":"x","until":253402214401}"#, "until: \"253402214401\" is not an end"),
        (
            r#"{"as":"clientid","who":"x","until":1000000000}"#,
            "until: the ban would have ended already, at 2001-09-09T01:46:40+00:00",
        ),
        (
            r#"{"as":"clientid","who":"x","match":"full"}"#,
            "match: does not go with an \"as\" that is no pattern",
        ),
        (
            r#"{"as":"clientid_re","who":"x","match":"some"}"#,
            "match: \"some\" is unknown; expected search or full",
        ),
        (
            r#"{"as":"clientid","who":"x","foo":1}"#,
            "foo: is not a field; expected as, who, match, by, reason, at or until",
        ),
        (r#"{"as":"clientid","who":"x","extend":"1h"}"#, "extend: is not a field"),
        (r#"{"as":"clientid","who":"x","who":"y"}"#, "who: is there twice"),
    ] {
        let (status, code, message) = api.post(BANS, body).fault();
        assert_eq!((status, code.as_str()), (400, "BAD_REQUEST"), "{body}: {message}");
        assert!(message.starts_with(expected), "{body}: {message}");
        assert!(!message.contains('\n'), "{message}");
    }
    let invalid = b"{\"as\":\"clientid\",\"who\":\"\xff\"}";
    assert!(api.post(BANS, invalid).fault().2.starts_with("the body is not a JSON object: invalid unicode"));
    let deep = format!(r#"{{"as":"clientid","who":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(api.post(BANS, &deep).fault().2, "who: is a list; expected a string");
    let long = format!(r#"{{"as":"clientid","who":"x","reason":"{}"}}"#, "r".repeat(65_536));
    assert_eq!(api.post(BANS, &long).fault().2, "reason: has 65536 bytes; expected at most 65535");
    let huge = format!(r#"{{"as":"clientid","who":"x","reason":"{}"}}"#, "r".repeat(10 << 20));
    let (status, code, _) = api.post(BANS, &huge).fault();
    assert_eq!((status, code.as_str()), (413, "PAYLOAD_TOO_LARGE"));
    assert_eq!(api.get(BANS).json()["meta"]["count"], 0);
}

#[test]
fn a_body_has_to_be_json_by_its_own_account() {
    let (_site, _proxy, api) = site();
    let body = br#"{"as":"clientid","who":"x"}"#;
    for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("json")] {
        let expected = "content-type:application/json Required";
        assert_eq!(
            api.send("POST", BANS, kind, body).fault(),
            (415, "UNSUPPORTED_MEDIA_TYPE".to_owned(), expected.to_owned()),
            "{kind:?}"
        );
    }
    assert_eq!(api.send("POST", BANS, None, b"").fault().0, 400, "as in EMQX, an empty body is of any type");
    assert_eq!(api.send("POST", BANS, Some("application/json; charset=utf-8"), body).status, 200);
}

fn filled() -> (Site, crate::harness::Running, Api) {
    let (site, proxy, api) = site();
    for (kind, who) in [
        ("clientid", "c1"),
        ("clientid", "c2"),
        ("clientid", "d3"),
        ("clientid_re", "^c.*x$"),
        ("username", "eve"),
        ("username_re", "^e"),
        ("peerhost", "10.0.0.1"),
        ("peerhost", "2001:db8::7"),
        ("peerhost_net", "10.0.0.0/8"),
    ] {
        let body = json!({ "as": kind, "who": who });
        assert_eq!(api.post(BANS, body.to_string()).status, 200, "{body}");
    }
    (site, proxy, api)
}

#[test]
fn the_metas_are_emqxs() {
    let (_site, _proxy, api) = filled();
    let meta = |query: &str| api.get(&format!("{BANS}{query}")).json()["meta"].clone();
    assert_eq!(meta(""), json!({ "page": 1, "limit": 100, "count": 9 }));
    assert_eq!(meta("?page=3&limit=4"), json!({ "page": 3, "limit": 4, "count": 9 }));
    assert_eq!(meta("?clientid=c1"), json!({ "page": 1, "limit": 100, "count": 1, "hasnext": false }));
    assert_eq!(meta("?clientid=nobody"), json!({ "page": 1, "limit": 100, "count": 0, "hasnext": false }));
    assert_eq!(meta("?clientid=c1&page=2"), json!({ "page": 2, "limit": 100, "count": 1, "hasnext": false }));
    assert_eq!(
        meta("?like_clientid=c%5Cd&page=1&limit=1"),
        json!({ "page": 1, "limit": 1, "hasnext": true })
    );
    assert_eq!(
        meta("?like_clientid=c%5Cd&page=2&limit=1"),
        json!({ "page": 2, "limit": 1, "hasnext": false })
    );
    assert_eq!(
        meta("?page=99999999999999999"),
        json!({ "page": 99_999_999_999_999_999_u64, "limit": 100, "count": 9 })
    );
    let ban = api.get(&format!("{BANS}?clientid=c1")).json()["data"][0].clone();
    let fields: Vec<_> = ban.as_object().expect("an object").keys().cloned().collect();
    assert_eq!(fields, ["as", "at", "by", "reason", "until", "who"]);
}

#[test]
fn filters_find_what_emqx_finds() {
    let (_site, _proxy, api) = filled();
    let names = |query: &str| api.names(&format!("{BANS}?{query}"));
    assert_eq!(names("clientid=c1"), ["c1"]);
    assert_eq!(names("clientid=^c.*x$"), [""; 0], "an exact name is no pattern");
    assert_eq!(names("username=eve"), ["eve"]);
    assert_eq!(names("peerhost=10.0.0.1"), ["10.0.0.1"]);
    assert_eq!(names("peerhost=2001:DB8:0::7"), ["2001:db8::7"]);
    assert_eq!(names("like_clientid=c"), ["c1", "c2", "^c.*x$"]);
    assert_eq!(names("like_clientid=^c"), ["c1", "c2"]);
    assert_eq!(names("like_clientid=C"), [""; 0]);
    assert_eq!(names("like_clientid=3$"), ["d3"]);
    assert_eq!(names("like_clientid=(%3F!c)."), ["c1", "c2", "d3", "^c.*x$"]);
    assert_eq!(names("like_username=e"), ["eve", "^e"]);
    assert_eq!(names("like_peerhost=0.1"), ["10.0.0.1", "2001:db8::7"], "a dot is any character");
    assert_eq!(names("like_peerhost_net=/8"), ["10.0.0.0/8"]);
    // Of a name and its pattern the name counts; of a name that is there twice, the first.
    assert_eq!(names("clientid=c1&like_clientid=d"), ["c1"]);
    assert_eq!(names("clientid=c1&clientid=c2"), ["c1"]);
}

#[test]
fn queries_that_are_wrong_say_what_would_be_right() {
    let (_site, _proxy, api) = site();
    for (query, expected) in [
        ("limit=0", "limit: \"0\" is not understood; expected a whole number from 1 to 10000"),
        ("limit=10001", "limit: \"10001\" is not understood"),
        ("page=0", "page: \"0\" is not understood; expected a whole number from 1 on"),
        ("page=x", "page: \"x\" is not understood"),
        ("page=99999999999999999999999", "page: \"99999999999999999999999\" is not understood"),
        ("clientid=a&username=b", "too_many_filters: expected at most one of clientid, username"),
        ("clientid=a&like_username=b", "too_many_filters"),
        ("like_clientid=a&like_username=b", "too_many_filters"),
        ("peerhost=x", "peerhost: \"x\" is not an IP address"),
        ("like_clientid=%5B", "like_clientid is not a usable pattern: the pattern is wrong at byte 0"),
        ("foo=1", "foo is not a parameter of this call; expected page, limit, clientid"),
        ("clientid=%zz", "the address has a % that two hexadecimal digits do not follow"),
        ("clientid=%ff", "the address is not UTF-8"),
        ("as=nobody", "as: \"nobody\" is not a kind of ban"),
        ("as=username&clientid=a", "as and the filter by name do not go together"),
        ("status=gone", "status: \"gone\" is not understood; expected active, expired or deleting_soon"),
        (
            "sort=age",
            "sort: \"age\" is not understood; expected who, as, by, reason, at, until, status, hits or last_hit",
        ),
        ("order=up", "order: \"up\" is not understood; expected asc or desc"),
        ("view=wide", "view: \"wide\" is not understood; expected plain or full"),
        ("gte_until=soon", "gte_until: \"soon\" is not understood"),
        ("lte_at=infinity", "lte_at: \"infinity\" is not understood"),
        ("source=here", "source: \"here\" is not understood; expected file or run_time"),
        ("cursor=x", "cursor: is none; expected the next_cursor of an answer"),
        ("cursor=x&page=2", "page and cursor do not go together"),
    ] {
        let (status, code, message) = api.get(&format!("{BANS}?{query}")).fault();
        assert_eq!((status, code.as_str()), (400, "BAD_REQUEST"), "{query}: {message}");
        assert!(message.starts_with(expected), "{query}: {message}");
    }
    let message = api.get("/api/v5/exemptions?sort=hits").fault().2;
    assert!(message.ends_with("expected who, as, by, reason, at, until or status"), "{message}");
}

#[test]
fn lifting_one_and_all() {
    let (_site, _proxy, api) = filled();
    assert_eq!(
        api.delete("/api/v5/banned/clientid/TestClient-").fault(),
        (404, "NOT_FOUND".to_owned(), "clientid: TestClient- not found".to_owned())
    );
    for (path, status) in [
        ("clientid_re/%5Ec.%2Ax%24", 204),
        ("peerhost_net/10.1.2.3%2F8", 204),
        ("peerhost/2001:0db8::7", 204),
        ("ip/x", 400),
        ("peerhost/x", 400),
        ("peerhost_net/10%2F8", 400),
        ("clientid/%zz", 400),
        ("clientid/%f", 400),
        ("clientid/%ff", 400),
        ("clientid/%00", 400),
        ("clientid/", 404),
        ("clientid", 404),
        ("clientid/a/b", 404),
        ("clientid/../../banned", 404),
        ("..%2Fbanned/x", 400),
        ("clientid/..", 404),
        ("clientid/..%2F..%2Fbanned", 404),
    ] {
        let answer = api.delete(&format!("/api/v5/banned/{path}"));
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(status == 204 || !answer.fault().2.is_empty());
    }
    assert_eq!(api.get(BANS).json()["meta"]["count"], 6);
    assert_eq!(api.delete(BANS).status, 204);
    assert_eq!(api.delete(BANS).status, 204);
    assert_eq!(api.get(BANS).json(), json!({ "data": [], "meta": { "page": 1, "limit": 100, "count": 0 } }));
}

#[test]
fn names_with_any_characters_come_through_a_path() {
    let (_site, _proxy, api) = site();
    for who in ["a/b", "a%2Fb", "..", ".", " ", "+", "größe\n\u{202e}", "?#&=", "\"'{}\\", "%"] {
        assert_eq!(
            api.post(BANS, json!({ "as": "username", "who": who }).to_string()).status,
            200,
            "{who:?}"
        );
        let encoded = who.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
        let path = format!("/api/v5/banned/username/{encoded}");
        assert_eq!(api.get(&path).json()["who"], who);
        assert_eq!(api.delete(&path).status, 204, "{who:?}");
    }
}

#[test]
fn whoever_is_banned_by_the_config_file_is_shown_and_stays() {
    let site = Site::new("[[ban]]\nas = \"clientid\"\nwho = \"file-bot\"\nreason = \"contract\"\n");
    let _proxy = site.serve();
    let api = Api::of(&site);
    assert_eq!(api.names(BANS), ["file-bot"]);
    assert_eq!(api.get(BANS).json()["meta"]["count"], 1);
    let there = api.get(BANS).json()["data"][0].clone();
    let (status, code, message) = api.post(BANS, r#"{"as":"clientid","who":"file-bot"}"#).fault();
    assert_eq!((status, code.as_str()), (400, "ALREADY_EXISTS"));
    assert_eq!(serde_json::from_str::<Value>(&message).expect("JSON"), there);
    assert_eq!(
        api.delete("/api/v5/banned/clientid/file-bot").fault(),
        (
            409,
            "CONFLICT".to_owned(),
            "clientid: file-bot stands in the config file, and is changed there".to_owned()
        )
    );
    assert_eq!(api.delete(BANS).status, 204);
    assert_eq!(api.names(BANS), ["file-bot"]);
}

#[test]
fn version_4_answers_as_emqx_4_does() {
    const V4: &str = "/api/v4/banned";
    let (_site, proxy, api) = site();
    let sent =
        json!({ "as": "clientid", "who": "c/1", "at": 1_700_000_000, "until": 1_920_594_240, "odd": true });
    assert_eq!(api.post(V4, sent.to_string()).json(), json!({ "code": 0, "data": sent }));
    assert_eq!(proxy.knock("c/1"), BANNED);
    let ban = json!({ "as": "clientid", "who": "c/1", "by": "user", "reason": "", "at": 1_700_000_000, "until": 1_920_594_240 });
    let meta = json!({ "page": 1, "limit": 10_000, "count": 1 });
    assert_eq!(api.get(V4).json(), json!({ "code": 0, "data": [ban], "meta": meta }));
    let changed = json!({ "as": "clientid", "who": "c/1", "reason": "again" });
    assert_eq!(api.post(V4, changed.to_string()).json()["code"], 0);
    let ban = api.get(V4).json()["data"][0].clone();
    assert_eq!(ban["reason"], "again");
    assert_eq!(ban["until"].as_i64().zip(ban["at"].as_i64()).map(|(until, at)| until - at), Some(300));
    assert_eq!(api.delete("/api/v4/banned/clientid/c%2F1").json(), json!({ "code": 0 }));
    assert_eq!(api.delete("/api/v4/banned/clientid/c%2F1").json(), json!({ "code": 0 }));
    assert_eq!(proxy.knock("c/1"), UNAVAILABLE);
    let missing = json!({ "code": 107, "message": "missing mandatory params: ['who', 'as']" });
    for body in ["{}", r#"{"as":"clientid"}"#, r#"{"who":"x"}"#] {
        assert_eq!(api.post(V4, body).json(), missing);
    }
    for body in [
        r#"{"as":"ip","who":"x"}"#,
        r#"{"as":"peerhost","who":"x"}"#,
        r#"{"as":"clientid","who":"x","until":7}"#,
    ] {
        assert_eq!(api.post(V4, body).json()["code"], 108, "{body}");
    }
    assert_eq!(api.get("/api/v4/banned?_limit=0").json()["code"], 108);
    assert_eq!(api.post(V4, "x").status, 400);
    api.post(BANS, r#"{"as":"clientid","who":"x"}"#);
    assert_eq!(api.get("/api/v4/banned?_page=1&_limit=1").json()["data"][0]["until"], 253_402_214_400_u64);
}
