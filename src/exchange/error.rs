//! What is wrong with a list, or cannot be written into one.

use super::{Format, MAX_RECORD};
use crate::admission::{TimestampError, UnknownAs, Until, UntilError, Who, WhoError};
use std::borrow::Cow;
use std::fmt::{self, Write};
use std::io;

/// A file that cannot be read any further. What was read before it is good.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The reader fails.
    #[error("line {line}: cannot read on")]
    Unreadable {
        /// Where.
        line: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A record without end.
    #[error("line {line}: the record has more than {MAX_RECORD} bytes")]
    TooLong {
        /// Where it begins.
        line: u64,
    },
    /// It is UTF-16.
    #[error("line 1: is UTF-16; expected UTF-8")]
    Utf16,
    /// It is not JSON, not a list, or ends too early.
    #[error("line {line}: {problem}; expected {expected}")]
    NotAList {
        /// Where.
        line: u64,
        /// What was found.
        problem: &'static str,
        /// What is wanted there.
        expected: &'static str,
    },
    /// The first line of a CSV file is no header that we know.
    #[error(
        "line {line}: {problem}; expected a header of the columns as, who and perhaps by, reason, at, until"
    )]
    Header {
        /// Where.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// A row of a CSV file has too many or too few columns.
    #[error(
        "line {line}: the row has {found} columns; expected {expected}, as the header has; no value can hold a comma"
    )]
    Columns {
        /// Where.
        line: u64,
        /// How many it has.
        found: usize,
        /// How many the header has.
        expected: usize,
    },
}

/// A record that is wrong, in a file that can be read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    /// The line, from 1.
    pub line: u64,
    /// The field, where it is about one.
    pub field: Option<Cow<'static, str>>,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The field has to be there.
    #[error("is missing")]
    Missing,
    /// There is no such field.
    #[error("is not a field; expected {known}")]
    Unknown {
        /// Those that there are.
        known: &'static str,
    },
    /// The field is there more than once.
    #[error("is there twice")]
    Twice,
    /// The field is there, and belongs to another kind of ban.
    #[error("does not go with {with}")]
    Misplaced {
        /// What it does not go with.
        with: &'static str,
    },
    /// It is no value of the right type.
    #[error("is {found}; expected {expected}")]
    Type {
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// It is none of the words that there are.
    #[error("{value} is unknown; expected {expected}")]
    Word {
        /// The value.
        value: Shown,
        /// The words.
        expected: &'static str,
    },
    /// It is no kind of ban.
    #[error("{value} {error}")]
    As {
        /// The value.
        value: Shown,
        /// Why.
        error: UnknownAs,
    },
    /// It names nobody.
    #[error("{value} {error}")]
    Who {
        /// The value.
        value: Shown,
        /// Why.
        error: WhoError,
    },
    /// It is no moment.
    #[error("{value} {error}")]
    Moment {
        /// The value.
        value: Shown,
        /// Why.
        error: TimestampError,
    },
    /// It is no end of a ban.
    #[error("{value} {error}")]
    Until {
        /// The value.
        value: Shown,
        /// Why.
        error: UntilError,
    },
    /// The ban has ended.
    #[error("the ban has ended already, on {until}")]
    Ended {
        /// When.
        until: Until,
    },
    /// It is no JSON object.
    #[error("is not a JSON object: {reason}")]
    NotJson {
        /// Why.
        reason: String,
    },
    /// More fields than any record has.
    #[error("has more than {max} fields")]
    TooManyFields {
        /// How many are read.
        max: usize,
    },
    /// The text is not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// It could be read in more ways than one.
    #[error("{value} {problem}")]
    Doubtful {
        /// The value.
        value: Shown,
        /// Why.
        problem: &'static str,
    },
}

/// A value as errors show it: between quotes, cut when it is long, and without characters that act on a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown(String);

/// A ban that was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The format cannot say it. Nothing was written, and the next one may be.
    #[error("{} {} cannot be written as {format}: {why}", who.kind(), Shown::of(&who.to_string()))]
    Unwritable {
        /// Whom the ban names.
        who: Box<Who>,
        /// What was being written.
        format: Format,
        /// Why it cannot be said.
        why: &'static str,
    },
    /// The writer fails.
    #[error("cannot write on")]
    Io(#[from] io::Error),
}

