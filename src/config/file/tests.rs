use super::*;
use crate::net::upstream::Balance;
use crate::proxy::Conditions;

const MINIMAL: &str =
    "[[listener]]\nname = \"mqtt\"\nbind = \"0.0.0.0:1883\"\n[upstream]\nservers = [\"127.0.0.1:1884\"]\n";

fn parse(text: &str) -> Config {
    Config::parse("test.toml", text).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

fn mistakes(text: &str) -> Vec<String> {
    match Config::parse("test.toml", text) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_minimal_file_has_the_documented_defaults() {
    let config = parse(MINIMAL);
    let [listener] = &config.listeners[..] else { panic!("one listener") };
    assert_eq!((&*listener.name, listener.binds[0].to_string().as_str()), ("mqtt", "0.0.0.0:1883"));
    assert_eq!(listener.door.connect_timeout, Duration::from_secs(10));
    assert_eq!(listener.door.max_connect_size, 65_536);
    assert_eq!(listener.door.limits.idle, IdleTimeout::Off);
    assert_eq!(config.upstream.connect_timeout, Duration::from_secs(5));
    assert_eq!(config.drain_timeout, Duration::from_secs(30));
    assert_eq!(config.answers, Answers { v3_banned: ReturnCode::NotAuthorized, tell_reason: false });
    let (will, drain_will) = (Will::Discard, Will::Publish);
    assert_eq!(config.partings, Partings { will, drain_will, wait: Duration::from_secs(2) });
    assert_eq!(config.settings["listener.mqtt.connect_timeout"], "\"10s\"");
}

#[test]
fn the_end_of_kicked_sessions_is_read_and_bounded() {
    let config = parse(&format!(
        "{MINIMAL}[kick]\nwill = \"publish\"\nwait = \"0s\"\n[node]\ndrain_will = \"discard\""
    ));
    let (will, drain_will) = (Will::Publish, Will::Discard);
    assert_eq!(config.partings, Partings { will, drain_will, wait: Duration::ZERO });
    let found = mistakes(&format!("{MINIMAL}[kick]\nwill = \"keep\"\nwait = \"61s\"\n"));
    let expected = [
        "test.toml:7: kick.will: \"keep\" is unknown; expected one of \"discard\", \"publish\"",
        "test.toml:8: kick.wait: \"61s\" is too long; expected at most \"1m\"",
    ];
    assert_eq!(found, expected);
}

#[test]
fn every_mistake_is_found_in_one_go_in_the_order_of_the_file() {
    let text = r#"
[[listener]]
name = "two words"
bind = "0.0.0.0:99999"
conect_timeout = "5s"
max_connect_size = "64K"
idle_timeout = "10"
[[listener]]
bind = 1883
[upstream]
servers = ["127.0.0.1", 7]
connect_timeout = "0s"
[[ban]]
as = "ip"
who = "x"
[[ban]]
as = "peerhost"
who = "localhost"
until = "tomorrow"
[log]
level = "loud"
[nodes]
"#;
    let found = mistakes(text);
    let expected = [
        "test.toml:3: listener[0].name: \"two words\" is not a name; expected 1 to 64 letters, digits, \"-\" and \"_\"",
        "test.toml:4: listener[0].bind: \"0.0.0.0:99999\" is not an address; expected IP:PORT, e.g. \"0.0.0.0:1883\" or \"[::]:1883\", unix:/PATH or systemd:NAME",
        "test.toml:5: listener[0].conect_timeout: is not an option; expected one of name, type, bind, backlog, ipv6_only, reuse_port, mark, transparent, unix_mode, unix_owner, unix_group, tcp_user_timeout, zone, upstream, on_banned_peer, limits, on_rate_limited, proxy_protocol, trusted, proxy_protocol_timeout, connect_timeout, max_connect_size, max_connections, idle_timeout, half_close_timeout, tcp_keepalive, websocket, tls, peer_cert_as_username, peer_cert_as_clientid",
        "test.toml:6: listener[0].max_connect_size: \"64K\" is not a size; expected e.g. 65536, \"64KB\" or \"1MB\"",
        "test.toml:7: listener[0].idle_timeout: \"10\" is not a duration; expected e.g. \"500ms\", \"10s\", \"1h30m\" or \"1w\", \"off\", or \"keep_alive\"",
        "test.toml:8: listener[1].name: is missing; expected a name, e.g. \"mqtt\"",
        "test.toml:9: listener[1].bind: 1883 is not an address; expected IP:PORT, e.g. \"0.0.0.0:1883\" or \"[::]:1883\", unix:/PATH or systemd:NAME",
        "test.toml:11: upstream.servers: \"127.0.0.1\" is not a server; expected IP:PORT, NAME:PORT or unix:/PATH, e.g. \"127.0.0.1:1884\"",
        "test.toml:11: upstream.servers: 7 is not a server; expected IP:PORT, NAME:PORT or unix:/PATH, e.g. \"127.0.0.1:1884\"",
        "test.toml:12: upstream.connect_timeout: \"0s\" is too short; expected at least \"1ms\"",
        "test.toml:14: ban[0].as: \"ip\" is not a kind of ban; expected one of clientid, username, cert_cn, cert_sha256, tls_ja4, peerhost, peerhost_net, clientid_re, username_re, peerhost_re",
        "test.toml:18: ban[1].who: \"localhost\" is not an IP address; expected e.g. \"192.0.2.7\" or \"2001:db8::7\"",
        "test.toml:19: ban[1].until: \"tomorrow\" is not an end; expected \"infinity\", RFC 3339, e.g. \"2030-01-01T00:00:00+00:00\", or epoch seconds",
        "test.toml:21: log.level: \"loud\" is unknown; expected one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"",
        "test.toml:22: nodes: is not an option; expected one of node, flapping_detect_policy, enable_flapping_detect, flapping_detect, detection, zones, limits, listener, upstream, upstreams, route, banned, kick, refused, webhook, admin, ban, exempt, log",
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_empty_file_says_what_it_lacks() {
    let expected = [
        "test.toml:1: listener: is missing; expected at least one [[listener]]",
        "test.toml:1: upstream.servers: is missing; expected at least one \"IP:PORT\", \"NAME:PORT\" or \"unix:/PATH\"",
    ];
    assert_eq!(mistakes(""), expected);
}

#[test]
fn broken_toml_is_located() {
    let found = mistakes("[[listener]]\nname = \"mqtt\n[upstream]\n");
    assert!(found[0].starts_with("test.toml:2: "), "{found:?}");
}

#[test]
fn tables_of_the_wrong_shape_are_told() {
    let found = mistakes("listener = 3\nupstream = []\n[[node]]\n");
    assert_eq!(found[0], "test.toml:1: listener: 3 is not an array of tables; expected [[listener]]");
    assert!(
        found.contains(&"test.toml:2: upstream: [] is not a table; expected [upstream]".to_owned()),
        "{found:?}"
    );
}

#[test]
fn names_and_addresses_are_used_once() {
    let listener = "[[listener]]\nname = \"a\"\nbind = \"127.0.0.1:1\"\n";
    let found = mistakes(&format!("{listener}{listener}[upstream]\nservers = [\"a:1\"]\n"));
    assert_eq!(
        found,
        [
            "test.toml:5: listener[1].name: \"a\" is taken by listener[0]; expected a name of its own",
            "test.toml:6: listener[1].bind: \"127.0.0.1:1\" is taken by listener[0]; expected an address of its own",
        ]
    );
}

#[test]
fn routes_lead_to_groups_that_exist() {
    let text =
        "[[route]]\nprotocol = [\"5\", \"3.1\"]\nupstream = \"new\"\n[upstreams.new]\nservers = [\"b:1\"]\n";
    let config = parse(&format!("{MINIMAL}{text}"));
    let when = Conditions { versions: Some(vec![Version::V5, Version::V31]), ..Conditions::default() };
    let route = Rule { when, upstream: "new".into() };
    assert_eq!(config.routes, [route]);

    let text = "[[route]]\nprotocol = [\"4\"]\nupstream = \"none\"\n";
    assert_eq!(
        mistakes(&format!("{MINIMAL}{text}")),
        [
            "test.toml:7: route[0].protocol: \"4\" is no MQTT version; expected \"3.1\", \"3.1.1\" or \"5\"",
            "test.toml:8: route[0].upstream: \"none\" is no group of brokers; expected the NAME of an [upstreams.NAME], e.g. [upstreams.none]",
        ]
    );
}

#[test]
fn servers_are_texts_or_tables_and_stand_once() {
    let text = MINIMAL.replace(
        "[\"127.0.0.1:1884\"]",
        "[\"a:1\", { address = \"b:1\", weight = 3, backup = true, state = \"drain\" }]\nbalance = \"hash\"",
    );
    let config = parse(&text);
    let [a, b] = &config.upstream.servers[..] else { panic!("two servers") };
    assert_eq!((a.server.as_str(), a.weight, a.is_backup, a.is_drained), ("a:1", 1, false, false));
    assert_eq!((b.server.as_str(), b.weight, b.is_backup, b.is_drained), ("b:1", 3, true, true));
    assert_eq!(config.upstream.balance, Balance::Hash);

    let text = MINIMAL.replace(
        "[\"127.0.0.1:1884\"]",
        "[\"a:1\", { address = \"a:1\", weight = 0 }, { port = 1 }, \"a:1\", []]\nmax_eject_time = \"1s\"",
    );
    assert_eq!(
        mistakes(&text),
        [
            "test.toml:5: upstream.servers: a:1 stands at [0] and at [3]; expected once, with a weight",
            "test.toml:5: upstream.servers[1].weight: 0 is out of range; expected 1 to 256",
            "test.toml:5: upstream.servers[2].address: is missing; expected IP:PORT, NAME:PORT or unix:/PATH",
            "test.toml:5: upstream.servers[2].port: is not an option; expected one of address, weight, backup, state",
            "test.toml:5: upstream.servers: [] is of the wrong type; expected at least one \"IP:PORT\", \"NAME:PORT\" or \"unix:/PATH\"",
            "test.toml:6: upstream.max_eject_time: \"1s\" is shorter than eject_time; expected at least that",
        ]
    );
}

#[test]
fn routes_have_conditions_and_lead_somewhere() {
    let text = r#"
[[route]]
upstream = "default"
[[route]]
listener = ["mqtt", "nobody"]
clientid = []
clientid_re = ["(", "^a"]
sni = ["*", "*.example"]
upstream = "default"
colour = "red"
"#;
    assert_eq!(
        mistakes(&format!("{MINIMAL}{text}")),
        [
            "test.toml:7: route[0].protocol: is missing; expected a condition, any of protocol, listener, clientid, clientid_prefix, clientid_re, username, username_re, sni, cert_cn",
            "test.toml:10: route[1].listener: [\"mqtt\", \"nobody\"] is no listener; expected the name of a [[listener]], not \"nobody\"",
            "test.toml:11: route[1].clientid: [] is empty; expected at least one client identifier",
            "test.toml:12: route[1].clientid_re: \"(\" is not a usable pattern: the pattern is wrong at byte 0: unclosed group",
            "test.toml:13: route[1].sni: \"*\" is no name of a host; expected e.g. \"broker.example\" or \"*.example\"",
            "test.toml:15: route[1].colour: is not an option; expected one of protocol, listener, clientid, clientid_prefix, clientid_re, username, username_re, sni, cert_cn, upstream",
        ]
    );
}

#[test]
fn listeners_and_spare_groups_name_groups_that_there_are() {
    let text = MINIMAL
        .replace("bind =", "upstream = \"blue\"\nbind =")
        .replace("[upstream]", "[upstream]\nbackup = \"red\"");
    assert_eq!(
        mistakes(&text),
        [
            "test.toml:3: listener[0].upstream: \"blue\" is no group of brokers; expected the NAME of an [upstreams.NAME], e.g. [upstreams.blue]",
            "test.toml:6: upstream.backup: \"red\" is no group of brokers; expected the NAME of an [upstreams.NAME]",
        ]
    );
    let groups = "[upstreams.blue]\nservers = [\"a:1\"]\n[upstreams.red]\nservers = [\"b:1\"]\n";
    let config = parse(&format!("{text}{groups}"));
    assert_eq!((&*config.listeners[0].upstream, config.upstream.backup.as_deref()), ("blue", Some("red")));
    assert_eq!(config.rules().usual, [("mqtt".into(), "blue".into())].into());
    let circle = groups.replace("\"b:1\"]", "\"b:1\"]\nbackup = \"default\"");
    assert_eq!(
        mistakes(&format!("{text}{circle}")),
        [
            "test.toml:6: upstream.backup: leads back to itself: default -> red -> default; expected an end",
            "test.toml:12: upstreams.red.backup: leads back to itself: red -> default -> red; expected an end",
        ]
    );
}

#[test]
fn bans_are_read_with_every_field_and_form_of_time() {
    let text = r#"
[[ban]]
as = "peerhost"
who = "::ffff:192.0.2.7"
by = "ops"
reason = "scan"
at = 2026-01-01T00:00:00Z
until = 2030-01-01T08:00:00+08:00
[[ban]]
as = "clientid"
who = "a/b c"
until = 1893456000
[[ban]]
as = "username"
who = "eve"
until = "infinity"
"#;
    let config = parse(&format!("{MINIMAL}{text}"));
    let until: Until = "2030-01-01T00:00:00Z".parse().expect("a moment");
    let [scan, bot, eve] = &config.bans[..] else { panic!("three bans") };
    assert_eq!((scan.who.to_string().as_str(), &*scan.by, &*scan.reason), ("192.0.2.7", "ops", "scan"));
    assert_eq!((scan.at, scan.until), ("2026-01-01T00:00:00Z".parse().ok(), until));
    assert_eq!((&*bot.by, bot.at, bot.until), ("config", None, until));
    assert_eq!(eve.until, Until::Infinity);
}

#[test]
fn the_same_name_is_banned_once() {
    let ban = |who: &str| format!("[[ban]]\nas = \"peerhost\"\nwho = \"{who}\"\n");
    let found = mistakes(&format!("{MINIMAL}{}{}", ban("10.0.0.1"), ban("::ffff:10.0.0.1")));
    assert_eq!(
        found,
        ["test.toml:11: ban[1].who: \"::ffff:10.0.0.1\" stands in ban[0] already; expected once"]
    );
}

#[test]
fn every_kind_is_read_and_wrong_ones_say_why() {
    let rule =
        |kind: &str, who: &str, more: &str| format!("[[ban]]\nas = \"{kind}\"\nwho = '{who}'\n{more}\n");
    let good = [
        rule("peerhost_net", "192.168.0.77/24", ""),
        rule("clientid_re", r"^bot-\d+$", "match = \"full\""),
        rule("username_re", "adm", ""),
        rule("peerhost_re", r"^10\.", ""),
    ];
    let config =
        parse(&format!("{MINIMAL}{}{}", good.concat(), good.concat().replace("[[ban]]", "[[exempt]]")));
    let shown: Vec<_> = config.bans.iter().map(|ban| (ban.who.to_string(), ban.who.matching())).collect();
    assert_eq!(
        shown,
        [
            ("192.168.0.0/24".to_owned(), None),
            (r"^bot-\d+$".to_owned(), Some(Match::Full)),
            ("adm".to_owned(), Some(Match::Search)),
            (r"^10\.".to_owned(), Some(Match::Search)),
        ]
    );
    assert_eq!(config.exemptions.len(), 4);

    let bad = [
        rule("peerhost_net", "10.0.0.0/33", ""),
        rule("clientid_re", "bot-[0-9", ""),
        rule("clientid", "x", "match = \"full\""),
        rule("username_re", "x", "match = \"half\""),
    ];
    let found = mistakes(&format!("{MINIMAL}{}", bad.concat()));
    assert_eq!(
        found[0],
        "test.toml:8: ban[0].who: '10.0.0.0/33' is not a network; expected e.g. \"192.0.2.0/24\" or \"2001:db8::/48\""
    );
    assert!(
        found[1].starts_with(
            "test.toml:12: ban[1].who: 'bot-[0-9' is not a usable pattern: the pattern is wrong at byte 4"
        ),
        "{found:?}"
    );
    assert_eq!(
        found[2],
        "test.toml:17: ban[2].match: stands at a clientid; expected only at clientid_re, username_re and peerhost_re"
    );
    assert_eq!(
        found[3],
        "test.toml:21: ban[3].match: \"half\" is unknown; expected one of \"search\", \"full\""
    );
}

#[test]
fn patterns_that_every_client_pays_for_are_limited() {
    let lookahead = |n| format!("[[ban]]\nas = \"clientid_re\"\nwho = '^(?!a{n}$).+'\n");
    let rules: String = (0..257).map(lookahead).collect();
    let found = mistakes(&format!("{MINIMAL}{rules}"));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].contains(
            "ban[256].who: '^(?!a256$).+' is one lookaround pattern too many; expected at most 256"
        ),
        "{found:?}"
    );
}

#[test]
fn a_long_value_is_cut_in_messages() {
    let text = MINIMAL.replace("0.0.0.0:1883", &"x".repeat(1000));
    assert!(mistakes(&text)[0].len() < 250);
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "[a-z\\[\\]\"=\n.0-9 é]{0,200}") {
        let _ = Config::parse("test.toml", &text);
    }
}

#[test]
fn a_listener_has_one_address_or_a_list_of_them() {
    let binds = |bind: &str| {
        let config = Config::parse("test.toml", &MINIMAL.replace("\"0.0.0.0:1883\"", bind)).expect("good");
        config.listeners[0].binds.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(binds("\"[::]:1883\""), ["[::]:1883"]);
    let all = ["127.0.0.1:0", "127.0.0.1:0", "unix:/run/s", "systemd:mqtt"];
    assert_eq!(binds(&format!("{all:?}")), all);
}

#[test]
fn addresses_that_cannot_be_listened_on_are_mistakes() {
    let text = r#"
[[listener]]
name = "a"
bind = ["127.0.0.1:1", "unix:relative", "127.0.0.1"]
unix_mode = "0999"
unix_owner = "a:b"
[[listener]]
name = "b"
bind = []
[[listener]]
name = "c"
bind = ["unix:/s", "127.0.0.1:3", "unix:/s"]
[[listener]]
name = "d"
bind = ["127.0.0.1:4", "127.0.0.1:3"]
[[listener]]
name = "e"
bind = "unix:/s"
trusted = ["unix", "sometimes"]
[upstream]
servers = ["unix:broker"]
"#;
    let mistakes = Config::parse("test.toml", text).expect_err("mistakes");
    let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(
        mistakes,
        [
            "test.toml:4: listener[0].bind: \"unix:relative\" is no path of a Unix socket; expected unix: and 1 to 107 bytes that begin with \"/\"",
            "test.toml:4: listener[0].bind: \"127.0.0.1\" is not an address; expected IP:PORT, e.g. \"0.0.0.0:1883\" or \"[::]:1883\", unix:/PATH or systemd:NAME",
            "test.toml:5: listener[0].unix_mode: \"0999\" is not a mode; expected three or four octal digits, e.g. \"0660\"",
            "test.toml:6: listener[0].unix_owner: \"a:b\" is no user or group; expected a name or a number",
            "test.toml:9: listener[1].bind: [] is empty; expected IP:PORT, e.g. \"0.0.0.0:1883\"",
            "test.toml:12: listener[2].bind: unix:/s stands there twice; expected once",
            "test.toml:15: listener[3].bind: \"127.0.0.1:3\" is taken by listener[2]; expected an address of its own",
            "test.toml:18: listener[4].bind: \"unix:/s\" is taken by listener[2]; expected an address of its own",
            "test.toml:19: listener[4].trusted: \"sometimes\" is not a network; expected e.g. \"10.0.0.0/8\" or \"192.0.2.7\", or \"unix\"",
            "test.toml:21: upstream.servers: \"unix:broker\" is not a server; expected IP:PORT, NAME:PORT or unix:/PATH, e.g. \"127.0.0.1:1884\"",
        ]
    );
}
