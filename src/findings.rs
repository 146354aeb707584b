//! What detection has found lately, as it is told: in the log, over the socket, to a webhook, in the store.

use crate::admission::Timestamp;
use crate::admission::detection::{Detected, Detector, DuplicateClients, Evidence, Finding, Hushed};
use crate::telemetry::Shown;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::field::display;
use tracing::{info, warn};

/// The latest findings, and how many there were of each kind. Clones share them.
#[derive(Debug, Clone)]
pub struct Findings(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    node: Arc<str>,
    /// Never more than [`MAX_RECENT`]; the oldest goes first.
    recent: Mutex<VecDeque<Value>>,
    /// By detector: bans, and what would have been bans.
    counts: [[AtomicU64; 2]; Detector::ALL.len()],
}

/// How many findings are remembered.
pub const MAX_RECENT: usize = 1000;

impl Findings {
    /// None so far, on the node of this name.
    pub fn new(node: &str) -> Findings {
        Findings(Arc::new(Shared {
            node: node.into(),
            recent: Mutex::default(),
            counts: [const { [const { AtomicU64::new(0) }; 2] }; Detector::ALL.len()],
        }))
    }

    /// Logs, counts and remembers a finding; returns it as others are told it.
    pub fn note(&self, finding: &Finding, at: Timestamp) -> Value {
        let (detector, is_shadow) = match finding {
            Finding::Detected(detected) => {
                log_detected(detected);
                (detected.detector, detected.is_shadow)
            }
            Finding::Duplicates(duplicates) => {
                log_duplicates(duplicates);
                (Detector::Duplicates, true)
            }
            Finding::Hushed(hushed) => {
                log_hushed(hushed);
                (Detector::Hammering, hushed.is_shadow)
            }
        };
        if let Some([bans, would_be_bans]) = self.counts_of(detector) {
            if is_shadow { would_be_bans } else { bans }.fetch_add(1, Ordering::Relaxed);
        }
        let told = to_json(finding, at, &self.0.node);
        let mut recent = self.recent();
        if recent.len() == MAX_RECENT {
            recent.pop_front();
        }
        recent.push_back(told.clone());
        told
    }

    /// The latest findings, the newest first.
    pub fn latest(&self) -> Vec<Value> {
        self.recent().iter().rev().cloned().collect()
    }

    /// How many bans a detector has made, and how many it would have made.
    pub fn count(&self, detector: Detector) -> (u64, u64) {
        self.counts_of(detector).map_or((0, 0), |[bans, would_be_bans]| {
            (bans.load(Ordering::Relaxed), would_be_bans.load(Ordering::Relaxed))
        })
    }

    /// The counts of those that are not zero: `by_clientid 3, by_peerhost 1 (and 2 in shadow)`.
    pub fn counts(&self) -> String {
        let mut text = String::new();
        for detector in Detector::ALL {
            let (bans, would_be_bans) = self.count(detector);
            if bans + would_be_bans == 0 {
                continue;
            }
            let comma = if text.is_empty() { "" } else { ", " };
            // Writing to a string does not fail.
            let _ = write!(text, "{comma}{detector} {bans}");
            if would_be_bans > 0 {
                let _ = write!(text, " (and {would_be_bans} in shadow)");
            }
        }
        text
    }

    fn counts_of(&self, detector: Detector) -> Option<&[AtomicU64; 2]> {
        self.0.counts.get(Detector::ALL.iter().position(|other| *other == detector)?)
    }

