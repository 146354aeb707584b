//! What becomes of a finding: it is logged, kept, remembered for whoever asks. Its ban is in force already.

use crate::admission::detection::Finding;
use crate::admission::{List, Timestamp};
use crate::bouncer::Bouncer;
use crate::findings::Findings;
use crate::net::stop::Stop;
use crate::store::{Change, Store};
use crate::telemetry::Chain;
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
            findings.note(&finding, at);
            changes.extend(change(&bouncer, finding, at));
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
fn change(bouncer: &Bouncer, finding: Finding, _at: Timestamp) -> Option<Change> {
    match finding {
        Finding::Detected(detected) if !detected.is_shadow => {
            let there = bouncer.admission().list(List::Bans).get(&detected.ban.who);
            let is_in_force = there.is_none_or(|ban| ban.terms.until <= detected.ban.terms.until);
            is_in_force.then_some(Change::Put(List::Bans, detected.ban))
        }
        Finding::Detected(_) | Finding::Duplicates(_) => None,
    }
}
