//! Bans as lines for people.

use super::out::{cell, cut};
use crate::admission::{Ban, Match, Status, Timestamp};
use crate::telemetry::Shown;
use serde_json::Value;
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

/// What a finding is based on, in one line: `by_clientid counted 15 of 15 in 60 s, from 10.0.0.1; blame: client 15`.
pub(super) fn describe_evidence(finding: &Value) -> String {
    let evidence = finding.get("evidence").unwrap_or(&Value::Null);
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_f64).unwrap_or_default();
    let listed = |key: &str| {
        let items = evidence.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let shown = |item: &Value| Shown(item.as_str().unwrap_or_default()).to_string();
        items.iter().map(shown).collect::<Vec<_>>().join(", ")
    };
    let detector = finding.get("detector").and_then(Value::as_str).unwrap_or("an unknown detector");
    let (count, limit) = (number(evidence, "count"), number(evidence, "limit"));
    let mut text = if evidence.get("count").is_some() {
        format!("{detector} counted {count}")
    } else {
        detector.to_owned()
    };
    // Writing to a string does not fail.
    if limit > 0.0 {
        let _ = write!(text, " of {limit} in {} s", number(evidence, "window_seconds"));
    }
    for (what, key) in [("from", "addresses"), ("as", "client_ids")] {
        let items = listed(key);
        if !items.is_empty() {
            let _ = write!(text, ", {what} {items}");
        }
    }
    if let Some(blame) = evidence.get("blame") {
        let [client, broker, operator, unknown] =
            ["client", "broker", "operator", "unknown"].map(|whose| number(blame, whose));
        let _ =
            write!(text, "; blame: client {client}, broker {broker}, operator {operator}, unknown {unknown}");
    }
    text
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

    /// The head of a table of [`narrow`](Row::narrow) rows.
    pub(super) fn narrow_head(width: usize) -> String {
        let [kind, status, until, by] = NARROW;
        let columns = [("AS", kind), ("STATUS", status), ("UNTIL", until), ("BY", by)];
        let cells: Vec<_> = columns.into_iter().map(|(name, columns)| cell(name, columns)).collect();
        cut(&format!("{} WHO  (MATCH)  REASON", cells.join(" ")), width)
    }

    /// The row in so many columns of a terminal. What does not fit is cut; `--json` has all of it.
    pub(super) fn narrow(&self, width: usize) -> String {
        let Ban { who, terms } = self.ban;
        let [kind, status, until, by] = NARROW;
        let is = match self.status {
            Status::Active => "active",
            Status::Expired => "expired",
            Status::DeletingSoon => "deleting",
        };
        // To the minute: "2030-01-01T00:00".
        let end: String = terms.until.to_string().chars().take(until).collect();
        let cells = [
            cell(who.kind().as_str(), kind),
            cell(is, status),
            cell(&end, until),
            cell(&Shown(&terms.by).to_string(), by),
        ];
        let matching = if who.matching() == Some(Match::Full) { "  (full)" } else { "" };
        let reason =
            if terms.reason.is_empty() { String::new() } else { format!("  {}", Shown(&terms.reason)) };
        cut(&format!("{} {}{matching}{reason}", cells.join(" "), Shown(&who.to_string())), width)
    }
}

/// The columns of a narrow table before WHO: half of an ordinary terminal.
const NARROW: [usize; 4] = [12, 8, 16, 8];

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{As, Terms, Until, Who};

    #[test]
    fn a_row_fits_the_terminal_whatever_stands_in_it() {
        let at = Timestamp::from_millis(1_900_000_000_000);
        let terms = Terms {
            by: "flapping detector".into(),
            reason: "長い理由".repeat(30).as_str().into(),
            at,
            until: Until::Moment(at),
        };
        let who =
            Who::new(As::ClientIdRe, &format!("^{}", "ö".repeat(500)), Some(Match::Full)).expect("a pattern");
        let ban = Ban { who, terms };
        for width in [1, 20, 80, 132] {
            let row = Row::new(&ban, at, Duration::ZERO).narrow(width);
            assert!(console::measure_text_width(&row) <= width, "{width}: {row}");
        }
        let row = Row::new(&ban, at, Duration::ZERO).narrow(80);
        assert!(row.starts_with("clientid_re  deleting 2030-03-17T17:46 "), "{row}");
    }
}