    /// A thread that panicked has left the queue whole.
    fn recent(&self) -> MutexGuard<'_, VecDeque<Value>> {
        self.0.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_detected(detected: &Detected) {
    let Detected { ban, is_shadow, detector, zone, ban_time, offence, evidence } = detected;
    let (who, addresses) = (ban.who.to_string(), listed(&evidence.addresses));
    let blame = blame_text(evidence);
    let (count, limit, residents) = (evidence.count, evidence.limit, evidence.residents);
    let (seconds, window) = (ban_time.as_secs(), evidence.window_time.as_secs_f64());
    // The message of a macro is fixed, and programs tell the two apart by it.
    if *is_shadow {
        info!(%zone, %detector, r#as = %ban.who.kind(), who = %Shown(&who), until = %ban.terms.until, seconds, offence, count, limit, window, residents, addresses, blame, "would be banned");
    } else {
        info!(%zone, %detector, r#as = %ban.who.kind(), who = %Shown(&who), until = %ban.terms.until, seconds, offence, count, limit, window, residents, addresses, blame, "banned");
    }
}

fn log_hushed(hushed: &Hushed) {
    let Hushed { who, zone, address, client_id, time, is_shadow } = hushed;
    let (name, seconds) = (who.to_string(), time.as_secs());
    let peer = address.map_or_else(|| "unix".to_owned(), |address| address.to_string());
    let client_id = client_id.as_deref().map(|client_id| display(Shown(client_id)));
    if *is_shadow {
        info!(%zone, detector = %Detector::Hammering, r#as = %who.kind(), who = %Shown(&name), %peer, client_id, seconds, "goes on in spite of its ban, and would not be answered any more");
    } else {
        info!(%zone, detector = %Detector::Hammering, r#as = %who.kind(), who = %Shown(&name), %peer, client_id, seconds, "goes on in spite of its ban, and is not answered any more");
    }
}

fn log_duplicates(duplicates: &DuplicateClients) {
    let DuplicateClients { who, zone, addresses, returns } = duplicates;
    let (name, addresses) = (who.to_string(), listed(addresses));
    warn!(%zone, r#as = %who.kind(), who = %Shown(&name), addresses, returns, "several clients use one client identifier");
}

fn listed(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn blame_text(evidence: &Evidence) -> String {
    let blame = evidence.blame;
    format!(
        "client {}, broker {}, operator {}, unknown {}",
        blame.client, blame.broker, blame.operator, blame.unknown
    )
}

/// A finding as a webhook and the socket tell it.
fn to_json(finding: &Finding, at: Timestamp, node: &str) -> Value {
    match finding {
        Finding::Detected(detected) => {
            let Detected { ban, is_shadow, detector, zone, ban_time, offence, evidence } = &**detected;
            json!({
                "event": if *is_shadow { "would_ban" } else { "ban" },
                "at": at.to_string(),
                "node": node,
                "zone": **zone,
                "detector": detector.as_str(),
                "as": ban.who.kind().as_str(),
                "who": ban.who.to_string(),
                "by": *ban.terms.by,
                "reason": *ban.terms.reason,
                "until": ban.terms.until.to_string(),
                "ban_time_seconds": ban_time.as_secs_f64(),
                "offence": offence,
                "evidence": evidence_json(evidence),
            })
        }
        Finding::Hushed(hushed) => {
            let Hushed { who, zone, address, client_id, time, is_shadow } = &**hushed;
            let client_ids: Vec<String> = client_id.iter().map(|id| shortened(id)).collect();
            let addresses: Vec<String> = address.iter().map(ToString::to_string).collect();
            json!({
                "event": if *is_shadow { "would_hush" } else { "hush" },
                "at": at.to_string(),
                "node": node,
                "zone": **zone,
                "detector": Detector::Hammering.as_str(),
                "as": who.kind().as_str(),
                "who": who.to_string(),
                "hush_time_seconds": time.as_secs_f64(),
                "evidence": { "addresses": addresses, "client_ids": client_ids },
            })
        }
        Finding::Duplicates(duplicates) => {
            let DuplicateClients { who, zone, addresses, returns } = &**duplicates;
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            json!({
                "event": "duplicates",
                "at": at.to_string(),
                "node": node,
                "zone": **zone,
                "detector": Detector::Duplicates.as_str(),
                "as": who.kind().as_str(),
                "who": who.to_string(),
                "evidence": { "count": returns, "addresses": addresses },
            })
        }
    }
}

fn evidence_json(evidence: &Evidence) -> Value {
    let Evidence { count, limit, window_time, residents, addresses, client_ids, blame } = evidence;
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let client_ids: Vec<String> = client_ids.iter().map(|id| id.chars().take(MAX_SHOWN).collect()).collect();
    json!({
        "count": count,
        "limit": limit,
        "window_seconds": window_time.as_secs_f64(),
        "residents": residents,
        "addresses": addresses,
        "client_ids": client_ids,
        "blame": {
            "client": blame.client,
            "broker": blame.broker,
            "operator": blame.operator,
            "unknown": blame.unknown,
        },
    })
}

fn shortened(client_id: &str) -> String {
    client_id.chars().take(MAX_SHOWN).collect()
}

/// How many characters of a client identifier evidence holds.
const MAX_SHOWN: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{As, Ban, Terms, Until, Who};
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn detected(is_shadow: bool) -> Finding {
        let who = Who::new(As::PeerHost, "203.0.113.7", None).expect("an address");
        let until = Until::Moment(NOW.after(Duration::from_mins(5)));
        let terms =
            Terms { by: "flapping detector".into(), reason: "flapping is detected".into(), at: NOW, until };
        Finding::Detected(Box::new(Detected {
            ban: Ban { who, terms },
            is_shadow,
            detector: Detector::ByPeerHost,
            zone: "default".into(),
            ban_time: Duration::from_mins(5),
            offence: 2,
            evidence: Evidence {
                count: 60,
                limit: 60,
                client_ids: vec!["x".repeat(9000).into()],
                ..Evidence::default()
            },
        }))
    }

    #[test]
    fn a_finding_is_told_with_its_evidence() {
        let told = Findings::new("edge-1").note(&detected(false), NOW);
        assert_eq!((&told["event"], &told["node"]), (&json!("ban"), &json!("edge-1")));
        assert_eq!((&told["as"], &told["who"]), (&json!("peerhost"), &json!("203.0.113.7")));
        assert_eq!(told["until"], "2027-01-15T08:05:00+00:00");
        assert_eq!((&told["offence"], &told["evidence"]["count"]), (&json!(2), &json!(60)));
        assert_eq!(told["evidence"]["client_ids"][0].as_str().map(str::len), Some(MAX_SHOWN));
    }

    #[test]
    fn the_latest_findings_are_remembered_and_all_are_counted() {
        let findings = Findings::new("edge-1");
        for number in 0..MAX_RECENT + 10 {
            findings.note(&detected(number % 2 == 0), NOW.after(Duration::from_secs(number as u64)));
        }
        let latest = findings.latest();
        assert_eq!(latest.len(), MAX_RECENT);
        assert_eq!(latest[0]["at"], NOW.after(Duration::from_secs(1009)).to_string());
        assert_eq!(findings.count(Detector::ByPeerHost), (505, 505));
        assert_eq!(findings.counts(), "by_peerhost 505 (and 505 in shadow)");
    }
}
