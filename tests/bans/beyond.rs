//! What the API has beyond EMQX's: changing, many at once, files, filters, orders, hits, exemptions.

use crate::api::Api;
use crate::harness::{BANNED, Running, Site, UNAVAILABLE};
use serde_json::{Value, json};

const BANS: &str = "/api/v5/banned";

fn site() -> (Site, Running, Api) {
    let site = Site::new("");
    let proxy = site.serve();
    let api = Api::of(&site);
    (site, proxy, api)
}

#[test]
fn one_is_made_changed_and_shown_with_all_its_fields() {
    let (_site, proxy, api) = site();
    let path = "/api/v5/banned/clientid/bot%2F1";
    assert_eq!(api.get(path).fault(), (404, "NOT_FOUND".to_owned(), "clientid: bot/1 not found".to_owned()));
    let made = api.call("PUT", path, r#"{"reason":"flood","at":1700000000,"until":1920594240}"#);
    let expected = json!({
        "as": "clientid", "who": "bot/1", "by": "mgmt_api", "reason": "flood",
        "at": "2023-11-14T22:13:20+00:00", "until": "2030-11-11T02:24:00+00:00",
        "status": "active", "source": "run_time", "sources": ["run_time"], "hits": 0, "last_hit": null
    });
    assert_eq!((made.status, made.json()), (200, expected.clone()));
    assert_eq!(api.get(path).json(), expected);
    assert_eq!(proxy.knock("bot/1"), BANNED);

    let longer = api.call("PATCH", path, r#"{"extend":"1h","by":"ops"}"#).json();
    assert_eq!(
        (&longer["until"], &longer["by"], &longer["reason"]),
        (&json!("2030-11-11T03:24:00+00:00"), &json!("ops"), &json!("flood"))
    );
    let replaced = api.call("PUT", path, r#"{"as":"clientid","who":"bot/1"}"#).json();
    assert_eq!(
        (&replaced["until"], &replaced["by"], &replaced["reason"]),
        (&json!("infinity"), &json!("mgmt_api"), &json!(""))
    );
    assert_eq!(api.call("PATCH", path, r#"{"extend":"1h"}"#).json()["until"], "infinity");
    assert_eq!(api.send("PUT", path, None, b"").status, 200, "nothing is a ban for ever");
}

#[test]
fn a_pattern_is_told_what_it_has_to_match() {
    let (_site, proxy, api) = site();
    let path = "/api/v5/banned/clientid_re/bot";
    assert_eq!(api.call("PUT", path, r#"{"match":"full"}"#).json()["match"], "full");
    assert_eq!(proxy.knock("bot-1"), UNAVAILABLE);
    assert_eq!(
        api.get(BANS).json()["data"][0]["match"],
        "full",
        "the plain form must not say less than it does"
    );
    assert_eq!(api.call("PATCH", path, r#"{"match":"search"}"#).json()["match"], "search");
    assert_eq!(proxy.knock("bot-1"), BANNED);
    assert_eq!(api.get(BANS).json()["data"][0].get("match"), None);
    assert_eq!(api.call("PATCH", path, r#"{"reason":"x"}"#).json()["match"], "search");
}

#[test]
fn changes_that_are_wrong_change_nothing() {
    let (_site, _proxy, api) = site();
    let path = "/api/v5/banned/clientid/x";
    let before = api.call("PUT", path, r#"{"until":1920594240}"#).body;
    for (method, body, expected) in [
        ("PUT", r#"{"as":"username"}"#, "as: is username; expected clientid, as the path has it"),
        ("PUT", r#"{"who":"y"}"#, "who: names somebody else than the path does"),
        ("PUT", r#"{"until":1000000000}"#, "until: the ban would have ended already"),
        ("PUT", r#"{"match":"full"}"#, "who: x has a \"match\", which only patterns have"),
        ("PUT", r#"{"extend":"1h"}"#, "extend: is not a field"),
        ("PATCH", r#"{"until":1000000000}"#, "the ban would have ended already"),
        ("PATCH", r#"{"extend":"1h","until":"infinity"}"#, "extend: does not go with until"),
        ("PATCH", r#"{"extend":"soon"}"#, "extend: is not a duration"),
        ("PATCH", r#"{"extend":3600}"#, "extend: is a number; expected a string"),
        ("PATCH", "", "the body is not a JSON object"),
    ] {
        let (status, code, message) = api.call(method, path, body).fault();
        assert_eq!((status, code.as_str()), (400, "BAD_REQUEST"), "{method} {body}: {message}");
        assert!(message.starts_with(expected), "{method} {body}: {message}");
    }
    assert_eq!(api.get(path).body, before);
    assert_eq!(api.call("PATCH", "/api/v5/banned/clientid/nobody", "{}").fault().0, 404);
    assert_eq!(api.send("PUT", path, Some("text/plain"), b"{}").fault().0, 415);
    assert_eq!(api.call("PUT", "/api/v5/banned/peerhost/x", "{}").fault().0, 400);
    assert_eq!(api.call("PUT", "/api/v5/bans/clientid/x", "{}").fault().0, 404);
}

#[test]
fn many_are_made_together_or_not_at_all() {
    let (_site, proxy, api) = site();
    let bulk = "/api/v5/banned/bulk";
    let good =
        r#"[{"as":"clientid","who":"a"},{"as":"peerhost","who":"10.0.0.1","until":"2090-01-01T00:00:00Z"}]"#;
    assert_eq!(api.post(bulk, good).json(), json!({ "added": 2, "changed": 0 }));
    assert_eq!(proxy.knock("a"), BANNED);
    for (body, code, expected) in [
        ("{}", "BAD_REQUEST", "the body is not a JSON list of objects"),
        ("[", "BAD_REQUEST", "the body is not a JSON list of objects"),
        ("[7]", "BAD_REQUEST", "[0] is not a JSON object"),
        (r#"[{"as":"clientid","who":"b"},{"as":"clientid"}]"#, "BAD_REQUEST", "[1].who: is missing"),
        (
            r#"[{"as":"clientid","who":"b"},{"as":"clientid","who":"c","until":7}]"#,
            "BAD_REQUEST",
            "[1].until: the ban would have ended",
        ),
        (r#"[{"as":"clientid","who":"b","foo":1}]"#, "BAD_REQUEST", "[0].foo: is not a field"),
        (
            r#"[{"as":"clientid","who":"b"},{"as":"clientid","who":"a"}]"#,
            "ALREADY_EXISTS",
            "[1]: clientid \"a\" is on the list already, until infinity",
        ),
        (
            r#"[{"as":"clientid","who":"b"},{"as":"clientid","who":"b"}]"#,
            "ALREADY_EXISTS",
            "[1]: clientid \"b\"",
        ),
    ] {
        let fault = api.post(bulk, body).fault();
        assert_eq!((fault.0, fault.1.as_str()), (400, code), "{body}: {fault:?}");
        assert!(fault.2.starts_with(expected), "{body}: {fault:?}");
    }
    assert_eq!(proxy.knock("b"), UNAVAILABLE);
    assert_eq!(api.post("/api/v5/banned/bulk?mode=put", good).json(), json!({ "added": 0, "changed": 2 }));
    assert_eq!(api.post(bulk, "[]").json(), json!({ "added": 0, "changed": 0 }));
    let huge = vec![b' '; (16 << 20) + 1];
    assert_eq!(api.post(bulk, &huge).fault().0, 413);
}

/// Two authors, five ends, six kinds.
fn filled() -> (Site, Running, Api) {
    let site = Site::new(
        "[[ban]]\nas = \"clientid\"\nwho = \"file-bot\"\nreason = \"Contract\"\nat = 1600000000\n\
         [[ban]]\nas = \"clientid\"\nwho = \"both-1\"\nuntil = \"2050-01-01T00:00:00Z\"\n\
         [[ban]]\nas = \"clientid\"\nwho = \"both-2\"\nuntil = \"2050-01-01T00:00:00Z\"\n",
    );
    let proxy = site.serve();
    let api = Api::of(&site);
    let ban = |kind: &str, who: &str, by: &str, reason: &str, at: i64, until: &str| {
        json!({ "as": kind, "who": who, "by": by, "reason": reason, "at": at, "until": until }).to_string()
    };
    let lines = [
        ban("clientid", "Bot-1", "ops", "scan", 1_700_000_003, "2040-01-01T00:00:00Z"),
        ban("clientid", "old", "ops", "scan", 1_700_000_001, "2020-01-01T00:00:00Z"),
        ban("clientid", "both-1", "ops", "", 1_700_000_002, "2060-01-01T00:00:00Z"),
        ban("clientid", "both-2", "ops", "", 1_700_000_002, "2045-01-01T00:00:00Z"),
        ban("username", "eve", "abuse", "port SCAN", 1_700_000_004, "infinity"),
        ban("peerhost_net", "10.0.0.0/8", "abuse", "", 1_700_000_004, "2041-01-01T00:00:00Z"),
        ban("clientid_re", "^bot", "abuse", "", 1_700_000_000, "infinity"),
    ];
    let done = api.post("/api/v5/banned/import?keep_expired=true", lines.join("\n"));
    assert_eq!(done.json(), json!({ "added": 7, "changed": 0 }));
    (site, proxy, api)
}

#[test]
fn filters_of_ours_go_together() {
    let (_site, _proxy, api) = filled();
    let names = |query: &str| api.names(&format!("{BANS}?{query}"));
    assert_eq!(names(""), ["Bot-1", "both-1", "both-2", "file-bot", "old", "^bot", "10.0.0.0/8", "eve"]);
    assert_eq!(names("as=username&as=clientid_re"), ["^bot", "eve"]);
    assert_eq!(names("as=username,peerhost_net"), ["10.0.0.0/8", "eve"]);
    assert_eq!(names("by=abuse"), ["^bot", "10.0.0.0/8", "eve"]);
    assert_eq!(names("by=abuse&as=username"), ["eve"]);
    assert_eq!(names("reason=scan"), ["Bot-1", "old", "eve"]);
    assert_eq!(names("text=BOT-"), ["Bot-1"]);
    assert_eq!(names("status=active&text=o"), ["Bot-1", "both-1", "both-2", "file-bot", "^bot"]);
    assert_eq!(names("status=expired"), [""; 0]);
    assert_eq!(names("status=deleting_soon"), ["old"]);
    assert_eq!(names("gte_until=infinity"), ["file-bot", "^bot", "eve"]);
    assert_eq!(
        names("gte_until=2040-12-31T00:00:00Z&lte_until=2050-01-01T00:00:00%2B00:00"),
        ["10.0.0.0/8", "both-2"]
    );
    assert_eq!(names("lte_until=2020-01-01T00:00:00Z"), ["old"]);
    assert_eq!(names("gte_at=1700000003&lte_at=1700000004"), ["Bot-1", "10.0.0.0/8", "eve"]);
    assert_eq!(names("source=file"), ["both-2", "file-bot"]);
    assert_eq!(names("source=run_time&as=clientid"), ["Bot-1", "both-1", "old"]);
    assert_eq!(names("like_clientid=b&by=ops"), ["both-1"]);
    assert_eq!(names("clientid=both-1&view=full"), ["both-1"]);
    assert_eq!(names("clientid=both-1&by=nobody"), [""; 0]);
    assert_eq!(names("by="), [""; 0]);
}

#[test]
fn a_name_with_two_sources_is_shown_once_as_it_is_in_force() {
    let (_site, _proxy, api) = filled();
    let full = |who: &str| api.get(&format!("/api/v5/banned/clientid/{who}")).json();
    let sources = |who: &str| (full(who)["source"].clone(), full(who)["sources"].clone());
    assert_eq!(sources("both-1"), (json!("run_time"), json!(["run_time", "file"])));
    assert_eq!(full("both-1")["until"], "2060-01-01T00:00:00+00:00");
    assert_eq!(sources("both-2"), (json!("file"), json!(["file", "run_time"])));
    assert_eq!(full("both-2")["until"], "2050-01-01T00:00:00+00:00");
    assert_eq!(sources("file-bot"), (json!("file"), json!(["file"])));
    assert_eq!(api.get(BANS).json()["meta"]["count"], 8);
    assert_eq!(api.call("PATCH", "/api/v5/banned/clientid/file-bot", r#"{"reason":"x"}"#).fault().0, 409);
    assert_eq!(api.delete("/api/v5/banned/clientid/both-1").status, 204);
    assert_eq!(sources("both-1"), (json!("file"), json!(["file"])));
    assert_eq!(
        api.call("PUT", "/api/v5/banned/clientid/file-bot", "{}").json()["sources"],
        json!(["file", "run_time"])
    );
}

/// All pages of an order, walked by cursor.
fn walked(api: &Api, query: &str, limit: usize) -> Vec<String> {
    let mut names = Vec::new();
    let mut cursor = String::new();
    loop {
        let answer = api.get(&format!("{BANS}?{query}&limit={limit}{cursor}")).json();
        names.extend(
            answer["data"]
                .as_array()
                .expect("data")
                .iter()
                .map(|ban| ban["who"].as_str().expect("who").to_owned()),
        );
        let next = answer["meta"]["next_cursor"].as_str();
        assert_eq!(answer["meta"]["hasnext"], next.is_some());
        let Some(next) = next else { return names };
        cursor = format!("&cursor={next}");
    }
}

#[test]
fn every_order_is_whole_and_the_same_by_page_and_by_cursor() {
    let (_site, _proxy, api) = filled();
    let expected = [
        ("who", vec!["10.0.0.0/8", "Bot-1", "^bot", "both-1", "both-2", "eve", "file-bot", "old"]),
        ("as", vec!["Bot-1", "both-1", "both-2", "file-bot", "old", "^bot", "10.0.0.0/8", "eve"]),
        ("by", vec!["^bot", "10.0.0.0/8", "eve", "both-2", "file-bot", "Bot-1", "both-1", "old"]),
        ("until", vec!["old", "Bot-1", "10.0.0.0/8", "both-2", "both-1", "file-bot", "^bot", "eve"]),
    ];
    for sort in ["who", "as", "by", "reason", "at", "until", "status", "hits", "last_hit"] {
        let whole = api.names(&format!("{BANS}?sort={sort}"));
        if let Some((_, expected)) = expected.iter().find(|(name, _)| *name == sort) {
            assert_eq!(&whole, expected, "{sort}");
        }
        assert_eq!(whole.len(), 8);
        let mut reversed = api.names(&format!("{BANS}?sort={sort}&order=desc"));
        for order in ["asc", "desc"] {
            let query = format!("sort={sort}&order={order}");
            let expected = api.names(&format!("{BANS}?{query}"));
            for limit in 1..=8 {
                assert_eq!(walked(&api, &query, limit), expected, "{query} {limit}");
                let pages: Vec<_> = (1..=9)
                    .flat_map(|page| api.names(&format!("{BANS}?{query}&limit={limit}&page={page}")))
                    .collect();
                assert_eq!(pages, expected, "{query} {limit}");
            }
        }
        reversed.reverse();
        assert_eq!(reversed, whole, "{sort}");
    }
}

#[test]
fn what_is_exported_can_be_imported() {
    let (_site, _proxy, api) = filled();
    let export = |query: &str| api.get(&format!("/api/v5/banned/export{query}"));
    let whole = export("");
    assert_eq!((whole.status, whole.kind.as_str()), (200, "application/x-ndjson"));
    assert_eq!(whole.body.lines().count(), 7, "what the config file says stays there");
    assert_eq!(export("?source=file").body.lines().count(), 2);
    assert_eq!(export("?by=abuse&format=plain&as=peerhost_net&skip_unwritable=true").body, "");
    assert_eq!(export("?by=ops&format=emqx-csv").body.lines().count(), 5);
    let (status, _, message) = export("?format=plain").fault();
    assert_eq!(status, 400);
    assert!(message.ends_with("skip_unwritable=true leaves it out"), "{message}");
    assert_eq!(
        export("?format=xml").fault().2,
        "format: \"xml\" is not understood; expected jsonl, emqx-csv, emqx-json, tbmq-json or plain"
    );
    assert_eq!(export("?page=1").fault().0, 400);
    for (format, kind) in [
        ("jsonl", "application/x-ndjson"),
        ("emqx-csv", "text/csv; charset=utf-8"),
        ("emqx-json", "application/json"),
    ] {
        let written = export(&format!("?format={format}"));
        assert_eq!(written.kind, kind);
        api.delete(BANS);
        let import = format!("/api/v5/banned/import?keep_expired=true&format={format}");
        assert_eq!(
            api.send("POST", &import, None, written.body.as_bytes()).json(),
            json!({ "added": 7, "changed": 0 })
        );
        assert_eq!(export("").body, whole.body, "{format}");
    }
    let (status, _, message) = api.send("POST", "/api/v5/banned/import", None, whole.body.as_bytes()).fault();
    assert_eq!(status, 400);
    assert!(message.contains("until: the ban has ended already"), "{message}");
    let plain = api.send("POST", "/api/v5/banned/import?format=plain&by=me&as=username", None, b"10.0.0.1\n");
    assert_eq!(plain.json()["added"], 1);
    assert_eq!(api.get("/api/v5/banned/username/10.0.0.1").json()["by"], "me");
}

#[test]
fn hits_are_counted_kept_and_forgotten_with_the_ban() {
    let site = Site::new("[[ban]]\nas = \"clientid\"\nwho = \"file-bot\"\n");
    let proxy = site.serve();
    let api = Api::of(&site);
    api.post(BANS, r#"{"as":"clientid","who":"bot"}"#);
    api.post(BANS, r#"{"as":"clientid","who":"quiet"}"#);
    for name in ["bot", "bot", "bot", "file-bot"] {
        assert_eq!(proxy.knock(name), BANNED);
    }
    proxy.signal("TERM");
    assert!(proxy.wait().success());
    let proxy = site.serve();
    let hits = || -> Vec<Value> {
        let answer = api.get(&format!("{BANS}?view=full&sort=hits&order=desc&source=run_time")).json();
        answer["data"]
            .as_array()
            .expect("data")
            .iter()
            .map(|ban| json!([ban["who"], ban["hits"], ban["last_hit"].is_string()]))
            .collect()
    };
    assert_eq!(hits(), [json!(["bot", 3, true]), json!(["quiet", 0, false])]);
    api.call("PATCH", "/api/v5/banned/clientid/bot", r#"{"reason":"x"}"#);
    assert_eq!(hits()[0], json!(["bot", 3, true]), "a change is no new ban");
    api.delete("/api/v5/banned/clientid/bot");
    api.post(BANS, r#"{"as":"clientid","who":"bot"}"#);
    assert_eq!(hits()[0], json!(["quiet", 0, false]));
    drop(proxy);
}

#[test]
fn exemptions_have_the_same_calls() {
    const EXEMPTIONS: &str = "/api/v5/exemptions";
    let (_site, proxy, api) = site();
    api.post(BANS, r#"{"as":"clientid_re","who":"."}"#);
    assert_eq!(proxy.knock("vip"), BANNED);
    assert_eq!(api.post(EXEMPTIONS, r#"{"as":"clientid","who":"vip"}"#).status, 200);
    assert_eq!(proxy.knock("vip"), UNAVAILABLE);
    assert_eq!(api.names(EXEMPTIONS), ["vip"]);
    assert_eq!(api.names(BANS), ["."]);
    let one = "/api/v5/exemptions/clientid/vip";
    assert_eq!(api.get(one).json().get("hits"), None);
    assert_eq!(api.call("PATCH", one, r#"{"reason":"paid"}"#).json()["reason"], "paid");
    assert_eq!(api.post("/api/v5/exemptions/bulk", r#"[{"as":"username","who":"eve"}]"#).json()["added"], 1);
    assert_eq!(api.get("/api/v5/exemptions/export").body.lines().count(), 2);
    assert_eq!(api.delete(one).status, 204);
    assert_eq!(api.delete(EXEMPTIONS).status, 204);
    assert_eq!(proxy.knock("vip"), BANNED);
    assert_eq!(api.get("/api/v5/blessed").fault().0, 404);
}

#[test]
fn what_was_answered_survives_kill_9() {
    let (site, proxy, api) = site();
    for number in 0..40 {
        let body = format!(r#"{{"as":"clientid","who":"c{number}"}}"#);
        assert_eq!(api.post(BANS, body).status, 200);
    }
    assert_eq!(api.call("PATCH", "/api/v5/banned/clientid/c7", r#"{"reason":"late"}"#).status, 200);
    assert_eq!(api.delete("/api/v5/banned/clientid/c8").status, 204);
    proxy.signal("KILL");
    assert!(!proxy.wait().success());
    let _proxy = site.serve();
    assert_eq!(api.get(BANS).json()["meta"]["count"], 39);
    assert_eq!(api.get("/api/v5/banned/clientid/c7").json()["reason"], "late");
}

#[test]
fn of_callers_who_add_and_lift_the_same_each_is_told_the_truth() {
    let (_site, proxy, api) = site();
    let counts: Vec<(i64, i64)> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..6)
            .map(|_| {
                let api = api.clone();
                scope.spawn(move || {
                    let (mut added, mut lifted) = (0, 0);
                    for _ in 0..40 {
                        match api.post(BANS, r#"{"as":"clientid","who":"same"}"#).status {
                            200 => added += 1,
                            status => assert_eq!(status, 400),
                        }
                        match api.delete("/api/v5/banned/clientid/same").status {
                            204 => lifted += 1,
                            status => assert_eq!(status, 404),
                        }
                    }
                    (added, lifted)
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().expect("no panic")).collect()
    });
    let left: i64 = counts.iter().map(|(added, lifted)| added - lifted).sum();
    assert_eq!(left, i64::from(!api.names(BANS).is_empty()));
    assert_eq!(proxy.knock("same"), if left == 0 { UNAVAILABLE } else { BANNED });
}
