//! What becomes of a finding: it is logged, kept, remembered for whoever asks, and told to a webhook. Its ban is in force already.

use crate::admission::detection::{Detected, Finding};
use crate::admission::{Ban, List, Until};
use crate::bouncer::Bouncer;
use crate::findings::Findings;
use crate::net::stop::Stop;
use crate::store::{Change, ChangeError, MAX_EVIDENCE, Offence, Store};
use crate::telemetry::Chain;
use crate::webhook::{self, Webhook, WebhookError, WebhookSettings};
use serde_json::Value;
use std::mem;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::error;

/// The task that does it, and the webhook that it tells.
#[derive(Debug)]
pub(super) struct Enforcement {
    webhook: webhook::Current,
    following: JoinHandle<()>,
    stop: Stop,
}

impl Enforcement {
    /// Follows the findings of `bouncer` from now on. Must be called inside a tokio runtime.
    pub(super) fn start(
        bouncer: Bouncer,
        findings: Findings,
        store: Store,
        webhook: webhook::Current,
    ) -> Enforcement {
        let stop = Stop::default();
        let following = tokio::spawn(follow(bouncer, findings, store, webhook.clone(), stop.clone()));
        Enforcement { webhook, following, stop }
    }

    /// Tells another webhook from now on. The one before has a few seconds to deliver what it has.
    pub(super) fn tell(&self, webhook: Option<Webhook>) {
        tokio::spawn(self.webhook.replace(webhook, LAST_PATIENCE));
    }

    /// Writes what was found by now, tells it, and ends.
    pub(super) async fn close(self) {
        self.stop.raise();
        // It ends once it has written what was found.
        let _ = timeout(LAST_PATIENCE, self.following).await;
        self.webhook.replace(None, LAST_PATIENCE).await;
    }
}

/// Starts a webhook where there is to be one.
pub(super) fn start_webhook(settings: Option<&WebhookSettings>) -> Result<Option<Webhook>, WebhookError> {
    settings.map(|settings| Webhook::start(settings.clone())).transpose()
}

/// How long the last findings may take to be written, and to be delivered.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// Follows the findings of `bouncer` until `stop` is raised and all that were there by then are written.
async fn follow(bouncer: Bouncer, findings: Findings, store: Store, webhook: webhook::Current, stop: Stop) {
    let Some(mut arriving) = bouncer.findings() else { return };
    // Whoever waits for the disk does not keep the log and the webhook waiting.
    let (keep, to_keep) = mpsc::channel(WAITING);
    let keeping = tokio::spawn(keep_all(bouncer.clone(), store, to_keep, stop.clone()));
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            _ = arriving.recv_many(&mut batch, AT_ONCE) => {}
            () = stop.raised() => break,
        }
        let lost = bouncer.take_lost_findings();
        if lost > 0 {
            error!(lost, "found out and not banned: too many at once, or too many automatic bans");
        }
        let mut changes = Vec::new();
        for (finding, at) in batch.drain(..) {
            let told = findings.note(&finding, at);
            if webhook.is_some() {
                webhook.send(told.to_string().into(), at.as_millis() / 1000);
            }
            changes.extend(kept(finding, told));
        }
        if !changes.is_empty() && keep.send(changes).await.is_err() {
            break;
        }
    }
    drop(keep);
    let _ = keeping.await;
}

/// How many findings are noted together.
const AT_ONCE: usize = 256;

/// How many batches may wait for the disk.
const WAITING: usize = 256;

/// A ban that detection has made, and the offence that it is.
struct Kept {
    ban: Ban,
    offence: Offence,
}

/// What the store is to keep of a finding.
fn kept(finding: Finding, mut told: Value) -> Option<Kept> {
    let Finding::Detected(detected) = finding else { return None };
    let Detected { ban, ban_time, offence, is_shadow: false, .. } = *detected else { return None };
    let Until::Moment(until) = ban.terms.until else { return None };
    // It is kept under that name, which may be long.
    if let Some(fields) = told.as_object_mut() {
        fields.remove("who");
    }
    let mut evidence = told.to_string();
    if evidence.len() > MAX_EVIDENCE {
        evidence.clear();
    }
    let offence = Offence { who: ban.who.clone(), count: offence, until, ban_time, evidence };
    Some(Kept { ban, offence })
}

/// Writes what detection has banned; what cannot be written is tried again until `stop` is raised.
async fn keep_all(bouncer: Bouncer, store: Store, mut arriving: mpsc::Receiver<Vec<Kept>>, stop: Stop) {
    while let Some(bans) = arriving.recv().await {
        if let Err(cause) = keep(&bouncer, &store, &bans, &stop).await {
            // One of them spoils the others.
            error!(error = %Chain(&cause), "automatic bans cannot be written together");
            for ban in bans.chunks(1) {
                if let Err(cause) = keep(&bouncer, &store, ban, &stop).await {
                    error!(error = %Chain(&cause), "an automatic ban is in force and cannot be kept");
                }
            }
        }
        if bouncer.is_crowded() {
            let by = bouncer.clock().now();
            let ended = Change::RemoveEnded { list: List::Bans, by, limit: AT_ONCE * 2 };
            if let Err(cause) = store.change(vec![ended]).await {
                error!(error = %Chain(&cause), "ended bans stay in the store");
            }
        }
    }
}

