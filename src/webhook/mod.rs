//! Tells an operator's URL of events, in order, each as one POST, and never makes the teller wait.
//!
//! An event is a ready JSON body; what it says is the caller's. A bounded queue stands between [`Webhook::send`], which
//! only puts an event there or drops it, and one task, which sends one event at a time and tries again what may yet
//! succeed. Every event is counted once: delivered, failed or dropped.
//!
//! A URL's path may be as secret as a password, as it is with chat services; so the log names the receiver by scheme,
//! host and port.

mod back_off;
mod current;
mod receiver;
mod secret;
mod tally;
mod url;
mod worker;

pub use current::Current;
pub use secret::{Secret, SecretError};
pub use tally::Counts;
pub use url::{Url, UrlError};

use crate::net::trust::TrustError;
use back_off::BackOff;
use bytes::Bytes;
use receiver::Receiver;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tally::Tally;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::warn;

/// Whom to tell, and how patiently.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookSettings {
    /// Where events are sent.
    pub url: Url,
    /// What events are signed with; `None` to sign none.
    pub secret: Option<Secret>,
    /// How long one attempt may take, from the name look-up to the answer.
    pub timeout: Duration,
    /// How often one event is tried; at least once.
    pub max_attempts: u32,
    /// How many events may wait; at least one.
    pub queue: usize,
    /// Certificates of authorities that are trusted beside the system's, as PEM.
    pub ca_file: Option<PathBuf>,
}

impl WebhookSettings {
    /// Tells this URL, unsigned, with the default patience.
    pub fn new(url: Url) -> WebhookSettings {
        WebhookSettings {
            url,
            secret: None,
            timeout: Duration::from_secs(5),
            max_attempts: 5,
            queue: 1000,
            ca_file: None,
        }
    }
}

/// A webhook that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// No receiver could be believed.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// A running webhook. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Webhook(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// `None` once it is stopped.
    running: Mutex<Option<Running>>,
    tally: Arc<Tally>,
    receiver: String,
}

#[derive(Debug)]
struct Running {
    queue: mpsc::Sender<Event>,
    worker: JoinHandle<()>,
}

/// What is sent.
#[derive(Debug)]
struct Event {
    body: Bytes,
    at_epoch_seconds: i64,
}

impl Webhook {
    /// Starts the task that sends events. Nothing is sent before the first event.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(settings: WebhookSettings) -> Result<Webhook, WebhookError> {
        Webhook::start_with(settings, BackOff::default())
    }

    fn start_with(settings: WebhookSettings, back_off: BackOff) -> Result<Webhook, WebhookError> {
        let (queue, events) = mpsc::channel(settings.queue.clamp(1, Semaphore::MAX_PERMITS));
        let tally = Arc::new(Tally::default());
        let receiver = settings.url.origin();
        let max_attempts = settings.max_attempts;
        let work = worker::Work {
            post: Receiver::new(settings)?,
            receiver: receiver.clone(),
            max_attempts,
            back_off,
            tally: Arc::clone(&tally),
        };
        let worker = tokio::spawn(work.deliver_all(events));
        let running = Mutex::new(Some(Running { queue, worker }));
        Ok(Webhook(Arc::new(Shared { running, tally, receiver })))
    }

    /// Puts an event in the queue and returns at once; false when it is dropped, because the queue is full or the
    /// webhook has stopped. `at_epoch_seconds` is when it happened; the receiver is told, and it is signed.
    pub fn send(&self, body: Bytes, at_epoch_seconds: i64) -> bool {
        let Shared { running, tally, receiver } = &*self.0;
        let running = running.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = running.as_ref().map(|running| running.queue.try_send(Event { body, at_epoch_seconds }));
        if let Some(Ok(())) = sent {
            tally.accepted();
            return true;
        }
        if let Some(dropped) = tally.dropped_one(Instant::now()) {
            warn!(%receiver, dropped, "webhook has no place for events, they are dropped");
        }
        false
    }

    /// What became of the events so far.
    pub fn counts(&self) -> Counts {
        self.0.tally.counts()
    }

    /// Takes no more events, goes on delivering those in the queue for as long as `patience` lasts, and drops the
    /// rest. Returns what became of all events.
    pub async fn stop(self, patience: Duration) -> Counts {
        let Shared { running, tally, receiver } = &*self.0;
        let running = running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { queue, mut worker }) = running {
            drop(queue);
            if timeout(patience, &mut worker).await.is_err() {
                worker.abort();
                // That it was aborted.
                let _ = worker.await;
            }
            let dropped = tally.drop_the_rest();
            if dropped > 0 {
                warn!(%receiver, dropped, "webhook stopped, events are dropped");
            }
        }
        tally.counts()
    }
}

#[cfg(test)]
mod tests;
