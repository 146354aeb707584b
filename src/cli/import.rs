//! `import`: a file of bans, all of it or nothing.

use super::Outcome;
use super::book::Book;
use super::listing::of_file;
use super::out::{remark, say};
use super::site::{Place, runtime};
use crate::admin::{self, Changes, Mode, Rehearsed};
use crate::admission::{As, Ban, List, MAX_WHO, Timestamp, Who};
use crate::app::STORE_FILE;
use crate::config::Config;
use crate::exchange::{self, Format, ReadOptions};
use crate::store::{FileBan, Reader};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The file; "-" is standard input.
    file: PathBuf,
    /// jsonl, emqx-csv, emqx-json, tbmq-json or plain; told from the file where it is not given.
    #[arg(long)]
    format: Option<Format>,
    /// What the lines of a plain list are; told from each line where it is not given.
    #[arg(long = "as", value_name = "AS")]
    kind: Option<As>,
    /// Who says so, where the file does not.
    #[arg(long, default_value = "import")]
    by: String,
    /// Read and check everything, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Leave out what is wrong, and take in the rest.
    #[arg(long)]
    skip_wrong: bool,
    /// Take in bans that have ended, too; they are then kept until they are cleaned up.
    #[arg(long)]
    keep_expired: bool,
}

/// What a file held.
#[derive(Default)]
struct Contents {
    bans: Vec<Ban>,
    records: usize,
    wrong: usize,
}

/// The names of a file, and where each stands first: by hash, since there may be millions. Of two names that fall
/// together, which is rarer than one in a million files of a million, a repetition is overlooked; the later one counts
/// then.
#[derive(Default)]
struct Names {
    hash: RandomState,
    /// Which ban.
    indexes: HashMap<u64, u32>,
    /// At which line each ban stands.
    lines: Vec<u64>,
}

impl Names {
    /// The ban of this name, and its line.
    fn first<'b>(&self, who: &Who, bans: &'b [Ban]) -> Option<(&'b Ban, u64)> {
        let index = usize::try_from(*self.indexes.get(&self.hash.hash_one(who))?).ok()?;
        let ban = bans.get(index).filter(|ban| ban.who == *who)?;
        Some((ban, *self.lines.get(index)?))
    }

    /// Adds the name of the next ban.
    fn add(&mut self, who: &Who, line: u64) {
        if let Ok(index) = u32::try_from(self.lines.len()) {
            self.indexes.entry(self.hash.hash_one(who)).or_insert(index);
        }
        self.lines.push(line);
    }
}

/// How many mistakes are printed one by one.
const MAX_MISTAKES: usize = 1000;

