//! What becomes of the will, and of what is under way, when a session is ended from here: a real broker says.

use crate::harness::{
    Broker, Client, Pki, Proxy, Version, config, dial, eventually, free_port, packet, string,
};
use crate::kicked::Paho;
use crate::suites::python;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;

const DATA: &str = "[node]\ndata_dir = \"data\"\n";

/// Hears what is published to the topic of wills.
struct Watcher {
    broker: SocketAddr,
    client: Client,
}

impl Watcher {
    fn at(broker: &Broker) -> Watcher {
        Watcher { broker: broker.addr, client: Client::enter(broker.addr, Version::V311, "wills") }
    }

    /// The wills that were published before this moment.
    fn heard(&mut self) -> Vec<String> {
        Client::enter(self.broker, Version::V311, "teller").publish("wills", "by now");
        let mut heard = Vec::new();
        loop {
            match self.client.hear() {
                words if words == "by now" => return heard,
                words => heard.push(words),
            }
        }
    }
}

/// Waits until the broker knows that this client has gone. By then it has published the will, or has not.
fn await_gone(broker: &Broker, client_id: &str) {
    broker.log().wait_for(0, &[&format!("Client {client_id} ")]);
}

fn paho(addr: SocketAddr, version: &str, client_id: &str, more: &[&str]) -> Paho {
    let mut command: Command = python("kicked.py");
    command.args(["--host", "localhost", "--port", &addr.port().to_string(), "--will", "wills"]).args(more);
    let mut paho = Paho::start_by(command, version, client_id, "right");
    assert_eq!(paho.tells()["connack"], "Success");
    paho
}

fn assert_told(paho: &mut Paho, version: &str) {
    let end = paho.tells();
    assert_eq!(end["told"], version == "5", "{end}");
    if version == "5" {
        assert_eq!(end["ended"], "Administrative action");
    }
}

#[test]
fn the_will_of_whoever_is_kicked_or_banned_is_discarded_unless_the_file_has_it_published() {
    for (setting, is_published) in [("", false), ("[kick]\nwill = \"publish\"\n", true)] {
        let broker = Broker::start();
        let proxy = Proxy::start(&config(broker.addr, "", &format!("{DATA}{setting}")));
        let mut watcher = Watcher::at(&broker);
        for version in ["3.1.1", "5"] {
            for command in [&["clients", "kick"][..], &["bans", "add", "clientid"]] {
                let client_id = format!("{}-{version}", command[0]);
                let mut paho = paho(proxy.addr, version, &client_id, &[]);
                proxy.command(&[command, &[&client_id]].concat());
                assert_told(&mut paho, version);
                await_gone(&broker, &client_id);
                let expected = if is_published { vec![client_id.clone()] } else { Vec::new() };
                assert_eq!(watcher.heard(), expected, "{client_id} {setting}");
                let told = format!("broker_told={}", !is_published || version == "5");
                proxy.log().wait_for(0, &["session ended", &format!("client_id={client_id} "), &told]);
            }
        }
    }
}

#[test]
fn a_will_is_discarded_by_whatever_way_its_client_comes_and_its_broker_is_reached() {
    let (pki, web) = (Pki::new(), free_port());
    let broker =
        Broker::start_with(&format!("allow_anonymous true\nlistener {web} 127.0.0.1\nprotocol websockets"));
    let ca = pki.path("ca.pem").display().to_string();
    let tls = pki.listener("");
    let wss = tls.replace("type = \"tls\"", "type = \"wss\"");
    let mut watcher = Watcher::at(&broker);
    for (way, options, more) in [
        ("tls", &tls[..], &["--ca", &ca][..]),
        ("ws", "type = \"ws\"", &["--transport", "websockets"]),
        ("wss", &wss, &["--transport", "websockets", "--ca", &ca]),
        ("tcp", "", &[]),
    ] {
        for upstream in ["tcp", "ws"] {
            let mut text = config(broker.addr, options, DATA);
            if upstream == "ws" {
                let reached = format!("servers = [\"127.0.0.1:{web}\"]\nwebsocket = \"/mqtt\"");
                text = text.replace(&format!("servers = [\"{}\"]", broker.addr), &reached);
            }
            let proxy = Proxy::start(&text);
            let client_id = format!("{way}-to-{upstream}");
            let mut paho = paho(proxy.addr, "5", &client_id, more);
            proxy.command(&["clients", "kick", &client_id]);
            assert_told(&mut paho, "5");
            await_gone(&broker, &client_id);
            assert_eq!(watcher.heard(), [""; 0], "{client_id}");
        }
    }
}

