//! Runs one compiled expression over one identifier. Linear in both, whatever the expression.
//!
//! A backtracker with a visited table is the fastest engine for short haystacks and small programs, and it
//! refuses what its table cannot hold. A refusal is not an answer, so a Pike VM takes over; it needs memory for
//! its states only. Both are bounded by `states * bytes`, which is what a check is charged for (see [`Budget`]).

use std::collections::HashSet;

use foldhash::fast::FixedState;
use regex_automata::nfa::thompson::backtrack::{self, BoundedBacktracker};
use regex_automata::nfa::thompson::pikevm::{self, PikeVM};
use regex_automata::nfa::thompson::{self, BuildError, Compiler, WhichCaptures};
use regex_automata::{Anchored, Input, PatternID, PatternSet};
use regex_syntax::hir::Hir;

use super::PatternError;

/// One compiled expression.
#[derive(Debug)]
pub(super) struct Program {
    text: Box<str>,
    backtracker: BoundedBacktracker,
}

impl Program {
    pub(super) fn compile(hir: &Hir) -> Result<Program, PatternError> {
        let config = backtrack::Config::new().visited_capacity(VISITED_CAPACITY);
        let refuse = |error: BuildError| match error.size_limit() {
            Some(max) => PatternError::TooLarge { max },
            None => PatternError::Unsupported { reason: error.to_string() },
        };
        let nfa = Compiler::new().configure(thompson_config(PROGRAM_SIZE_LIMIT)).build_from_hir(hir);
        let nfa = nfa.map_err(refuse)?;
        let backtracker =
            BoundedBacktracker::builder().configure(config).build_from_nfa(nfa).map_err(refuse)?;
        Ok(Program { text: hir.to_string().into(), backtracker })
    }

    /// The expression; programs of the same text are interchangeable.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Does it match at `from` (anchored), or anywhere from there on? What lies before `from` is still seen by
    /// word boundaries. `None` when the budget does not allow to find out.
    pub(super) fn matches(
        &self,
        haystack: &[u8],
        from: usize,
        anchored: Anchored,
        scratch: &mut Scratch,
    ) -> Option<bool> {
        let nfa = self.backtracker.get_nfa();
        if !scratch.budget.allows(haystack.len().saturating_sub(from), nfa.states().len()) {
            return None;
        }
        let input = Input::new(haystack).range(from..).anchored(anchored).earliest(true);
        let cache = scratch.backtracker.get_or_insert_with(|| self.backtracker.create_cache());
        cache.reset(&self.backtracker);
        if let Ok(found) = self.backtracker.try_is_match(cache, input.clone()) {
            return Some(found);
        }
        // Only the length of the haystack makes the backtracker refuse.
        let vm = PikeVM::new_from_nfa(nfa.clone()).ok()?;
        let cache = scratch.vm.get_or_insert_with(|| vm.create_cache());
        cache.reset(&vm);
        Some(vm.is_match(cache, input))
    }
}

/// What one check works with: kept per thread, so that checks share nothing and allocate nothing.
#[derive(Debug)]
pub(super) struct Scratch {
    /// Rules already reported, programs already run, batches already searched: all ids of one counter.
    seen: HashSet<u64, FixedState>,
    /// The rules of a batch that matched.
    pub(super) patterns: PatternSet,
    pub(super) budget: Budget,
    backtracker: Option<backtrack::Cache>,
    vm: Option<pikevm::Cache>,
}

impl Scratch {
    pub(super) fn begin(&mut self, haystack: &[u8]) {
        self.budget = Budget::of(haystack);
    }

    /// Is this the first time in this check?
    pub(super) fn first(&mut self, id: u64) -> bool {
        self.seen.insert(id)
    }

    /// Did the rule at this place of the batch match?
    pub(super) fn has_pattern(&self, at: usize) -> bool {
        PatternID::new(at).is_ok_and(|pattern| self.patterns.contains(pattern))
    }

    /// Forgets the check. What an unusually long identifier made grow is given back.
    pub(super) fn end(&mut self) {
        if self.seen.capacity() > SEEN_KEPT {
            self.seen = HashSet::default();
        } else if !self.seen.is_empty() {
            self.seen.clear();
        }
        if self.budget.is_limited() {
            self.backtracker = None;
            self.vm = None;
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch {
            seen: HashSet::default(),
            patterns: PatternSet::new(BATCH_LIMIT),
            budget: Budget { left: None },
            backtracker: None,
            vm: None,
        }
    }
}

/// How much a check may still spend, in states × bytes.
///
/// Identifiers up to [`EXACT_LEN`] are never limited: every rule is decided exactly. Beyond, a stranger could
/// write an identifier that touches every rule and make each run for 64 KiB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    left: Option<usize>,
}

impl Budget {
    fn of(haystack: &[u8]) -> Budget {
        Budget { left: (haystack.len() > EXACT_LEN).then_some(LONG_BUDGET) }
    }

    /// Takes `bytes * states` if that much is left.
    pub(super) fn allows(&mut self, bytes: usize, states: usize) -> bool {
        let Some(left) = self.left else { return true };
        let rest = left.checked_sub(bytes.saturating_mul(states));
        self.left = rest.or(self.left);
        rest.is_some()
    }

    fn is_limited(self) -> bool {
        self.left.is_some()
    }
}

pub(super) fn thompson_config(size_limit: usize) -> thompson::Config {
    thompson::Config::new().utf8(false).which_captures(WhichCaptures::None).nfa_size_limit(Some(size_limit))
}

/// A rule that compiles to more is refused: `\w{1000}` and its like.
pub(super) const PROGRAM_SIZE_LIMIT: usize = 64 * 1024;

/// The most rules that one automaton may hold.
pub(super) const BATCH_LIMIT: usize = 512;

/// Identifiers up to this many bytes are decided exactly, whatever it takes.
pub const EXACT_LEN: usize = 1024;

/// What a longer identifier may cost, in states × bytes.
const LONG_BUDGET: usize = 1 << 24;

/// Bits for 262,144 (state, position) pairs: 24 bytes against ten thousand states.
const VISITED_CAPACITY: usize = 32 * 1024;

/// A set of seen ids beyond this capacity is not kept between checks.
const SEEN_KEPT: usize = 4096;