impl Import {
    pub(super) fn run(
        self,
        list: List,
        place: &Place,
        config: Option<&Config>,
        now: Timestamp,
        json: bool,
    ) -> Outcome {
        let Contents { bans, records, wrong } = self.read(now)?;
        if wrong > MAX_MISTAKES {
            remark(format_args!("{}: and {} more", self.file.display(), wrong - MAX_MISTAKES));
        }
        if wrong > 0 && !self.skip_wrong {
            return Err(format!(
                "{wrong} of {records} records are wrong, and nothing was imported; --skip-wrong takes in the rest"
            )
            .into());
        }
        let total = bans.len();
        let (verb, added, changed) = if self.dry_run {
            let done = rehearse(list, &bans, place, config, now)?;
            ("would import", done.added, done.changed)
        } else {
            let book = Book::open(place)?;
            let bar = bar(total, if book.is_running() { "sending" } else { "writing" });
            let done = book.import(list, Mode::Put, bans, now, |seen| {
                bar.set_position(u64::try_from(seen).unwrap_or(u64::MAX));
                if seen == total {
                    bar.set_message("waiting for the disk");
                }
            })?;
            bar.finish_and_clear();
            ("imported", done.added, done.changed)
        };
        let left_out = if wrong > 0 { format!("; {wrong} left out") } else { String::new() };
        if json {
            say(json!({ "added": added, "changed": changed, "left_out": wrong, "dry_run": self.dry_run }))?;
        } else {
            say(format_args!("{verb} {total}: {added} new, {changed} known{left_out}"))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn read(&self, now: Timestamp) -> Result<Contents, Box<dyn Error>> {
        let (mut input, bar) = self.open()?;
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        let format = match self.format {
            Some(format) => format,
            None => Format::guess(&name, input.fill_buf()?).ok_or_else(|| {
                format!("{}: its form cannot be told; name it with --format", self.file.display())
            })?,
        };
        let options = ReadOptions {
            now,
            by: self.by.as_str().into(),
            kind: self.kind,
            keep_expired: self.keep_expired,
        };
        let mut contents = Contents::default();
        let mut names = Names::default();
        let mut records = exchange::read(format, input, options);
        while let Some(record) = records.next() {
            let record = record.map_err(|error| format!("{}: {error}", self.file.display()))?;
            contents.records += 1;
            let line = records.line();
            match record {
                Ok(ban) if ban.terms.reason.len().max(ban.terms.by.len()) > MAX_WHO => {
                    let problem = format!("line {line}: by or reason is longer than {MAX_WHO} bytes");
                    self.report(&bar, &mut contents.wrong, &problem);
                }
                Ok(ban) => match names.first(&ban.who, &contents.bans) {
                    None => {
                        names.add(&ban.who, line);
                        contents.bans.push(ban);
                    }
                    // Lists of names often have one twice, and mean the same.
                    Some((first, _)) if says_the_same(first, &ban) => {}
                    Some((_, first)) => {
                        let problem = format!(
                            "line {line}: who: stands in line {first} already, and says otherwise there"
                        );
                        self.report(&bar, &mut contents.wrong, &problem);
                    }
                },
                Err(mistake) => self.report(&bar, &mut contents.wrong, &mistake.to_string()),
            }
        }
        bar.finish_and_clear();
        Ok(contents)
    }

    /// Prints a mistake in the form that editors jump to.
    fn report(&self, bar: &ProgressBar, wrong: &mut usize, problem: &str) {
        *wrong += 1;
        if *wrong <= MAX_MISTAKES {
            bar.suspend(|| remark(format_args!("{}: {problem}", self.file.display())));
        }
    }

    fn open(&self) -> io::Result<(BufReader<Box<dyn Read>>, ProgressBar)> {
        let (bar, input): (_, Box<dyn Read>) = if self.file.as_os_str() == "-" {
            (ProgressBar::hidden(), Box::new(io::stdin()))
        } else {
            let shown = |error| io::Error::other(format!("cannot read {}: {error}", self.file.display()));
            let file = File::open(&self.file).map_err(shown)?;
            let bar = bytes_bar(file.metadata().map_or(0, |data| data.len()));
            (bar.clone(), Box::new(bar.wrap_read(file)))
        };
        Ok((BufReader::with_capacity(1 << 16, input), bar))
    }
}

/// Whether two bans of one name differ in nothing that matters.
fn says_the_same(one: &Ban, other: &Ban) -> bool {
    let matching = one.who.matching() == other.who.matching();
    matching
        && one.terms.until == other.terms.until
        && one.terms.reason == other.terms.reason
        && one.terms.by == other.terms.by
}

/// What the import would come to, at the proxy elsewhere or in the file of the store.
fn rehearse(
    list: List,
    bans: &[Ban],
    place: &Place,
    config: Option<&Config>,
    now: Timestamp,
) -> Result<Changes, Box<dyn Error>> {
    let folder = match place {
        Place::Elsewhere(caller) => {
            let Rehearsed { added, mistakes } = runtime()?.block_on(caller.rehearse(list, bans))?;
            if let Some(first) = mistakes.into_iter().next() {
                return Err(first.into());
            }
            return Ok(Changes { added, changed: bans.len().saturating_sub(added) });
        }
        Place::Folder(folder) => folder,
    };
    let store = folder.join(STORE_FILE);
    let reader = if store.exists() { Reader::open(store)? } else { Reader::of_nothing()? };
    let of_file: Vec<FileBan> = config.into_iter().flat_map(|config| of_file(list, config, now)).collect();
    Ok(admin::rehearse(&reader.view(&of_file)?, list, Mode::Put, bans, now)??)
}

fn bar(total: usize, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(total).unwrap_or(u64::MAX));
    bar.set_style(style("{msg} {wide_bar} {human_pos} of {human_len}, {eta} left"));
    bar.set_message(what);
    bar
}

fn bytes_bar(total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    bar.set_style(style("reading {wide_bar} {bytes} of {total_bytes}, {eta} left"));
    bar
}

/// A style that is written wrong is replaced by the library's own.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
