//! `list` and `export`: what is there, for people and for programs.

use super::Outcome;
use super::out::{remark, width};
use super::show::{HEAD, Row};
use crate::admission::{As, Ban, List, Status, Terms, Timestamp};
use crate::app::STORE_FILE;
use crate::config::{BanConfig, Config};
use crate::exchange::{Format, WriteError, Writer};
use crate::store::{Filter, Reader};
use clap::{Args, ValueEnum};
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct Listing {
    #[command(flatten)]
    which: Which,
    /// Only those with this status.
    #[arg(long)]
    status: Option<StatusName>,
    /// At most so many.
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    which: Which,
    /// The file, which is replaced when all is written; "-" is standard output.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// jsonl, emqx-csv, emqx-json, tbmq-json or plain.
    #[arg(long, default_value_t = Format::JsonLines)]
    format: Format,
    /// Leave out what the form cannot say, and write the rest.
    #[arg(long)]
    skip_unwritable: bool,
}

#[derive(Debug, Args)]
struct Which {
    /// Only those of this kind.
    #[arg(long = "as", value_name = "AS")]
    kind: Option<As>,
    /// Only those made by this author.
    #[arg(long)]
    by: Option<String>,
    /// Only those whose WHO contains this text.
    #[arg(long)]
    text: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StatusName {
    Active,
    Expired,
    DeletingSoon,
}

impl StatusName {
    fn status(self) -> Status {
        match self {
            StatusName::Active => Status::Active,
            StatusName::Expired => Status::Expired,
            StatusName::DeletingSoon => Status::DeletingSoon,
        }
    }
}

impl Listing {
    pub(super) fn run(self, list: List, config: &Config, now: Timestamp, json: bool) -> Outcome {
        let mut page = Page {
            out: BufWriter::new(io::stdout().lock()),
            json,
            width: width(),
            status: self.status.map(StatusName::status),
            left: self.limit.unwrap_or(usize::MAX),
            now,
            ttl: config.cleanup.ttl,
        };
        page.head()?;
        for ban in config.bans_of(list).iter().filter(|ban| self.which.names(ban)) {
            page.show(&of_file(ban, now))?;
        }
        let store = config.data_dir.as_ref().map(|folder| folder.join(STORE_FILE));
        if let Some(path) = store.filter(|path| path.exists()) {
            each(&Reader::open(&path)?, list, &self.which.filter(), |ban| page.show(&ban))?;
        }
        page.out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A ban of the config file as it is in force.
fn of_file(ban: &BanConfig, now: Timestamp) -> Ban {
    let BanConfig { who, by, reason, at, until } = ban.clone();
    Ban { who, terms: Terms { by, reason, at: at.unwrap_or(now), until } }
}

/// What `list` prints.
struct Page<W> {
    out: W,
    json: bool,
    /// Of the terminal; a file gets everything.
    width: Option<usize>,
    status: Option<Status>,
    left: usize,
    now: Timestamp,
    ttl: Duration,
}

impl<W: Write> Page<W> {
    fn head(&mut self) -> io::Result<()> {
        match self.width {
            _ if self.json => Ok(()),
            Some(width) => writeln!(self.out, "{}", Row::narrow_head(width)),
            None => writeln!(self.out, "{HEAD}"),
        }
    }

    fn show(&mut self, ban: &Ban) -> Result<(), Box<dyn Error>> {
        let row = Row::new(ban, self.now, self.ttl);
        if self.left == 0 || self.status.is_some_and(|status| status != row.status) {
            return Ok(());
        }
        self.left -= 1;
        if self.json {
            writeln!(self.out, "{}", with_status(ban, row.status)?)?;
        } else if let Some(width) = self.width {
            writeln!(self.out, "{}", row.narrow(width))?;
        } else {
            writeln!(self.out, "{row}")?;
        }
        Ok(())
    }
}

/// A record of our own form, with the status beside it.
fn with_status(ban: &Ban, status: Status) -> Result<serde_json::Value, Box<dyn Error>> {
    let mut line = Vec::new();
    let mut writer = Writer::new(Format::JsonLines, &mut line);
    writer.write(ban)?;
    writer.finish()?;
    let mut record: serde_json::Value = serde_json::from_slice(&line)?;
    if let Some(fields) = record.as_object_mut() {
        fields.insert("status".to_owned(), status.as_str().into());
    }
    Ok(record)
}

impl Which {
    fn names(&self, ban: &BanConfig) -> bool {
        self.kind.is_none_or(|kind| kind == ban.who.kind())
            && self.by.as_deref().is_none_or(|by| by == &*ban.by)
            && self.text.as_deref().is_none_or(|text| ban.who.to_string().contains(text))
    }

    fn filter(&self) -> Filter {
        Filter { kind: self.kind, by: self.by.clone(), text: self.text.clone(), ..Filter::default() }
    }
}

impl Export {
    pub(super) fn run(self, list: List, folder: &Path) -> Outcome {
        let path = folder.join(STORE_FILE);
        let reader = path.exists().then(|| Reader::open(&path)).transpose()?;
        let (written, left_out) = if self.file.as_os_str() == "-" {
            self.write(list, reader.as_ref(), io::stdout().lock())?
        } else {
            let draft = draft_of(&self.file);
            let done = File::create(&draft)
                .map_err(Box::from)
                .and_then(|file| self.write(list, reader.as_ref(), file));
            let done = done.and_then(|done| Ok(fs::rename(&draft, &self.file).map(|()| done)?));
            if done.is_err() {
                // What is half-written is of no use to anybody.
                let _ = fs::remove_file(&draft);
            }
            done?
        };
        let note = if left_out > 0 { format!("; {left_out} left out") } else { String::new() };
        remark(format_args!("exported {written}{note}"));
        Ok(ExitCode::SUCCESS)
    }

    fn write(
        &self,
        list: List,
        reader: Option<&Reader>,
        out: impl Write,
    ) -> Result<(usize, usize), Box<dyn Error>> {
        let mut writer = Writer::new(self.format, BufWriter::new(out));
        let (mut written, mut left_out) = (0, 0);
        if let Some(reader) = reader {
            each(reader, list, &self.which.filter(), |ban| {
                match writer.write(&ban) {
                    Ok(()) => written += 1,
                    Err(WriteError::Unwritable { .. }) if self.skip_unwritable => left_out += 1,
                    Err(error @ WriteError::Unwritable { .. }) => {
                        return Err(format!("{error}; --skip-unwritable leaves it out").into());
                    }
                    Err(error) => return Err(error.into()),
                }
                Ok(())
            })?;
        }
        writer.finish()?;
        Ok((written, left_out))
    }
}

/// A name beside the file, on the same disk.
fn draft_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    name.into()
}

/// Shows every ban that the filter lets through, until one of them is trouble.
fn each(
    reader: &Reader,
    list: List,
    filter: &Filter,
    mut visit: impl FnMut(Ban) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut trouble = None;
    reader.for_each(list, filter, |ban| match visit(ban) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            trouble = Some(error);
            ControlFlow::Break(())
        }
    })?;
    trouble.map_or(Ok(()), Err)
}
