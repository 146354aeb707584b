//! `api-keys`: what scripts show to the API.

use super::Outcome;
use super::out::{done, fitted, say};
use super::site::Site;
use super::staff::Staff;
use crate::accounts::Role;
use crate::admission::Until;
use crate::clock::Clock;
use crate::config::parse_duration;
use crate::telemetry::Shown;
use clap::{Args, Subcommand};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct ApiKeys {
    #[command(flatten)]
    site: Site,
    /// Print results as JSON: one object a line, as the API gives it.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints the keys, without their secrets.
    List,
    /// Makes a key and prints KEY:SECRET. The secret is not shown again.
    Add {
        /// A letter, then letters, digits, "-" and "_".
        name: String,
        /// administrator, or viewer, which looks and changes nothing.
        #[arg(long, default_value_t = Role::Administrator)]
        role: Role,
        /// When it stops opening anything: "infinity", RFC 3339, or epoch seconds.
        #[arg(long, value_name = "END", default_value = "infinity")]
        until: Until,
        /// How long it opens, e.g. 1h30m, 7d.
        #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, conflicts_with = "until")]
        length: Option<Duration>,
        /// For people.
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
    },
    /// Removes a key.
    Remove {
        /// The key's name.
        name: String,
    },
}

impl ApiKeys {
    pub(super) fn run(self) -> Outcome {
        let now = Clock::system().now();
        let staff = Staff::open(&self.site, now)?;
        let json = self.json;
        match self.action {
            Action::List => {
                let mut out = io::BufWriter::new(io::stdout().lock());
                if !json {
                    writeln!(out, "{}", fitted(HEAD))?;
                }
                for key in staff.keys()? {
                    if json {
                        writeln!(out, "{}", serde_json::to_string(&key)?)?;
                        continue;
                    }
                    let until = match (key.enable, key.expired) {
                        (false, _) => "switched off".to_owned(),
                        (true, true) => "expired".to_owned(),
                        (true, false) => key.expired_at,
                    };
                    let (name, id, role) = (key.name, key.api_key, key.role);
                    let line = format!("{name:<20} {id:<16} {role:<14} {until:<26} {}", Shown(&key.desc));
                    writeln!(out, "{}", fitted(&line))?;
                }
                out.flush()?;
            }
            Action::Add { name, role, until, length, description } => {
                let expired_at = length.map_or(until, |length| Until::Moment(now.after(length)));
                let key = staff.add_key(&name, role, expired_at, description)?;
                if json {
                    say(serde_json::to_string(&key)?)?;
                } else {
                    say(format_args!("{}:{}", key.api_key, key.api_secret.unwrap_or_default()))?;
                }
            }
            Action::Remove { name } => {
                staff.remove_key(&name)?;
                done("removed", json)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

const HEAD: &str =
    "NAME                 KEY              ROLE           OPENS UNTIL                DESCRIPTION";
