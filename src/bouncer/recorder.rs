//! Remembers what detection was told of late, so that it can be told again with other limits (`replay`).
//!
//! Facts are written one after the other into blocks of bytes, some fifty to a fact, by each thread into blocks of its
//! own: to write one down is to take a lock that nobody else wants, and to copy. What all blocks take together is
//! bounded; the oldest one goes first, and it is known how far back what is left reaches.

use super::facts::Fact;
use crate::admission::Timestamp;
use crate::admission::detection::{Moment, ZonePolicy};
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What detection was told of late.
#[derive(Debug)]
pub(super) struct Recorder {
    shards: [Mutex<Shard>; SHARDS],
    /// How many whole blocks there are, and how many there may be.
    blocks: AtomicUsize,
    max_blocks: usize,
    /// From which moment on nothing is missing, in microseconds.
    since: AtomicU64,
}

/// What some threads have written.
#[derive(Debug, Default)]
struct Shard {
    whole: VecDeque<Arc<Block>>,
    current: Block,
}

/// Facts, the oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    /// When it begins, by both clocks; that of the wall in milliseconds since 1970.
    pub(super) began: (Moment, i64),
    /// When its last fact was told.
    last: Moment,
    pub(super) policies: Vec<Arc<ZonePolicy>>,
    pub(super) servers: Vec<Box<str>>,
    pub(super) facts: Vec<u8>,
}

impl Recorder {
    /// A recorder of at most so many bytes, which begins now; none where that is not even a block for each thread.
    pub(super) fn new(max_bytes: usize, now: Moment) -> Option<Recorder> {
        let max_blocks = (max_bytes / BLOCK).checked_sub(SHARDS)?;
        Some(Recorder {
            shards: Default::default(),
            blocks: AtomicUsize::new(0),
            max_blocks,
            since: AtomicU64::new(now.as_micros()),
        })
    }

    /// Writes down what detection is told; `at` is now by the clock on the wall, which is seldom asked.
    pub(super) fn write(
        &self,
        policy: Option<&Arc<ZonePolicy>>,
        fact: &Fact<'_>,
        now: Moment,
        at: impl Fn() -> Timestamp,
    ) {
        let mine = MINE.get();
        let mine = if mine == usize::MAX { choose() } else { mine };
        let Some(shard) = self.shards.get(mine) else { return };
        let mut shard = lock(shard);
        let Shard { whole, current } = &mut *shard;
        if !current.takes(policy, fact, now, &at) {
            // It begins with this one.
            let full = std::mem::take(current);
            current.takes(policy, fact, now, &at);
            if !full.facts.is_empty() {
                whole.push_back(Arc::new(full));
                let count = self.blocks.fetch_add(1, Ordering::Relaxed) + 1;
                drop(shard);
                for _ in self.max_blocks..count {
                    self.forget_oldest();
                }
            }
        }
    }

    fn forget_oldest(&self) {
        let began = |shard: &Mutex<Shard>| lock(shard).whole.front().map(|block| block.began.0);
        let oldest = self
            .shards
            .iter()
            .filter_map(|shard| Some((began(shard)?, shard)))
            .min_by_key(|(began, _)| *began);
        if let Some(block) = oldest.and_then(|(_, shard)| lock(shard).whole.pop_front()) {
            self.blocks.fetch_sub(1, Ordering::Relaxed);
            self.since.fetch_max(block.last.as_micros().saturating_add(1), Ordering::Relaxed);
        }
    }

    /// All that is remembered, and from which moment on nothing is missing.
    pub(super) fn all(&self) -> (Vec<Arc<Block>>, Moment) {
        let mut blocks = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            blocks.extend(shard.whole.iter().cloned());
            blocks.push(Arc::new(shard.current.clone()));
        }
        (blocks, Moment::from_micros(self.since.load(Ordering::Relaxed)))
    }
}

impl Block {
    /// Writes this down; false when it is full.
    fn takes(
        &mut self,
        policy: Option<&Arc<ZonePolicy>>,
        fact: &Fact<'_>,
        now: Moment,
        at: impl Fn() -> Timestamp,
    ) -> bool {
        if self.facts.capacity() == 0 {
            self.facts.reserve_exact(BLOCK);
            self.began = (now, at().as_millis());
        } else if self.facts.len() + LONGEST > BLOCK {
            return false;
        }
        let Some(policy) = policy.map_or(Some(0), |policy| {
            place_of(&mut self.policies, |there| Arc::ptr_eq(there, policy), || Arc::clone(policy))
        }) else {
            return false;
        };
        let Some(server) = fact.server().map_or(Some(0), |server| {
            place_of(&mut self.servers, |there| **there == *server, || server.into())
        }) else {
            return false;
        };
        let since = now.since(self.began.0);
        fact.write(u64::try_from(since.as_micros()).unwrap_or(u64::MAX), policy, server, &mut self.facts);
        self.last = self.last.max(now);
        true
    }
}

/// Where in this short list something is; it is put there if it is not. None when there is no room.
fn place_of<T>(list: &mut Vec<T>, is_it: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> Option<u8> {
    let place = list.iter().position(is_it).unwrap_or(list.len());
    let number = u8::try_from(place).ok()?;
    if place == list.len() {
        list.push(make());
    }
    Some(number)
}

/// A thread that panicked has left whole facts.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The shard of this thread.
#[cold]
fn choose() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let mine = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    MINE.set(mine);
    mine
}

/// Threads beyond this number share.
const SHARDS: usize = 8;

/// The size of a block, in bytes.
const BLOCK: usize = 64 << 10;

/// No fact takes more, in bytes.
pub(super) const LONGEST: usize = 2 << 10;
