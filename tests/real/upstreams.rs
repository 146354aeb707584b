//! Several real brokers: one that dies, one that is taken out of service, spare ones, and TLS to them.

use crate::harness::{Broker, Client, Proxy, Version, connect, dial, eventually, listener};
use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A config file whose clients share these servers, with these options of `[upstream]` and these sections.
fn sharing(servers: &[String], options: &str, sections: &str) -> String {
    let servers: Vec<_> = servers.iter().map(|server| format!("\"{server}\"")).collect();
    format!(
        "{}\n[node]\ndata_dir = \"data\"\n[upstream]\nservers = [{}]\n{options}\n{sections}\n\
         [log]\nlevel = \"debug\"\nmax_connection_lines = 0\n",
        listener("mqtt", 0),
        servers.join(", ")
    )
}

fn servers(brokers: &[&Broker]) -> Vec<String> {
    brokers.iter().map(|broker| broker.addr.to_string()).collect()
}

/// The broker that a client is with, as the command line tells it.
fn home(proxy: &Proxy, client_id: &str) -> String {
    let shown = proxy.command(&["clients", "show", client_id, "--json"]);
    let client: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    client["upstream"].as_str().expect("a server").to_owned()
}

/// What `upstreams list` says of a server.
pub(crate) fn condition(proxy: &Proxy, server: &str) -> serde_json::Value {
    let listed = proxy.command(&["upstreams", "list", "--json"]);
    let all: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let groups = all["data"].as_array().expect("groups");
    let mut servers = groups.iter().flat_map(|group| group["servers"].as_array().expect("servers"));
    servers.find(|one| one["server"] == server).expect("it is listed").clone()
}

/// Connects; the code of the CONNACK, or `None` when the connection ends before it.
fn come(addr: SocketAddr, client_id: &str) -> (Option<u8>, TcpStream) {
    let mut stream = dial(addr);
    stream.write_all(&connect(Version::V5, client_id)).expect("the proxy takes it");
    let mut connack = [0; 4];
    let code = stream.read_exact(&mut connack).ok().map(|()| connack[3]);
    (code, stream)
}

const COMERS: usize = 4;
const EACH: usize = 100;

