//! `bans` and `exemptions`: the commands that list and change what is kept in the data directory.

use super::Outcome;
use super::book::{Book, BookError};
use super::export::Export;
use super::import::Import;
use super::listing::{self, Listing, Source};
use super::out::say;
use super::site::{Place, Site};
use crate::admin::Mode;
use crate::admission::{As, Ban, List, Match, Terms, Timestamp, Until, Who, WhoError};
use crate::clock::Clock;
use crate::config::{BanConfig, Config, parse_duration};
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct Lists {
    #[command(flatten)]
    site: Site,
    /// Print results as JSON: one object a line.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints them as a table, those of the config file included.
    List(Listing),
    /// Writes those that are kept in the data directory as a file, in the form that you name.
    Export(Export),
    /// Takes in a file: all of it or, when anything in it is wrong, nothing.
    Import(Import),
    /// Shows one, with everything that is known of it.
    Show(Show),
    /// Adds one.
    Add(Add),
    /// Makes one hold for longer.
    Extend(Extend),
    /// Lifts one.
    Remove(Remove),
    /// Lifts all that are kept in the data directory.
    Clear(Clear),
}

#[derive(Debug, Args)]
struct Add {
    #[command(flatten)]
    who: Name,
    /// For patterns: whether any part of the name has to match, as in EMQX, or all of it, as in TBMQ [default: search].
    #[arg(long = "match", value_name = "search|full")]
    matching: Option<Match>,
    /// Why.
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Who says so.
    #[arg(long, default_value = "cli")]
    by: String,
    /// When it ends: "infinity", RFC 3339, or epoch seconds.
    #[arg(long, value_name = "END", default_value = "infinity")]
    until: Until,
    /// How long it holds, e.g. 5m, 1h30m, 7d.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, conflicts_with = "until")]
    length: Option<Duration>,
    /// Change the one that names the same, if there is one; else it is refused.
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    who: Name,
}

#[derive(Debug, Args)]
struct Extend {
    #[command(flatten)]
    who: Name,
    /// By how much, e.g. 1h, 7d: later than its end, or than now where it has ended.
    #[arg(value_name = "DURATION", value_parser = parse_duration)]
    time: Duration,
}

#[derive(Debug, Args)]
struct Remove {
    #[command(flatten)]
    who: Name,
}

#[derive(Debug, Args)]
struct Clear {
    /// Say that you mean it.
    #[arg(long, required = true)]
    yes: bool,
}

#[derive(Debug, Args)]
struct Name {
    /// clientid, username, cert_cn, cert_sha256, tls_ja4, peerhost, peerhost_net, clientid_re, username_re or peerhost_re.
    #[arg(value_name = "AS")]
    kind: As,
    /// Whom: byte for byte, an address, a network, or a regular expression. Quote it for your shell, and put "--"
    /// before one that begins with "-".
    #[arg(value_name = "WHO")]
    who: String,
}

/// A command that asks for what cannot be.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("{} has no [node] data_dir, the folder in which bans are kept", .0.display())]
    NoDataDir(PathBuf),
    #[error("{kind} {who:?} {problem}")]
    Name {
        kind: As,
        who: String,
        /// Reads on after the name.
        problem: WhoError,
    },
    #[error("the ban would have ended at {0}; expected an end in the future")]
    Past(Until),
    #[error("no {what} of {kind} {who:?} is kept in {place}{}", InFile(*is_in_file))]
    NotThere { what: &'static str, kind: As, who: String, place: String, is_in_file: bool },
}

struct InFile(bool);

impl std::fmt::Display for InFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0 { "; it stands in the config file, and is lifted there" } else { "" })
    }
}

impl Lists {
    pub(super) fn run(self, list: List) -> Outcome {
        let (now, json) = (Clock::system().now(), self.json);
        if let Some(caller) = self.site.elsewhere()? {
            return self.action.run(list, &Place::Elsewhere(caller), None, now, json);
        }
        let config = Config::load(&self.site.file.config)?;
        if let Action::List(listing) = self.action {
            // Without a data directory there still is the file.
            return listing.run(list, &Source::of(&config, now)?, json);
        }
        if let Action::Show(Show { who }) = self.action {
            return listing::show(list, &who.parse(None)?, json, &Source::of(&config, now)?);
        }
        let folder = config.data_dir.clone().ok_or(CommandError::NoDataDir(self.site.file.config))?;
        self.action.run(list, &Place::Folder(folder), Some(&config), now, json)
    }
}

