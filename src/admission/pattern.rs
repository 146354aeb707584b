//! Finds every regular-expression rule that matches an identifier, at a cost that hardly depends on how many
//! rules there are. Pure: no I/O, no clock.
//!
//! Trying ten thousand rules in turn takes milliseconds, and so does a combined automaton on identifiers that it
//! has never seen, which is what a flood consists of. But nearly every rule demands some literal text: an
//! identifier without it cannot match. So a [`Pattern`] is analysed once when it is parsed (`plan`), kept under
//! its best text in a concurrent map behind a bit filter (`filter`, `index`), and run only for identifiers that
//! have the text (`check`, `program`). Rules that crowd under one text, or have none, are compiled into automata by
//! compaction (`group`).
//!
//! # What a rule means
//! - Bytes, as EMQX's `re:run` without `unicode`: `\w` and `\d` are ASCII, `.` is any byte but a newline, and a
//!   non-ASCII letter in the source is its UTF-8 bytes. `(?u)` switches to Unicode and pays with program size;
//!   a class such as `[é]` needs it.
//! - Case-sensitive unless `(?i)`.
//! - [`Match::Search`] finds the rule anywhere (EMQX), [`Match::Full`] wants it to be the whole (TBMQ).
//! - `$` is the very end. PCRE also lets it match before a final newline, here that is written `\n?$`.
//! - Possessive quantifiers are not known: `a++` is read as `(a+)+`, which matches more than PCRE's.
//! - Lookaround and backreferences run in a backtracking engine, one rule after the other, and cost accordingly.
//!
//! # When a rule cannot be decided
//! Then it **counts as a match**, and [`PatternIndex::undecided`] counts it. The stranger chooses the identifier:
//! if giving up meant "no match", an identifier that makes a rule give up would walk past the ban. An honest
//! device is touched only when the operator's own rule explodes on an ordinary identifier, and the count shows
//! it. It can happen to
//! - lookaround rules that exceed their step limit, or face an identifier longer than [`EXACT_LEN`];
//! - other rules only on identifiers longer than [`EXACT_LEN`], after a check has spent its budget.

mod check;
mod filter;
mod finder;
mod group;
mod index;
mod lookaround;
mod plan;
mod program;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use regex_syntax::ast::{self, parse::ParserBuilder};
use regex_syntax::hir::translate::TranslatorBuilder;
use regex_syntax::hir::{self, Hir, Look};

pub use finder::Finder;
use index::{LOOKAROUND_MAX, UNFILTERABLE_MAX};
pub use index::{PatternIndex, TooMany};
pub use program::EXACT_LEN;

use group::Decision;
use lookaround::Lookaround;
use plan::{Branch, Verdict};
use program::Program;

/// How much of the identifier a rule must match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Match {
    /// Any part of it.
    #[default]
    Search,
    /// All of it.
    Full,
}

impl Match {
    /// The name in files and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Match::Search => "search",
            Match::Full => "full",
        }
    }
}

/// A word that says nothing about how much a rule must match.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a way to match; expected search or full")]
pub struct UnknownMatch;

impl FromStr for Match {
    type Err = UnknownMatch;

    fn from_str(name: &str) -> Result<Match, UnknownMatch> {
        [Match::Search, Match::Full]
            .into_iter()
            .find(|matching| matching.as_str() == name)
            .ok_or(UnknownMatch)
    }
}

/// What a rule costs a check, cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Literal text, perhaps anchored: found without running anything.
    Literal,
    /// Begins with literal text: looked at only for identifiers that begin so.
    Anchored,
    /// Contains literal text: looked at only for identifiers that contain it.
    Floating,
    /// Demands no text of two bytes or more: looked at for every identifier. Worth a warning.
    Unfilterable,
    /// Has lookaround or backreferences: run for every identifier, in a backtracking engine. Worth a warning.
    Lookaround,
}

impl Class {
    /// How many patterns of this class one index takes; `None` for any number.
    pub fn max(self) -> Option<usize> {
        match self {
            Class::Literal | Class::Anchored | Class::Floating => None,
            Class::Unfilterable => Some(UNFILTERABLE_MAX),
            Class::Lookaround => Some(LOOKAROUND_MAX),
        }
    }

