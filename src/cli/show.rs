//! Bans as lines for people.

use crate::admission::{Ban, Match, Status, Timestamp};
use crate::telemetry::Shown;
use std::fmt::{self, Write};
use std::time::Duration;

/// A rule in one line: `clientid_re "^bot-" (holds until infinity; by config; reason: flooding)`.
pub(super) fn describe(ban: &Ban, now: Timestamp) -> String {
    let Ban { who, terms } = ban;
    let matching = if who.matching() == Some(Match::Full) { ", matches the whole" } else { "" };
    let holds = if terms.is_active(now) { "holds until" } else { "ended at" };
    let reason =
        if terms.reason.is_empty() { String::new() } else { format!("; reason: {:?}", terms.reason) };
    format!(
        "{} {:?}{matching} ({holds} {}; by {:?}{reason})",
        who.kind(),
        who.to_string(),
        terms.until,
        terms.by
    )
}

/// The head of a table of [`Row`]s.
pub(super) const HEAD: &str =
    "AS            STATUS         UNTIL                      BY                WHO  (MATCH)  REASON";

/// A rule as a row of a table. Columns of fixed width come first, so that long names push nothing aside.
pub(super) struct Row<'a> {
    pub(super) ban: &'a Ban,
    pub(super) status: Status,
}

impl Row<'_> {
    pub(super) fn new(ban: &Ban, now: Timestamp, ttl: Duration) -> Row<'_> {
        Row { ban, status: ban.terms.status(now, ttl) }
    }
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ban { who, terms } = self.ban;
        let mut by = String::new();
        write!(by, "{}", Shown(&terms.by))?;
        let until = terms.until.to_string();
        write!(f, "{:<13} {:<14} {until:<26} {by:<17} ", who.kind().as_str(), self.status.as_str())?;
        write!(f, "{}", Shown(&who.to_string()))?;
        if who.matching() == Some(Match::Full) {
            f.write_str("  (full)")?;
        }
        if !terms.reason.is_empty() {
            write!(f, "  {}", Shown(&terms.reason))?;
        }
        Ok(())
    }
}
