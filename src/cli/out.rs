//! What commands print. A reader who has enough, as `head` has, ends the command without a word.

use std::fmt::Display;
use std::io::{self, Write};

/// Prints a line.
pub(super) fn say(line: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Prints a line that is no result. Nobody is told when nobody listens.
pub(super) fn remark(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Prints what came of a change: a word for people, an object for programs.
pub(super) fn done(word: &str, json: bool) -> io::Result<()> {
    if json { say(serde_json::json!({ word: true })) } else { say(word) }
}

/// A line of a table, cut to the terminal where it goes to one.
pub(super) fn fitted(line: &str) -> String {
    width().map_or_else(|| line.to_owned(), |width| cut(line, width))
}

/// How wide the terminal is that is printed to; `None` where it is none.
pub(super) fn width() -> Option<usize> {
    let (_, width) = console::Term::stdout().size_checked()?;
    console::user_attended().then_some(width.into())
}

/// A text cut to so many columns.
pub(super) fn cut(text: &str, columns: usize) -> String {
    console::truncate_str(text, columns, "…").into_owned()
}

/// A text cut or filled up to so many columns.
pub(super) fn cell(text: &str, columns: usize) -> String {
    console::pad_str(text, columns, console::Alignment::Left, Some("…")).into_owned()
}
