//! Writes a list, a ban at a time.

use super::error::WriteError;
use super::{Format, MAX_RECORD, csv, emqx, json_lines, plain, tbmq};
use crate::admission::Ban;
use std::io::{self, Write};

/// A list that is being written. It is whole only after [`finish`](Writer::finish).
#[derive(Debug)]
pub struct Writer<W> {
    format: Format,
    to: W,
    /// One record, before it is known to be writable.
    record: Vec<u8>,
    has_begun: bool,
}

impl<W: Write> Writer<W> {
    /// Begins a list. Many small pieces are written: `to` had better be buffered.
    pub fn new(format: Format, to: W) -> Writer<W> {
        Writer { format, to, record: Vec::new(), has_begun: false }
    }

    /// Writes a ban, or says why the format has no way to say it; nothing is written then, and others may follow.
    pub fn write(&mut self, ban: &Ban) -> Result<(), WriteError> {
        self.record.clear();
        let written = match self.format {
            Format::JsonLines => json_lines::write(&mut self.record, ban),
            Format::EmqxCsv => csv::write(&mut self.record, ban),
            Format::EmqxJson => emqx::write(&mut self.record, ban),
            Format::TbmqJson => tbmq::write(&mut self.record, ban),
            Format::Plain => plain::write(&mut self.record, ban),
        };
        let fits = if self.record.len() > MAX_RECORD { Err(TOO_LONG) } else { Ok(()) };
        if let Err(why) = written.and(fits) {
            return Err(WriteError::Unwritable { who: Box::new(ban.who.clone()), format: self.format, why });
        }
        let before = if self.has_begun { between(self.format) } else { opening(self.format) };
        self.to.write_all(before.as_bytes())?;
        self.has_begun = true;
        self.to.write_all(&self.record)?;
        Ok(())
    }

    /// Ends the list, flushes, and gives the writer back.
    pub fn finish(mut self) -> io::Result<W> {
        if !self.has_begun {
            self.to.write_all(opening(self.format).as_bytes())?;
        }
        let end = match (self.format, self.has_begun) {
            (Format::EmqxJson | Format::TbmqJson, true) => "\n]\n",
            (Format::EmqxJson | Format::TbmqJson, false) => "]\n",
            (Format::JsonLines | Format::Plain | Format::EmqxCsv, false) => "",
            (Format::JsonLines | Format::Plain | Format::EmqxCsv, true) => "\n",
        };
        self.to.write_all(end.as_bytes())?;
        self.to.flush()?;
        Ok(self.to)
    }
}

fn opening(format: Format) -> &'static str {
    match format {
        Format::EmqxCsv => csv::HEADER,
        Format::EmqxJson | Format::TbmqJson => "[\n",
        Format::JsonLines | Format::Plain => "",
    }
}

fn between(format: Format) -> &'static str {
    match format {
        Format::EmqxJson | Format::TbmqJson => ",\n",
        Format::EmqxCsv | Format::JsonLines | Format::Plain => "\n",
    }
}

const TOO_LONG: &str = "the record would be longer than any that is read";
