//! How many expensive patterns there are, so that a request that would exceed their number is refused before it is
//! written. The lists in memory refuse too, but only when the ban is on disk already; and beside a stopped proxy there
//! are none.

use crate::admission::{As, Class, List, TooMany, Who};
use crate::bouncer::Bouncer;
use std::collections::HashMap;

/// The expensive patterns on disk, those of the transaction in hand included.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// Lists that may hold more than the disk does: the bans of the config file.
    bouncer: Option<Bouncer>,
    patterns: HashMap<Key, Class>,
    counts: HashMap<Slot, usize>,
    /// The counts without the transaction in hand.
    committed: HashMap<Slot, usize>,
    /// What the transaction in hand has changed, and what was there before.
    undo: Vec<(Key, Option<Class>)>,
}

type Key = (List, As, Box<str>);

/// What is limited by itself.
type Slot = (List, As, Class);

impl Crowd {
    pub(super) fn new(bouncer: Option<Bouncer>) -> Crowd {
        Crowd { bouncer, ..Crowd::default() }
    }

    /// Counts a pattern that is on disk already, whatever the limit.
    pub(super) fn count(&mut self, list: List, who: &Who) {
        if let Some(pattern) = who.pattern()
            && pattern.class().max().is_some()
        {
            self.set((list, who.kind(), pattern.source().into()), Some(pattern.class()));
        }
    }

    /// Counts a ban that is about to be written; names that are no patterns cost nothing.
    pub(super) fn admit(&mut self, list: List, who: &Who) -> Result<(), TooMany> {
        let Some(pattern) = who.pattern() else { return Ok(()) };
        let (kind, class) = (who.kind(), pattern.class());
        let key = (list, kind, pattern.source().into());
        let before = self.patterns.get(&key).copied();
        let Some(max) = class.max() else {
            if before.is_some() {
                self.set(key, None);
            }
            return Ok(());
        };
        if before == Some(class) {
            return Ok(());
        }
        if self.number((list, kind, class)) >= max {
            return Err(TooMany { pattern: pattern.source().into(), class, max });
        }
        self.set(key, Some(class));
        Ok(())
    }

    /// Counts a ban no more.
    pub(super) fn forget(&mut self, list: List, kind: As, who: &str) {
        if kind.is_pattern() && !self.patterns.is_empty() {
            self.set((list, kind, who.into()), None);
        }
    }

    /// Counts no ban of a list any more.
    pub(super) fn clear(&mut self, list: List) {
        let keys: Vec<Key> = self.patterns.keys().filter(|key| key.0 == list).cloned().collect();
        for key in keys {
            self.set(key, None);
        }
    }

    /// The point to which [`roll_back`](Crowd::roll_back) goes back.
    pub(super) fn mark(&self) -> usize {
        self.undo.len()
    }

    /// Undoes what came after `mark`; 0 is all of the transaction.
    pub(super) fn roll_back(&mut self, mark: usize) {
        while self.undo.len() > mark {
            if let Some((key, before)) = self.undo.pop() {
                self.exchange(&key, before);
            }
        }
    }

    /// The transaction is on disk, and in the lists.
    pub(super) fn settle(&mut self) {
        if !self.undo.is_empty() {
            self.undo.clear();
            self.committed.clone_from(&self.counts);
        }
    }

    /// How many there are: on disk, or in the lists once they follow, whichever is more.
    fn number(&self, slot: Slot) -> usize {
        let (list, kind, class) = slot;
        let stored = self.counts.get(&slot).copied().unwrap_or(0);
        let committed = self.committed.get(&slot).copied().unwrap_or(0);
        let listed =
            self.bouncer.as_ref().map_or(0, |bouncer| bouncer.admission().list(list).count_of(kind, class));
        stored.max((listed + stored).saturating_sub(committed))
    }

    fn set(&mut self, key: Key, class: Option<Class>) {
        let before = self.exchange(&key, class);
        if before != class {
            self.undo.push((key, before));
        }
    }

    fn exchange(&mut self, key: &Key, class: Option<Class>) -> Option<Class> {
        let before = match class {
            Some(class) => self.patterns.insert(key.clone(), class),
            None => self.patterns.remove(key),
        };
        if let Some(before) = before {
            let count = self.counts.entry((key.0, key.1, before)).or_default();
            *count = count.saturating_sub(1);
        }
        if let Some(class) = class {
            *self.counts.entry((key.0, key.1, class)).or_default() += 1;
        }
        before
    }
}
