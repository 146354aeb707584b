//! `[upstream]` and `[upstreams.NAME]`: groups of brokers.

use super::document::{Entry, Section};
use super::file::{MILLISECOND, all};
use crate::net::options::TcpOptions;
use crate::net::upstream::{Balance, DEFAULT, Ejection, Server, ServerSettings, UpstreamSettings};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Reads one group.
pub(super) fn read(section: Section<'_, '_>) -> Option<UpstreamSettings> {
    let servers = read_servers(&section);
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
    let keepalive = section.duration_or_off("tcp_keepalive", "\"1m\"", Duration::from_secs(1));
    section.finish();
    Some(UpstreamSettings {
        servers,
        balance: balance?,
        connect_timeout: connect_timeout?,
        max_tries: usize::try_from(max_tries?).ok()?,
        total_timeout: total_timeout?,
        ejection: ejection?,
        slow_start: slow_start?.on().unwrap_or_default(),
        tcp: TcpOptions { keepalive: keepalive?.on() },
    })
}

/// Reads all that have names.
pub(super) fn read_named(section: &Section<'_, '_>) -> Option<BTreeMap<String, UpstreamSettings>> {
    all(section.named_sections().into_iter().map(|(name, group)| {
        if name == DEFAULT {
            section.mistake(&name, "is the name of [upstream]; expected another one");
        } else if name.is_empty() || name.len() > 64 || name.contains(|c: char| c.is_control() || c == '/') {
            section.mistake(&name, "is no name of a group; expected 1 to 64 characters without \"/\"");
        }
        Some((name, read(group)?))
    }))
}

fn read_servers(section: &Section<'_, '_>) -> Vec<ServerSettings> {
    const EXPECTED: &str = "at least one \"IP:PORT\" or \"NAME:PORT\"";
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
    let server: Option<Server> = table.required("address", "IP:PORT or NAME:PORT");
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
