//! EMQX's bootstrap file: a header, then a ban a line. There is no quoting: a comma separates, whatever is around it.

use super::draft::{Draft, NAMES};
use super::emqx::{self, Row};
use super::error::{FileError, Problem, RecordError, Shown};
use super::fields::{end, kind, moment};
use super::lines::{Ends, Lines};
use crate::admission::{Ban, Until};
use std::borrow::Cow;
use std::io::BufRead;

#[derive(Debug)]
pub(super) struct Csv<R> {
    lines: Lines<R>,
    /// What each column holds; nothing before the header was read.
    columns: Vec<Column>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    As,
    Who,
    By,
    Reason,
    At,
    Until,
}

/// A row, with the number of its line.
pub(super) type Record<'a> = (u64, Result<Draft<'a>, RecordError>);

impl<R: BufRead> Csv<R> {
    pub(super) fn new(from: R) -> Csv<R> {
        Csv { lines: Lines::new(from, Ends::LfOrCr), columns: Vec::new() }
    }

    /// The next row.
    pub(super) fn advance(&mut self) -> Result<Option<Record<'_>>, FileError> {
        if self.columns.is_empty() {
            let Some((line, text)) = self.lines.advance()? else {
                return Err(FileError::Header { line: 1, problem: "the file is empty".to_owned() });
            };
            self.columns = header(text).map_err(|problem| FileError::Header { line, problem })?;
        }
        let Some((line, text)) = self.lines.advance()? else { return Ok(None) };
        let (found, expected) = (text.split(|byte| *byte == b',').count(), self.columns.len());
        if found != expected {
            return Err(FileError::Columns { line, found, expected });
        }
        Ok(Some((line, row(&self.columns, text))))
    }
}

fn header(text: &[u8]) -> Result<Vec<Column>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "the header is not UTF-8".to_owned())?;
    let mut columns = Vec::new();
    for name in text.split(',').map(trim) {
        let Some((_, column)) = COLUMNS.into_iter().find(|(known, _)| *known == name) else {
            return Err(format!("{} is not a column", Shown::of(name)));
        };
        if columns.contains(&column) {
            return Err(format!("the column {name} is there twice"));
        }
        columns.push(column);
    }
    let missing = COLUMNS.into_iter().take(NEEDED).find(|(_, column)| !columns.contains(column));
    missing.map_or(Ok(columns), |(name, _)| Err(format!("the column {name} is missing")))
}

fn row<'a>(columns: &[Column], text: &'a [u8]) -> Result<Draft<'a>, RecordError> {
    let text = std::str::from_utf8(text).map_err(|_| RecordError::whole(Problem::NotUtf8))?;
    let [mut r#as, mut who, mut by, mut reason, mut at, mut until] = [""; COLUMNS.len()];
    for (column, value) in columns.iter().zip(text.split(',').map(trim)) {
        let to = match column {
            Column::As => &mut r#as,
            Column::Who => &mut who,
            Column::By => &mut by,
            Column::Reason => &mut reason,
            Column::At => &mut at,
            Column::Until => &mut until,
        };
        *to = value;
    }
    let needed = [("as", r#as), ("who", who)];
    if let Some((name, _)) = needed.into_iter().find(|(_, value)| value.is_empty()) {
        return Err(RecordError::new(name, Problem::Missing));
    }
    Ok(Draft {
        kind: kind(r#as, "as")?,
        who: Cow::Borrowed(who),
        matching: None,
        by: (!by.is_empty()).then_some(Cow::Borrowed(by)),
        reason: Cow::Borrowed(reason),
        at: if at.is_empty() { None } else { Some(moment(at, "at")?) },
        until: if until.is_empty() { Until::Infinity } else { end(until, "until")? },
        names: NAMES,
    })
}

pub(super) fn write(to: &mut Vec<u8>, ban: &Ban) -> Result<(), &'static str> {
    emqx::is_known(&ban.who)?;
    let row = Row::of(ban)?;
    if ban.terms.by.is_empty() {
        return Err("it names no author, and an empty column stands for somebody");
    }
    for (index, value) in row.columns().into_iter().enumerate() {
        can_stand(value)?;
        if index > 0 {
            to.push(b',');
        }
        to.extend_from_slice(value.as_bytes());
    }
    Ok(())
}

fn can_stand(value: &str) -> Result<(), &'static str> {
    if value.contains([',', '\n', '\r']) {
        return Err("a value holds a comma or a line break, and the format has no quoting");
    }
    let is_blank = |char: char| is_trimmed(char) || char.is_whitespace();
    if value.starts_with(is_blank) || value.ends_with(is_blank) {
        return Err("a value begins or ends with a blank, and the format has no quoting");
    }
    Ok(())
}

fn trim(value: &str) -> &str {
    value.trim_matches(is_trimmed)
}

/// What EMQX trims: Unicode's `Pattern_White_Space`.
fn is_trimmed(char: char) -> bool {
    matches!(char, '\t'..='\r' | ' ' | '\u{85}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}')
}

/// The header that is written.
pub(super) const HEADER: &str = "as,who,by,reason,at,until\n";

/// The columns; the first [`NEEDED`] of them have to be there.
const COLUMNS: [(&str, Column); 6] = [
    ("as", Column::As),
    ("who", Column::Who),
    ("by", Column::By),
    ("reason", Column::Reason),
    ("at", Column::At),
    ("until", Column::Until),
];
const NEEDED: usize = 2;
