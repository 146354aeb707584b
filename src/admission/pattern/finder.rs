//! One rule over very many identifiers: an automaton that was built to the end before the first of them.

use regex_automata::Input;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::Compiler;

use super::program::{EXACT_LEN, PROGRAM_SIZE_LIMIT, thompson_config};
use super::{Pattern, simplified};

/// Decides as a [`PatternIndex`](super::PatternIndex) with this rule alone does, several times as fast.
#[derive(Debug)]
pub struct Finder(dense::DFA<Vec<u32>>);

impl Pattern {
    /// The rule as an automaton; none where that would be too large, or the rule needs backtracking.
    pub fn finder(&self) -> Option<Finder> {
        let hir = simplified(&self.source, self.mode).ok()?;
        let nfa = Compiler::new().configure(thompson_config(PROGRAM_SIZE_LIMIT)).build_from_hir(&hir).ok()?;
        let config = dense::Config::new()
            .start_kind(StartKind::Unanchored)
            .dfa_size_limit(Some(MAX_BYTES))
            .determinize_size_limit(Some(MAX_BYTES));
        dense::Builder::new().configure(config).build_from_nfa(&nfa).ok().map(Finder)
    }
}

impl Finder {
    /// Does the rule match? None for identifiers so long that a check may decline to find out.
    pub fn is_match(&self, haystack: &[u8]) -> Option<bool> {
        if haystack.len() > EXACT_LEN {
            return None;
        }
        let input = Input::new(haystack).earliest(true);
        self.0.try_search_fwd(&input).ok().map(|found| found.is_some())
    }
}

/// The largest automaton, in bytes; and what building it may take.
const MAX_BYTES: usize = 4 << 20;
