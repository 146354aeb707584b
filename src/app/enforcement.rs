//! What becomes of a finding: it is logged, kept, remembered for whoever asks, and told to a webhook. Its ban is in force already.

use crate::admission::detection::{Detected, Finding};
use crate::admission::{List, Until};
use crate::bouncer::Bouncer;
use crate::findings::Findings;
use crate::net::stop::Stop;
use crate::store::{Change, MAX_EVIDENCE, Offence, Store};
use crate::telemetry::Chain;
use crate::webhook::Webhook;
use arc_swap::ArcSwapOption;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{error, warn};

/// The task that does it, and the webhook that it tells.
#[derive(Debug)]
pub(super) struct Enforcement {
    webhook: Arc<ArcSwapOption<Webhook>>,
    following: JoinHandle<()>,
    stop: Stop,
}

impl Enforcement {
    /// Follows the findings of `bouncer` from now on. Must be called inside a tokio runtime.
    pub(super) fn start(
        bouncer: Bouncer,
        findings: Findings,
        store: Store,
        webhook: Option<Webhook>,
    ) -> Enforcement {
        let webhook = Arc::new(ArcSwapOption::from_pointee(webhook));
        let stop = Stop::default();
        let following = tokio::spawn(follow(bouncer, findings, store, Arc::clone(&webhook), stop.clone()));
        Enforcement { webhook, following, stop }
    }

    /// Tells another webhook from now on. The one before delivers what it has.
    pub(super) fn tell(&self, webhook: Option<Webhook>) {
        if let Some(before) = self.webhook.swap(webhook.map(Arc::new)) {
            tokio::spawn(async move { Webhook::clone(&before).stop(LAST_PATIENCE).await });
        }
    }

    /// Writes what was found by now, tells it, and ends.
    pub(super) async fn close(self) {
        self.stop.raise();
        // It ends once it has written what was found.
        let _ = timeout(LAST_PATIENCE, self.following).await;
        if let Some(webhook) = self.webhook.swap(None) {
            Webhook::clone(&webhook).stop(LAST_PATIENCE).await;
        }
    }
}

/// How long the last findings may take to be written, and to be delivered.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// Follows the findings of `bouncer` until `stop` is raised and all that were there by then are written.
async fn follow(
    bouncer: Bouncer,
    findings: Findings,
    store: Store,
    webhook: Arc<ArcSwapOption<Webhook>>,
    stop: Stop,
) {
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
            if let Some(webhook) = &*webhook.load() {
                webhook.send(told.to_string().into(), at.as_millis() / 1000);
            }
            changes.extend(changes_of(&bouncer, finding, &told));
        }
        if changes.is_empty() {
            continue;
        }
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
