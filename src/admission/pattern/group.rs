//! The rules kept in one place: under one text, or among those that no text tells apart.
//!
//! A group is an immutable value: a change makes a new one, so a check sees all of it before or all of it after.
//! New rules gather in a short tail, a full tail is sealed as a batch, and compaction compiles batches into one
//! automaton. So an insert copies a few pointers, and a crowded place still costs one pass over the identifier.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson::Compiler;
use regex_automata::{Anchored, Input, MatchKind};
use regex_syntax::hir::Hir;

use super::plan::Literal;
use super::program::{BATCH_LIMIT, Program, Scratch, thompson_config};
use super::{Class, Match, simplified};

/// A rule in the index.
pub(super) struct Rule<T> {
    pub(super) id: u64,
    pub(super) source: Arc<str>,
    pub(super) mode: Match,
    pub(super) class: Class,
    /// What the rule stands for. Gone once the rule is removed, wherever a check may still meet it.
    pub(super) value: ArcSwapOption<T>,
}

/// One branch of a rule, in its place.
pub(super) struct Entry<T> {
    pub(super) id: u64,
    pub(super) rule: Arc<Rule<T>>,
    /// The identifier must have this at `stands`; may be empty.
    pub(super) literal: Literal,
    pub(super) stands: Stands,
    pub(super) decision: Decision,
}

/// Where an entry's literal must stand.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stands {
    AtStart,
    /// So that the text it was found by ends this far behind the literal's start.
    WindowEndsAt(usize),
}

/// What decides an entry once its literal was found: a [`Verdict`](super::plan::Verdict), compiled.
#[derive(Debug, Clone)]
pub(super) enum Decision {
    Here,
    AtEnd,
    Behind(Arc<Program>),
    Search(Arc<Program>),
}

impl<T> Entry<T> {
    /// Does the rule match by this branch? `window_end` is where the text ends that led here. `None` if the
    /// budget did not allow to find out.
    pub(super) fn matches(&self, haystack: &[u8], window_end: usize, scratch: &mut Scratch) -> Option<bool> {
        let start = match self.stands {
            Stands::AtStart => Some(0),
            Stands::WindowEndsAt(offset) => window_end.checked_sub(offset),
        };
        let Some(end) = start.and_then(|start| self.literal.end_at(start, haystack)) else {
            return Some(false);
        };
        match &self.decision {
            Decision::Here => Some(true),
            Decision::AtEnd => Some(end == haystack.len()),
            // The text may be met many times in one identifier; these answers do not depend on where.
            Decision::Behind(_) | Decision::Search(_) if !scratch.first(self.id) => Some(false),
            Decision::Behind(program) => program.matches(haystack, end, Anchored::Yes, scratch),
            Decision::Search(program) => program.matches(haystack, 0, Anchored::No, scratch),
        }
    }
}

/// The entries of one place.
pub(super) struct Group<T> {
    pub(super) batches: Box<[Arc<Batch<T>>]>,
    /// Never longer than [`TAIL_MAX`].
    pub(super) tail: Box<[Arc<Entry<T>>]>,
}

impl<T> Group<T> {
    pub(super) fn len(&self) -> usize {
        self.tail.len() + self.batches.iter().map(|batch| batch.entries.len()).sum::<usize>()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tail.is_empty() && self.batches.is_empty()
    }

    /// Is there something that compaction would compile?
    pub(super) fn is_due(&self) -> bool {
        self.batches.iter().any(|batch| matches!(batch.form, Form::Waiting) || batch.is_mostly_dead())
    }

    /// With one more entry; `id` is for the batch that this may seal.
    pub(super) fn with(&self, entry: Arc<Entry<T>>, id: u64) -> Group<T> {
        let tail: Box<[_]> = self.tail.iter().cloned().chain([entry]).collect();
        if tail.len() <= TAIL_MAX {
            return Group { batches: self.batches.clone(), tail };
        }
        let sealed = Arc::new(Batch::new(id, tail, Form::Waiting));
        Group { batches: self.batches.iter().cloned().chain([sealed]).collect(), tail: Box::default() }
    }

