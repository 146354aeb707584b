//! Finds the borders of the records in a JSON list, without holding more than one of them: `[…]`, or the page of an API,
//! `{"data":[…],…}`.
//!
//! What is between the borders is somebody else's to read: a record with a mistake in it has borders all the same.

use super::error::FileError;
use super::{BOM, MAX_RECORD};
use std::io::{BufRead, ErrorKind};

#[derive(Debug)]
pub(super) struct Objects<R> {
    from: R,
    /// The line that is read at the moment.
    line: u64,
    place: Place,
    is_page: bool,
    record: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    /// Behind the list's bracket.
    FirstRecord,
    /// Behind a record.
    NextRecord,
    End,
}

impl<R: BufRead> Objects<R> {
    pub(super) fn new(from: R) -> Objects<R> {
        Objects { from, line: 1, place: Place::Start, is_page: false, record: Vec::new() }
    }

    /// The next record, with the line that it begins in.
    pub(super) fn advance(&mut self) -> Result<Option<(u64, &[u8])>, FileError> {
        if self.place == Place::Start {
            self.open()?;
            self.place = Place::FirstRecord;
        }
        if self.place == Place::End {
            return Ok(None);
        }
        match (self.next_token()?, self.place) {
            (Some(b']'), _) => {
                self.skip();
                self.close()?;
                self.place = Place::End;
                return Ok(None);
            }
            (_, Place::FirstRecord) => self.place = Place::NextRecord,
            (Some(b','), _) => {
                self.skip();
                self.next_token()?;
            }
            (found, _) => return Err(self.error(found, "a comma or the end of the list")),
        }
        let line = self.line;
        self.value(true)?;
        Ok(Some((line, &self.record)))
    }

    /// Reads up to the first record.
    fn open(&mut self) -> Result<(), FileError> {
        if let Some(first @ (0xef | 0xfe | 0xff)) = self.peek()? {
            if first != 0xef {
                return Err(FileError::Utf16);
            }
            for byte in BOM {
                if self.peek()? != Some(*byte) {
                    return Err(self.error(Some(*byte), LIST));
                }
                self.skip();
            }
        }
        match self.next_token()? {
            Some(b'[') => self.skip(),
            Some(b'{') => {
                self.skip();
                self.is_page = true;
                if self.next_token()? == Some(b'}') || !self.find_data()? {
                    return Err(self.not_a_list("the object has no \"data\"", LIST));
                }
                match self.next_token()? {
                    Some(b'[') => self.skip(),
                    found => return Err(self.error(found, "a list under \"data\"")),
                }
            }
            found => return Err(self.error(found, LIST)),
        }
        Ok(())
    }

    /// Reads from the list's end to the file's.
    fn close(&mut self) -> Result<(), FileError> {
        if self.is_page {
            match self.next_token()? {
                Some(b'}') => self.skip(),
                Some(b',') => {
                    self.skip();
                    if self.find_data()? {
                        return Err(self.not_a_list("\"data\" is there twice", "one list"));
                    }
                }
                found => return Err(self.error(found, "a comma or the end of the object")),
            }
        }
        match self.next_token()? {
            None => Ok(()),
            found => Err(self.error(found, "nothing behind the list")),
        }
    }

    /// Reads a page's fields until the value of `data` comes (true), or over the end of the page (false).
    fn find_data(&mut self) -> Result<bool, FileError> {
        loop {
            match self.next_token()? {
                Some(b'"') => self.value(true)?,
                found => return Err(self.error(found, "a field's name")),
            }
            let is_data = serde_json::from_slice::<String>(&self.record).is_ok_and(|name| name == "data");
            match self.next_token()? {
                Some(b':') => self.skip(),
                found => return Err(self.error(found, "a colon")),
            }
            if is_data {
                return Ok(true);
            }
            self.next_token()?;
            self.value(false)?;
            match self.next_token()? {
                Some(b',') => self.skip(),
                Some(b'}') => {
                    self.skip();
                    return Ok(false);
                }
                found => return Err(self.error(found, "a comma or the end of the object")),
            }
        }
    }

