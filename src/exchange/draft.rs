//! What a record says, once its format is forgotten, and the ban that it makes.

use super::ReadOptions;
use super::error::{Problem, RecordError, Shown};
use crate::admission::{As, Ban, Match, Terms, Timestamp, Until, Who};
use std::borrow::Cow;
use std::sync::Arc;

/// A record of any format. Its texts are the file's.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) kind: As,
    pub(super) who: Cow<'a, str>,
    pub(super) matching: Option<Match>,
    pub(super) by: Option<Cow<'a, str>>,
    pub(super) reason: Cow<'a, str>,
    pub(super) at: Option<Timestamp>,
    pub(super) until: Until,
    /// What the format calls `who` and `until`.
    pub(super) names: Names,
}

/// What a format calls its fields, for errors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    pub(super) who: &'static str,
    pub(super) until: &'static str,
}

/// EMQX's names, and ours.
pub(super) const NAMES: Names = Names { who: "who", until: "until" };

/// Makes bans of drafts. Neighbours in a list mostly share author and reason, and so do the bans.
#[derive(Debug)]
pub(super) struct Maker {
    options: ReadOptions,
    by: Arc<str>,
    reason: Arc<str>,
}

impl Maker {
    pub(super) fn new(options: ReadOptions) -> Maker {
        Maker { by: Arc::clone(&options.by), reason: "".into(), options }
    }

    pub(super) fn ban(&mut self, draft: Draft<'_>) -> Result<Ban, RecordError> {
        let Draft { kind, who, matching, names, until, .. } = draft;
        let who = Who::new(kind, &who, matching)
            .map_err(|error| RecordError::new(names.who, Problem::Who { value: Shown::of(&who), error }))?;
        if !self.options.keep_expired && !until.is_after(self.options.now) {
            return Err(RecordError::new(names.until, Problem::Ended { until }));
        }
        let by = match draft.by {
            Some(by) => shared(&mut self.by, &by),
            None => Arc::clone(&self.options.by),
        };
        let reason = shared(&mut self.reason, &draft.reason);
        Ok(Ban { who, terms: Terms { by, reason, at: draft.at.unwrap_or(self.options.now), until } })
    }
}

fn shared(last: &mut Arc<str>, text: &str) -> Arc<str> {
    if last.as_ref() != text {
        *last = text.into();
    }
    Arc::clone(last)
}
