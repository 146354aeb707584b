//! `[upstream]` and `[upstreams.NAME]`: groups of brokers.

use super::document::{Entry, Section};
use super::file::{FilePath, MILLISECOND, all};
use super::proxy_protocol;
use super::websocket::RequestPath;
use crate::net::options::TcpOptions;
use crate::net::tls::KeyPair;
use crate::net::upstream::{
    Balance, CheckKind, CheckSettings, DEFAULT, Ejection, MqttCheck, Server, ServerSettings, Thresholds,
    TlsSettings, UpstreamSettings,
};
use crate::wire::mqtt::Version;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;
use tokio_rustls::rustls::pki_types::ServerName;

/// Reads one group of a file that is in `folder`.
pub(super) fn read(section: Section<'_, '_>, folder: &Path) -> Option<UpstreamSettings> {
    let servers = read_servers(&section);
    let backup: Option<String> = section.optional("backup");
    let balance = section.choice(
        "balance",
        "\"round_robin\"",
        &[Balance::RoundRobin, Balance::LeastConnections, Balance::Hash].map(|one| (one.as_str(), one)),
    );
    let connect_timeout = section.duration("connect_timeout", "\"5s\"", MILLISECOND);
    let max_tries = section.number("max_tries", "5", 1..1001);
    let total_timeout = section.duration("total_timeout", "\"10s\"", MILLISECOND);
    let ejection = read_ejection(&section);
    let slow_start = section.duration_or_off("slow_start", "\"off\"", MILLISECOND);
    let tls = section.has("tls").then(|| read_tls(section.section("tls"), folder));
    let check = read_check(section.section("health_check"), folder);
    let resolve_interval = section.duration("resolve_interval", "\"30s\"", Duration::from_secs(1));
    let keepalive = section.duration_or_off("tcp_keepalive", "\"1m\"", Duration::from_secs(1));
    if tls.is_none() {
        // It is an option all the same.
        drop(section.section("tls"));
    }
    let websocket: Option<OrOffPath> = section.parsed("websocket", "\"off\"");
    let proxy_protocol = section.choice("proxy_protocol", "\"off\"", &proxy_protocol::VERSIONS);
    section.finish();
    Some(UpstreamSettings {
        servers,
        backup,
        balance: balance?,
        connect_timeout: connect_timeout?,
        max_tries: usize::try_from(max_tries?).ok()?,
        total_timeout: total_timeout?,
        ejection: ejection?,
        slow_start: slow_start?.on().unwrap_or_default(),
        tls: match tls {
            None => None,
            Some(tls) => Some(tls?),
        },
        websocket: websocket?.0,
        check: check?.settings,
        resolve_interval: resolve_interval?,
        tcp: TcpOptions { keepalive: keepalive?.on(), user_timeout: None },
        proxy_protocol: proxy_protocol?,
    })
}

/// The path of a WebSocket, or none.
struct OrOffPath(Option<String>);

impl FromStr for OrOffPath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<OrOffPath, &'static str> {
        if text == "off" {
            return Ok(OrOffPath(None));
        }
        let path: Result<RequestPath, _> = text.parse();
        path.map(|path| OrOffPath(Some(path.0)))
            .map_err(|_| "is not a path; expected e.g. \"/mqtt\", or \"off\"")
    }
}

/// Reads all that have names.
pub(super) fn read_named(
    section: &Section<'_, '_>,
    folder: &Path,
) -> Option<BTreeMap<String, UpstreamSettings>> {
    all(section.named_sections().into_iter().map(|(name, group)| {
        if name == DEFAULT {
            section.mistake(&name, "is the name of [upstream]; expected another one");
        } else if name.is_empty() || name.len() > 64 || name.contains(|c: char| c.is_control() || c == '/') {
            section.mistake(&name, "is no name of a group; expected 1 to 64 characters without \"/\"");
        }
        Some((name, read(group, folder)?))
    }))
}

/// Holds that every spare group is there, and that none is spared by itself in the end.
pub(super) fn check_backups(
    root: &Section<'_, '_>,
    default: Option<&UpstreamSettings>,
    named: Option<&BTreeMap<String, UpstreamSettings>>,
) {
    let (Some(default), Some(named)) = (default, named) else { return };
    let settings = |name: &str| if name == DEFAULT { Some(default) } else { named.get(name) };
    for first in named.keys().map(String::as_str).chain([DEFAULT]) {
        let place = if first == DEFAULT { "upstream".to_owned() } else { format!("upstreams.{first}") };
        let mut way = vec![first];
        while let Some(next) = way.last().and_then(|name| settings(name)?.backup.as_deref()) {
            let is_there = settings(next).is_some();
            if !is_there && way.len() == 1 {
                let problem =
                    format!("\"{next}\" is no group of brokers; expected the NAME of an [upstreams.NAME]");
                root.wrong_at(&place, "backup", problem);
            } else if next == first {
                way.push(next);
                let problem = format!("leads back to itself: {}; expected an end", way.join(" -> "));
                root.wrong_at(&place, "backup", problem);
            }
            if !is_there || way.contains(&next) {
                break;
            }
            way.push(next);
        }
    }
}

fn read_servers(section: &Section<'_, '_>) -> Vec<ServerSettings> {
    const EXPECTED: &str = "at least one \"IP:PORT\", \"NAME:PORT\" or \"unix:/PATH\"";
    let mut seen = HashMap::new();
    let mut servers = Vec::new();
    for (index, entry) in section.entries::<Server>("servers", EXPECTED).into_iter().enumerate() {
        let settings = match entry {
            Entry::Value(server) => Some(server.into()),
            Entry::Table(table) => read_server(table),
        };
        let Some(settings) = settings else { continue };
        if let Some(other) = seen.insert(settings.server.clone(), index) {
            let server = &settings.server;
            let problem =
                format!("{server} stands at [{other}] and at [{index}]; expected once, with a weight");
            section.mistake("servers", problem);
        }
        servers.push(settings);
    }
    servers
}

