//! `export`: what is kept, as a file.

use super::Outcome;
use super::out::remark;
use crate::admission::{As, Ban, List};
use crate::app::STORE_FILE;
use crate::exchange::{Format, WriteError, Writer};
use crate::store::{Filter, Reader};
use clap::Args;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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