/// A name that is no format's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a format; expected jsonl, emqx-csv, emqx-json, tbmq-json or plain")]
pub struct UnknownFormat;

impl RecordError {
    /// A mistake in the first line of a record; [`in_record_at`](RecordError::in_record_at) says where that is.
    pub(super) fn new(field: &'static str, problem: Problem) -> RecordError {
        RecordError { line: 0, field: Some(Cow::Borrowed(field)), problem }
    }

    /// A mistake of a field that the file named.
    pub(super) fn named(field: &str, problem: Problem) -> RecordError {
        RecordError { line: 0, field: Some(Cow::Owned(field.to_owned())), problem }
    }

    /// A mistake that is not about one field.
    pub(super) fn whole(problem: Problem) -> RecordError {
        RecordError { line: 0, field: None, problem }
    }

    pub(super) fn in_record_at(self, line: u64) -> RecordError {
        RecordError { line: self.line.saturating_add(line), ..self }
    }
}

impl RecordError {
    /// The mistake without its line, where there is but one record.
    pub fn without_line(&self) -> impl fmt::Display + '_ {
        WithoutLine(self)
    }
}

struct WithoutLine<'a>(&'a RecordError);

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, WithoutLine(self))
    }
}

impl fmt::Display for WithoutLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut harmless = Harmless { to: f, left: LONGEST_MESSAGE };
        if let Some(field) = &self.0.field {
            let cut: String = field.chars().take(LONGEST_SHOWN).collect();
            write!(harmless, "{cut}: ")?;
        }
        write!(harmless, "{}", self.0.problem)
    }
}

impl std::error::Error for RecordError {}

impl Shown {
    /// Makes a value fit to be shown.
    pub(super) fn of(value: &str) -> Shown {
        let mut shown = String::from("\"");
        let mut chars = value.chars();
        for char in chars.by_ref().take(LONGEST_SHOWN) {
            if matches!(char, '"' | '\\') {
                shown.push('\\');
            }
            push_harmless(&mut shown, char);
        }
        shown.push_str(if chars.next().is_some() { "…\"" } else { "\"" });
        Shown(shown)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lets only what a terminal shows pass, and only so much of it: reasons may quote the file.
struct Harmless<'a, 'b> {
    to: &'a mut fmt::Formatter<'b>,
    left: usize,
}

impl Write for Harmless<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            let Some(left) = self.left.checked_sub(1) else { return Ok(()) };
            self.left = left;
            if left == 0 {
                return self.to.write_char('…');
            }
            if acts(char) {
                write!(self.to, "{}", char.escape_unicode())?;
            } else {
                self.to.write_char(char)?;
            }
        }
        Ok(())
    }
}

fn push_harmless(text: &mut String, char: char) {
    if acts(char) {
        text.extend(char.escape_unicode());
    } else {
        text.push(char);
    }
}

/// Characters that change a line instead of being seen in it: control characters, and those that break lines, turn the
/// direction of writing or have no width.
fn acts(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(char, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

const LONGEST_SHOWN: usize = 64;
const LONGEST_MESSAGE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_cut_and_harmless() {
        assert_eq!(Shown::of("a\"b\\\u{1b}[2J\u{202e}é").to_string(), r#""a\"b\\\u{1b}[2J\u{202e}é""#);
        let long = Shown::of(&"x".repeat(100)).to_string();
        assert_eq!(long, format!("\"{}…\"", "x".repeat(LONGEST_SHOWN)));
    }

    #[test]
    fn messages_are_harmless_and_cut() {
        let reason = format!("\n\u{7}{}", "x".repeat(5000));
        let error = RecordError::named("a\u{1b}b", Problem::NotJson { reason }).in_record_at(7).to_string();
        assert!(error.starts_with(r"line 7: a\u{1b}b: is not a JSON object: \u{a}\u{7}xx"), "{error}");
        assert!(error.ends_with("x…") && error.chars().count() < 1100, "{error}");
    }
}