    /// Without a rule, except where an automaton holds it: there it is dead until the next compaction.
    pub(super) fn without(&self, rule: u64) -> Group<T> {
        let keep = |entries: &[Arc<Entry<T>>]| -> Box<[Arc<Entry<T>>]> {
            entries.iter().filter(|entry| entry.rule.id != rule).cloned().collect()
        };
        let batches = self.batches.iter().filter_map(|batch| {
            if batch.is_automaton() {
                batch.note_dead(rule);
                return Some(batch.clone());
            }
            let entries = keep(&batch.entries);
            if entries.len() == batch.entries.len() {
                return Some(batch.clone());
            }
            // The same id: a compaction that has read this batch replaces what is left of it, too.
            let form = if matches!(batch.form, Form::InTurn) { Form::InTurn } else { Form::Waiting };
            (!entries.is_empty()).then(|| Arc::new(Batch::new(batch.id, entries, form)))
        });
        Group { batches: batches.collect(), tail: keep(&self.tail) }
    }

    /// The batches that one compaction should make one of: all that wait, all that are mostly dead, and compiled
    /// ones that are not much larger, so that each rule is compiled a logarithmic number of times.
    pub(super) fn to_merge(&self) -> Vec<Arc<Batch<T>>> {
        let mut by_size: Vec<_> = self.batches.iter().collect();
        by_size.sort_by_key(|batch| (batch.is_automaton() && !batch.is_mostly_dead(), batch.entries.len()));
        let mut merged = Vec::new();
        let mut size = 0;
        for batch in by_size {
            let joins = match batch.form {
                Form::Waiting => true,
                Form::InTurn => false,
                Form::Automaton(_) => batch.is_mostly_dead() || batch.entries.len() <= 2 * size,
            };
            if joins {
                size += batch.entries.len();
                merged.push(batch.clone());
            }
        }
        merged
    }

    /// With the batches of those ids exchanged for others, whose rules may have died since they were compiled.
    pub(super) fn exchanged(&self, old: &[Arc<Batch<T>>], new: Vec<Arc<Batch<T>>>) -> Group<T> {
        let is_old = |batch: &Arc<Batch<T>>| old.iter().any(|old| old.id == batch.id);
        let kept = self.batches.iter().filter(|batch| !is_old(batch)).cloned();
        let new = new.into_iter().filter(|batch| batch.count_dead() < batch.entries.len());
        Group { batches: kept.chain(new).collect(), tail: self.tail.clone() }
    }
}

impl<T> Default for Group<T> {
    fn default() -> Self {
        Group { batches: Box::default(), tail: Box::default() }
    }
}

impl<T> Clone for Group<T> {
    fn clone(&self) -> Self {
        Group { batches: self.batches.clone(), tail: self.tail.clone() }
    }
}

/// Entries that are looked at together.
pub(super) struct Batch<T> {
    pub(super) id: u64,
    /// In an automaton in the order of the rules' ids. It decides whole rules and so reads none of them, but the
    /// next compaction may have to look at each branch again.
    pub(super) entries: Box<[Arc<Entry<T>>]>,
    pub(super) form: Form<T>,
    /// How many rules in the automaton are removed.
    dead: AtomicUsize,
}

impl<T> Batch<T> {
    fn new(id: u64, entries: Box<[Arc<Entry<T>>]>, form: Form<T>) -> Batch<T> {
        Batch { id, entries, form, dead: AtomicUsize::new(0) }
    }

    fn is_automaton(&self) -> bool {
        matches!(self.form, Form::Automaton(_))
    }

    fn is_mostly_dead(&self) -> bool {
        2 * self.dead.load(Ordering::Relaxed) >= self.entries.len()
    }

