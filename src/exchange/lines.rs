//! Cuts a file into lines, none longer than [`MAX_RECORD`], and counts them.

use super::error::FileError;
use super::{BOM, MAX_RECORD};
use std::io::{BufRead, ErrorKind};

/// What ends a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// A line feed. A carriage return before it belongs to the line; readers see to it.
    Lf,
    /// A line feed, a carriage return, or both.
    LfOrCr,
}

#[derive(Debug)]
pub(super) struct Lines<R> {
    from: R,
    ends: Ends,
    /// The line that is read next.
    line: u64,
    text: Vec<u8>,
    /// The line before ended with a carriage return: a line feed that follows belongs to it.
    after_cr: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(from: R, ends: Ends) -> Lines<R> {
        Lines { from, ends, line: 1, text: Vec::new(), after_cr: false }
    }

    /// The next line that is not blank, with its number.
    pub(super) fn advance(&mut self) -> Result<Option<(u64, &[u8])>, FileError> {
        loop {
            let line = self.line;
            if !self.read_line()? {
                return Ok(None);
            }
            if line == 1 {
                if self.text.starts_with(&[0xff, 0xfe]) || self.text.starts_with(&[0xfe, 0xff]) {
                    return Err(FileError::Utf16);
                }
                if self.text.starts_with(BOM) {
                    self.text.drain(..BOM.len());
                }
            }
            if !self.text.trim_ascii().is_empty() {
                return Ok(Some((line, &self.text)));
            }
        }
    }

    /// The line that [`advance`](Lines::advance) returned last.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Reads a line without its end into `text`. False at the end of the file.
    fn read_line(&mut self) -> Result<bool, FileError> {
        let line = self.line;
        self.text.clear();
        let mut any = false;
        loop {
            let chunk = match self.from.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(source) => return Err(FileError::Unreadable { line, source }),
            };
            let Some(first) = chunk.first() else { return Ok(any) };
            if self.after_cr {
                self.after_cr = false;
                if *first == b'\n' {
                    self.from.consume(1);
                    continue;
                }
            }
            any = true;
            let end =
                chunk.iter().position(|byte| *byte == b'\n' || (*byte == b'\r' && self.ends == Ends::LfOrCr));
            let (part, rest) = chunk.split_at(end.unwrap_or(chunk.len()));
            if self.text.len() + part.len() > MAX_RECORD {
                return Err(FileError::TooLong { line });
            }
            self.text.extend_from_slice(part);
            self.after_cr = rest.first() == Some(&b'\r');
            let used = part.len() + usize::from(end.is_some());
            self.from.consume(used);
            if end.is_some() {
                self.line += 1;
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn lines(text: &[u8], ends: Ends, chunk: usize) -> Vec<(u64, String)> {
        let mut lines = Lines::new(BufReader::with_capacity(chunk, text), ends);
        let mut all = Vec::new();
        while let Some((line, text)) = lines.advance().expect("lines") {
            all.push((line, String::from_utf8_lossy(text).into_owned()));
        }
        all
    }

    #[test]
    fn lines_are_counted_as_editors_count_them() {
        let text = b"\xef\xbb\xbfa\r\n\n \t\nb\rc\n\r\nd";
        for chunk in [1, 2, 3, 100] {
            let found = lines(text, Ends::LfOrCr, chunk);
            let found: Vec<_> = found.iter().map(|(line, text)| (*line, text.as_str())).collect();
            assert_eq!(found, [(1, "a"), (4, "b"), (5, "c"), (7, "d")], "in chunks of {chunk}");
            let found = lines(text, Ends::Lf, chunk);
            let found: Vec<_> = found.iter().map(|(line, text)| (*line, text.as_str())).collect();
            assert_eq!(found, [(1, "a\r"), (4, "b\rc"), (6, "d")], "in chunks of {chunk}");
        }
    }

    #[test]
    fn a_line_without_end_is_not_read() {
        let text = std::io::repeat(b'x');
        let mut lines = Lines::new(BufReader::new(text), Ends::Lf);
        assert!(matches!(lines.advance(), Err(FileError::TooLong { line: 1 })));
        assert!(lines.text.capacity() <= 2 * MAX_RECORD);
    }

    #[test]
    fn utf_16_is_told() {
        for text in [b"\xff\xfea\0\n\0", b"\xfe\xff\0a\0\n"] {
            let error = Lines::new(&text[..], Ends::Lf).advance().map(|_| ()).expect_err("UTF-16");
            assert_eq!(error.to_string(), "line 1: is UTF-16; expected UTF-8");
        }
    }
}
