//! One check: from an identifier to the rules that match it.
//!
//! First the rules that begin with its beginnings, then those under the texts within it, then the few that are
//! run for every identifier. The filter answers nearly every question with "no"; the map is pinned only if it
//! once does not.

use std::cell::OnceCell;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use papaya::LocalGuard;

use super::filter::{Filter, Key, Prefixes, slide};
use super::group::{Automaton, Entry, Form, Group, Rule};
use super::index::PatternIndex;
use super::program::Scratch;

/// One identifier on its way through the index.
pub(super) struct Check<'a, T, F> {
    index: &'a PatternIndex<T>,
    haystack: &'a [u8],
    scratch: &'a mut Scratch,
    visit: F,
}

impl<'a, T: Clone + Send + Sync, B, F: FnMut(&T) -> ControlFlow<B>> Check<'a, T, F> {
    pub(super) fn new(
        index: &'a PatternIndex<T>,
        haystack: &'a [u8],
        scratch: &'a mut Scratch,
        visit: F,
    ) -> Check<'a, T, F> {
        Check { index, haystack, scratch, visit }
    }

    pub(super) fn run(mut self) -> ControlFlow<B> {
        let current = self.index.current.load();
        self.by_text(&current.filter)?;
        self.group(&current.everywhere, 0)?;
        for (rule, regex) in &current.lookaround {
            let answer = regex.matches(self.haystack);
            self.answer(rule, answer)?;
        }
        ControlFlow::Continue(())
    }

    fn by_text(&mut self, filter: &Filter) -> ControlFlow<B> {
        let guard = OnceCell::new();
        for key in Prefixes::of(self.haystack).take(filter.longest_prefix()) {
            self.look_up(key, 0, filter, &guard)?;
        }
        let mut window = 0;
        for (at, byte) in self.haystack.iter().enumerate() {
            window = slide(window, *byte);
            for width in filter.widths(window) {
                if usize::from(width) <= at + 1 {
                    self.look_up(Key::gram(width, window), at + 1, filter, &guard)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn look_up<'g>(
        &mut self,
        key: Key,
        window_end: usize,
        filter: &Filter,
        guard: &OnceCell<LocalGuard<'g>>,
    ) -> ControlFlow<B>
    where
        Self: 'g,
    {
        if !filter.may_hold(key) {
            return ControlFlow::Continue(());
        }
        let index = self.index;
        match index.texts.get(&key, guard.get_or_init(|| index.texts.guard())) {
            Some(group) => self.group(group, window_end),
            None => ControlFlow::Continue(()),
        }
    }

    fn group(&mut self, group: &Group<T>, window_end: usize) -> ControlFlow<B> {
        self.in_turn(&group.tail, window_end)?;
        for batch in &group.batches {
            match &batch.form {
                Form::Waiting | Form::InTurn => self.in_turn(&batch.entries, window_end)?,
                Form::Automaton(automaton) if self.scratch.first(batch.id) => self.at_once(automaton)?,
                Form::Automaton(_) => {}
            }
        }
        ControlFlow::Continue(())
    }

    fn in_turn(&mut self, entries: &[Arc<Entry<T>>], window_end: usize) -> ControlFlow<B> {
        for entry in entries {
            let answer = entry.matches(self.haystack, window_end, self.scratch);
            self.answer(&entry.rule, answer)?;
        }
        ControlFlow::Continue(())
    }

    fn at_once(&mut self, automaton: &Automaton<T>) -> ControlFlow<B> {
        let searched = automaton.search(self.haystack, self.scratch);
        if searched.is_some() && self.scratch.patterns.is_empty() {
            return ControlFlow::Continue(());
        }
        for (at, rule) in automaton.rules.iter().enumerate() {
            let answer = searched.map(|()| self.scratch.has_pattern(at));
            self.answer(rule, answer)?;
        }
        ControlFlow::Continue(())
    }

    /// A rule that could not be decided counts as a match.
    fn answer(&mut self, rule: &Rule<T>, answer: Option<bool>) -> ControlFlow<B> {
        if answer == Some(false) {
            return ControlFlow::Continue(());
        }
        let value = rule.value.load();
        let Some(value) = value.as_ref().filter(|_| self.scratch.first(rule.id)) else {
            return ControlFlow::Continue(());
        };
        if answer.is_none() {
            self.index.undecided.fetch_add(1, Ordering::Relaxed);
        }
        (self.visit)(value)
    }
}
