//! A signal that ends one session, at the price of one atomic load a look.

use futures_util::task::AtomicWaker;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

/// A signal for one session, which anybody may raise and the task of that session waits for.
#[derive(Debug, Default)]
pub struct Kick {
    raised: AtomicBool,
    waiting: AtomicWaker,
}

impl Kick {
    /// Raises the signal, for good. True when nobody had raised it.
    pub fn raise(&self) -> bool {
        let is_first = !self.raised.swap(true, Ordering::AcqRel);
        self.waiting.wake();
        is_first
    }

    /// True once the signal was raised.
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    /// Has this woken when the signal is raised; whoever looks afterwards misses nothing.
    pub(super) fn wake(&self, waker: &Waker) {
        self.waiting.register(waker);
    }
}
