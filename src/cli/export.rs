//! `export`: what is kept, as a file.

use super::Outcome;
use super::out::remark;
use super::site::{Place, runtime};
use crate::admin::Caller;
use crate::admission::{As, Ban, List};
use crate::app::STORE_FILE;
use crate::clock::Clock;
use crate::exchange::{self, Format, ReadOptions, WriteError, Writer};
use crate::store::{Filter, Reader};
use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::runtime::Runtime;

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

impl Which {
    fn filter(&self) -> Filter {
        Filter { kind: self.kind, by: self.by.clone(), text: self.text.clone(), ..Filter::default() }
    }

    /// The same, as the API has it.
    fn query(&self) -> String {
        let word = |name: &str, value: Option<&str>| {
            let encoded = value.map(|value| utf8_percent_encode(value, NON_ALPHANUMERIC).to_string());
            encoded.map(|value| format!("&{name}={value}")).unwrap_or_default()
        };
        let kind = self.kind.map(As::as_str);
        word("as", kind) + &word("by", self.by.as_deref()) + &word("text", self.text.as_deref())
    }
}

impl Export {
    pub(super) fn run(self, list: List, place: &Place) -> Outcome {
        let source = Source::of(place)?;
        let (written, left_out) = if self.file.as_os_str() == "-" {
            self.write(list, &source, io::stdout().lock())?
        } else {
            let draft = draft_of(&self.file);
            let done =
                File::create(&draft).map_err(Box::from).and_then(|file| self.write(list, &source, file));
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

    fn write(&self, list: List, source: &Source, out: impl Write) -> Result<(usize, usize), Box<dyn Error>> {
        let mut writer = Writer::new(self.format, BufWriter::new(out));
        let (mut written, mut left_out) = (0, 0);
        source.each(list, &self.which, |ban| {
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

/// Where they are.
enum Source {
    /// Nowhere: nothing was ever kept.
    Nothing,
    Store(Reader),
    /// A proxy elsewhere.
    Elsewhere(Caller, Box<Runtime>),
}

impl Source {
    fn of(place: &Place) -> Result<Source, Box<dyn Error>> {
        match place {
            Place::Elsewhere(caller) => Ok(Source::Elsewhere(caller.clone(), Box::new(runtime()?))),
            Place::Folder(folder) => {
                let path = folder.join(STORE_FILE);
                Ok(if path.exists() { Source::Store(Reader::open(path)?) } else { Source::Nothing })
            }
        }
    }

    fn each(
        &self,
        list: List,
        which: &Which,
        mut visit: impl FnMut(Ban) -> Result<(), Box<dyn Error>>,
    ) -> Result<(), Box<dyn Error>> {
        match self {
            Source::Nothing => Ok(()),
            Source::Store(reader) => each(reader, list, &which.filter(), visit),
            Source::Elsewhere(caller, runtime) => {
                let lines = caller.export(list, &which.query(), runtime)?;
                // Those that have ended are kept, and exported, too.
                let options =
                    ReadOptions { now: Clock::system().now(), by: "".into(), kind: None, keep_expired: true };
                for record in exchange::read(Format::JsonLines, BufReader::new(lines), options) {
                    visit(record??)?;
                }
                Ok(())
            }
        }
    }
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