    /// Reads one value of any kind; keeps it as the record if it is to be kept.
    fn value(&mut self, keep: bool) -> Result<(), FileError> {
        let begins = self.line;
        self.record.clear();
        let mut borders = Borders::default();
        loop {
            let line = self.line;
            let chunk = match self.from.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(source) => return Err(FileError::Unreadable { line, source }),
            };
            if chunk.is_empty() {
                return Err(self.error(None, "the rest of a value"));
            }
            let (used, is_whole) = match borders.find(chunk, &mut self.line) {
                Ok(end) => (end.unwrap_or(chunk.len()), end.is_some()),
                Err(problem) => return Err(self.not_a_list(problem, "JSON")),
            };
            if keep {
                if self.record.len() + used > MAX_RECORD {
                    return Err(FileError::TooLong { line: begins });
                }
                self.record.extend(chunk.iter().take(used));
            }
            self.from.consume(used);
            if is_whole {
                return Ok(());
            }
        }
    }

    /// The next byte that is no white space, which is left where it is.
    fn next_token(&mut self) -> Result<Option<u8>, FileError> {
        while let Some(byte) = self.peek()? {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Ok(Some(byte));
            }
            self.line += u64::from(byte == b'\n');
            self.skip();
        }
        Ok(None)
    }

    fn peek(&mut self) -> Result<Option<u8>, FileError> {
        loop {
            match self.from.fill_buf() {
                Ok(chunk) => return Ok(chunk.first().copied()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(FileError::Unreadable { line: self.line, source }),
            }
        }
    }

    /// Goes over the byte that was peeked at.
    fn skip(&mut self) {
        self.from.consume(1);
    }

    fn error(&self, found: Option<u8>, expected: &'static str) -> FileError {
        let problem = if found.is_some() { "is not a JSON list here" } else { "the file ends too early" };
        self.not_a_list(problem, expected)
    }

    fn not_a_list(&self, problem: &'static str, expected: &'static str) -> FileError {
        FileError::NotAList { line: self.line, problem, expected }
    }
}

/// Finds the end of one value, over as many chunks as it takes.
#[derive(Debug, Default)]
struct Borders {
    inside: Inside,
    /// How many lists and objects are open, and which of them are objects: the innermost is the lowest bit.
    depth: u32,
    objects: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// Before the value.
    #[default]
    Nothing,
    /// A list or an object, and in it no string.
    Brackets,
    Text,
    /// A string, behind a backslash.
    Escape,
    /// A number, `true`, `false` or `null`, outside of any list or object.
    Word,
}

impl Borders {
    /// How many bytes of the chunk belong to the value, if it ends here. Counts the lines.
    fn find(&mut self, chunk: &[u8], line: &mut u64) -> Result<Option<usize>, &'static str> {
        for (index, byte) in chunk.iter().copied().enumerate() {
            *line += u64::from(byte == b'\n');
            let is_over = match (self.inside, byte) {
                (Inside::Text, b'"') => {
                    self.inside = Inside::Brackets;
                    self.depth == 0
                }
                (Inside::Text, b'\\') => {
                    self.inside = Inside::Escape;
                    false
                }
                (Inside::Escape, _) => {
                    self.inside = Inside::Text;
                    false
                }
                (Inside::Word, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n') => {
                    // What ended the word is not part of it.
                    *line -= u64::from(byte == b'\n');
                    return Ok(Some(index));
                }
                (Inside::Text | Inside::Word, _) => false,
                (Inside::Nothing | Inside::Brackets, _) => self.bracket(byte)?,
            };
            if is_over {
                return Ok(Some(index + 1));
            }
        }
        Ok(None)
    }

    /// A byte outside of strings and words. True when it ends the value.
    fn bracket(&mut self, byte: u8) -> Result<bool, &'static str> {
        match byte {
            b'{' | b'[' => {
                if self.depth == MAX_DEPTH {
                    return Err("a record nests too deep");
                }
                self.inside = Inside::Brackets;
                self.depth += 1;
                self.objects = (self.objects << 1) | u64::from(byte == b'{');
            }
            b'}' | b']' => {
                if self.depth == 0 || (self.objects & 1 == 1) != (byte == b'}') {
                    return Err("a bracket closes what is not open");
                }
                self.depth -= 1;
                self.objects >>= 1;
                return Ok(self.depth == 0);
            }
            b'"' => self.inside = Inside::Text,
            b',' | b':' if self.inside == Inside::Nothing => return Err("a value is missing"),
            _ if self.inside == Inside::Nothing => self.inside = Inside::Word,
            _ => {}
        }
        Ok(false)
    }
}

const MAX_DEPTH: u32 = 64;
const LIST: &str = "a list [ … ], or a page {\"data\": [ … ]}";