fn read_server(table: Section<'_, '_>) -> Option<ServerSettings> {
    let server: Option<Server> = table.required("address", "IP:PORT, NAME:PORT or unix:/PATH");
    let weight = table.number("weight", "1", 1..257);
    let is_backup = table.switch("backup", "false");
    let is_drained = table.choice("state", "\"active\"", &[("active", false), ("drain", true)]);
    table.finish();
    Some(ServerSettings {
        server: server?,
        weight: u32::try_from(weight?).ok()?,
        is_backup: is_backup?,
        is_drained: is_drained?,
    })
}

fn read_ejection(section: &Section<'_, '_>) -> Option<Ejection> {
    let after = section.number("eject_after", "3", 0..1_001);
    let time = section.duration("eject_time", "\"5s\"", Duration::from_millis(100));
    let max_time = section.duration("max_eject_time", "\"1m\"", Duration::from_millis(100));
    let (after, time, max_time) = (u32::try_from(after?).ok()?, time?, max_time?);
    if max_time < time {
        section.wrong("max_eject_time", "is shorter than eject_time; expected at least that");
    }
    Some(Ejection { after, time, max_time })
}

/// What was read of a section that may ask for nothing.
struct Check {
    settings: Option<CheckSettings>,
}

fn read_check(section: Section<'_, '_>, folder: &Path) -> Option<Check> {
    let kind = section.choice(
        "type",
        "\"off\"",
        &[("off", Asked::Nothing), ("tcp", Asked::Tcp), ("mqtt", Asked::Mqtt)],
    );
    let interval = section.duration("interval", "\"10s\"", Duration::from_millis(100));
    let timeout = section.duration("timeout", "\"2s\"", MILLISECOND);
    let rise = section.number("rise", "2", 1..1001);
    let fall = section.number("fall", "3", 1..1001);
    let version =
        section.choice("protocol", "\"3.1.1\"", &[Version::V311, Version::V5].map(|one| (one.as_str(), one)));
    let client_id: Option<Text> = section.parsed("client_id", "\"\"");
    let username: Option<Text> = section.optional("username");
    let password_file = section.optional::<FilePath>("password_file").map(|path| folder.join(path.0));
    if password_file.is_some() && username.is_none() && !section.has("username") {
        // [MQTT-3.1.2-22] of 3.1.1.
        section.mistake("username", "is missing; expected the user name whose password is in password_file");
    }
    section.finish();
    let thresholds = Thresholds { rise: u32::try_from(rise?).ok()?, fall: u32::try_from(fall?).ok()? };
    let (version, client_id, username) = (version?, client_id?.0, username.map(|name| name.0));
    let kind = match kind? {
        Asked::Nothing => return Some(Check { settings: None }),
        Asked::Tcp => CheckKind::Tcp,
        Asked::Mqtt => CheckKind::Mqtt(MqttCheck { version, client_id, username, password_file }),
    };
    Some(Check { settings: Some(CheckSettings { kind, interval: interval?, timeout: timeout?, thresholds }) })
}

fn read_tls(section: Section<'_, '_>, folder: &Path) -> Option<TlsSettings> {
    let file = |key| section.optional::<FilePath>(key).map(|path| folder.join(path.0));
    let (ca, cert, key) = (file("ca"), file("cert"), file("key"));
    if cert.is_some() != key.is_some() && section.has("cert") != section.has("key") {
        let missing = if section.has("cert") { "key" } else { "cert" };
        section.mistake(missing, "is missing; expected both cert and key, or none of them");
    }
    let server_name: Option<CertificateName> = section.optional("server_name");
    let verify = section.switch("verify", "true");
    let alpn = section.list_or::<Protocol>("alpn", ("[]", Vec::new()), "names of protocols, e.g. [\"mqtt\"]");
    let expiry_warning = section.duration("expiry_warning", "\"2w\"", Duration::ZERO);
    section.finish();
    Some(TlsSettings {
        ca,
        identity: cert.zip(key).map(|(cert, key)| KeyPair { cert, key }),
        server_name: server_name.map(|name| name.0),
        verify: verify?,
        alpn: alpn.into_iter().map(|protocol| protocol.0).collect(),
        expiry_warning: expiry_warning?,
    })
}

/// A name that a certificate can have.
struct CertificateName(ServerName<'static>);

impl FromStr for CertificateName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<CertificateName, &'static str> {
        let name = ServerName::try_from(text.to_owned()).map(CertificateName);
        name.map_err(|_| "is no name that a certificate can have; expected e.g. \"broker.example\"")
    }
}

/// A protocol that is offered.
struct Protocol(String);

impl FromStr for Protocol {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Protocol, &'static str> {
        // RFC 7301, section 3.1: 1 to 255 bytes.
        if (1..=255).contains(&text.len()) {
            Ok(Protocol(text.to_owned()))
        } else {
            Err("is no name of a protocol; expected 1 to 255 bytes, e.g. \"mqtt\"")
        }
    }
}

#[derive(Clone, Copy)]
enum Asked {
    Nothing,
    Tcp,
    Mqtt,
}

/// A text that MQTT can say.
struct Text(String);

impl FromStr for Text {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Text, &'static str> {
        // [MQTT-1.5.4-2], and the length field of section 1.5.4.
        if text.len() <= 65_535 && !text.contains('\0') {
            Ok(Text(text.to_owned()))
        } else {
            Err("is nothing that MQTT can say; expected at most 65535 bytes without U+0000")
        }
    }
}
