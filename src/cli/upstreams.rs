//! `upstreams`: the brokers of the running proxy.

use super::Outcome;
use super::out::say;
use super::site::{Site, runtime};
use crate::admin::{ServerBody, UpstreamBody};
use crate::telemetry::Shown;
use clap::{Args, Subcommand};
use std::fmt::Write;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Upstreams {
    #[command(flatten)]
    site: Site,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists the brokers by group: who takes clients, how they are, and how many connections each has.
    List {
        /// One JSON object, as the API gives it.
        #[arg(long)]
        json: bool,
    },
    /// Takes no new clients to a broker. Those who are there stay.
    Drain(Which),
    /// Takes clients to a broker again.
    Resume(Which),
}

#[derive(Debug, Args)]
struct Which {
    /// The group; `default` for `[upstream]`.
    group: String,
    /// The server, as the config file writes it.
    server: String,
}

impl Upstreams {
    pub(super) fn run(&self) -> Outcome {
        let (caller, runtime) = (self.site.caller()?, runtime()?);
        match &self.command {
            Command::List { json } => {
                let all = runtime.block_on(caller.upstreams())?;
                if *json {
                    say(serde_json::to_string(&all)?)?;
                } else {
                    say(shown(&all.data).trim_end())?;
                }
            }
            Command::Drain(Which { group, server }) => {
                let now = runtime.block_on(caller.drain_server(group, server, true))?;
                say(format_args!("{}: no new clients; {} connections stay", now.server, now.connections))?;
            }
            Command::Resume(Which { group, server }) => {
                let now = runtime.block_on(caller.drain_server(group, server, false))?;
                say(format_args!("{}: clients are taken there again ({})", now.server, now.health))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn shown(groups: &[UpstreamBody]) -> String {
    let mut text = String::new();
    for group in groups {
        let tls = if group.tls { ", TLS" } else { "" };
        let backup = group.backup.as_ref().map(|name| format!(", spare group {name}")).unwrap_or_default();
        // Writing to a string does not fail.
        let _ = writeln!(text, "{} ({}{tls}{backup})", group.name, group.balance);
        for server in &group.servers {
            let _ = writeln!(text, "  {}", line(server));
        }
    }
    text
}

/// `10.0.0.7:1883 up, 12 connections, weight 2; last failure 2026-11-21T10:28:00+00:00: connection refused`
fn line(server: &ServerBody) -> String {
    let mut text = format!("{} {}, {} connections", server.server, server.health, server.connections);
    let mut more = |is_so: bool, what: &str| {
        if is_so {
            text.push_str(", ");
            text.push_str(what);
        }
    };
    more(server.state == "drain", "drained");
    more(server.backup, "backup");
    more(server.weight != 1, &format!("weight {}", server.weight));
    more(server.ejections > 0, &format!("left alone {} times", server.ejections));
    if let Some(failure) = &server.last_failure {
        let _ = write!(text, "; last failure {}: {}", failure.at, Shown(&failure.problem));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::FailureBody;

    #[test]
    fn a_line_says_what_is_not_as_usual() {
        let usual = ServerBody {
            server: "b:1".to_owned(),
            state: "active".to_owned(),
            health: "up".to_owned(),
            usable: true,
            weight: 1,
            backup: false,
            connections: 3,
            ejections: 0,
            checks_succeeded: 0,
            checks_failed: 0,
            addresses: Vec::new(),
            last_failure: None,
        };
        assert_eq!(line(&usual), "b:1 up, 3 connections");
        let last_failure = Some(FailureBody { at: "2026".to_owned(), problem: "refused".to_owned() });
        let odd = ServerBody {
            state: "drain".to_owned(),
            weight: 2,
            backup: true,
            ejections: 4,
            last_failure,
            ..usual
        };
        assert_eq!(
            line(&odd),
            "b:1 up, 3 connections, drained, backup, weight 2, left alone 4 times; last failure 2026: refused"
        );
    }
}
