//! Sockets as operators have them: handed over by systemd, Unix sockets between the proxy, HAProxy and mosquitto, and the
//! options of listeners, read back from the system.

use crate::haproxy::HaProxy;
use crate::harness::{Broker, Client, PATIENCE, Process, Proxy, Version, config, eventually, free_port};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_mqtt-bouncer");

/// A folder with a config file.
fn site(config: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("mqtt-bouncer.toml");
    fs::write(&file, config).expect("written");
    (folder, file.display().to_string())
}

/// A config whose listener listens there: a TOML value.
fn on(broker: &str, bind: &str, more: &str) -> String {
    format!(
        "[[listener]]\nname = \"mqtt\"\nbind = {bind}\n{more}\n[upstream]\nservers = [\"{broker}\"]\n[log]\nlevel = \"debug\"\n"
    )
}

fn run(command: &[&str]) -> Output {
    Command::new(command[0])
        .args(&command[1..])
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn printed(command: &[&str]) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What the service manager is told, message by message.
struct Manager {
    socket: UnixDatagram,
    path: String,
}

impl Manager {
    fn new(folder: &Path) -> Manager {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).expect("a free path");
        socket.set_read_timeout(Some(PATIENCE)).expect("open");
        Manager { socket, path: path.display().to_string() }
    }

    /// The next message that has this line.
    fn wait_for(&self, line: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let length = self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {line}: {error}"));
            let message = std::str::from_utf8(&buffer[..length]).expect("UTF-8");
            if message.lines().any(|found| found == line) {
                return message.to_owned();
            }
        }
    }
}

/// Through TCP and through a Unix socket, both opened by systemd's own tool.
#[test]
fn sockets_are_taken_from_systemd_which_is_told_how_the_process_is() {
    let broker = Broker::start();
    let (folder, file) = site(&on(&broker.addr.to_string(), "\"systemd:mqtt\"", ""));
    let manager = Manager::new(folder.path());
    let (port, path) = (free_port(), folder.path().join("s"));
    let process = Process::start(
        1000,
        [
            "systemd-socket-activate",
            "--fdname=mqtt:mqtt:spare",
            &format!("--listen=127.0.0.1:{port}"),
            &format!("--listen={}", path.display()),
            &format!("--listen={}", folder.path().join("unused").display()),
            &format!("--setenv=NOTIFY_SOCKET={}", manager.path),
            "--setenv=WATCHDOG_USEC=200000",
            BINARY,
            "serve",
            "--config",
            &file,
        ],
    );
    let addr: SocketAddr = ([127, 0, 0, 1], port).into();
    // It is started when the first one comes, who waits in the queue until then.
    eventually("somebody to listen; tests/run installs systemd", || TcpStream::connect(addr).is_ok());
    manager.wait_for("READY=1");
    Client::enter(addr, Version::V5, "by-tcp").assert_alive();
    process.log.wait_for(0, &["listening listener=mqtt", &format!("address=127.0.0.1:{port}")]);
    process.log.wait_for(0, &["listening listener=mqtt", &format!("address=unix:{}", path.display())]);
    process.log.wait_for(0, &["no listener uses a socket that systemd has handed over", "socket=\"spare\""]);
    assert_eq!(&knock_at(&path), b"\x20\x02\x00\x00");

    for _ in 0..3 {
        manager.wait_for("WATCHDOG=1");
    }
    process.signal("HUP");
    let reloading = manager.wait_for("RELOADING=1");
    let since = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(since.is_some_and(|micros| micros.parse::<u64>().is_ok()), "{reloading}");
    manager.wait_for("READY=1");
    // The address can be given up and taken again.
    fs::write(&file, on(&broker.addr.to_string(), "\"127.0.0.1:0\"", "")).expect("written");
    process.signal("HUP");
    process.log.wait_for(0, &["no longer listening", &format!("address=127.0.0.1:{port}")]);
    manager.wait_for("RELOADING=1");
    manager.wait_for("READY=1");
    let mut waits = TcpStream::connect(addr).expect("the queue is systemd's");
    waits.write_all(&crate::harness::connect(Version::V311, "waits")).expect("connected");
    fs::write(&file, on(&broker.addr.to_string(), "\"systemd:mqtt\"", "")).expect("written");
    process.signal("HUP");
    waits.set_read_timeout(Some(PATIENCE)).expect("open");
    let mut answer = [0; 4];
    waits.read_exact(&mut answer).expect("a CONNACK");
    assert_eq!(&answer, b"\x20\x02\x00\x00");
    drop(waits);
    process.signal("TERM");
    let stopping = manager.wait_for("STOPPING=1");
    assert!(stopping.contains("EXTEND_TIMEOUT_USEC=40000000"), "{stopping}");
    process.log.wait_for(0, &["stopped"]);
    // What systemd has made, systemd removes.
    assert!(path.exists());
}

