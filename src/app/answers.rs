//! What the process answers when the API asks it.

use super::{App, ReloadError};
use crate::admin::{
    Ask, LastReload, ListenerStatus, NotReloaded, OptionBody, Reloaded, RunningConfig, Source, Status,
    UpstreamStatus,
};
use crate::admission::detection::Moment;
use crate::admission::{As, List, Timestamp};
use crate::config::{Config, ConfigError, Orders, diff, to_json};
use crate::net::upstream::{DEFAULT, Member, Upstream};
use crate::telemetry::Chain;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tokio::time::Instant;

/// When the process began, and what has become of it since.
#[derive(Debug)]
pub(super) struct History {
    started_at: Timestamp,
    began: Moment,
    last_reload: Option<LastReload>,
}

impl History {
    pub(super) fn new(started_at: Timestamp, began: Moment) -> History {
        History { started_at, began, last_reload: None }
    }

    /// Remembers what came of a reload.
    pub(super) fn note(&mut self, at: Timestamp, outcome: &Result<Reloaded, NotReloaded>) {
        let message = match outcome {
            Ok(done) => format!("{} options changed", done.changes.len()),
            Err(why) => why.message.clone(),
        };
        self.last_reload = Some(LastReload { at: at.to_string(), ok: outcome.is_ok(), message });
    }
}

impl App {
    /// Answers one question. While it drains, nothing is reloaded.
    pub(super) fn answer(&mut self, ask: Ask, path: &Path) {
        // Whoever asked may have gone.
        match ask {
            Ask::Reload(reply) if self.proxy.draining.is_raised() => {
                let message = "the proxy is draining, and is about to stop".to_owned();
                let _ = reply.send(Err(NotReloaded { message, mistakes: Vec::new() }));
            }
            Ask::Reload(reply) => drop(reply.send(self.reload_file(path))),
            Ask::Diff(reply) => {
                let orders = Config::load(path).map(|config| diff(&self.config, &config));
                let told = orders.as_ref().map(reloaded);
                drop(reply.send(told.map_err(not_usable)));
            }
            Ask::Config(reply) => drop(reply.send(self.running_config(path))),
            Ask::Status(reply) => drop(reply.send(self.status(path))),
        }
    }

    fn running_config(&self, path: &Path) -> RunningConfig {
        let config = &self.config;
        let option = |(name, text): (&String, &String)| {
            let source = if config.written.contains(name) { Source::File } else { Source::Default };
            (name.clone(), OptionBody { value: to_json(text), source })
        };
        RunningConfig {
            file: path.display().to_string(),
            options: config.settings.iter().map(option).collect(),
            bans: config.bans.len(),
            exemptions: config.exemptions.len(),
        }
    }

    fn status(&self, path: &Path) -> Status {
        let clock = self.proxy.bouncer.clock();
        let metrics = &self.proxy.metrics;
        Status {
            node: self.config.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: self.history.started_at.to_string(),
            uptime_seconds: clock.moment().since(self.history.began).as_secs(),
            draining: self.proxy.draining.is_raised(),
            listeners: self.listeners(),
            connections: metrics.live_connections(),
            sessions: metrics.live_sessions(),
            bans: self.counts(List::Bans),
            exemptions: self.counts(List::Exemptions),
            upstreams: self.upstreams(),
            admin: self.desk.as_ref().and_then(super::Desk::local_addr).map(|addr| addr.to_string()),
            data_dir: self.config.data_dir.as_ref().map(|folder| folder.display().to_string()),
            config: path.display().to_string(),
            last_reload: self.history.last_reload.clone(),
        }
    }

    fn listeners(&self) -> Vec<ListenerStatus> {
        let mut listeners: Vec<_> = self.open.iter().collect();
        listeners.sort_by_key(|(name, _)| *name);
        let addresses = |open: &super::OpenDoor| -> Vec<String> {
            open.sockets.iter().map(|socket| socket.listener.local().to_string()).collect()
        };
        let status = |(name, open): (&Arc<str>, &super::OpenDoor)| ListenerStatus {
            name: name.to_string(),
            address: addresses(open).join(", "),
            addresses: addresses(open),
            connections: open.door.connections(),
            max_connections: open.door.settings().max_connections,
            waiting: self.proxy.metrics.listeners.of(name).waiting.count(),
        };
        listeners.into_iter().map(status).collect()
    }

    fn counts(&self, list: List) -> BTreeMap<String, usize> {
        As::ALL.into_iter().map(|kind| (kind.to_string(), self.proxy.bouncer.count(list, kind))).collect()
    }

    fn upstreams(&self) -> Vec<UpstreamStatus> {
        let (routes, now) = (self.proxy.routes.load(), Instant::now());
        let health = |group: &Upstream, member: &Member| {
            let condition = member.condition(now, group.settings().slow_start);
            if member.is_drained() { "drained" } else { condition.as_str() }.to_owned()
        };
        let status = |group: &Arc<Upstream>| UpstreamStatus {
            name: group.name().to_string(),
            servers: group.members().iter().map(|member| member.server().to_string()).collect(),
            health: group.members().iter().map(|member| health(group, member)).collect(),
        };
        let default = routes.groups.get(DEFAULT).into_iter();
        let others = routes.groups.all().filter(|group| &**group.name() != DEFAULT);
        default.chain(others).map(status).collect()
    }
}

/// What a reload has done, for whoever asked for it.
pub(super) fn reloaded(orders: &Orders) -> Reloaded {
    Reloaded {
        changes: orders.changes.clone(),
        after_restart: orders.after_restart.iter().map(ToString::to_string).collect(),
        opened: orders.open.iter().map(|listener| listener.name.to_string()).collect(),
        closed: orders.close.iter().map(ToString::to_string).collect(),
        put: orders.put.len(),
        removed: orders.remove.len(),
    }
}

/// Why a reload has done nothing, for whoever asked for it.
pub(super) fn not_reloaded(error: &ReloadError) -> NotReloaded {
    match error {
        ReloadError::Config(error) => not_usable(error),
        _ => NotReloaded { message: Chain(error).to_string(), mistakes: Vec::new() },
    }
}

fn not_usable(error: &ConfigError) -> NotReloaded {
    match error {
        ConfigError::Mistakes(mistakes) => NotReloaded {
            message: format!("the config file has {} mistakes, nothing has changed", mistakes.len()),
            mistakes: mistakes.iter().map(ToString::to_string).collect(),
        },
        ConfigError::Unreadable { .. } => {
            NotReloaded { message: Chain(error).to_string(), mistakes: Vec::new() }
        }
    }
}