    /// Every class, cheapest first.
    pub const ALL: [Class; 5] =
        [Class::Literal, Class::Anchored, Class::Floating, Class::Unfilterable, Class::Lookaround];
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Literal => "literal",
            Class::Anchored => "anchored",
            Class::Floating => "floating",
            Class::Unfilterable => "unfilterable",
            Class::Lookaround => "lookaround",
        })
    }
}

/// A rule, parsed, found affordable, and ready to be inserted.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: Arc<str>,
    mode: Match,
    class: Class,
    engine: Engine,
}

/// How a rule is looked for.
#[derive(Debug, Clone)]
enum Engine {
    /// Under texts that an identifier must have.
    Branches(Vec<Branch<Decision>>),
    /// For every identifier.
    Everywhere(Arc<Program>),
    Lookaround(Arc<Lookaround>),
}

impl Pattern {
    /// Parses a rule as the operator wrote it.
    pub fn parse(source: &str, mode: Match) -> Result<Pattern, PatternError> {
        let (class, engine) = match simplified(source, mode) {
            Ok(hir) => plan(&hir)?,
            Err(Refusal::NeedsBacktracking) => {
                let regex = Lookaround::parse(source, mode)?;
                (Class::Lookaround, Engine::Lookaround(Arc::new(regex)))
            }
            Err(Refusal::Error(error)) => return Err(error),
        };
        Ok(Pattern { source: source.into(), mode, class, engine })
    }

    /// The rule as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// How much of an identifier it must match.
    pub fn mode(&self) -> Match {
        self.mode
    }

    /// Texts in lower case, one of which is in every identifier, itself put in lower case, that this matches; none
    /// where there is no such thing. Lower case is that of ASCII. Only for identifiers that are not longer than [`EXACT_LEN`].
    pub fn needles(&self) -> Option<Vec<Vec<u8>>> {
        let Engine::Branches(branches) = &self.engine else { return None };
        let needle = |branch: &Branch<Decision>| {
            let texts = branch.prefix.iter().chain(&branch.grams);
            texts.max_by_key(|text| text.text.len()).map(|text| text.text.to_ascii_lowercase())
        };
        branches.iter().map(needle).collect()
    }

    /// What it costs a check.
    pub fn class(&self) -> Class {
        self.class
    }
}

/// Why a rule was not accepted. Positions count bytes of the source from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The source is too long to be looked at.
    #[error("the pattern has {len} bytes; expected at most {max}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The most that is accepted.
        max: usize,
    },
    /// Groups within groups within groups.
    #[error("the pattern nests deeper than {max} levels at byte {at}")]
    TooDeep {
        /// Where the limit was passed.
        at: usize,
        /// The deepest nesting accepted.
        max: u32,
    },
    /// Counted repetitions or Unicode classes multiply to a huge program.
    #[error(
        "the pattern needs more than {max} bytes of memory when compiled; use smaller repetitions or classes"
    )]
    TooLarge {
        /// The largest program accepted, in bytes.
        max: usize,
    },
    /// It is not a regular expression as we know them.
    #[error("the pattern is wrong at byte {at}: {reason}")]
    Syntax {
        /// Where.
        at: usize,
        /// What is wrong there.
        reason: String,
    },
    /// It is one, but the backtracking engine cannot compile it.
    #[error("the pattern cannot be compiled: {reason}")]
    Unsupported {
        /// What it is about.
        reason: String,
    },
}

/// Why a source did not become an expression for the linear engines.
enum Refusal {
    /// It has lookaround or backreferences.
    NeedsBacktracking,
    Error(PatternError),
}

