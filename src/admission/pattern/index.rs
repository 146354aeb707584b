//! The index itself: who is kept where, and how a check and a change pass each other.
//!
//! A check takes no lock. It reads the filter and the small lists through one `ArcSwap`, and groups through a
//! concurrent map in which each group is exchanged as a whole. Changes take turns on a mutex. A rule stays in the
//! place it was put, and compaction exchanges batches within a place in one step, so no check finds a gap.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::{ArcSwap, ArcSwapOption};
use foldhash::fast::RandomState;

use super::check::Check;
use super::filter::{Filter, GRAM_WIDTHS, Key};
use super::group::{Decision, Entry, Group, Rule, Stands, merge};
use super::lookaround::Lookaround;
use super::plan::{Branch, Literal};
use super::program::{Program, Scratch};
use super::{Class, Engine, Pattern};

/// Rules, each with a value, at most one for each source.
///
/// ```
/// use mqtt_bouncer::admission::{Match, Pattern, PatternIndex};
///
/// let index = PatternIndex::new();
/// index.insert(Pattern::parse(r"^bot-\d+$", Match::Search)?, "no bots")?;
/// assert!(index.is_match(b"bot-17"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PatternIndex<T> {
    pub(super) texts: papaya::HashMap<Key, Group<T>, RandomState>,
    pub(super) current: ArcSwap<Current<T>>,
    writer: Mutex<Writer<T>>,
    /// Held by the one compaction that may run.
    compacting: Mutex<()>,
    ids: AtomicU64,
    counts: [AtomicUsize; Class::ALL.len()],
    pub(super) undecided: AtomicU64,
    is_due: AtomicBool,
}

impl<T: Clone + Send + Sync> PatternIndex<T> {
    /// An index without rules.
    pub fn new() -> Self {
        PatternIndex {
            texts: papaya::HashMap::default(),
            current: ArcSwap::from_pointee(Current {
                filter: Arc::new(Filter::with_room_for(0)),
                everywhere: Group::default(),
                lookaround: Box::default(),
            }),
            writer: Mutex::new(Writer::default()),
            compacting: Mutex::new(()),
            ids: AtomicU64::new(0),
            counts: Default::default(),
            undecided: AtomicU64::new(0),
            is_due: AtomicBool::new(false),
        }
    }

    /// Adds a rule, or gives the one of the same source a new value and mode; returns the value it had.
    ///
    /// While the mode changes, a check may meet the rule in both modes, never in none.
    /// Every check that begins after this returns sees it. Costs microseconds, however many rules there are.
    pub fn insert(&self, pattern: Pattern, value: T) -> Result<Option<T>, TooMany> {
        let mut writer = self.write();
        let outcome = self.put(&mut writer, pattern, value);
        self.note_due(&writer);
        outcome
    }

    /// Adds many rules, then compacts: the way to load a list. Returns those that were refused; the others are in.
    ///
    /// Checks go on; other changes wait until all rules are added.
    pub fn extend(&self, rules: impl IntoIterator<Item = (Pattern, T)>) -> Vec<TooMany> {
        let mut writer = self.write();
        let refused = rules
            .into_iter()
            .filter_map(|(pattern, value)| self.put(&mut writer, pattern, value).err())
            .collect();
        drop(writer);
        self.compact();
        refused
    }

    /// Takes a rule out. No check that begins after this returns sees it.
    pub fn remove(&self, source: &str) -> Option<T> {
        let mut writer = self.write();
        let listing = writer.rules.remove(source)?;
        let value = self.take_out(&mut writer, &listing);
        self.note_due(&writer);
        value
    }

    /// Shows `visit` the value of every rule that matches, once, in no order, until it breaks.
    ///
    /// Takes no lock and allocates nothing, lookaround rules and identifiers over [`EXACT_LEN`] aside.
    ///
    /// [`EXACT_LEN`]: super::EXACT_LEN
    pub fn for_each_match<B>(
        &self,
        haystack: &[u8],
        visit: impl FnMut(&T) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        // Taken, not borrowed: `visit` may ask an index again.
        let mut scratch = SCRATCH.take().unwrap_or_default();
        scratch.begin(haystack);
        let outcome = Check::new(self, haystack, &mut scratch, visit).run();
        scratch.end();
        SCRATCH.set(Some(scratch));
        outcome
    }

    /// Does any rule match?
    pub fn is_match(&self, haystack: &[u8]) -> bool {
        self.for_each_match(haystack, |_| ControlFlow::Break(())).is_break()
    }

    /// The value of the rule with this source.
    pub fn get(&self, source: &str) -> Option<T> {
        let value = self.write().rules.get(source)?.rule.value.load_full();
        value.map(Arc::unwrap_or_clone)
    }

