//! HAProxy in front, telling for whom it speaks, and HAProxy behind, being told.

use crate::harness::{
    Broker, Client, PATIENCE, Process, Proxy, Version, ban, config, connect, eventually, free_port,
};
use crate::upstreams::condition;
use mqtt_bouncer::wire::Reading;
use mqtt_bouncer::wire::proxy_protocol::{self, Origin};
use std::fmt::Display;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Where the HAProxy in front calls from; its clients are at 127.0.0.1.
pub(crate) const BALANCER: &str = "127.0.0.9";

/// Detectors that twenty of a load balancer's checks would set off, and the few connections of these clients do not.
const WATCHFUL: &str = "[node]\ndata_dir = \"data\"\n[detection.malformed]\nmax_count = 15\n\
                        [detection.connection_rate]\nmax_count = 15\n\
                        [detection.connect_timeouts]\nmax_count = 15\n";

pub(crate) struct HaProxy {
    process: Process,
    pub(crate) addr: SocketAddr,
    _folder: TempDir,
}

impl HaProxy {
    /// One that listens with these options of `bind`, and takes everything to a server with these.
    pub(crate) fn start(bind: &str, server: impl Display, options: &str) -> HaProxy {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, port) = (folder.path().join("haproxy.cfg"), free_port());
        let text = format!(
            "global\n log stderr format raw local0\n\
             defaults\n mode tcp\n log global\n log-format \"%ci:%cp served\"\n \
             timeout connect 5s\n timeout client 1m\n timeout server 1m\n\
             listen mqtt\n bind 127.0.0.1:{port} {bind}\n server one {server} {options}\n"
        );
        fs::write(&file, text).expect("written");
        let process =
            Process::start(1000, ["haproxy".as_ref(), "-db".as_ref(), "-f".as_ref(), file.as_os_str()]);
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        eventually("HAProxy to listen", || TcpStream::connect(addr).is_ok());
        HaProxy { process, addr, _folder: folder }
    }
}

fn behind(broker: SocketAddr, sections: &str) -> String {
    let trusting = format!("proxy_protocol = \"required\"\ntrusted = [\"{BALANCER}\"]");
    config(broker, &trusting, sections)
}

#[test]
fn clients_of_haproxy_are_known_by_their_own_address_and_its_checks_are_held_against_nobody() {
    let broker = Broker::start();
    for header in ["send-proxy", "send-proxy-v2"] {
        let proxy = Proxy::start(&behind(broker.addr, WATCHFUL));
        let options = format!("source {BALANCER} {header} check inter 50ms");
        let front = HaProxy::start("", proxy.addr, &options);
        let mut client = Client::enter(front.addr, Version::V5, "dev");
        client.assert_alive();
        let from = proxy.command(&["clients", "show", "dev"]).replace(' ', "");
        assert!(from.contains("ip_address127.0.0.1") && from.contains(&format!("via{BALANCER}:")), "{from}");
        eventually("many checks", || proxy.log().lines_with(&["outcome=probe"]).len() >= 20);

        // A ban of the client's address is one of nobody else.
        proxy.reload(
            &behind(broker.addr, &format!("{WATCHFUL}{}", ban("peerhost", "127.0.0.1"))),
            "config file is in use",
        );
        assert_eq!(Client::knock(front.addr, Version::V5, "dev-2").map(drop), Err(0x8A));
        let line = proxy.log().wait_for(0, &["refused", "client_id=dev-2"]);
        assert!(line.contains("peer=127.0.0.1:") && line.contains(&format!("via={BALANCER}:")), "{line}");
        proxy.reload(&behind(broker.addr, WATCHFUL), "config file is in use");
        Client::enter(front.addr, Version::V311, "dev-3").assert_alive();
        client.assert_alive();
        assert_eq!(front.process.log.lines_with(&["is DOWN"]), Vec::<String>::new());
        assert_eq!(proxy.log().lines_with(&["banned zone="]), Vec::<String>::new());
    }
}

#[test]
fn haproxy_without_a_header_and_headers_of_others_are_refused_in_words() {
    let broker = Broker::start();
    let proxy = Proxy::start(&behind(broker.addr, ""));
    let silent = HaProxy::start("", proxy.addr, &format!("source {BALANCER}"));
    let mut stream = TcpStream::connect(silent.addr).expect("it listens");
    stream.write_all(&connect(Version::V5, "dev")).expect("connected");
    proxy.log().wait_for(0, &["refused", "outcome=bad_proxy_header", "does not begin like a PROXY header"]);
    let stranger = HaProxy::start("", proxy.addr, "source 127.0.0.8 send-proxy-v2");
    let mut stream = TcpStream::connect(stranger.addr).expect("it listens");
    let _ = stream.write_all(&connect(Version::V5, "dev"));
    proxy.log().wait_for(0, &["refused", "outcome=untrusted_proxy", "not among the trusted ones"]);
}