/// The rule's meaning, with all that does not matter to "does it match?" taken out.
fn simplified(source: &str, mode: Match) -> Result<Hir, Refusal> {
    if source.len() > SOURCE_MAX {
        return Err(Refusal::Error(PatternError::TooLong { len: source.len(), max: SOURCE_MAX }));
    }
    let ast = ParserBuilder::new()
        .nest_limit(NESTING_MAX)
        .build()
        .parse(source)
        .map_err(|error| refusal(&error))?;
    let hir = TranslatorBuilder::new().unicode(false).utf8(false).build().translate(source, &ast);
    let hir = hir.map_err(|error| {
        let reason = match error.kind() {
            hir::ErrorKind::UnicodeNotAllowed => {
                "this needs Unicode, and identifiers are matched as bytes; put (?u) before it".to_owned()
            }
            kind => kind.to_string(),
        };
        Refusal::Error(PatternError::Syntax { at: error.span().start.offset, reason })
    })?;
    Ok(plan::simplify(&match mode {
        Match::Search => hir,
        Match::Full => Hir::concat(vec![Hir::look(Look::Start), hir, Hir::look(Look::End)]),
    }))
}

fn refusal(error: &ast::Error) -> Refusal {
    let at = error.span().start.offset;
    match error.kind() {
        ast::ErrorKind::UnsupportedLookAround | ast::ErrorKind::UnsupportedBackreference => {
            Refusal::NeedsBacktracking
        }
        ast::ErrorKind::NestLimitExceeded(max) => Refusal::Error(PatternError::TooDeep { at, max: *max }),
        kind => Refusal::Error(PatternError::Syntax { at, reason: kind.to_string() }),
    }
}

fn plan(hir: &Hir) -> Result<(Class, Engine), PatternError> {
    let Some(branches) = plan::branches(hir) else {
        return Ok((Class::Unfilterable, Engine::Everywhere(Arc::new(Program::compile(hir)?))));
    };
    let is_literal = |branch: &Branch<Verdict>| matches!(branch.verdict, Verdict::Here | Verdict::AtEnd);
    let class = if branches.iter().all(is_literal) {
        Class::Literal
    } else if branches.iter().all(|branch| branch.prefix.is_some()) {
        Class::Anchored
    } else {
        Class::Floating
    };
    let mut programs = Programs { rule: hir, whole: None, behind: Vec::new() };
    let branches = branches.into_iter().map(|branch| programs.decide(branch)).collect::<Result<_, _>>()?;
    Ok((class, Engine::Branches(branches)))
}

/// The programs of one rule's branches, each compiled once.
struct Programs<'a> {
    rule: &'a Hir,
    whole: Option<Arc<Program>>,
    /// What follows literals. A rule with many different ones is searched for as a whole instead: it would be
    /// compiled too often.
    behind: Vec<Arc<Program>>,
}

impl Programs<'_> {
    fn decide(&mut self, branch: Branch<Verdict>) -> Result<Branch<Decision>, PatternError> {
        let Branch { prefix, grams, is_anchored, verdict } = branch;
        let verdict = match verdict {
            Verdict::Here => Decision::Here,
            Verdict::AtEnd => Decision::AtEnd,
            Verdict::Behind(hir) => self.behind(&hir)?,
            Verdict::Search => self.whole()?,
        };
        Ok(Branch { prefix, grams, is_anchored, verdict })
    }

    fn behind(&mut self, hir: &Hir) -> Result<Decision, PatternError> {
        let text = hir.to_string();
        if let Some(known) = self.behind.iter().find(|program| program.text() == text) {
            return Ok(Decision::Behind(known.clone()));
        }
        if self.behind.len() == BEHIND_MAX {
            return self.whole();
        }
        let program = Arc::new(Program::compile(hir)?);
        self.behind.push(program.clone());
        Ok(Decision::Behind(program))
    }

    fn whole(&mut self) -> Result<Decision, PatternError> {
        let program = match &self.whole {
            Some(program) => program.clone(),
            None => Arc::new(Program::compile(self.rule)?),
        };
        self.whole = Some(program.clone());
        Ok(Decision::Search(program))
    }
}

/// The longest source, in bytes. Everything that analysing a rule costs grows with it.
const SOURCE_MAX: usize = 1024;

/// The deepest nesting of groups.
const NESTING_MAX: u32 = 64;

/// How many different things that follow literals of one rule are compiled.
const BEHIND_MAX: usize = 4;
