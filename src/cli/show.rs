//! Bans as lines for people.

use super::out::{cell, cut};
use crate::admission::{Ban, Match, Timestamp};
use crate::telemetry::Shown;
use serde_json::Value;
use std::fmt::Write;

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

/// Rules, as the API has them, in rows. Columns of fixed width come first, so that long names push nothing aside.
pub(super) struct Table {
    /// Of the terminal, to which rows are cut; a file gets everything.
    pub(super) width: Option<usize>,
}

/// The columns of a table in a file, and in a terminal: there, the first four take half of an ordinary one.
const WIDE: [usize; 4] = [13, 14, 26, 17];
const NARROW: [usize; 4] = [12, 8, 16, 8];

impl Table {
    pub(super) fn head(&self) -> String {
        self.line(["AS", "STATUS", "UNTIL", "BY"], "WHO  (MATCH)  REASON")
    }

    pub(super) fn row(&self, rule: &Value) -> String {
        let text = |field: &str| rule.get(field).and_then(Value::as_str).unwrap_or_default();
        let (status, until) = (text("status").replace('_', " "), text("until"));
        let (status, until) = match self.width {
            None => (status.as_str(), until),
            // To the minute: "2030-01-01T00:00".
            Some(_) => (status.strip_suffix(" soon").unwrap_or(&status), until.get(..16).unwrap_or(until)),
        };
        let mut rest = Shown(text("who")).to_string();
        if text("match") == "full" {
            rest.push_str("  (full)");
        }
        if !text("reason").is_empty() {
            // Writing to a string does not fail.
            let _ = write!(rest, "  {}", Shown(text("reason")));
        }
        self.line([text("as"), status, until, &Shown(text("by")).to_string()], &rest)
    }

    fn line(&self, cells: [&str; 4], rest: &str) -> String {
        let mut line = String::new();
        let columns = if self.width.is_some() { NARROW } else { WIDE };
        for (text, columns) in cells.into_iter().zip(columns) {
            let cell = if self.width.is_some() { cell(text, columns) } else { format!("{text:<columns$}") };
            // Writing to a string does not fail.
            let _ = write!(line, "{cell} ");
        }
        line.push_str(rest);
        self.width.map(|width| cut(&line, width)).unwrap_or(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_fits_the_terminal_whatever_stands_in_it() {
        let rule = json!({
            "as": "clientid_re",
            "who": format!("^{}", "ö".repeat(500)),
            "match": "full",
            "by": "flapping detector",
            "reason": "長い理由".repeat(30),
            "until": "2030-03-17T17:46:40+00:00",
            "status": "deleting_soon",
        });
        for width in [1, 20, 80, 132] {
            let row = Table { width: Some(width) }.row(&rule);
            assert!(console::measure_text_width(&row) <= width, "{width}: {row}");
        }
        let row = Table { width: Some(80) }.row(&rule);
        assert!(row.starts_with("clientid_re  deleting 2030-03-17T17:46 "), "{row}");
    }
}