#[test]
fn what_haproxy_says_of_a_certificate_reaches_the_broker() {
    let certs = tempfile::tempdir().expect("a folder");
    make_certificates(certs.path());
    let broker = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = broker.local_addr().expect("bound");
    let sections = format!("[upstream]\nservers = [\"{addr}\"]\nproxy_protocol = \"v2\"\n");
    let trusting = format!("proxy_protocol = \"required\"\ntrusted = [\"{BALANCER}\"]");
    let text =
        config(addr, &trusting, "").replace(&format!("[upstream]\nservers = [\"{addr}\"]\n"), &sections);
    let proxy = Proxy::start(&text);
    let file = |name: &str| certs.path().join(name).display().to_string();
    let bind =
        format!("ssl crt {} ca-file {} verify required alpn mqtt", file("server-all.pem"), file("ca.pem"));
    let options =
        format!("source {BALANCER} send-proxy-v2-ssl-cn proxy-v2-options ssl,cert-cn,authority,crc32c");
    let front = HaProxy::start(&bind, proxy.addr, &options);
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &front.addr.to_string(), "-alpn", "mqtt"])
        .args(["-servername", "broker.example", "-CAfile", &file("ca.pem")])
        .args(["-cert", &file("client.pem"), "-key", &file("client.key")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    client.stdin.as_mut().expect("piped").write_all(&connect(Version::V5, "dev")).expect("it reads");

    let (mut inside, _) = broker.accept().expect("a connection");
    inside.set_read_timeout(Some(PATIENCE)).expect("open");
    let mut bytes = Vec::new();
    let header = loop {
        match proxy_protocol::read(&bytes).expect("a header") {
            Reading::Complete(header) => break header,
            Reading::NeedMore(missing) => {
                let mut more = vec![0; missing];
                inside.read_exact(&mut more).expect("more of it");
                bytes.extend(more);
            }
        }
    };
    let Origin::Client { source, destination } = header.origin else { panic!("{header:?}") };
    assert_eq!((source.ip(), destination), (Ipv4Addr::LOCALHOST.into(), front.addr));
    let secured = header.tlvs.tls.expect("TLS");
    assert!(secured.is_verified() && secured.version == Some("TLSv1.3"), "{secured:?}");
    assert_eq!((secured.common_name, header.tlvs.authority), (Some("dev-17"), Some("broker.example")));
    let mut packet = vec![0; connect(Version::V5, "dev").len()];
    inside.read_exact(&mut packet).expect("the CONNECT");
    assert_eq!(packet, connect(Version::V5, "dev"));
    let _ = client.kill();
    let _ = client.wait();
}

#[test]
fn haproxy_behind_us_is_told_who_the_client_is() {
    let broker = Broker::start();
    for version in ["v1", "v2"] {
        let back = HaProxy::start("accept-proxy", broker.addr, "");
        let servers = format!("servers = [\"{}\"]\n", back.addr);
        let text = config(back.addr, "", "")
            .replace(&servers, &format!("{servers}proxy_protocol = \"{version}\"\n"));
        let proxy = Proxy::start(&text);
        Client::enter(proxy.addr, Version::V5, "dev").assert_alive();
        let line = proxy.log().wait_for(0, &["session ended", "client_id=dev"]);
        let peer = line.split("peer=").nth(1).and_then(|rest| rest.split(' ').next()).expect("a peer");
        back.process.log.wait_for(0, &[&format!("{peer} served")]);
    }
}

/// A broker that wants PROXY headers closes a connection that is said to be nobody's, as Mosquitto does: checks say that
/// they are us.
#[test]
fn checks_come_with_a_header_where_clients_do() {
    let broker = Broker::start();
    for version in ["v1", "v2"] {
        for kind in ["tcp", "mqtt"] {
            let back = HaProxy::start("accept-proxy", broker.addr, "");
            let servers = format!("servers = [\"{}\"]\n", back.addr);
            let check =
                format!("health_check = {{ type = \"{kind}\", interval = \"100ms\", rise = 1, fall = 1 }}\n");
            let checked = |header: &str| {
                let text = config(back.addr, "", "[node]\ndata_dir = \"data\"\n");
                text.replace(&servers, &format!("{servers}{header}{check}"))
            };
            let proxy = Proxy::start(&checked(&format!("proxy_protocol = \"{version}\"\n")));
            let server = back.addr.to_string();
            let (sees, mark) = (|| condition(&proxy, &server), back.process.log.mark());
            eventually("good checks", || sees()["checks_succeeded"].as_u64() >= Some(3));
            assert_eq!(
                (&sees()["checks_failed"], &sees()["health"]),
                (&0.into(), &"up".into()),
                "{version} {kind}"
            );
            back.process.log.wait_for(mark, &["127.0.0.1:", " served"]);
            Client::enter(proxy.addr, Version::V5, "dev").assert_alive();

            // Without one, whoever speaks is found out, and whoever just knocks is not.
            let mark = proxy.log().mark();
            proxy.reload(&checked(""), "config file is in use");
            if kind == "mqtt" {
                proxy.log().wait_for(mark, &["server is down", &server]);
            }
        }
    }
}

fn make_certificates(folder: &Path) {
    let script = "set -e; cd \"$1\"
        new() { openssl req -newkey rsa:2048 -nodes -keyout \"$1.key\" -subj \"/CN=$2\" -out \"$1.csr\" 2>/dev/null; }
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -subj /CN=ca -days 2 -out ca.pem 2>/dev/null
        for one in server:broker.example client:dev-17; do
            new ${one%%:*} ${one#*:}
            openssl x509 -req -in ${one%%:*}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out ${one%%:*}.pem 2>/dev/null
        done
        cat server.pem server.key > server-all.pem";
    let made = Command::new("sh").args(["-c", script, "sh"]).arg(folder).status().expect("a shell");
    assert!(made.success());
}
