//! Our own format: a JSON object a line, which says everything that a ban says.

use super::draft::{Draft, NAMES};
use super::emqx::{self, Row};
use super::error::{Problem, RecordError, Shown};
use super::fields::Fields;
use crate::admission::{Ban, Match};
use std::borrow::Cow;

pub(super) fn read(text: &[u8]) -> Result<Draft<'_>, RecordError> {
    let mut fields = Fields::read(text, &KNOWN, THEY_ARE)?;
    let kind = fields.kind("as")?;
    let who = fields.needed_text("who")?;
    let matching = match fields.text("match")? {
        None => None,
        Some(_) if !kind.is_pattern() => {
            return Err(RecordError::new(
                "match",
                Problem::Misplaced { with: "an \"as\" that is no pattern" },
            ));
        }
        Some(word) => Some(matching(&word)?),
    };
    Ok(Draft {
        kind,
        who,
        matching,
        by: fields.text("by")?,
        reason: fields.text("reason")?.unwrap_or(Cow::Borrowed("")),
        at: fields.moment("at")?,
        until: fields.end("until")?,
        names: NAMES,
    })
}

pub(super) fn write(to: &mut Vec<u8>, ban: &Ban) -> Result<(), &'static str> {
    let mut row = Row::of(ban)?;
    row.matching = ban.who.matching().map(word);
    emqx::write_row(to, &row)
}

pub(super) fn matching(word: &str) -> Result<Match, RecordError> {
    match word {
        "search" => Ok(Match::Search),
        "full" => Ok(Match::Full),
        _ => {
            let problem = Problem::Word { value: Shown::of(word), expected: "search or full" };
            Err(RecordError::new("match", problem))
        }
    }
}

fn word(matching: Match) -> &'static str {
    match matching {
        Match::Search => "search",
        Match::Full => "full",
    }
}

const KNOWN: [&str; 7] = ["as", "who", "match", "by", "reason", "at", "until"];
pub(super) const THEY_ARE: &str = "as, who, match, by, reason, at or until";