impl Action {
    /// Without a config, the proxy is elsewhere.
    fn run(self, list: List, place: &Place, config: Option<&Config>, now: Timestamp, json: bool) -> Outcome {
        let of_file = config.map_or(&[][..], |config| config.bans_of(list));
        match self {
            Action::List(listing) => listing.run(list, &Source::at(place)?, json),
            Action::Show(Show { who }) => listing::show(list, &who.parse(None)?, json, &Source::at(place)?),
            Action::Extend(extend) => extend.run(list, place, of_file, now, json),
            Action::Export(export) => export.run(list, place),
            Action::Import(import) => import.run(list, place, config, now, json),
            Action::Add(add) => add.run(list, place, now, json),
            Action::Remove(remove) => remove.run(list, place, of_file, json),
            Action::Clear(_) => {
                Book::open(place)?.clear(list)?;
                if json {
                    say(json!({ "cleared": true }))?;
                } else {
                    say("cleared; what the config file says still holds")?;
                }
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl Add {
    fn run(self, list: List, place: &Place, now: Timestamp, json: bool) -> Outcome {
        let who = self.who.parse(self.matching)?;
        let until = self.length.map_or(self.until, |length| Until::Moment(now.after(length)));
        if !until.is_after(now) {
            return Err(CommandError::Past(until).into());
        }
        let terms = Terms { by: self.by.into(), reason: self.reason.into(), at: now, until };
        let mode = if self.replace { Mode::Put } else { Mode::Add };
        let ban = Ban { who, terms };
        let done = Book::open(place)?.import(list, mode, vec![ban], now, |_| {}).map_err(explained)?;
        if json {
            say(json!(done))?;
        } else {
            say(if done.added > 0 { "added" } else { "changed" })?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Says what to do about one that is there already.
fn explained(error: BookError) -> Box<dyn std::error::Error> {
    if error.is_taken() { format!("{error}; --replace changes it").into() } else { error.into() }
}

impl Remove {
    fn run(self, list: List, place: &Place, of_file: &[BanConfig], json: bool) -> Outcome {
        let who = self.who.parse(None)?;
        let is_in_file = of_file.iter().any(|ban| ban.who == who);
        if Book::open(place)?.remove(list, &who)? {
            if json {
                say(json!({ "lifted": true, "is_in_config_file": is_in_file }))?;
            } else {
                let note = if is_in_file { "; the one in the config file still holds" } else { "" };
                say(format_args!("lifted{note}"))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        Err(CommandError::not_there(list, &who, place, is_in_file).into())
    }
}

impl Extend {
    fn run(self, list: List, place: &Place, of_file: &[BanConfig], now: Timestamp, json: bool) -> Outcome {
        let who = self.who.parse(None)?;
        let is_in_file = of_file.iter().any(|ban| ban.who == who);
        let until = Book::open(place)?.extend(list, &who, self.time, now)?;
        let until = until.ok_or_else(|| CommandError::not_there(list, &who, place, is_in_file))?;
        if json {
            say(json!({ "until": until }))?;
        } else {
            say(format_args!("holds until {until}"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl CommandError {
    fn not_there(list: List, who: &Who, place: &Place, is_in_file: bool) -> CommandError {
        CommandError::NotThere {
            what: match list {
                List::Bans => "ban",
                List::Exemptions => "exemption",
            },
            kind: who.kind(),
            who: who.to_string(),
            place: place.to_string(),
            is_in_file,
        }
    }
}

impl Name {
    fn parse(self, matching: Option<Match>) -> Result<Who, CommandError> {
        let Name { kind, who } = self;
        Who::new(kind, &who, matching).map_err(|problem| CommandError::Name { kind, who, problem })
    }
}
