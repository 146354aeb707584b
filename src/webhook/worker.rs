//! Sends one event after the other, each until it is delivered or hopeless.

use super::Event;
use super::back_off::BackOff;
use super::receiver::PostError;
use super::tally::Tally;
use crate::telemetry::Chain;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{debug, warn};

/// Makes one attempt to deliver an event.
pub(super) trait Post {
    fn post(&self, event: &Event) -> impl Future<Output = Result<(), PostError>> + Send;
}

pub(super) struct Work<P> {
    pub(super) post: P,
    /// Its name in the log.
    pub(super) receiver: String,
    pub(super) max_attempts: u32,
    pub(super) back_off: BackOff,
    pub(super) tally: Arc<Tally>,
}

impl<P: Post> Work<P> {
    /// Delivers events until nobody can send any more and the queue is empty.
    pub(super) async fn deliver_all(self, mut events: mpsc::Receiver<Event>) {
        while let Some(event) = events.recv().await {
            self.deliver(&event).await;
        }
    }

    async fn deliver(&self, event: &Event) {
        let receiver = &self.receiver;
        let mut attempts = 0;
        loop {
            let Err(error) = self.post.post(event).await else {
                self.tally.delivered();
                return;
            };
            attempts += 1;
            if attempts >= self.max_attempts || !error.may_pass() {
                self.tally.failed();
                warn!(%receiver, attempts, error = %Chain(&error), "webhook event is given up");
                return;
            }
            let wait = self.back_off.wait(attempts, error.retry_after(), dice());
            debug!(
                %receiver,
                attempts,
                error = %Chain(&error),
                seconds = wait.as_secs_f64(),
                "webhook waits to try again"
            );
            sleep(wait).await;
        }
    }
}

/// A number that nobody can foretell: each `RandomState` has other keys.
fn dice() -> u64 {
    RandomState::new().hash_one(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use hyper::StatusCode;
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::time::Duration;
    use tokio::time::Instant;

    /// Answers as it is told, then takes everything; knows what was posted, and when.
    #[derive(Clone, Default)]
    struct Script {
        errors: Arc<Mutex<VecDeque<PostError>>>,
        posted: Arc<Mutex<Vec<(Bytes, Duration)>>>,
    }

    struct Attempts(Script, Instant);

    impl Post for Attempts {
        async fn post(&self, event: &Event) -> Result<(), PostError> {
            let Attempts(script, start) = self;
            script.posted.lock().unwrap().push((event.body.clone(), start.elapsed()));
            script.errors.lock().unwrap().pop_front().map_or(Ok(()), Err)
        }
    }

    /// Delivers these events while the attempts fail like this; tells of what was posted after how long.
    async fn delivered(
        events: &[&'static str],
        errors: impl IntoIterator<Item = PostError>,
    ) -> (Vec<(Bytes, Duration)>, Arc<Tally>) {
        let script =
            Script { errors: Arc::new(Mutex::new(errors.into_iter().collect())), ..Script::default() };
        let tally = Arc::new(Tally::default());
        let work = Work {
            post: Attempts(script.clone(), Instant::now()),
            receiver: "http://test".to_owned(),
            max_attempts: 5,
            back_off: BackOff::default(),
            tally: Arc::clone(&tally),
        };
        let (queue, receiver) = mpsc::channel(events.len());
        for event in events {
            let body = Bytes::from_static(event.as_bytes());
            queue.try_send(Event { body, at_epoch_seconds: 0 }).expect("room");
        }
        drop(queue);
        work.deliver_all(receiver).await;
        let posted = script.posted.lock().unwrap().clone();
        (posted, tally)
    }

    fn busy(retry_after: Option<Duration>) -> PostError {
        PostError::Busy { status: StatusCode::SERVICE_UNAVAILABLE, retry_after }
    }

    fn bodies(posted: &[(Bytes, Duration)]) -> Vec<&str> {
        posted.iter().map(|(body, _)| std::str::from_utf8(body).expect("text")).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_further_and_further_apart() {
        let (posted, tally) = delivered(&["a"], [(); 4].map(|()| busy(None))).await;
        let waits: Vec<_> = posted.windows(2).map(|pair| pair[1].1.abs_diff(pair[0].1)).collect();
        // Timers have milliseconds.
        let slack = Duration::from_millis(1);
        for (wait, step) in waits.iter().zip([1, 2, 4, 8].map(Duration::from_secs)) {
            assert!(*wait >= step / 2 && *wait <= step + slack, "{waits:?}");
        }
        assert_eq!((waits.len(), tally.counts().delivered), (4, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_receiver_is_left_alone_for_as_long_as_it_asks_up_to_a_minute() {
        let asked = [30, 3600].map(|seconds| busy(Some(Duration::from_secs(seconds))));
        let (posted, _) = delivered(&["a"], asked).await;
        assert_eq!(posted.iter().map(|(_, at)| at.as_secs()).collect::<Vec<_>>(), [0, 30, 90]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_last_attempt_the_next_event_has_its_turn() {
        let (posted, tally) = delivered(&["a", "b"], [(); 5].map(|()| busy(None))).await;
        assert_eq!(bodies(&posted), ["a", "a", "a", "a", "a", "b"]);
        assert_eq!((tally.counts().failed, tally.counts().delivered), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_that_has_to_be_tried_again_is_not_overtaken() {
        let (posted, _) = delivered(&["a", "b", "c"], [busy(None)]).await;
        assert_eq!(bodies(&posted), ["a", "a", "b", "c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_event_is_not_tried_again() {
        let refused = PostError::Refused { status: StatusCode::BAD_REQUEST };
        let (posted, tally) = delivered(&["a", "b"], [refused]).await;
        assert_eq!(bodies(&posted), ["a", "b"]);
        assert_eq!((tally.counts().failed, tally.counts().delivered), (1, 1));
    }
}
