//! The numbers as lines of a terminal. What matters most comes first, and what does not fit is left out.

use super::numbers::{bytes, count, rate, time};
use crate::admin::stats::{Listener, Server, State, Stats, StatusCounts};
use crate::cli::out::{cell, cut};
use crate::cli::paging::{number, text};
use crate::telemetry::Shown;
use serde_json::Value;
use std::iter;
use std::time::Duration;

/// How much fits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) width: usize,
    pub(super) height: usize,
}

/// What is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    /// An interval ago; rates need it.
    pub(super) before: Option<&'a Stats>,
    pub(super) now: &'a Stats,
    /// The page of those who were turned away last.
    pub(super) refused: &'a Value,
    /// Why there is nothing newer.
    pub(super) trouble: Option<&'a str>,
}

impl View<'_> {
    /// The lines, at most as many and as wide as fit.
    pub(super) fn lines(&self, size: Size) -> Vec<String> {
        let parts = [
            self.head(),
            self.process(),
            self.listeners(),
            self.lists(),
            self.upstream(),
            self.found(),
            self.turned_away(),
        ];
        let mut lines = Vec::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            if lines.len() > 2 {
                lines.push(String::new());
            }
            lines.extend(part);
        }
        lines.truncate(size.height);
        lines.into_iter().map(|line| cut(line.trim_end(), size.width)).collect()
    }

    fn head(&self) -> Vec<String> {
        let Stats { node, version, state, uptime_seconds, .. } = self.now;
        let state = match state {
            State::Starting => "starting",
            State::Running => "running",
            State::Draining => "draining",
        };
        let up = time(Duration::try_from_secs_f64(*uptime_seconds).unwrap_or_default());
        let mut lines = vec![format!("mqtt-bouncer {version}  {}  {state}  up {up}", Shown(node))];
        lines.extend(self.trouble.map(|trouble| format!("! {trouble}")));
        lines
    }

    fn process(&self) -> Vec<String> {
        let Stats { process, tables, store, .. } = self.now;
        let seconds = |stats: &Stats| stats.process.cpu_seconds;
        let busy = self.before.map_or(0.0, |before| (seconds(self.now) - seconds(before)) / self.elapsed());
        vec![
            format!(
                "cpu {} %  memory {}  files {} of {}  threads {}  checks/s {}",
                rate(busy * 100.0),
                bytes(process.resident_bytes),
                count(process.open_files),
                count(process.max_files),
                process.threads,
                self.rate_of(|stats| stats.checks.count),
            ),
            format!(
                "detection {} keys in {}  store {} on disk, commits/s {}",
                count(tables.keys),
                bytes(tables.bytes),
                bytes(store.file_bytes + store.wal_bytes),
                self.rate_of(|stats| stats.store.commits),
            ),
        ]
    }

    fn listeners(&self) -> Vec<String> {
        let head = row(&["LISTENER", "SESSIONS", "CONNS", "LIMIT", "NEW/s", "IN/s", "OUT/s"], &LISTENER);
        let line = |(name, listener): (&String, &Listener)| {
            let of = |number: fn(&Listener) -> u64| {
                move |stats: &Stats| stats.listeners.get(name).map_or(0, number)
            };
            let shown = Shown(name).to_string();
            let numbers = [
                count(listener.live_sessions),
                count(listener.live_connections),
                count(listener.max_connections),
                self.rate_of(of(|listener| listener.connections)),
                self.bytes_of(of(|listener| listener.bytes_to_broker)),
                self.bytes_of(of(|listener| listener.bytes_to_client)),
            ];
            row(
                &iter::once(shown.as_str()).chain(numbers.iter().map(String::as_str)).collect::<Vec<_>>(),
                &LISTENER,
            )
        };
        iter::once(head).chain(self.now.listeners.iter().map(line)).collect()
    }

    /// Outcomes on the left, bans by kind on the right.
    fn lists(&self) -> Vec<String> {
        let outcomes = outcomes(self.now)
            .into_iter()
            .filter(|(name, all)| *all > 0 || name == "admitted" || name == "banned");
        let left = outcomes.map(|(name, all)| {
            let a_second = self.rate_of(|stats| outcomes_of(stats, &name));
            row(&[&name, &a_second, &count(all)], &OUTCOME)
        });
        let right = self.now.bans.iter().map(|(kind, counts)| {
            let StatusCounts { active, expired, deleting_soon } = *counts;
            let refused = self.rate_of(|stats| stats.refused.get(kind).copied().unwrap_or_default());
            row(&[kind, &count(active), &count(expired + deleting_soon), &refused], &BANS)
        });
        let head =
            (row(&["OUTCOME", "/s", "ALL"], &OUTCOME), row(&["BANS", "ACTIVE", "ENDED", "HITS/s"], &BANS));
        let width = OUTCOME.iter().sum::<usize>() + OUTCOME.len();
        let (mut left, mut right) = (iter::once(head.0).chain(left), iter::once(head.1).chain(right));
        iter::from_fn(|| match (left.next(), right.next()) {
            (None, None) => None,
            (left, right) => {
                Some(format!("{} {}", cell(&left.unwrap_or_default(), width), right.unwrap_or_default()))
            }
        })
        .collect()
    }

    fn upstream(&self) -> Vec<String> {
        let head = row(&["BROKER", "STATE", "SESSIONS", "CONNECTS/s", "FAILED/s"], &BROKER);
        let line = |(name, server): (&String, &Server)| {
            let of =
                |number: fn(&Server) -> u64| move |stats: &Stats| stats.upstream.get(name).map_or(0, number);
            let state = match server.is_reachable {
                None => "not tried",
                Some(true) => "up",
                Some(false) => "down",
            };
            let (shown, sessions) = (Shown(name).to_string(), count(server.live_sessions));
            let (made, failed) =
                (self.rate_of(of(|server| server.connected)), self.rate_of(of(|server| server.failed)));
            row(&[&shown, state, &sessions, &made, &failed], &BROKER)
        };
        let servers =
            self.now.upstream.iter().filter(|(_, server)| server.is_configured || server.live_sessions > 0);
        iter::once(head).chain(servers.map(line)).collect()
    }

    /// What was found out, where anything was.
    fn found(&self) -> Vec<String> {
        let found: Vec<_> =
            self.now.detections.iter().filter(|(_, found)| found.bans + found.shadow > 0).collect();
        if found.is_empty() {
            return Vec::new();
        }
        let line = |(detector, found): (&String, &crate::admin::stats::Detections)| {
            let a_second = self
                .rate_of(|stats| stats.detections.get(detector).map_or(0, |found| found.bans + found.shadow));
            row(&[detector, &a_second, &count(found.bans), &count(found.shadow)], &FOUND)
        };
        let head = row(&["DETECTOR", "/s", "BANS", "SHADOW"], &FOUND);
        iter::once(head).chain(found.into_iter().map(line)).collect()
    }

    /// Who was turned away last, where anybody was.
    fn turned_away(&self) -> Vec<String> {
        let rows = self.refused.get("data").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if rows.is_empty() {
            return Vec::new();
        }
        let line = |refused: &Value| {
            // To the second: "2030-01-01T00:00:00".
            let last = text(refused, "last_at").get(11..19).unwrap_or_default();
            let times = count(number(refused, "count"));
            let cells = [text(refused, "peerhost"), last, &times, text(refused, "reason")];
            let who = if refused.get("others") == Some(&Value::Bool(true)) {
                "(others)".to_owned()
            } else {
                Shown(text(refused, "clientid")).to_string()
            };
            format!("{} {who}", row(&cells, &REFUSED))
        };
        let head = format!("{} CLIENT ID", row(&["REFUSED", "LAST", "TIMES", "REASON"], &REFUSED));
        iter::once(head).chain(rows.iter().map(line)).collect()
    }

    fn elapsed(&self) -> f64 {
        let before = self.before.map_or(0.0, |before| before.uptime_seconds);
        (self.now.uptime_seconds - before).max(0.001)
    }

    /// How fast a number grows, as text; a dash while that is not known.
    fn rate_of(&self, number: impl Fn(&Stats) -> u64) -> String {
        self.growth(number).map_or_else(|| "-".to_owned(), rate)
    }

    fn bytes_of(&self, number: impl Fn(&Stats) -> u64) -> String {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is not negative")]
        let whole = |rate: f64| rate.round() as u64;
        self.growth(number).map_or_else(|| "-".to_owned(), |rate| bytes(whole(rate)))
    }

    fn growth(&self, number: impl Fn(&Stats) -> u64) -> Option<f64> {
        let before = self.before?;
        // A proxy that was started anew has begun at zero again.
        let is_same = before.started_at_seconds.to_bits() == self.now.started_at_seconds.to_bits();
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        let grown = number(self.now).saturating_sub(number(before)) as f64;
        is_same.then(|| grown / self.elapsed())
    }
}

