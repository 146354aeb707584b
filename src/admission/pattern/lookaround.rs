//! Rules with lookaround or backreferences, for which no linear engine exists.
//!
//! Operators write allow-lists with them (`^(?!a$|b$).+`). They are run in turn by a backtracking engine, so
//! there may be few of them, each with a step limit, on identifiers of ordinary length.

use fancy_regex::{BytesMode, CompileError, Error, ParseError, Regex, RegexBuilder};

use super::program::{EXACT_LEN, PROGRAM_SIZE_LIMIT};
use super::{Match, NESTING_MAX, PatternError};

#[derive(Debug)]
pub(super) struct Lookaround {
    regex: Regex,
}

impl Lookaround {
    pub(super) fn parse(source: &str, mode: Match) -> Result<Lookaround, PatternError> {
        // Parsed alone first: its errors have the right positions, and it cannot close the group around it.
        let alone = build(source)?;
        let regex = match mode {
            Match::Search => alone,
            Match::Full => build(&format!(r"\A(?:{source})\z"))?,
        };
        Ok(Lookaround { regex })
    }

    /// `None` if the engine gave up.
    pub(super) fn matches(&self, haystack: &[u8]) -> Option<bool> {
        if haystack.len() > EXACT_LEN {
            return None;
        }
        self.regex.is_match(haystack).ok()
    }
}

fn build(source: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(source)
        .bytes_mode(BytesMode::Ascii)
        .backtrack_limit(STEPS_MAX)
        .max_prog_size(INSTRUCTIONS_MAX)
        .delegate_size_limit(PROGRAM_SIZE_LIMIT)
        .delegate_dfa_size_limit(LAZY_DFA_SIZE)
        .build()
        .map_err(|error| explain(&error))
}

fn explain(error: &Error) -> PatternError {
    match error {
        Error::ParseError(at, ParseError::RecursionExceeded) => {
            PatternError::TooDeep { at: *at, max: NESTING_MAX }
        }
        Error::ParseError(at, error) => {
            PatternError::Syntax { at: *at, reason: in_lower_case(&error.to_string()) }
        }
        Error::CompileError(error) => match &**error {
            CompileError::PatternTooComplex => PatternError::TooLarge { max: PROGRAM_SIZE_LIMIT },
            CompileError::InnerError(inner) if inner.size_limit().is_some() => {
                PatternError::TooLarge { max: PROGRAM_SIZE_LIMIT }
            }
            error => PatternError::Unsupported { reason: in_lower_case(&error.to_string()) },
        },
        error => PatternError::Unsupported { reason: in_lower_case(&error.to_string()) },
    }
}

/// The engine's messages begin as sentences; ours go on after a colon.
fn in_lower_case(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().into_iter().flat_map(char::to_lowercase).chain(chars).collect()
}

/// Steps back that one rule may take on one identifier: well under a millisecond.
const STEPS_MAX: usize = 10_000;

const INSTRUCTIONS_MAX: usize = 4096;

/// What each part of a rule that needs no backtracking may use per thread to become fast.
const LAZY_DFA_SIZE: usize = 64 * 1024;
