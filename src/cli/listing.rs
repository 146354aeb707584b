//! `list` and `show`: what is there, for people and for programs. Asked of the running proxy; where none is running, of
//! the config file and the store.

use super::Outcome;
use super::out::width;
use super::show::Table;
use super::site::{Place, runtime};
use crate::admin::{CallError, Caller, one_of, page_of};
use crate::admission::{As, Ban, List, Terms, Timestamp, Who};
use crate::app::{SOCKET_FILE, STORE_FILE};
use crate::config::Config;
use crate::store::{FileBan, Reader, Sort};
use clap::{Args, ValueEnum};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use tokio::runtime::Runtime;

#[derive(Debug, Args)]
pub(super) struct Listing {
    /// Only those of this kind; may be given several times.
    #[arg(long = "as", value_name = "AS")]
    kinds: Vec<As>,
    /// Only those made by this author.
    #[arg(long)]
    by: Option<String>,
    /// Only those whose reason contains this text, whatever the case of its letters.
    #[arg(long)]
    reason: Option<String>,
    /// Only those whose WHO contains this text, whatever the case of its letters.
    #[arg(long)]
    text: Option<String>,
    /// Only those with this status.
    #[arg(long)]
    status: Option<StatusName>,
    /// Only those that are in force as the config file says, or as was said at run time.
    #[arg(long)]
    source: Option<SourceName>,
    /// In the order of who, as, by, reason, at, until, status, hits or last_hit.
    #[arg(long, value_name = "COLUMN", value_parser = column)]
    sort: Option<Sort>,
    /// The other way round.
    #[arg(long)]
    desc: bool,
    /// At most so many.
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StatusName {
    Active,
    Expired,
    DeletingSoon,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SourceName {
    File,
    RunTime,
}

fn column(name: &str) -> Result<Sort, String> {
    let sort = Sort::ALL.into_iter().find(|sort| sort.as_str() == name);
    sort.ok_or_else(|| "expected who, as, by, reason, at, until, status, hits or last_hit".to_owned())
}

impl Listing {
    pub(super) fn run(self, list: List, source: &Source<'_>, json: bool) -> Outcome {
        let (query, table) = (self.query(), Table { width: width() });
        let mut out = BufWriter::new(io::stdout().lock());
        if !json {
            writeln!(out, "{}", table.head())?;
        }
        let (mut left, mut cursor, mut number) = (self.limit.unwrap_or(usize::MAX), String::new(), 1);
        while left > 0 {
            let page = source.page(list, &format!("{query}&limit={}{cursor}", left.min(AT_ONCE)))?;
            let data = page.get("data").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            for ban in data {
                if json { writeln!(out, "{ban}")? } else { writeln!(out, "{}", table.row(ban))? }
            }
            left = left.saturating_sub(data.len());
            number += 1;
            let meta = |field| page.get("meta").and_then(|meta| meta.get(field));
            cursor = match (meta("next_cursor").and_then(Value::as_str), meta("hasnext")) {
                (Some(next), _) => format!("&cursor={next}"),
                // The last name is too long for one.
                (None, Some(Value::Bool(true))) => format!("&page={number}"),
                _ => break,
            };
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }

    fn query(&self) -> String {
        let mut query = String::from("view=full");
        let mut add = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                // Writing to a string does not fail.
                let _ = write!(query, "&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
            }
        };
        for kind in &self.kinds {
            add("as", Some(kind.as_str()));
        }
        add("by", self.by.as_deref());
        add("reason", self.reason.as_deref());
        add("text", self.text.as_deref());
        add(
            "status",
            self.status.map(|status| match status {
                StatusName::Active => "active",
                StatusName::Expired => "expired",
                StatusName::DeletingSoon => "deleting_soon",
            }),
        );
        add(
            "source",
            self.source.map(|source| match source {
                SourceName::File => "file",
                SourceName::RunTime => "run_time",
            }),
        );
        add("sort", self.sort.map(Sort::as_str));
        add("order", self.desc.then_some("desc"));
        query
    }
}

/// How many are asked for at once.
const AT_ONCE: usize = 10_000;

/// Shows one, with everything that is known of it.
pub(super) fn show(list: List, who: &Who, json: bool, source: &Source<'_>) -> Outcome {
    let Some(found) = source.one(list, who)? else {
        return Err(format!("there is none of {} {:?}", who.kind(), who.to_string()).into());
    };
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{found}")?;
    } else {
        let table = Table { width: width() };
        writeln!(out, "{}\n{}", table.head(), table.row(&found))?;
        for field in ["at", "sources", "hits", "last_hit"] {
            if let Some(value) = found.get(field) {
                writeln!(out, "  {field}: {value}")?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whom to ask.
pub(super) enum Source<'c> {
    Running { caller: Caller, runtime: Runtime },
    Stopped { reader: Reader, file: Vec<FileBan>, config: &'c Config, now: Timestamp },
}

impl Source<'_> {
    /// The proxy of a place.
    pub(super) fn at(place: &Place) -> io::Result<Source<'static>> {
        let caller = match place {
            Place::Elsewhere(caller) => caller.clone(),
            Place::Folder(folder) => Caller::new(folder.join(SOCKET_FILE)),
        };
        Ok(Source::Running { caller, runtime: runtime()? })
    }

    /// The proxy of a config file, or the files where it is not running.
    pub(super) fn of(config: &Config, now: Timestamp) -> Result<Source<'_>, Box<dyn Error>> {
        if let Some(folder) = &config.data_dir {
            let caller = Caller::new(folder.join(SOCKET_FILE));
            let runtime = runtime()?;
            match runtime.block_on(caller.page(List::Bans, "limit=1")) {
                Err(error) if error.is_stopped() => {}
                Err(error @ CallError::Unreachable { .. }) => return Err(error.into()),
                Ok(_) | Err(_) => return Ok(Source::Running { caller, runtime }),
            }
        }
        let store =
            config.data_dir.as_ref().map(|folder| folder.join(STORE_FILE)).filter(|path| path.exists());
        let reader = store.map_or_else(Reader::of_nothing, Reader::open)?;
        let file = List::ALL.into_iter().flat_map(|list| of_file(list, config, now)).collect();
        Ok(Source::Stopped { reader, file, config, now })
    }

    fn page(&self, list: List, query: &str) -> Result<Value, Box<dyn Error>> {
        match self {
            Source::Running { caller, runtime } => Ok(runtime.block_on(caller.page(list, query))?),
            Source::Stopped { reader, file, config, now } => {
                Ok(page_of(&reader.view(file)?, list, query, *now, config.cleanup.ttl)?)
            }
        }
    }

    fn one(&self, list: List, who: &Who) -> Result<Option<Value>, Box<dyn Error>> {
        match self {
            Source::Running { caller, runtime } => Ok(runtime.block_on(caller.one(list, who))?),
            Source::Stopped { reader, file, config, now } => {
                Ok(one_of(&reader.view(file)?, list, who, *now, config.cleanup.ttl)?)
            }
        }
    }
}

/// The bans of the config file as they would be in force.
pub(super) fn of_file(list: List, config: &Config, now: Timestamp) -> impl Iterator<Item = FileBan> {
    config.bans_of(list).iter().cloned().map(move |ban| {
        let terms = Terms { by: ban.by, reason: ban.reason, at: ban.at.unwrap_or(now), until: ban.until };
        FileBan { list, ban: Ban { who: ban.who, terms }, hits: 0, last_hit: None }
    })
}