/// How wide columns are; numbers stand to the right.
const LISTENER: [usize; 7] = [18, 10, 10, 10, 8, 8, 8];
const OUTCOME: [usize; 3] = [20, 7, 9];
const BANS: [usize; 4] = [12, 10, 8, 7];
const BROKER: [usize; 5] = [32, 9, 10, 11, 9];
const FOUND: [usize; 4] = [20, 7, 10, 10];
const REFUSED: [usize; 4] = [24, 8, 7, 18];

/// How many connections had each outcome, whatever the listener.
fn outcomes(stats: &Stats) -> Vec<(String, u64)> {
    let names = stats.listeners.values().flat_map(|listener| listener.outcomes.keys());
    let names: std::collections::BTreeSet<&String> = names.collect();
    names.into_iter().map(|name| (name.clone(), outcomes_of(stats, name))).collect()
}

fn outcomes_of(stats: &Stats, name: &str) -> u64 {
    stats.listeners.values().filter_map(|listener| listener.outcomes.get(name)).sum()
}

fn row(cells: &[&str], widths: &[usize]) -> String {
    let mut line = String::new();
    for (at, (text, width)) in cells.iter().zip(widths).enumerate() {
        if at == 0 {
            line.push_str(&cell(text, *width));
        } else {
            let text = cut(text, *width);
            line.push(' ');
            line.push_str(&console::pad_str(&text, *width, console::Alignment::Right, None));
        }
    }
    line
}

#[cfg(test)]
mod tests;
