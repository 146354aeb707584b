//! What becomes of a finding: it is logged, kept, remembered for whoever asks. Its ban is in force already.

use crate::admission::detection::{Detected, Finding};
use crate::admission::{List, Until};
use crate::bouncer::Bouncer;
use crate::findings::Findings;
use crate::net::stop::Stop;
use crate::store::{Change, MAX_EVIDENCE, Offence, Store};
use crate::telemetry::Chain;
use serde_json::Value;
use tracing::{error, warn};

/// Follows the findings of `bouncer` until `stop` is raised and all that were there by then are written.
pub(super) async fn follow(bouncer: Bouncer, findings: Findings, store: Option<Store>, stop: Stop) {
    let Some(mut arriving) = bouncer.findings() else { return };
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            _ = arriving.recv_many(&mut batch, AT_ONCE) => {}
            () = stop.raised() => return,
        }
        let lost = bouncer.take_lost_findings();
        if lost > 0 {
            warn!(lost, "bans are in force that were neither logged nor kept: too many at once");
        }
        let mut changes = Vec::new();
        for (finding, at) in batch.drain(..) {
            let told = findings.note(&finding, at);
            changes.extend(changes_of(&bouncer, finding, &told));
        }
        let Some(store) = store.as_ref().filter(|_| !changes.is_empty()) else { continue };
        if let Err(cause) = store.change(changes).await {
            error!(error = %Chain(&cause), "automatic bans are in force and not on disk");
        }
    }
}

/// How many findings are written together.
const AT_ONCE: usize = 256;

/// What the store is to keep of a finding. A ban that ends sooner than one that is there changes nothing.
fn changes_of(bouncer: &Bouncer, finding: Finding, told: &Value) -> Vec<Change> {
    match finding {
        Finding::Detected(detected) if !detected.is_shadow => {
            let Detected { ban, ban_time, offence, .. } = *detected;
            let there = bouncer.admission().list(List::Bans).get(&ban.who);
            let until = match ban.terms.until {
                Until::Moment(until) if there.is_none_or(|there| there.terms.until <= ban.terms.until) => {
                    until
                }
                Until::Moment(_) | Until::Infinity => return Vec::new(),
            };
            let mut evidence = told.to_string();
            if evidence.len() > MAX_EVIDENCE {
                evidence.clear();
            }
            let offence = Offence { who: ban.who.clone(), count: offence, until, ban_time, evidence };
            vec![Change::Put(List::Bans, ban), Change::Offend(offence)]
        }
        Finding::Detected(_) | Finding::Duplicates(_) => Vec::new(),
    }
}
