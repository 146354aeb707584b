//! Who is inside, and who was turned away: the binary, its socket and its command line.

use crate::harness::{BANNED, Running, Site, admitting_broker};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A client that waits for its end.
struct Inside(TcpStream);

impl Inside {
    /// Sends a CONNECT, and waits for the CONNACK that lets it in.
    fn enter(proxy: &Running, connect: &[u8]) -> Inside {
        let mut stream = TcpStream::connect(proxy.addr).expect("the proxy listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        stream.write_all(connect).expect("connected");
        let mut connack = [0; 5];
        stream.read_exact(&mut connack).expect("a CONNACK");
        assert_eq!(&connack, b"\x20\x03\x00\x00\x00");
        Inside(stream)
    }

    /// All that comes until the proxy closes.
    fn last_words(mut self) -> Vec<u8> {
        let mut words = Vec::new();
        self.0.read_to_end(&mut words).expect("no reset");
        words
    }

    /// True while nothing has come, not even the end.
    fn is_left_alone(&self) -> bool {
        self.0.set_nonblocking(true).expect("open");
        let nothing =
            self.0.peek(&mut [0; 1]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        self.0.set_nonblocking(false).expect("open");
        nothing
    }
}

/// A CONNECT of MQTT 5 with a user name.
fn connect_as(client_id: &str, username: &str) -> Vec<u8> {
    let mut packet = Running::connect(client_id);
    packet[1] += u8::try_from(username.len() + 2).expect("short");
    packet[9] |= 0x80;
    packet.extend([0, u8::try_from(username.len()).expect("short")]);
    packet.extend(username.as_bytes());
    packet
}

/// MQTT 5's DISCONNECT for an administrative action.
const KICKED: &[u8] = b"\xe0\x02\x98\x00";

/// The status and the body of an answer of the API.
fn call(site: &Site, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut socket = UnixStream::connect(site.path("data/control.sock")).expect("a socket");
    let length = body.len();
    write!(
        socket,
        "{method} /api/v5/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .expect("connected");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or_default())
}

fn code(answer: &Value) -> &str {
    answer["code"].as_str().unwrap_or_default()
}

#[test]
fn clients_are_listed_shown_and_kicked() {
    let site = Site::with_broker(admitting_broker(), "");
    let proxy = site.serve();
    let _other = Inside::enter(&proxy, &Running::connect("pump"));
    let kicked = Inside::enter(&proxy, &connect_as("größe/1 ?#%", "eve"));
    site.until(&["clients", "list", "--username", "eve"], "1 of 1\n");

    let (status, page) = call(&site, "GET", "clients?like_clientid=1%20?&username=eve&username=x", "");
    let client = &page["data"][0];
    assert_eq!((status, &page["meta"]["count"], &page["meta"]["hasnext"]), (200, &1.into(), &false.into()));
    assert_eq!((&client["clientid"], &client["username"]), (&"größe/1 ?#%".into(), &"eve".into()));
    assert_eq!((&client["ip_address"], &client["listener"]), (&"127.0.0.1".into(), &"mqtt".into()));
    assert_eq!((&client["proto_ver"], &client["proto_name"]), (&5.into(), &"MQTT".into()));
    assert_eq!((&client["keepalive"], &client["clean_start"]), (&60.into(), &true.into()));
    assert_eq!((&client["recv_oct"], &client["send_oct"]), (&33.into(), &5.into()));
    assert_eq!(
        (&client["connected"], &client["tls"], &client["zone"]),
        (&true.into(), &false.into(), &"default".into())
    );

    let path = "clients/gr%C3%B6%C3%9Fe%2F1%20%3F%23%25";
    assert_eq!(call(&site, "GET", path, "").1, *client);
    assert_eq!(site.succeed(&["clients", "show", "größe/1 ?#%", "--json"]).trim(), client.to_string());
    assert_eq!(call(&site, "DELETE", path, ""), (204, Value::Null));
    let (status, missing) = call(&site, "DELETE", path, "");
    assert_eq!(
        (status, missing.to_string()),
        (404, r#"{"code":"CLIENTID_NOT_FOUND","message":"Client ID not found"}"#.to_owned())
    );
    assert_eq!(call(&site, "GET", path, "").0, 404);
    assert_eq!(kicked.last_words(), KICKED);
    assert_eq!(site.succeed(&["clients", "list", "--json"]).lines().count(), 1);
    assert_eq!(site.succeed(&["clients", "kick", "pump"]), "kicked pump\n");
    assert_eq!(site.fail(&["clients", "kick", "pump"]), "mqtt-bouncer: no client pump is inside\n");
    assert_eq!(site.succeed(&["clients", "list"]), "0 of 0\n");
}

#[test]
fn many_are_kicked_in_one_call_and_those_that_are_not_inside_are_passed_over() {
    let site = Site::with_broker(admitting_broker(), "");
    let proxy = site.serve();
    let clients = ["a", "b", "c"].map(|client_id| Inside::enter(&proxy, &Running::connect(client_id)));
    assert_eq!(call(&site, "POST", "clients/kickout/bulk", r#"["a","x","c"]"#).0, 204);
    let [a, b, c] = clients;
    assert_eq!((a.last_words(), c.last_words()), (KICKED.to_vec(), KICKED.to_vec()));
    assert!(b.is_left_alone());
    for body in ["", "{}", "[1]", "[\"a\"", "\"a\""] {
        let (status, answer) = call(&site, "POST", "clients/kickout/bulk", body);
        assert!((400..500).contains(&status) && code(&answer) == "BAD_REQUEST", "{body}: {status} {answer}");
    }
}

#[test]
fn a_client_of_an_older_version_is_closed_without_a_word_when_it_is_kicked() {
    let site = Site::with_broker(admitting_broker(), "");
    let proxy = site.serve();
    let mut stream = TcpStream::connect(proxy.addr).expect("the proxy listens");
    stream.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01o").expect("connected");
    let mut connack = [0; 5];
    stream.read_exact(&mut connack).expect("whatever the broker says");
    site.until(&["clients", "kick", "o"], "kicked");
    assert_eq!(Inside(stream).last_words(), b"");
}

#[test]
fn each_kind_of_ban_kicks_where_it_is_configured_and_exempt_clients_stay() {
    let all = "kick = [\"clientid\", \"username\", \"peerhost\", \"peerhost_net\", \"clientid_re\", \"username_re\", \"peerhost_re\"]";
    for (kind, who) in [
        ("clientid", "bot-1"),
        ("username", "eve"),
        ("peerhost", "127.0.0.1"),
        ("peerhost_net", "127.0.0.0/8"),
        ("clientid_re", "^bot-\\d$"),
        ("username_re", "^e.e$"),
        ("peerhost_re", "\\.1$"),
    ] {
        let site = Site::with_broker(admitting_broker(), &format!("[banned]\n{all}"));
        let proxy = site.serve();
        site.succeed(&["exemptions", "add", "clientid", "pump"]);
        let bot = Inside::enter(&proxy, &connect_as("bot-1", "eve"));
        let pump = Inside::enter(&proxy, &connect_as("pump", "eve"));
        site.succeed(&["bans", "add", kind, who]);
        assert_eq!(bot.last_words(), KICKED, "{kind}");
        assert!(pump.is_left_alone(), "{kind}");
    }
}

#[test]
fn by_default_a_client_identifier_alone_kicks_and_a_reload_changes_that() {
    let ban = |kind: &str, who: &str| format!("[[ban]]\nas = \"{kind}\"\nwho = \"{who}\"\n");
    let site = Site::with_broker(admitting_broker(), "");
    let proxy = site.serve();
    let enter = |client_id: &str| Inside::enter(&proxy, &connect_as(client_id, "eve"));
    let (first, second, third) = (enter("a"), enter("b"), enter("c"));
    site.succeed(&["bans", "add", "username", "eve"]);
    site.succeed(&["bans", "add", "clientid", "a"]);
    assert_eq!(first.last_words(), KICKED);
    assert!(second.is_left_alone(), "a user name does not kick");
    site.succeed(&["bans", "remove", "username", "eve"]);
    // What the file bans is in force, and kicks, like any other ban.
    site.configure(&ban("clientid", "b"));
    proxy.signal("HUP");
    assert_eq!(second.last_words(), KICKED);
    site.configure(&format!(
        "[banned]\nkick = [\"username_re\"]\n{}{}",
        ban("clientid", "c"),
        ban("username_re", "^nobody$")
    ));
    proxy.signal("HUP");
    site.until(&["bans", "list"], "");
    while proxy.knock("c") != BANNED {}
    assert!(third.is_left_alone(), "a client identifier no longer kicks");
    site.configure(&format!("[banned]\nkick = [\"username_re\"]\n{}", ban("username_re", "^eve$")));
    proxy.signal("HUP");
    assert_eq!(third.last_words(), KICKED);
}

#[test]
fn an_import_longer_than_the_queue_kicks_whom_it_names() {
    let site = Site::with_broker(admitting_broker(), "");
    let proxy = site.serve();
    let (bot, pump) = (
        Inside::enter(&proxy, &Running::connect("bot-17")),
        Inside::enter(&proxy, &Running::connect("pump")),
    );
    let names: Vec<_> = (0..20_000).map(|number| format!("bot-{number}")).collect();
    let path = site.write("list.txt", names.join("\n"));
    site.succeed(&["bans", "import", &path]);
    assert_eq!(bot.last_words(), KICKED);
    assert!(pump.is_left_alone());
}

/// Clients that enter while a ban lands are refused or kicked: none of them stays.
#[test]
fn nobody_slips_in_between_a_ban_and_its_kick() {
    let site = Site::with_broker(admitting_broker(), "");
    let proxy = site.serve();
    let proxy = &proxy;
    for round in 0..10 {
        let client_id = &format!("racer-{round}");
        std::thread::scope(|scope| {
            let racers: Vec<_> = (0..20)
                .map(|_| {
                    scope.spawn(move || {
                        let answer = proxy.knock(client_id);
                        // Before its CONNACK a client cannot be told, and is closed.
                        let is_gone = answer == BANNED || answer.is_empty() || answer.ends_with(KICKED);
                        assert!(is_gone, "{answer:x?}");
                    })
                })
                .collect();
            site.succeed(&["bans", "add", "clientid", client_id]);
            for racer in racers {
                racer.join().expect("told to go");
            }
        });
    }
}

#[test]
fn a_refused_client_is_listed_with_its_ban_and_leaves_when_it_gets_in() {
    let site = Site::with_broker(admitting_broker(), "");
    let proxy = site.serve();
    site.succeed(&["bans", "add", "clientid_re", "^bot"]);
    for _ in 0..3 {
        assert_eq!(proxy.knock("bot-1"), BANNED);
    }
    assert_eq!(proxy.knock("bot-2"), BANNED);
    let (status, page) = call(&site, "GET", "refused?sort=count&order=desc", "");
    let row = &page["data"][0];
    assert_eq!((status, &page["meta"]["count"]), (200, &2.into()));
    assert_eq!(
        (&row["clientid"], &row["count"], &row["reason"]),
        (&"bot-1".into(), &3.into(), &"banned".into())
    );
    assert_eq!(
        (&row["as"], &row["who"], &row["connack"]),
        (&"clientid_re".into(), &"^bot".into(), &Value::Null)
    );
    assert_eq!(
        (&row["password"], &row["tls"], &row["peerhost"]),
        (&false.into(), &false.into(), &"127.0.0.1".into())
    );
    let table = site.succeed(&["refused", "list", "--like-clientid", "BOT-1"]);
    assert!(table.contains(" bot-1  by clientid_re \"^bot\"\n1 of 1\n"), "{table}");

    let top = site.succeed(&["top", "--once", "--interval", "100ms"]);
    assert!(top.contains("\nREFUSED  ") && top.contains(" banned bot-2\n"), "{top}");

    site.succeed(&["bans", "clear", "--yes"]);
    let _inside = Inside::enter(&proxy, &Running::connect("bot-1"));
    let left = site.succeed(&["refused", "list", "--json"]);
    let row: Value = serde_json::from_str(&left).expect("one row");
    assert_eq!(row["clientid"], "bot-2");
    assert_eq!(site.succeed(&["refused", "remove", &row["id"].to_string()]), "forgotten\n");
    assert!(site.fail(&["refused", "remove", "99"]).contains("there is no refused client 99"));
    assert_eq!(call(&site, "DELETE", "refused/99", "").0, 404);
    assert_eq!(call(&site, "DELETE", "refused/x", "").0, 400);

    let mut stranger = TcpStream::connect(proxy.addr).expect("the proxy listens");
    stranger.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("connected");
    site.until(&["refused", "list", "--reason", "not_mqtt", "--json"], "\"password\":null");
    assert_eq!(site.succeed(&["refused", "clear", "--yes"]), "cleared\n");
    assert_eq!(site.succeed(&["refused", "list"]), "0 of 0\n");
}

#[test]
fn the_list_of_refused_clients_can_be_switched_off_by_a_reload() {
    let site = Site::new("[[ban]]\nas = \"clientid\"\nwho = \"bot\"\n");
    let proxy = site.serve();
    assert_eq!(proxy.knock("bot"), BANNED);
    assert!(site.succeed(&["refused", "list"]).ends_with("1 of 1\n"));
    site.configure("[refused]\nmax_entries = 0\n[[ban]]\nas = \"clientid\"\nwho = \"bot\"\n");
    proxy.signal("HUP");
    site.until(&["refused", "list"], "0 of 0\n");
    assert_eq!(proxy.knock("bot"), BANNED);
    assert_eq!(site.succeed(&["refused", "list"]), "0 of 0\n");
}

#[test]
fn a_wrong_query_is_refused_in_one_sentence() {
    let site = Site::new("");
    let _proxy = site.serve();
    for (path, expected) in [
        ("clients?page=0", "page 0 is wrong; expected a number of 1 to 1000000000"),
        ("clients?limit=10001", "limit 10001 is wrong; expected a number of 1 to 10000"),
        ("clients?clientid=%ff", "the query is not UTF-8, or has a broken percent-escape"),
        ("clients?proto_ver=9", "proto_ver is wrong; expected 3, 4 or 5"),
        (
            "clients?sort=x",
            "sort x is wrong; expected one of number, clientid, username, ip_address, proto_ver, connected_at, keepalive, listener, zone, upstream, recv_oct, send_oct",
        ),
        (
            "refused?foo=1",
            "foo is not a filter; expected one of page, limit, clientid, username, peerhost, net, like_clientid, like_username, like_peerhost, like_who, like_reason, reason, as, listener, zone, password, tls, server_name, ja4, cert_cn, cert_sha256, via, gte_last_at, lte_last_at, sort, order",
        ),
        ("refused?tls=yes", "tls yes is wrong; expected true or false"),
    ] {
        let (status, answer) = call(&site, "GET", path, "");
        assert_eq!(
            (status, code(&answer), answer["message"].as_str()),
            (400, "BAD_REQUEST", Some(expected)),
            "{path}"
        );
    }
    assert_eq!(call(&site, "GET", "clients?page=1000000000&limit=10000", "").0, 200);
    assert_eq!(call(&site, "GET", "clients/%ff", "").0, 400);
    assert_eq!(call(&site, "DELETE", "clients/..%2f..%2fetc", "").0, 404);
}

#[test]
fn whoever_is_kicked_again_and_again_is_not_flapping() {
    let flapping = "[flapping_detect]\nenable = true\nmax_count = 3\n[detection]\nlearning = \"0s\"\npatience = \"1ms\"\n";
    let site = Site::with_broker(admitting_broker(), flapping);
    let proxy = site.serve();
    for _ in 0..6 {
        let client = Inside::enter(&proxy, &Running::connect("pump"));
        site.until(&["clients", "list", "--clientid", "pump"], "1 of 1\n");
        site.succeed(&["clients", "kick", "pump"]);
        assert_eq!(client.last_words(), KICKED);
    }
    assert_eq!(site.succeed(&["detections"]), "");
    // By its own fault it would be.
    for _ in 0..3 {
        drop(Inside::enter(&proxy, &Running::connect("pump")));
    }
    site.until(&["detections"], "pump");
}
