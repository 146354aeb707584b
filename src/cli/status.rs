//! `status` and `reload`: the running proxy itself.

use super::Outcome;
use super::out::{remark, say};
use super::site::{Site, runtime};
use crate::admin::{CallError, NotReloaded, Status};
use clap::Args;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct StatusCommand {
    #[command(flatten)]
    site: Site,
    /// One JSON object, as the API gives it.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Reload {
    #[command(flatten)]
    site: Site,
    /// One JSON object, as the API gives it.
    #[arg(long)]
    json: bool,
}

impl StatusCommand {
    pub(super) fn run(&self) -> Outcome {
        let caller = self.site.caller()?;
        let status = runtime()?.block_on(caller.status())?;
        if self.json {
            say(serde_json::to_string(&status)?)?;
        } else {
            say(shown(&status).trim_end())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn shown(status: &Status) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{key:<13} {value}");
    };
    let state = if status.draining { "draining" } else { "running" };
    line(
        "node",
        &format!("{} ({state}, mqtt-bouncer {}, process {})", status.node, status.version, status.pid),
    );
    line("up", &format!("{} since {}", length(status.uptime_seconds), status.started_at));
    line("config", &status.config);
    line("data_dir", status.data_dir.as_deref().unwrap_or("none"));
    line("API", status.admin.as_deref().unwrap_or("on its socket alone"));
    if let Some(last) = &status.last_reload {
        let outcome = if last.ok { "done" } else { "failed" };
        line("last reload", &format!("{outcome} at {}: {}", last.at, last.message));
    }
    line("sessions", &status.sessions.to_string());
    for listener in &status.listeners {
        let (connections, max) = (listener.connections, listener.max_connections);
        let waiting = match listener.waiting {
            0 => String::new(),
            clients => format!(", {clients} clients wait for their turn"),
        };
        line(
            "listener",
            &format!("{} {} ({connections} of {max} connections{waiting})", listener.name, listener.address),
        );
    }
    for upstream in &status.upstreams {
        let servers =
            upstream.servers.iter().enumerate().map(|(index, server)| match upstream.health.get(index) {
                Some(health) => format!("{server} ({health})"),
                None => server.clone(),
            });
        line("upstream", &format!("{} {}", upstream.name, servers.collect::<Vec<_>>().join(" ")));
    }
    line("bans", &counts(&status.bans));
    line("exemptions", &counts(&status.exemptions));
    text
}

fn counts(counts: &BTreeMap<String, usize>) -> String {
    let total: usize = counts.values().sum();
    let kinds: Vec<_> = counts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    if kinds.is_empty() { total.to_string() } else { format!("{total} ({})", kinds.join(", ")) }
}

fn length(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m{}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h{minutes}m"),
        (days, hours, _) => format!("{days}d{hours}h"),
    }
}

impl Reload {
    pub(super) fn run(&self) -> Outcome {
        let caller = self.site.caller()?;
        let done = match runtime()?.block_on(caller.reload()) {
            Err(CallError::NotReloaded(why)) if self.json => {
                say(serde_json::to_string(&why)?)?;
                return Ok(ExitCode::FAILURE);
            }
            Err(CallError::NotReloaded(NotReloaded { message, mistakes })) => {
                // These lines have the form that editors jump to.
                for mistake in &mistakes {
                    remark(mistake);
                }
                return Err(message.into());
            }
            outcome => outcome?,
        };
        if self.json {
            say(serde_json::to_string(&done)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        for change in &done.changes {
            say(change)?;
        }
        for option in &done.after_restart {
            say(format_args!("{option}: takes effect at the next start"))?;
        }
        let (options, put, removed) = (done.changes.len(), done.put, done.removed);
        say(format_args!(
            "reloaded: {options} options changed, {put} bans and exemptions put, {removed} removed"
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::length;

    #[test]
    fn lengths_have_two_units() {
        let lengths = [5, 65, 3_660, 90_000].map(length);
        assert_eq!(lengths, ["5s", "1m5s", "1h1m", "1d1h"]);
    }
}