    /// Would [`insert`](Self::insert) take this rule now?
    pub fn can_hold(&self, pattern: &Pattern) -> Result<(), TooMany> {
        self.has_room(&self.write(), pattern)
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Is there no rule?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many rules of a class there are.
    pub fn count(&self, class: Class) -> usize {
        self.count_of(class).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// How often a rule could not be decided and so counted as a match: lookaround over its step limit, or a
    /// name over [`EXACT_LEN`](super::EXACT_LEN) bytes.
    pub fn undecided(&self) -> u64 {
        self.undecided.load(Ordering::Relaxed)
    }

    /// Would [`compact`](Self::compact) make checks faster or give memory back? Until then, new rules without
    /// text of their own are tried one by one.
    pub fn needs_compaction(&self) -> bool {
        self.is_due.load(Ordering::Relaxed)
    }

    /// Compiles crowded places into automata and forgets removed rules.
    ///
    /// May take seconds: call it where blocking is allowed. Checks go on undisturbed, and so do changes but for
    /// short exchanges.
    pub fn compact(&self) {
        let _alone = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let due = {
            let mut writer = self.write();
            std::mem::take(&mut writer.due)
        };
        for place in due {
            let old = self.group_at(place, Group::to_merge);
            if old.is_empty() {
                continue;
            }
            let new = merge(&old, || self.next_id());
            let mut writer = self.write();
            let group = self.group_at(place, |group| group.exchanged(&old, new));
            self.store(&mut writer, place, group);
        }
        let mut writer = self.write();
        writer.programs.retain(|_, program| program.strong_count() > 0);
        if writer.is_filter_worn(&self.current.load().filter) {
            self.renew_filter(&mut writer);
        }
        self.note_due(&writer);
    }

    fn write(&self) -> MutexGuard<'_, Writer<T>> {
        // Every step of a change leaves a valid index, so what a panicking writer left can be used.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    fn count_of(&self, class: Class) -> Option<&AtomicUsize> {
        self.counts.get(class as usize)
    }

    fn note_due(&self, writer: &Writer<T>) {
        let is_due = !writer.due.is_empty() || writer.is_filter_worn(&self.current.load().filter);
        self.is_due.store(is_due, Ordering::Relaxed);
    }

    fn put(&self, writer: &mut Writer<T>, pattern: Pattern, value: T) -> Result<Option<T>, TooMany> {
        let value = Arc::new(value);
        let old = writer.rules.get(&pattern.source);
        if let Some(old) = old.filter(|old| old.rule.mode == pattern.mode) {
            return Ok(old.rule.value.swap(Some(value)).map(Arc::unwrap_or_clone));
        }
        self.has_room(writer, &pattern)?;
        let Pattern { source, mode, class, engine } = pattern;
        let value = ArcSwapOption::new(Some(value));
        let rule = Arc::new(Rule { id: self.next_id(), source: source.clone(), mode, class, value });
        let places = self.settle(writer, &rule, engine);
        if let Some(count) = self.count_of(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let old = writer.rules.insert(source, Listing { rule, places });
        Ok(old.and_then(|old| self.take_out(writer, &old)))
    }

    /// Is there room for this rule, or does it take the place of one like it?
    fn has_room(&self, writer: &Writer<T>, pattern: &Pattern) -> Result<(), TooMany> {
        let replaced = writer.rules.get(&pattern.source).map(|old| old.rule.class);
        match pattern.class.max() {
            Some(max) if replaced != Some(pattern.class) && self.count(pattern.class) >= max => {
                Err(TooMany { pattern: pattern.source.clone(), class: pattern.class, max })
            }
            _ => Ok(()),
        }
    }

    /// Puts a rule in all its places.
    fn settle(&self, writer: &mut Writer<T>, rule: &Arc<Rule<T>>, engine: Engine) -> Box<[Place]> {
        match engine {
            Engine::Branches(branches) => {
                branches.into_iter().map(|branch| self.settle_branch(writer, rule, branch)).collect()
            }
            Engine::Everywhere(program) => {
                let (literal, stands) = (Literal::default(), Stands::AtStart);
                let entry = self.entry(rule, literal, stands, Decision::Search(program));
                self.add(writer, Place::Everywhere, entry);
                Box::new([Place::Everywhere])
            }
            Engine::Lookaround(regex) => {
                self.change_current(|current| {
                    let others = current.lookaround.iter().cloned();
                    current.lookaround = others.chain([(rule.clone(), regex)]).collect();
                });
                Box::new([Place::Lookaround])
            }
        }
    }

    fn settle_branch(&self, writer: &mut Writer<T>, rule: &Arc<Rule<T>>, branch: Branch<Decision>) -> Place {
        let spot = self.best_spot(&branch);
        let place = spot.map_or(Place::Everywhere, |spot| Place::Text(spot.key));
        let (literal, stands) = match spot {
            Some(Spot { gram: Some((at, window_end)), .. }) if !branch.is_anchored => {
                let literal = branch.grams.into_iter().nth(at).unwrap_or_default();
                (literal, Stands::WindowEndsAt(window_end))
            }
            _ => (branch.prefix.unwrap_or_default(), Stands::AtStart),
        };
        let decision = match branch.verdict {
            Decision::Behind(program) => Decision::Behind(writer.shared(program)),
            other => other,
        };
        self.add(writer, place, self.entry(rule, literal, stands, decision));
        place
    }

    /// The first text in order of preference that is not crowded, or else the least crowded one.
    fn best_spot<V>(&self, branch: &Branch<V>) -> Option<Spot> {
        let guard = self.texts.guard();
        let mut best: Option<(usize, Spot)> = None;
        for spot in spots(branch) {
            let crowd = self.texts.get(&spot.key, &guard).map_or(0, Group::len);
            if crowd < CROWDED {
                return Some(spot);
            }
            if best.as_ref().is_none_or(|(least, _)| crowd < *least) {
                best = Some((crowd, spot));
            }
        }
        best.map(|(_, spot)| spot)
    }

    fn entry(
        &self,
        rule: &Arc<Rule<T>>,
        literal: Literal,
        stands: Stands,
        decision: Decision,
    ) -> Arc<Entry<T>> {
        Arc::new(Entry { id: self.next_id(), rule: rule.clone(), literal, stands, decision })
    }

    fn add(&self, writer: &mut Writer<T>, place: Place, entry: Arc<Entry<T>>) {
        let group = self.group_at(place, |group| group.with(entry, self.next_id()));
        self.store(writer, place, group);
    }

    /// Makes a rule that is listed no more invisible at once, then takes it out of its places.
    fn take_out(&self, writer: &mut Writer<T>, listing: &Listing<T>) -> Option<T> {
        let rule = &listing.rule;
        let value = rule.value.swap(None);
        if let Some(count) = self.count_of(rule.class) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
        for place in &listing.places {
            match place {
                Place::Text(_) | Place::Everywhere => {
                    let group = self.group_at(*place, |group| group.without(rule.id));
                    self.store(writer, *place, group);
                }
                Place::Lookaround => self.change_current(|current| {
                    let others = current.lookaround.iter().filter(|(other, _)| other.id != rule.id);
                    current.lookaround = others.cloned().collect();
                }),
            }
        }
        value.map(Arc::unwrap_or_clone)
    }

    fn group_at<R>(&self, place: Place, read: impl FnOnce(&Group<T>) -> R) -> R {
        match place {
            Place::Text(key) => match self.texts.get(&key, &self.texts.guard()) {
                Some(group) => read(group),
                None => read(&Group::default()),
            },
            Place::Everywhere => read(&self.current.load().everywhere),
            Place::Lookaround => read(&Group::default()),
        }
    }

    /// Exchanges a group: the one step by which a check sees a change of it.
    fn store(&self, writer: &mut Writer<T>, place: Place, group: Group<T>) {
        if group.is_due() {
            writer.due.insert(place);
        }
        match place {
            Place::Text(key) if group.is_empty() => {
                if self.texts.remove(&key, &self.texts.guard()).is_some() {
                    writer.stale_keys += 1;
                }
            }
            Place::Text(key) => {
                if self.texts.insert(key, group, &self.texts.guard()).is_none() {
                    writer.keys += 1;
                    self.current.load().filter.add(key);
                }
            }
            Place::Everywhere => self.change_current(|current| current.everywhere = group),
            Place::Lookaround => {}
        }
    }

    fn change_current(&self, change: impl FnOnce(&mut Current<T>)) {
        let mut current = Current::clone(&self.current.load());
        change(&mut current);
        self.current.store(Arc::new(current));
    }

    /// Exchanges the filter for one with the keys that exist. Nobody adds keys meanwhile: we are the writer.
    fn renew_filter(&self, writer: &mut Writer<T>) {
        let filter = Filter::with_room_for(self.texts.len() * 2);
        for key in self.texts.keys(&self.texts.guard()) {
            filter.add(*key);
        }
        writer.keys = self.texts.len();
        writer.stale_keys = 0;
        self.change_current(|current| current.filter = Arc::new(filter));
    }
}

impl<T> fmt::Debug for PatternIndex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PatternIndex").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl<T: Clone + Send + Sync> Default for PatternIndex<T> {
    fn default() -> Self {
        PatternIndex::new()
    }
}

/// A rule that is run for every identifier, and by what.
pub(super) type InTurn<T> = (Arc<Rule<T>>, Arc<Lookaround>);

/// What a check reads beside the map. Cloned and exchanged by writers.
pub(super) struct Current<T> {
    pub(super) filter: Arc<Filter>,
    /// Rules that no text tells apart.
    pub(super) everywhere: Group<T>,
    /// Never more than [`LOOKAROUND_MAX`].
    pub(super) lookaround: Box<[InTurn<T>]>,
}

impl<T> Clone for Current<T> {
    fn clone(&self) -> Self {
        Current {
            filter: self.filter.clone(),
            everywhere: self.everywhere.clone(),
            lookaround: self.lookaround.clone(),
        }
    }
}

/// What only changes need.
struct Writer<T> {
    rules: HashMap<Arc<str>, Listing<T>>,
    /// Programs in use, by their text.
    programs: HashMap<Box<str>, Weak<Program>>,
    /// Where a compaction has work to do.
    due: HashSet<Place>,
    /// Keys in the filter, and how many of them lead nowhere by now.
    keys: usize,
    stale_keys: usize,
}

impl<T> Writer<T> {
    fn shared(&mut self, program: Arc<Program>) -> Arc<Program> {
        if let Some(known) = self.programs.get(program.text()).and_then(Weak::upgrade) {
            return known;
        }
        self.programs.insert(program.text().into(), Arc::downgrade(&program));
        program
    }