/// The CONNACK of 3.1.1 at a Unix socket.
fn knock_at(path: &Path) -> [u8; 4] {
    let mut stream = UnixStream::connect(path).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("open");
    stream.write_all(&crate::harness::connect(Version::V311, "by-unix")).expect("connected");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("a CONNACK");
    answer
}

#[test]
fn sockets_that_systemd_has_not_handed_over_are_missed_in_words() {
    let (_folder, file) = site(&on("127.0.0.1:1", "\"systemd:mqtt\"", ""));
    let output = run(&[BINARY, "serve", "--config", &file]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains("cannot listen on systemd:mqtt (listener \"mqtt\"): systemd has handed over no sockets; start the process by a .socket unit"), "{text}");

    let port = free_port();
    let listen = format!("--listen=127.0.0.1:{port}");
    let process = Process::start(
        1000,
        ["systemd-socket-activate", "--fdname=other", &listen, BINARY, "serve", "--config", &file],
    );
    eventually("somebody to listen", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    process.log.wait_for(0, &["systemd has handed over no socket of this name, but \"other\""]);
}

#[test]
fn the_units_are_such_as_systemd_takes() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = Vec::new();
    for name in ["mqtt-bouncer.service", "mqtt-bouncer.socket"] {
        let text =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/systemd").join(name));
        let file = folder.path().join(name);
        // The one thing that is not installed here.
        fs::write(&file, text.expect(name).replace("/usr/bin/mqtt-bouncer", BINARY)).expect("written");
        files.push(file.display().to_string());
    }
    let output = run(&["systemd-analyze", "verify", "--man=no", &files[0], &files[1]]);
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    let about_us = complaints.lines().filter(|line| line.contains("mqtt-bouncer")).collect::<Vec<_>>();
    assert!(output.status.success() && about_us.is_empty(), "{complaints}");
}

#[test]
fn haproxy_speaks_for_its_clients_by_a_unix_socket() {
    let broker = Broker::start();
    for header in ["send-proxy", "send-proxy-v2"] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("mqtt.sock");
        let bind = format!("[\"127.0.0.1:0\", \"unix:{}\"]", path.display());
        let text = on(&broker.addr.to_string(), &bind, "proxy_protocol = \"required\"\ntrusted = [\"unix\"]")
            + "[node]\ndata_dir = \"data\"\n[detection.malformed]\nmax_count = 15\n[detection.connection_rate]\nmax_count = 15\n";
        let proxy = Proxy::start(&text);
        let front =
            HaProxy::start("", format!("unix@{}", path.display()), &format!("{header} check inter 50ms"));
        let mut client = Client::enter(front.addr, Version::V5, "dev");
        client.assert_alive();
        let shown = proxy.command(&["clients", "show", "dev"]).replace(' ', "");
        assert!(shown.contains("ip_address127.0.0.1") && shown.contains("viaunix"), "{shown}");
        let status = proxy.command(&["status"]);
        assert!(status.contains(&format!("{}, unix:{}", proxy.addr, path.display())), "{status}");
        eventually("many checks", || proxy.log().lines_with(&["outcome=probe"]).len() >= 20);
        assert_eq!(proxy.log().lines_with(&["banned zone="]), Vec::<String>::new());
        client.assert_alive();
        drop((client, front));
        proxy.stop();
        assert!(!path.exists());
    }
}

#[test]
fn mosquitto_serves_and_is_asked_how_it_is_at_a_unix_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().join("broker.sock");
    let broker = Broker::start_with(&format!("allow_anonymous true\nlistener 0 {}", at.display()));
    let groups = format!(
        "[upstreams.local]\nservers = [\"unix:{}\"]\n[upstreams.local.health_check]\ntype = \"mqtt\"\ninterval = \"100ms\"\nrise = 1\nfall = 1\n[[route]]\nclientid_prefix = [\"local-\"]\nupstream = \"local\"\n[node]\ndata_dir = \"data\"\n",
        at.display()
    );
    let proxy = Proxy::start(&config(broker.addr, "", &groups));
    let mut client = Client::enter(proxy.addr, Version::V5, "local-1");
    client.assert_alive();
    let shown = proxy.command(&["clients", "show", "local-1"]);
    assert!(shown.contains(&format!("unix:{}", at.display())), "{shown}");
    eventually("a check", || proxy.command(&["upstreams", "list"]).contains("unix:"));
    broker.kill();
    proxy.log().wait_for(0, &["server is down: its checks fail", &format!("server=unix:{}", at.display())]);
    assert_eq!(Client::knock(proxy.addr, Version::V5, "local-2").map(drop), Err(0x88));
}

