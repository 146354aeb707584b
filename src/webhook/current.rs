//! The webhook that is told now, which may change while events come.

use super::{Counts, Webhook};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The webhook that is told now, if there is one, and what became of all events. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Current(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    webhook: ArcSwapOption<Webhook>,
    before: Mutex<Before>,
}

/// The webhooks that were told before.
#[derive(Debug, Default)]
struct Before {
    /// Those that still deliver what they have; few, since they have seconds for it.
    stopping: Vec<Arc<Webhook>>,
    /// What became of the events of the others.
    stopped: Counts,
}

impl Current {
    /// Tells this webhook.
    pub fn new(webhook: Option<Webhook>) -> Current {
        let current = Current::default();
        current.0.webhook.store(webhook.map(Arc::new));
        current
    }

    /// As [`Webhook::send`]; false when there is nobody to be told.
    pub fn send(&self, body: Bytes, at_epoch_seconds: i64) -> bool {
        self.0.webhook.load().as_ref().is_some_and(|webhook| webhook.send(body, at_epoch_seconds))
    }

    /// True when there is somebody to be told.
    pub fn is_some(&self) -> bool {
        self.0.webhook.load().is_some()
    }

    /// Tells another webhook from now on. The one before has as long as `patience` to deliver what it has, while what is
    /// returned is awaited.
    pub fn replace(
        &self,
        webhook: Option<Webhook>,
        patience: Duration,
    ) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.0);
        let before = {
            // Whoever counts meanwhile misses none, and counts none twice.
            let mut all = shared.before.lock().unwrap_or_else(PoisonError::into_inner);
            let before = shared.webhook.swap(webhook.map(Arc::new));
            all.stopping.extend(before.clone());
            before
        };
        async move {
            let Some(before) = before else { return };
            let counts = Webhook::clone(&before).stop(patience).await;
            let mut all = shared.before.lock().unwrap_or_else(PoisonError::into_inner);
            all.stopping.retain(|other| !Arc::ptr_eq(other, &before));
            all.stopped = all.stopped.and(counts);
        }
    }

    /// What became of the events so far.
    pub fn counts(&self) -> Counts {
        let all = self.0.before.lock().unwrap_or_else(PoisonError::into_inner);
        let webhook = self.0.webhook.load_full();
        let others = all.stopping.iter().chain(&webhook).map(|webhook| webhook.counts());
        others.fold(all.stopped, Counts::and)
    }
}