    fn is_filter_worn(&self, filter: &Filter) -> bool {
        self.keys > filter.room() || self.stale_keys > STALE_KEYS_MIN.max(self.keys / 2)
    }
}

impl<T> Default for Writer<T> {
    fn default() -> Self {
        Writer {
            rules: HashMap::default(),
            programs: HashMap::default(),
            due: HashSet::default(),
            keys: 0,
            stale_keys: 0,
        }
    }
}

/// A rule and where its branches were put.
struct Listing<T> {
    rule: Arc<Rule<T>>,
    places: Box<[Place]>,
}

/// Where an entry is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Text(Key),
    Everywhere,
    Lookaround,
}

/// A text that a branch may be kept under.
#[derive(Clone, Copy)]
struct Spot {
    key: Key,
    /// Which of the branch's grams, and where in it the key's text ends. None for the prefix.
    gram: Option<(usize, usize)>,
}

/// In order of preference: a prefix is asked for once in a check, a gram at each byte; and long texts are rare.
fn spots<V>(branch: &Branch<V>) -> impl Iterator<Item = Spot> {
    let prefix = |is_long: bool| {
        let prefix = branch.prefix.as_ref().filter(|prefix| (prefix.text.len() >= LONG) == is_long);
        prefix.and_then(|prefix| Some(Spot { key: Key::of_prefix(&prefix.text)?, gram: None }))
    };
    let grams = move |are_long: bool| {
        let grams = branch.grams.iter().enumerate();
        let grams = grams.filter(move |(_, literal)| (literal.text.len() >= LONG) == are_long);
        grams.flat_map(|(at, literal)| {
            let width = literal.text.len().min(usize::from(*GRAM_WIDTHS.end()));
            let windows = literal.text.windows(width).enumerate();
            windows.filter_map(move |(start, text)| {
                Some(Spot { key: Key::of_gram(text)?, gram: Some((at, start + width)) })
            })
        })
    };
    prefix(true).into_iter().chain(grams(true)).chain(prefix(false)).chain(grams(false)).take(SPOTS_MAX)
}

/// The index has as many rules of this class as it takes, because each makes every check slower.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there are {max} {class} rules already, and no more are taken: each is tried on every identifier")]
pub struct TooMany {
    /// The source of the rule that was refused.
    pub pattern: Arc<str>,
    /// Its class.
    pub class: Class,
    /// The most there may be.
    pub max: usize,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// The most rules without any literal text.
pub(super) const UNFILTERABLE_MAX: usize = 1024;

/// The most rules with lookaround or backreferences.
pub(super) const LOOKAROUND_MAX: usize = 256;

/// With so many rules under one text, a new one looks for another text.
const CROWDED: usize = 8;

/// Texts this long are in few identifiers.
const LONG: usize = 4;

/// How many texts are considered for one branch.
const SPOTS_MAX: usize = 64;

/// Fewer stale keys are not worth a new filter.
const STALE_KEYS_MIN: usize = 1024;
