//! What is remembered of single clients, each client's side by side: a visit asks for most of it, and takes one lock.
//!
//! The upper bits of all these keys are those of one name ([`Secret::key_of`](super::key::Secret::key_of)), and choose
//! the part. Whoever asks for a key has the part of that key in hand, and no other one.

use super::moment::Moment;
use super::table::{Compact, PARTS, Part, part_of};
use super::window::Single;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// All clients that are known.
#[derive(Debug)]
pub(super) struct Known {
    parts: Box<[Mutex<Clients>]>,
}

/// Those of one part.
#[derive(Debug)]
pub(super) struct Clients {
    /// Who was seen where, and how often.
    pub(super) seen: Part<Compact>,
    /// Who once was a resident, and whose a client identifier is.
    pub(super) marks: Part<Compact>,
    /// The last events that count against a client identifier.
    pub(super) singles: Part<Single>,
}

/// The part in hand.
#[derive(Debug)]
pub(super) struct Hand<'a> {
    known: &'a Known,
    held: Option<(usize, MutexGuard<'a, Clients>)>,
}

impl Known {
    pub(super) fn new(max: usize) -> Known {
        let part =
            || Clients { seen: Part::new(max), marks: Part::new(max / 2), singles: Part::new(max / 2) };
        Known { parts: (0..PARTS).map(|_| Mutex::new(part())).collect() }
    }

    /// A hand that holds nothing yet.
    pub(super) fn hand(&self) -> Hand<'_> {
        Hand { known: self, held: None }
    }

    pub(super) fn tidy(&self, turn: usize, now: Moment) {
        let mut clients = self.lock(turn % PARTS);
        clients.seen.tidy(now);
        clients.marks.tidy(now);
        clients.singles.tidy(now);
    }

    /// Keys and bytes.
    pub(super) fn usage(&self) -> (usize, usize) {
        let usages = (0..PARTS).flat_map(|at| {
            let clients = self.lock(at);
            [clients.seen.usage(), clients.marks.usage(), clients.singles.usage()]
        });
        usages.fold((0, 0), |sum, usage| (sum.0 + usage.0, sum.1 + usage.1))
    }

    fn lock(&self, at: usize) -> MutexGuard<'_, Clients> {
        #[expect(clippy::indexing_slicing, reason = "there are PARTS of them")]
        self.parts[at % PARTS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hand<'_> {
    /// The clients among whom this key belongs.
    pub(super) fn clients(&mut self, key: u64) -> &mut Clients {
        let at = part_of(key);
        if self.held.as_ref().is_some_and(|(held, _)| *held != at) {
            // Never two at once: nobody waits for one while holding another.
            self.held = None;
        }
        let known = self.known;
        &mut self.held.get_or_insert_with(|| (at, known.lock(at))).1
    }
}
