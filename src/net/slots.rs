//! A limit on how many connections live at once, which can be moved while they live.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Places for connections. Clones share them.
#[derive(Debug, Clone)]
pub struct Slots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    taken: AtomicUsize,
    limit: AtomicUsize,
    freed: Notify,
}

/// One taken place; dropping it frees the place.
#[derive(Debug)]
pub struct Slot(Arc<Shared>);

impl Slots {
    /// So many places, all free.
    pub fn new(limit: usize) -> Slots {
        Slots(Arc::new(Shared {
            taken: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            freed: Notify::new(),
        }))
    }

    /// Takes a place if there is a free one.
    pub fn try_take(&self) -> Option<Slot> {
        let limit = self.0.limit.load(Ordering::Relaxed);
        let free = |taken| (taken < limit).then_some(taken + 1);
        self.0.taken.fetch_update(Ordering::AcqRel, Ordering::Relaxed, free).ok()?;
        Some(Slot(Arc::clone(&self.0)))
    }

    /// Takes a place, as soon as one is free.
    pub async fn take(&self) -> Slot {
        loop {
            let freed = self.0.freed.notified();
            if let Some(slot) = self.try_take() {
                return slot;
            }
            freed.await;
        }
    }

    /// Moves the limit. Connections above a lower limit live on; new ones wait until it is undercut.
    pub fn resize(&self, limit: usize) {
        self.0.limit.store(limit, Ordering::Relaxed);
        // There may be room for several now, and each address of a listener has somebody who waits.
        self.0.freed.notify_waiters();
    }

    /// How many places are taken.
    pub fn taken(&self) -> usize {
        self.0.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_test::{assert_pending, assert_ready, task};

    #[test]
    fn the_limit_holds_and_a_freed_place_wakes_whoever_waits() {
        let slots = Slots::new(1);
        let first = slots.try_take().expect("a free place");
        assert!(slots.try_take().is_none());
        let mut waiting = task::spawn(slots.take());
        assert_pending!(waiting.poll());
        drop(first);
        assert!(waiting.is_woken());
        let _second = assert_ready!(waiting.poll());
        assert_eq!(slots.taken(), 1);
    }

    #[test]
    fn a_raised_limit_wakes_whoever_waits_and_a_lowered_one_holds() {
        let slots = Slots::new(1);
        let first = slots.try_take();
        let mut waiting = task::spawn(slots.take());
        assert_pending!(waiting.poll());
        slots.resize(2);
        let second = assert_ready!(waiting.poll());
        slots.resize(1);
        drop(first);
        assert!(slots.try_take().is_none());
        drop(second);
        assert!(slots.try_take().is_some());
    }

    #[test]
    fn a_raised_limit_wakes_as_many_as_it_has_room_for() {
        let slots = Slots::new(0);
        let mut waiting = [(); 3].map(|()| task::spawn(slots.take()));
        for one in &mut waiting {
            assert_pending!(one.poll());
        }
        slots.resize(2);
        let inside: Vec<_> = waiting.iter_mut().filter(|one| one.is_woken()).map(task::Spawn::poll).collect();
        assert_eq!(inside.iter().filter(|slot| slot.is_ready()).count(), 2);
        assert_eq!(slots.taken(), 2);
    }
}