/// Writes these together. A disk that fails is tried again until `stop` is raised.
async fn keep(bouncer: &Bouncer, store: &Store, bans: &[Kept], stop: &Stop) -> Result<(), ChangeError> {
    let mut is_failing = false;
    loop {
        let cause = match store.change(changes(bouncer, bans)).await {
            Ok(_) => return Ok(()),
            Err(cause @ ChangeError::Disk { .. }) => cause,
            // What is wrong with the bans will be wrong the next time, too.
            Err(cause) => return Err(cause),
        };
        if !mem::replace(&mut is_failing, true) {
            error!(error = %Chain(&cause), "automatic bans are in force and not on disk");
        }
        tokio::select! {
            () = stop.raised() => return Ok(()),
            () = sleep(A_WHILE) => {}
        }
    }
}

/// After how long a write that failed is tried again.
const A_WHILE: Duration = Duration::from_secs(5);

/// The bans of these that nobody has lifted meanwhile, and their offences.
fn changes(bouncer: &Bouncer, bans: &[Kept]) -> Vec<Change> {
    let is_listed = |kept: &&Kept| bouncer.admission().list(List::Bans).get(&kept.ban.who).is_some();
    let both = |Kept { ban, offence }: &Kept| {
        [Change::Extend(List::Bans, ban.clone()), Change::Offend(offence.clone())]
    };
    bans.iter().filter(is_listed).flat_map(both).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{As, Terms, Timestamp, Who};
    use crate::clock::Clock;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn ban(by: &str, until: Until) -> Ban {
        let who = Who::new(As::ClientId, "bot", None).expect("a name");
        Ban { who, terms: Terms { by: by.into(), reason: "".into(), at: NOW, until } }
    }

    fn found() -> Kept {
        let (until, ban_time) = (NOW.after(Duration::from_mins(5)), Duration::from_mins(5));
        let ban = ban("flapping detector", Until::Moment(until));
        let offence = Offence { who: ban.who.clone(), count: 1, until, ban_time, evidence: "{}".to_owned() };
        Kept { ban, offence }
    }

    fn site() -> (Bouncer, Store) {
        let bouncer = Bouncer::new(Clock::manual(NOW));
        let store = Store::in_memory(bouncer.clone()).expect("memory");
        (bouncer, store)
    }

    #[tokio::test]
    async fn a_longer_ban_that_came_first_stays() {
        let (bouncer, store) = site();
        let forever = ban("ops", Until::Infinity);
        bouncer.extend(List::Bans, found().ban).expect("room");
        store.change(vec![Change::Put(List::Bans, forever.clone())]).await.expect("written");
        store.change(changes(&bouncer, &[found()])).await.expect("written");
        assert_eq!(bouncer.admission().list(List::Bans).get(&forever.who), Some(forever));
    }

    #[tokio::test]
    async fn a_ban_that_was_lifted_before_it_was_written_does_not_come_back() {
        let (bouncer, store) = site();
        bouncer.extend(List::Bans, found().ban).expect("room");
        store.change(vec![Change::Remove(List::Bans, found().ban.who)]).await.expect("written");
        assert!(changes(&bouncer, &[found()]).is_empty());
    }

    /// It was tried again for ever, and what came after it was never written.
    #[tokio::test]
    async fn a_ban_that_cannot_be_kept_does_not_keep_others_from_the_disk() {
        let (bouncer, store) = site();
        let mut bad = found();
        bad.ban.who = Who::new(As::ClientId, "bad", None).expect("a name");
        bad.offence =
            Offence { who: bad.ban.who.clone(), evidence: "x".repeat(MAX_EVIDENCE + 1), ..bad.offence };
        let (keep, to_keep) = mpsc::channel(1);
        for kept in [&bad, &found()] {
            bouncer.extend(List::Bans, kept.ban.clone()).expect("room");
        }
        keep.send(vec![bad, found()]).await.expect("room");
        drop(keep);
        keep_all(bouncer, store.clone(), to_keep, Stop::default()).await;
        assert!(store.offence(found().ban.who).await.expect("readable").is_some());
    }

    #[tokio::test]
    async fn what_is_found_is_written_before_it_ends() {
        let (bouncer, store) = site();
        let (keep, to_keep) = mpsc::channel(1);
        bouncer.extend(List::Bans, found().ban).expect("room");
        keep.send(vec![found()]).await.expect("room");
        drop(keep);
        keep_all(bouncer, store.clone(), to_keep, Stop::default()).await;
        let offence = store.offence(found().ban.who).await.expect("readable").expect("kept");
        assert_eq!((offence.count, offence.evidence.as_str()), (1, "{}"));
    }
}