#[test]
fn two_processes_share_a_port_that_both_want_to_share() {
    let broker = Broker::start();
    let bind = format!("\"127.0.0.1:{}\"", free_port());
    let shared = on(&broker.addr.to_string(), &bind, "reuse_port = true");
    let (one, two) = (Proxy::start(&shared), Proxy::start(&shared));
    assert_eq!(one.addr, two.addr);
    let served = |proxy: &Proxy| !proxy.log().lines_with(&["session ended"]).is_empty();
    let mut number = 0;
    eventually("the kernel to give clients to both", || {
        number += 1;
        drop(Client::enter(one.addr, Version::V5, &format!("dev-{number}")));
        served(&one) && served(&two)
    });
    let (_folder, file) = site(&on(&broker.addr.to_string(), &bind, ""));
    let output = run(&[BINARY, "serve", "--config", &file]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.to_lowercase().contains("address already in use"), "{text}");
}

#[test]
fn the_backlog_is_the_one_that_was_asked_for() {
    let broker = Broker::start();
    let proxy = Proxy::start(&config(broker.addr, "backlog = 17", ""));
    let listed = printed(&["ss", "-Hltn", &format!("sport = :{}", proxy.addr.port())]);
    // Of a socket that listens, the third column is how many may wait.
    assert_eq!(listed.split_whitespace().nth(2), Some("17"), "{listed}");
}

/// A process in a network of its own, where it may do all that needs CAP_NET_ADMIN.
fn in_a_network(file: &str) -> Process {
    let script = "ip link set lo up; exec \"$@\"";
    Process::start(
        1000,
        ["unshare", "--map-root-user", "--net", "sh", "-c", script, "sh", BINARY, "serve", "--config", file],
    )
}

#[test]
fn marks_and_transparent_addresses_are_there_where_they_are_allowed() {
    let allowed = run(&["unshare", "--map-root-user", "--net", "true"]);
    if !allowed.status.success() {
        eprintln!("SKIPPED: this machine lets nobody make a network of his own: {allowed:?}");
        return;
    }
    let foreign = "\"192.0.2.1:1883\"";
    let (_folder, file) = site(&on("127.0.0.1:1", foreign, "mark = 42\ntransparent = true"));
    let mut process = in_a_network(&file);
    process.log.wait_for(0, &["mqtt-bouncer has started"]);
    let pid = process.id().to_string();
    let listed =
        printed(&["nsenter", "--target", &pid, "--user", "--preserve-credentials", "--net", "ss", "-Hltne"]);
    assert!(listed.contains("192.0.2.1:1883") && listed.contains("fwmark:0x2a"), "{listed}");
    process.signal("TERM");
    assert!(process.wait().success());

    let (_folder, file) = site(&on("127.0.0.1:1", foreign, ""));
    in_a_network(&file)
        .log
        .wait_for(0, &["cannot listen on 192.0.2.1:1883", "Cannot assign requested address"]);
}

#[test]
fn what_is_not_allowed_is_said_with_the_capability_that_is_missing() {
    for (option, expected) in [
        ("mark = 42", "mark needs the capability CAP_NET_ADMIN, which this process does not have"),
        (
            "transparent = true",
            "transparent needs the capability CAP_NET_ADMIN or CAP_NET_RAW, which this process does not have",
        ),
    ] {
        let (_folder, file) = site(&on("127.0.0.1:1", "\"127.0.0.1:0\"", option));
        let serve = [BINARY, "serve", "--config", &file];
        // Root may do everything, unless it gives that up.
        let less = ["setpriv", "--bounding-set=-net_admin,-net_raw", "--inh-caps=-net_admin,-net_raw"];
        let is_root = printed(&["id", "-u"]).trim() == "0";
        let command = if is_root { [&less[..], &serve[..]].concat() } else { serve.to_vec() };
        let output = run(&command);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(expected), "{text}");
    }
}