#[test]
fn no_client_of_a_storm_is_refused_when_a_broker_dies_in_it() {
    let (first, second, dies) = (Broker::start(), Broker::start(), Broker::start());
    let proxy = Proxy::start(&sharing(&servers(&[&first, &dies, &second]), "", ""));
    let (addr, inside, cut_off) = (proxy.addr, AtomicUsize::new(0), AtomicUsize::new(0));
    let (inside, cut_off) = (&inside, &cut_off);
    thread::scope(|scope| {
        for comer in 0..COMERS {
            scope.spawn(move || {
                let mut streams = Vec::new();
                for number in 0..EACH {
                    let (code, stream) = come(addr, &format!("device-{comer}-{number}"));
                    match code {
                        Some(code) => assert_eq!(code, 0, "device-{comer}-{number} was refused"),
                        None => drop(cut_off.fetch_add(1, Ordering::Relaxed)),
                    }
                    streams.push(stream);
                    inside.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        eventually("a quarter of the storm", || inside.load(Ordering::Relaxed) >= COMERS * EACH / 4);
        dies.kill();
    });
    // Each comer has one client on its way at a time: those that the broker had seen already share its fate, and nobody else.
    let cut_off = cut_off.load(Ordering::Relaxed);
    assert!(cut_off <= COMERS, "{cut_off} clients were cut off");
    assert_eq!(proxy.log().count("outcome=upstream_unavailable"), 0);
    proxy.log().wait_for(0, &["server is left alone"]);
}

#[test]
fn with_a_hash_clients_find_their_broker_again_and_a_dead_one_moves_its_own_alone() {
    let brokers = [Broker::start(), Broker::start(), Broker::start()];
    let all = servers(&brokers.each_ref());
    let proxy = Proxy::start(&sharing(&all, "balance = \"hash\"", ""));
    let names: Vec<_> = (0..12).map(|number| format!("device-{number}")).collect();
    let enter = |name: &String| (name.clone(), Client::enter(proxy.addr, Version::V5, name));
    let clients: Vec<_> = names.iter().map(enter).collect();
    let homes: HashMap<_, _> = names.iter().map(|name| (name, home(&proxy, name))).collect();
    drop(clients);
    let _clients: Vec<_> = names.iter().map(enter).collect();
    for name in &names {
        assert_eq!(home(&proxy, name), homes[name], "{name}");
    }
    let dead = homes[&names[0]].clone();
    let mut kept = Vec::new();
    for broker in brokers {
        if broker.addr.to_string() == dead {
            broker.kill();
        } else {
            kept.push(broker);
        }
    }
    let again: Vec<_> = names.iter().map(enter).collect();
    for name in &names {
        let now = home(&proxy, name);
        assert!(now == homes[name] || homes[name] == dead, "{name}");
        assert_ne!(now, dead, "{name}");
    }
    drop(again);
}

#[test]
fn a_drained_broker_keeps_its_clients_and_gets_no_new_ones_until_it_is_resumed() {
    let (stays, drained) = (Broker::start(), Broker::start());
    let config = sharing(&servers(&[&drained, &stays]), "", "");
    let proxy = Proxy::start(&config);
    let server = drained.addr.to_string();
    let mut old = Client::enter(proxy.addr, Version::V5, "old");
    assert_eq!(home(&proxy, "old"), server);
    let told = proxy.command(&["upstreams", "drain", "default", &server]);
    assert_eq!(told.trim(), format!("{server}: no new clients; 1 connections stay"));
    proxy.reload(&format!("{config}stats_interval = \"2m\"\n"), "config file is in use");
    let new: Vec<_> = (0..4)
        .map(|number| {
            let name = format!("new-{number}");
            let client = Client::enter(proxy.addr, Version::V311, &name);
            assert_eq!(home(&proxy, &name), stays.addr.to_string());
            client
        })
        .collect();
    old.assert_alive();
    assert_eq!(condition(&proxy, &server)["state"], "drain");
    assert!(proxy.command(&["status"]).contains(&format!("{server} (drained)")));
    drop(new);

    proxy.command(&["upstreams", "resume", "default", &server]);
    let both: Vec<_> = (0..2).map(|n| Client::enter(proxy.addr, Version::V5, &format!("both-{n}"))).collect();
    let homes = ["both-0", "both-1"].map(|name| home(&proxy, name));
    assert!(homes.contains(&server), "{homes:?}");
    drop(both);
}

#[test]
fn a_spare_group_serves_while_the_brokers_are_away() {
    let (main, spare) = (Broker::start(), Broker::start());
    let sections = format!("[upstreams.spare]\nservers = [\"{}\"]\n", spare.addr);
    let options = "backup = \"spare\"\neject_after = 1\neject_time = \"100ms\"\nmax_eject_time = \"100ms\"";
    let proxy = Proxy::start(&sharing(&servers(&[&main]), options, &sections));
    let (addr, first) = (main.addr, Client::enter(proxy.addr, Version::V5, "first"));
    assert_eq!(home(&proxy, "first"), addr.to_string());
    main.kill();
    first.await_end();
    let mut meanwhile = Client::enter(proxy.addr, Version::V5, "meanwhile");
    assert_eq!(home(&proxy, "meanwhile"), spare.addr.to_string());

    let _back = Broker::start_at(addr);
    eventually("the brokers to be back", || {
        let _client = Client::enter(proxy.addr, Version::V5, "returning");
        home(&proxy, "returning") == addr.to_string()
    });
    meanwhile.assert_alive();
}

#[test]
fn checks_that_speak_mqtt_find_out_who_lets_nobody_in() {
    let (open, closed) = (Broker::start(), Broker::start_with_accounts(&[("check", "right")]));
    let folder = tempfile::tempdir().expect("a folder");
    let password = folder.path().join("password");
    fs::write(&password, "right\n").expect("written");
    let check = format!(
        "health_check = {{ type = \"mqtt\", interval = \"100ms\", fall = 2, rise = 1, username = \"check\", password_file = \"{}\" }}",
        password.display()
    );
    let config = sharing(&servers(&[&open, &closed]), &check, "");
    let proxy = Proxy::start(&config);
    let server = closed.addr.to_string();
    eventually("a good check", || condition(&proxy, &server)["checks_succeeded"] != 0);
    assert_eq!(condition(&proxy, &server)["health"], "up");

    fs::write(&password, "wrong\n").expect("written");
    let mark = proxy.log().mark();
    proxy.reload(&config, "config file is in use");
    proxy.log().wait_for(mark, &["server is down", &server, "CONNACK with code 0x05"]);
    for number in 0..4 {
        Client::enter(proxy.addr, Version::V5, &format!("device-{number}")).assert_alive();
    }

    fs::write(&password, "right\n").expect("written");
    let mark = proxy.log().mark();
    proxy.reload(&config, "config file is in use");
    proxy.log().wait_for(mark, &["server is up", &server]);
}

/// An authority, and certificates of a server and a client of it.
fn make_certificates(folder: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs/make-dev-certs.sh");
    let made = Command::new(script).arg(folder).output().expect("openssl; tests/run installs it");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// A broker behind TLS, and the server as a config file names it.
fn start_tls(certificates: &Path, options: &str) -> (Broker, String) {
    let file = |name| certificates.join(name).display().to_string();
    let options = format!(
        "cafile {}\ncertfile {}\nkeyfile {}\nallow_anonymous true\n{options}",
        file("ca.pem"),
        file("server.pem"),
        file("server.key")
    );
    let broker = Broker::start_with(&options);
    let server = format!("localhost:{}", broker.addr.port());
    (broker, server)
}

#[test]
fn a_broker_behind_tls_is_believed_by_its_authority_and_its_name() {
    let (ours, theirs) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    make_certificates(ours.path());
    make_certificates(theirs.path());
    let (_broker, server) = start_tls(ours.path(), "");
    let ca = ours.path().join("ca.pem");
    let config = |more: &str| {
        let tls = format!("tls = {{ ca = \"{}\"{more} }}", ca.display());
        sharing(std::slice::from_ref(&server), &tls, "")
    };
    let proxy = Proxy::start(&config(""));
    Client::enter(proxy.addr, Version::V5, "first").assert_alive();

    proxy.reload(&config(", server_name = \"broker.example\""), "config file is in use");
    let mark = proxy.log().mark();
    assert_eq!(Client::knock(proxy.addr, Version::V5, "second").err(), Some(0x88));
    proxy.log().wait_for(mark, &["no broker", "not valid for name", "broker.example"]);

    // Another authority in the same file counts for whoever comes next.
    let mut kept = {
        proxy.reload(&config(""), "config file is in use");
        let kept = Client::enter(proxy.addr, Version::V311, "kept");
        fs::copy(theirs.path().join("ca.pem"), &ca).expect("copied");
        kept
    };
    proxy.reload(&config(""), "config file is in use");
    let mark = proxy.log().mark();
    assert_eq!(Client::knock(proxy.addr, Version::V5, "third").err(), Some(0x88));
    proxy.log().wait_for(mark, &["no broker", "invalid peer certificate"]);
    kept.assert_alive();

    let mark = proxy.log().mark();
    proxy.reload(&config(", verify = false"), "config file is in use");
    proxy.log().wait_for(mark, &["WARN", "tls.verify is false"]);
    Client::enter(proxy.addr, Version::V5, "fourth").assert_alive();
}

#[test]
fn a_broker_that_wants_certificates_gets_ours() {
    let folder = tempfile::tempdir().expect("a folder");
    make_certificates(folder.path());
    let (_broker, server) = start_tls(folder.path(), "require_certificate true");
    let file = |name| folder.path().join(name).display().to_string();
    let tls = |identity: &str| {
        let tls = format!("tls = {{ ca = \"{}\"{identity} }}", file("ca.pem"));
        sharing(std::slice::from_ref(&server), &tls, "")
    };
    let known = format!(", cert = \"{}\", key = \"{}\"", file("client.pem"), file("client.key"));
    let proxy = Proxy::start(&tls(&known));
    for version in Version::BOTH {
        Client::enter(proxy.addr, version, "known").assert_alive();
    }
    proxy.reload(&tls(""), "config file is in use");
    let (code, _) = come(proxy.addr, "unknown");
    assert!(matches!(code, None | Some(0x88)), "{code:?}");
}

#[test]
fn a_certificate_for_brokers_that_changes_on_disk_is_shown_and_a_broken_one_is_not() {
    let (ours, theirs) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    make_certificates(ours.path());
    make_certificates(theirs.path());
    let (_broker, server) = start_tls(ours.path(), "require_certificate true");
    let shown = tempfile::tempdir().expect("a folder");
    let show = |from: &Path, file: &str| {
        // As those do it who renew certificates: whoever reads finds one or the other.
        fs::copy(from.join(file), shown.path().join("next")).expect("copied");
        fs::rename(shown.path().join("next"), shown.path().join(file)).expect("renamed");
    };
    for file in ["client.pem", "client.key"] {
        show(theirs.path(), file);
    }
    let file = |name| shown.path().join(name).display().to_string();
    let tls = format!(
        "tls = {{ ca = \"{}\", cert = \"{}\", key = \"{}\", expiry_warning = \"366d\" }}",
        ours.path().join("ca.pem").display(),
        file("client.pem"),
        file("client.key")
    );
    let proxy = Proxy::start(&sharing(std::slice::from_ref(&server), &tls, ""));
    proxy.log().wait_for(0, &["WARN", "our certificate expires soon", "upstream=default", "device-1"]);
    let (code, _) = come(proxy.addr, "stranger");
    assert!(matches!(code, None | Some(0x88)), "{code:?}");
    let stats = || -> serde_json::Value {
        serde_json::from_str(&proxy.command(&["top", "--once", "--json"])).expect("JSON")
    };
    assert!(stats()["upstream_certificates"]["default"].as_i64().is_some_and(|ends| ends > 0));

    // Between the two files, the pair is a broken one.
    let mark = proxy.log().mark();
    show(ours.path(), "client.key");
    let line =
        proxy.log().wait_for(mark, &["ERROR", "changed certificates are not used", "upstream=default"]);
    assert!(line.contains("cannot be used together"), "{line}");
    let mark = proxy.log().mark();
    show(ours.path(), "client.pem");
    proxy.log().wait_for(mark, &["certificates have changed and are in use", "upstream=default"]);
    let mut kept = Client::enter(proxy.addr, Version::V5, "kept");

    let mark = proxy.log().mark();
    fs::write(file("client.pem"), "-----BEGIN CERTIFICATE-----\nbroken\n").expect("written");
    let line = proxy.log().wait_for(mark, &["changed certificates are not used"]);
    assert!(line.contains("client.pem"), "{line}");
    Client::enter(proxy.addr, Version::V311, "still").assert_alive();
    kept.assert_alive();
}

#[test]
fn explain_says_which_route_fits() {
    let broker = Broker::start();
    let sections = format!(
        "[upstreams.pumps]\nservers = [\"{}\"]\n\
         [[route]]\nprotocol = [\"3.1\"]\nupstream = \"default\"\n\
         [[route]]\nclientid_prefix = [\"pump-\"]\nsni = [\"*.example\"]\nupstream = \"pumps\"\n",
        broker.addr
    );
    let proxy = Proxy::start(&sharing(&servers(&[&broker]), "", &sections));
    let told = proxy.command(&["explain", "--clientid", "pump-7", "--sni", "a.example"]);
    assert!(told.contains("upstream: pumps, by route[1]"), "{told}");
    let told = proxy.command(&["explain", "--clientid", "pump-7"]);
    assert!(told.contains("upstream: default, by no route"), "{told}");
    let told = proxy.command(&["explain", "--clientid", "pump-7", "--protocol", "3.1", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((&told["upstream"], &told["route"]), (&"default".into(), &0.into()));
}
