//! `bans` and `exemptions`: the commands that list and change what is kept in the data directory.

use super::book::{Book, BookError};
use super::export::{Export, Listing};
use super::import::Import;
use super::{ConfigFile, Outcome};
use crate::admin::Mode;
use crate::admission::{As, Ban, List, Match, Terms, Timestamp, Until, Who, WhoError};
use crate::clock::Clock;
use crate::config::{Config, parse_duration};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct Lists {
    #[command(flatten)]
    file: ConfigFile,
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
    /// Adds one.
    Add(Add),
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
    /// clientid, username, peerhost, peerhost_net, clientid_re, username_re or peerhost_re.
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
    #[error("no {what} of {kind} {who:?} is kept in {}{}", folder.display(), InFile(*is_in_file))]
    NotThere { what: &'static str, kind: As, who: String, folder: PathBuf, is_in_file: bool },
}

struct InFile(bool);

impl std::fmt::Display for InFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0 { "; it stands in the config file, and is lifted there" } else { "" })
    }
}

impl Lists {
    pub(super) fn run(self, list: List) -> Outcome {
        let config = Config::load(&self.file.config)?;
        let folder = config.data_dir.clone().ok_or(CommandError::NoDataDir(self.file.config));
        let now = Clock::system().now();
        match self.action {
            // Without a data directory there still is the file.
            Action::List(listing) => listing.run(list, &config, now),
            Action::Export(export) => export.run(list, &folder?),
            Action::Import(import) => import.run(list, &folder?, &config, now),
            Action::Add(add) => add.run(list, &folder?, now),
            Action::Remove(remove) => remove.run(list, &folder?, &config),
            Action::Clear(_) => {
                Book::open(&folder?)?.clear(list)?;
                println!("cleared; what the config file says still holds");
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl Add {
    fn run(self, list: List, folder: &Path, now: Timestamp) -> Outcome {
        let who = self.who.parse(self.matching)?;
        let until = self.length.map_or(self.until, |length| Until::Moment(now.after(length)));
        if !until.is_after(now) {
            return Err(CommandError::Past(until).into());
        }
        let terms = Terms { by: self.by.into(), reason: self.reason.into(), at: now, until };
        let mode = if self.replace { Mode::Put } else { Mode::Add };
        let ban = Ban { who, terms };
        let done = Book::open(folder)?.import(list, mode, vec![ban], now, |_| {}).map_err(explained)?;
        println!("{}", if done.added > 0 { "added" } else { "changed" });
        Ok(ExitCode::SUCCESS)
    }
}

/// Says what to do about one that is there already.
fn explained(error: BookError) -> Box<dyn std::error::Error> {
    if error.is_taken() { format!("{error}; --replace changes it").into() } else { error.into() }
}

impl Remove {
    fn run(self, list: List, folder: &Path, config: &Config) -> Outcome {
        let who = self.who.parse(None)?;
        if Book::open(folder)?.remove(list, &who)? {
            let is_in_file = config.bans_of(list).iter().any(|ban| ban.who == who);
            println!("lifted{}", if is_in_file { "; the one in the config file still holds" } else { "" });
            return Ok(ExitCode::SUCCESS);
        }
        Err(CommandError::NotThere {
            what: match list {
                List::Bans => "ban",
                List::Exemptions => "exemption",
            },
            kind: who.kind(),
            who: who.to_string(),
            folder: folder.to_owned(),
            is_in_file: config.bans_of(list).iter().any(|ban| ban.who == who),
        }
        .into())
    }
}

impl Name {
    fn parse(self, matching: Option<Match>) -> Result<Who, CommandError> {
        let Name { kind, who } = self;
        Who::new(kind, &who, matching).map_err(|problem| CommandError::Name { kind, who, problem })
    }
}
