//! Lists of bans as files: reads and writes ours, EMQX's, TBMQ's and plain lists of names.
//!
//! It works on the readers and writers that its callers open, and knows no clock: `now` is an argument. A list of any
//! length passes through in the memory of one record, so that whoever has ten million bans can move them.
//!
//! # Two kinds of errors
//! A record can be wrong ([`RecordError`]): whoever reads says so and goes on with the next one. Or the file is no such
//! list, or is none any more from some byte on ([`FileError`]): then nothing follows, since the borders of the records
//! are lost.
//!
//! # What a format cannot say
//! is not written ([`WriteError::Unwritable`]): a list that says less than it should would admit somebody, one that
//! says more would refuse somebody. Only what decides about nobody is left out where a format has no place for it:
//! author and date of origin in TBMQ's, these and the reason in a plain list. `docs/exchange.md` has the details.

mod csv;
mod draft;
mod emqx;
mod error;
mod fields;
mod guess;
mod json;
mod json_lines;
mod lines;
mod moment;
mod object;
mod plain;
mod tbmq;
#[cfg(test)]
mod tests;
mod writer;

pub use error::{FileError, Problem, RecordError, Shown, UnknownFormat, WriteError};
pub use object::Partial;
pub use writer::Writer;

use crate::admission::{As, Ban, Timestamp};
use csv::Csv;
use draft::Maker;
use json::Objects;
use lines::{Ends, Lines};
use std::fmt;
use std::io::BufRead;
use std::str::FromStr;
use std::sync::Arc;

/// How a list is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Ours: a JSON object a line. Says everything that a ban says.
    JsonLines,
    /// EMQX's bootstrap file.
    EmqxCsv,
    /// What EMQX's API answers, or a list of such objects.
    EmqxJson,
    /// What TBMQ's API answers or takes, or a list of such objects.
    TbmqJson,
    /// A name, an address or a network a line.
    Plain,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 5] =
        [Format::JsonLines, Format::EmqxCsv, Format::EmqxJson, Format::TbmqJson, Format::Plain];

    /// The format's name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::JsonLines => "jsonl",
            Format::EmqxCsv => "emqx-csv",
            Format::EmqxJson => "emqx-json",
            Format::TbmqJson => "tbmq-json",
            Format::Plain => "plain",
        }
    }

    /// The format of a file, by the end of its name and by how it begins; `None` when neither says. A few hundred bytes
    /// of the beginning are enough, and none will do for names that leave no doubt.
    pub fn guess(file_name: &str, first_bytes: &[u8]) -> Option<Format> {
        guess::guess(file_name, first_bytes)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Format, UnknownFormat> {
        Format::ALL.into_iter().find(|format| format.as_str() == name).ok_or(UnknownFormat)
    }
}

/// What a list does not say itself.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// The time now: bans that have ended by now are mistakes, and bans of no date are of now.
    pub now: Timestamp,
    /// The author of bans that name none.
    pub by: Arc<str>,
    /// What the names in a plain list are; `None` to tell addresses and networks from client identifiers by their form.
    /// The other formats say it themselves.
    pub kind: Option<As>,
    /// Read bans that have ended, too.
    pub keep_expired: bool,
}

/// The longest record that is read or written, in bytes.
pub const MAX_RECORD: usize = 1024 * 1024;

/// The byte order mark that some programs put before a text.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Reads a list, a ban at a time.
///
/// ```
/// use mqtt_bouncer::admission::Timestamp;
/// use mqtt_bouncer::exchange::{Format, ReadOptions, read};
///
/// let file = "as,who,reason\nclientid,bot-1,flooding\npeerhost,10.0.0,typo\n";
/// let options =
///     ReadOptions { now: Timestamp::from_millis(0), by: "ops".into(), kind: None, keep_expired: false };
/// let mut bans = read(Format::EmqxCsv, file.as_bytes(), options);
/// assert_eq!(bans.next().unwrap()?.unwrap().who.to_string(), "bot-1");
/// assert_eq!(
///     bans.next().unwrap()?.unwrap_err().to_string(),
///     r#"line 3: who: "10.0.0" is not an IP address; expected e.g. "192.0.2.7" or "2001:db8::7""#
/// );
/// assert!(bans.next().is_none());
/// # Ok::<(), mqtt_bouncer::exchange::FileError>(())
/// ```
pub fn read<R: BufRead>(format: Format, from: R, options: ReadOptions) -> Bans<R> {
    let list = match format {
        Format::JsonLines => List::JsonLines(Lines::new(from, Ends::Lf)),
        Format::EmqxCsv => List::EmqxCsv(Csv::new(from)),
        Format::EmqxJson => List::EmqxJson(Objects::new(from)),
        Format::TbmqJson => List::TbmqJson(Objects::new(from)),
        Format::Plain => List::Plain(Lines::new(from, Ends::Lf), options.kind),
    };
    Bans { list, maker: Maker::new(options), line: 0, is_over: false }
}

/// The bans of a list that is being read. Ends with the list, or after the first [`FileError`].
#[derive(Debug)]
pub struct Bans<R> {
    list: List<R>,
    maker: Maker,
    line: u64,
    is_over: bool,
}

#[derive(Debug)]
enum List<R> {
    JsonLines(Lines<R>),
    EmqxCsv(Csv<R>),
    EmqxJson(Objects<R>),
    TbmqJson(Objects<R>),
    Plain(Lines<R>, Option<As>),
}

impl<R: BufRead> Iterator for Bans<R> {
    type Item = Result<Result<Ban, RecordError>, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let next = self.read_next().transpose();
        self.is_over = !matches!(next, Some(Ok(_)));
        next
    }
}

impl<R: BufRead> Bans<R> {
    /// The line at which the record begins that was read last.
    pub fn line(&self) -> u64 {
        self.line
    }

    fn read_next(&mut self) -> Result<Option<Result<Ban, RecordError>>, FileError> {
        let record = match &mut self.list {
            List::JsonLines(lines) => lines.advance()?.map(|(line, text)| (line, json_lines::read(text))),
            List::EmqxCsv(csv) => csv.advance()?,
            List::EmqxJson(objects) => objects.advance()?.map(|(line, text)| (line, emqx::read(text))),
            List::TbmqJson(objects) => objects.advance()?.map(|(line, text)| (line, tbmq::read(text))),
            List::Plain(lines, kind) => plain::next(lines, *kind)?,
        };
        let Some((line, draft)) = record else { return Ok(None) };
        self.line = line;
        let ban = draft.and_then(|draft| self.maker.ban(draft));
        Ok(Some(ban.map_err(|mistake| mistake.in_record_at(line))))
    }
}
