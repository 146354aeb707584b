//! Bans as lines for people.

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