    fn note_dead(&self, rule: u64) {
        if self.entries.binary_search_by_key(&rule, |entry| entry.rule.id).is_ok() {
            self.dead.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count_dead(&self) -> usize {
        let dead = self.entries.iter().filter(|entry| entry.rule.value.load().is_none()).count();
        self.dead.store(dead, Ordering::Relaxed);
        dead
    }
}

/// How a batch is searched.
pub(super) enum Form<T> {
    /// One by one, until a compaction compiles it.
    Waiting,
    /// One by one: together they would be too large an automaton.
    InTurn,
    Automaton(Box<Automaton<T>>),
}

/// Compiles the living rules of some batches into as few automata as the size limits allow.
pub(super) fn merge<T>(batches: &[Arc<Batch<T>>], next_id: impl Fn() -> u64) -> Vec<Arc<Batch<T>>> {
    let mut entries: Vec<_> = batches
        .iter()
        .flat_map(|batch| batch.entries.iter().cloned())
        .filter(|entry| entry.rule.value.load().is_some())
        .collect();
    entries.sort_by_key(|entry| entry.rule.id);
    let mut made = Vec::new();
    let mut open: Vec<Vec<_>> = entries.chunks(BATCH_LIMIT).map(<[_]>::to_vec).collect();
    while let Some(mut entries) = open.pop() {
        let mut rules: Vec<_> = entries.iter().map(|entry| entry.rule.clone()).collect();
        rules.dedup_by_key(|rule| rule.id);
        let form = match Automaton::compile(rules) {
            Some(automaton) => Form::Automaton(Box::new(automaton)),
            None if entries.len() <= IN_TURN_MAX => Form::InTurn,
            None => {
                open.push(entries.split_off(entries.len() / 2));
                open.push(entries);
                continue;
            }
        };
        made.push(Arc::new(Batch::new(next_id(), entries.into(), form)));
    }
    made
}

/// A table that finds all of its rules in one pass.
pub(super) struct Automaton<T> {
    /// In the order of the patterns.
    pub(super) rules: Box<[Arc<Rule<T>>]>,
    table: dense::DFA<Vec<u32>>,
    anchored: Anchored,
}

impl<T> Automaton<T> {
    /// `None` if the table would be too large, or cannot express a rule (Unicode word boundaries).
    fn compile(rules: Vec<Arc<Rule<T>>>) -> Option<Automaton<T>> {
        let parse = |rule: &Arc<Rule<T>>| simplified(&rule.source, rule.mode).ok();
        let expressions: Vec<Hir> = rules.iter().map(parse).collect::<Option<_>>()?;
        let limit = TABLE_SIZE_PER_RULE * rules.len() + TABLE_SIZE_MIN;
        let nfa = Compiler::new().configure(thompson_config(limit)).build_many_from_hir(&expressions).ok()?;
        let (anchored, start_kind) = if nfa.is_always_start_anchored() {
            (Anchored::Yes, StartKind::Anchored)
        } else {
            (Anchored::No, StartKind::Unanchored)
        };
        let config = dense::Config::new()
            .match_kind(MatchKind::All)
            .start_kind(start_kind)
            .accelerate(false)
            .dfa_size_limit(Some(limit))
            .determinize_size_limit(Some(limit));
        let table = dense::Builder::new().configure(config).build_from_nfa(&nfa).ok()?;
        Some(Automaton { rules: rules.into(), table, anchored })
    }

    /// Leaves the rules that match in `scratch.patterns`. `None` if the budget did not allow to find out.
    pub(super) fn search(&self, haystack: &[u8], scratch: &mut Scratch) -> Option<()> {
        // Each byte may report every rule, an eighth of which is as much work as a step of a program.
        if !scratch.budget.allows(haystack.len(), self.table.pattern_len().div_ceil(8)) {
            return None;
        }
        scratch.patterns.clear();
        let input = Input::new(haystack).anchored(self.anchored);
        self.table.try_which_overlapping_matches(&input, &mut scratch.patterns).ok()
    }
}

/// Entries in a tail are looked at one by one.
pub(super) const TAIL_MAX: usize = 12;

/// So few rules are not worth dividing further.
const IN_TURN_MAX: usize = 4;

/// What an automaton may take for each of its rules, in bytes.
const TABLE_SIZE_PER_RULE: usize = 8 * 1024;

const TABLE_SIZE_MIN: usize = 32 * 1024;
