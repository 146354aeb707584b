//! A signal that is raised once, for many to see, at the price of one atomic load a look.

use super::kick::Kick;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::{future::Future, pin::Pin};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// A signal. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    raised: AtomicBool,
    notify: Notify,
}

impl Stop {
    /// Raises the signal, for good.
    pub fn raise(&self) {
        self.0.raised.store(true, Ordering::Release);
        self.0.notify.notify_waiters();
    }

    /// True once the signal was raised.
    pub fn is_raised(&self) -> bool {
        self.0.raised.load(Ordering::Acquire)
    }

    /// Completes once the signal is raised, or at once if it was.
    pub async fn raised(&self) {
        let notified = self.0.notify.notified();
        if !self.is_raised() {
            notified.await;
        }
    }

    pub(super) fn notified(&self) -> Notified<'_> {
        self.0.notify.notified()
    }
}

/// What ends a session from our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// All sessions are to end.
    Stop,
    /// This one is.
    Kick,
}

/// Looks for both signals from inside a hand-written poll function. Polling [`Notified`] takes a lock that all
/// connections share, so it is done once for each waker and not at each turn.
#[derive(Debug, Default)]
pub(super) struct Lookout {
    registered: Option<Waker>,
}

impl Lookout {
    /// Ready once `stop` or `kick` was raised; `notified` must be one of the former's own.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stop: &Stop,
        notified: Pin<&mut Notified<'_>>,
        kick: &Kick,
    ) -> Poll<Order> {
        if self.registered.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            self.registered = Some(cx.waker().clone());
            kick.wake(cx.waker());
            if notified.poll(cx).is_ready() {
                return Poll::Ready(Order::Stop);
            }
        }
        match (stop.is_raised(), kick.is_raised()) {
            (true, _) => Poll::Ready(Order::Stop),
            (false, true) => Poll::Ready(Order::Kick),
            (false, false) => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::pin::pin;
    use tokio_test::{assert_pending, assert_ready, task};

    #[test]
    fn whoever_waits_is_woken_and_whoever_comes_later_does_not_wait() {
        let stop = Stop::default();
        let mut waiting = task::spawn(stop.raised());
        assert_pending!(waiting.poll());
        stop.raise();
        assert!(waiting.is_woken());
        assert_ready!(waiting.poll());
        assert_ready!(task::spawn(stop.raised()).poll());
    }

    #[test]
    fn a_lookout_is_woken_by_the_signal_after_any_number_of_turns() {
        for order in [Order::Stop, Order::Kick] {
            let (stop, kick) = (Stop::default(), Kick::default());
            let mut notified = pin!(stop.notified());
            let mut lookout = Lookout::default();
            let mut looking = task::spawn(poll_fn(|cx| lookout.poll(cx, &stop, notified.as_mut(), &kick)));
            assert_pending!(looking.poll());
            assert_pending!(looking.poll());
            match order {
                Order::Stop => stop.raise(),
                Order::Kick => assert!(kick.raise() && !kick.raise()),
            }
            assert!(looking.is_woken());
            assert_eq!(assert_ready!(looking.poll()), order);
        }
    }

    #[test]
    fn a_kick_that_came_before_the_first_look_is_seen() {
        let (stop, kick) = (Stop::default(), Kick::default());
        kick.raise();
        let mut notified = pin!(stop.notified());
        let mut lookout = Lookout::default();
        let mut looking = task::spawn(poll_fn(|cx| lookout.poll(cx, &stop, notified.as_mut(), &kick)));
        assert_eq!(assert_ready!(looking.poll()), Order::Kick);
    }
}