#[test]
fn wills_are_published_when_the_process_ends_unless_the_file_has_them_discarded() {
    for (setting, is_published) in [("", true), ("drain_will = \"discard\"\n", false)] {
        let broker = Broker::start();
        let proxy =
            Proxy::start(&config(broker.addr, "", &format!("{DATA}drain_timeout = \"0s\"\n{setting}")));
        let mut watcher = Watcher::at(&broker);
        let mut inside: Vec<_> =
            ["3.1.1", "5"].map(|version| (version, paho(proxy.addr, version, version, &[]))).into();
        proxy.stop();
        for (version, paho) in &mut inside {
            let end = paho.tells();
            assert_eq!(end["told"], *version == "5", "{end}");
            await_gone(&broker, version);
        }
        let mut heard = watcher.heard();
        heard.sort_unstable();
        assert_eq!(heard, if is_published { vec!["3.1.1", "5"] } else { Vec::new() }, "{setting}");
    }
}

/// The next packet: its first byte and its body.
fn read_packet(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let byte = |stream: &mut TcpStream| {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a packet");
        byte[0]
    };
    let kind = byte(stream);
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let part = byte(stream);
        length |= usize::from(part & 0x7F) << shift;
        shift += 7;
        if part & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("the packet's body");
    (kind, body)
}

/// A client of MQTT 5 that has the will "gone", and hears what is published to this topic.
fn enter(addr: SocketAddr, name: &str, topic: &str) -> TcpStream {
    let mut stream = dial(addr);
    let will = [&b"\0"[..], &string("wills"), &string("gone")].concat();
    let connect = packet(0x10, &[&string("MQTT"), b"\x05\x06\0\0\0", &string(name), &will]);
    stream.write_all(&connect).expect("connected");
    assert_eq!(read_packet(&mut stream).0, 0x20);
    stream.write_all(&packet(0x82, &[b"\0\x01\0", &string(topic), b"\0"])).expect("connected");
    assert_eq!(read_packet(&mut stream).0, 0x90);
    stream
}

fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    packet(0x30, &[&string(topic), b"\0", payload])
}

#[test]
fn messages_that_are_under_way_both_ways_pass_whole_when_their_client_is_kicked() {
    let broker = Broker::start();
    let proxy = Proxy::start(&config(broker.addr, "", &format!("{DATA}[kick]\nwait = \"1m\"\n")));
    let mut watcher = Watcher::at(&broker);
    let mut up_there = enter(broker.addr, "up-there", "up");
    let mut publisher = enter(broker.addr, "publisher", "nothing");
    let mut victim = enter(proxy.addr, "victim", "down");
    // One that is sent in part; one that is more than all buffers on its way to a client that does not read yet.
    let up = publish("up", &vec![b'u'; 1 << 20]);
    let down = publish("down", &vec![b'd'; 32 << 20]);
    let (first, rest) = up.split_at(up.len() / 2);
    victim.write_all(first).expect("connected");
    await_received(&proxy, first.len() as u64);
    thread::scope(|scope| {
        scope.spawn(|| publisher.write_all(&down).expect("connected"));
        let mut header = [0; 5];
        victim.read_exact(&mut header).expect("it begins");
        assert_eq!(header, down[..5]);
        assert_eq!(proxy.command(&["clients", "kick", "victim"]), "kicked victim\n");
        // What comes after it is for nobody.
        victim.write_all(&[rest, &publish("up", b"too late")].concat()).expect("still relayed");
        let mut told = Vec::new();
        victim.read_to_end(&mut told).expect("no reset");
        assert!(told == [&down[5..], b"\xe0\x02\x98\x00"].concat(), "{} of {} bytes", told.len(), down.len());
    });
    await_gone(&broker, "victim");
    assert_eq!(watcher.heard(), [""; 0]);
    publisher.write_all(&publish("up", b"after")).expect("connected");
    assert_eq!(read_packet(&mut up_there).1.len(), up.len() - 4);
    assert_eq!(read_packet(&mut up_there).1, [&string("up")[..], b"\0after"].concat());
}

/// Waits until the proxy has passed on so many bytes of the victim's at least, beside its CONNECT and SUBSCRIBE.
fn await_received(proxy: &Proxy, count: u64) {
    eventually("the bytes to come through", || {
        let shown = proxy.command(&["clients", "list", "--clientid", "victim", "--json"]);
        let row: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        row["recv_oct"].as_u64().expect("a number") >= count
    });
}

#[test]
fn whoever_stops_in_the_middle_of_a_message_is_cut_off_and_its_will_is_published() {
    let broker = Broker::start();
    let proxy = Proxy::start(&config(broker.addr, "", &format!("{DATA}[kick]\nwait = \"100ms\"\n")));
    let mut watcher = Watcher::at(&broker);
    let mut victim = enter(proxy.addr, "victim", "down");
    victim.write_all(&publish("up", &[0; 1000])[..500]).expect("connected");
    await_received(&proxy, 500);
    proxy.command(&["clients", "kick", "victim"]);
    let mut told = Vec::new();
    victim.read_to_end(&mut told).expect("no reset");
    assert_eq!(told, b"\xe0\x02\x98\x00");
    await_gone(&broker, "victim");
    assert_eq!(watcher.heard(), ["gone"]);
    proxy.log().wait_for(0, &["session ended", "client_id=victim ", "broker_told=false"]);
}
