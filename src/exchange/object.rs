//! One JSON object about a ban, as the API takes it: some of its fields, or all.

use super::draft::NAMES;
use super::error::{Problem, RecordError, Shown};
use super::fields::Fields;
use super::json_lines;
use crate::admission::{As, Match, Timestamp, Until, Who};
use std::sync::Arc;

/// What an object says of a ban. What it leaves out, or says `null` of, is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partial {
    /// The kind.
    pub kind: Option<As>,
    /// The name, as it is written.
    pub who: Option<String>,
    /// What part of a name a pattern matches.
    pub matching: Option<Match>,
    /// The author.
    pub by: Option<Arc<str>>,
    /// Why.
    pub reason: Option<Arc<str>>,
    /// Since when.
    pub at: Option<Timestamp>,
    /// Until when.
    pub until: Option<Until>,
    /// How much longer, as it is written.
    pub extend: Option<String>,
}

impl Partial {
    /// Reads an object with the fields of a ban. `extend` is one of them where it `may_extend`.
    pub fn read(text: &[u8], may_extend: bool) -> Result<Partial, RecordError> {
        let (known, they_are) =
            if may_extend { (&KNOWN[..], THEY_ARE) } else { (&KNOWN[..7], json_lines::THEY_ARE) };
        let mut fields = Fields::read(text, known, they_are)?;
        Ok(Partial {
            kind: fields.text("as")?.map(|word| super::fields::kind(&word, "as")).transpose()?,
            who: fields.text("who")?.map(Into::into),
            matching: fields.text("match")?.map(|word| json_lines::matching(&word)).transpose()?,
            by: fields.text("by")?.map(|text| text.as_ref().into()),
            reason: fields.text("reason")?.map(|text| text.as_ref().into()),
            at: fields.moment("at")?,
            until: fields.optional_end("until")?,
            extend: fields.text("extend")?.map(Into::into),
        })
    }

    /// Whom it names.
    pub fn named(&self) -> Result<Who, RecordError> {
        let kind = self.kind.ok_or_else(|| RecordError::new("as", Problem::Missing))?;
        let who = self.who.as_deref().ok_or_else(|| RecordError::new("who", Problem::Missing))?;
        if self.matching.is_some() && !kind.is_pattern() {
            let problem = Problem::Misplaced { with: "an \"as\" that is no pattern" };
            return Err(RecordError::new("match", problem));
        }
        Who::new(kind, who, self.matching)
            .map_err(|error| RecordError::new(NAMES.who, Problem::Who { value: Shown::of(who), error }))
    }
}

const KNOWN: [&str; 8] = ["as", "who", "match", "by", "reason", "at", "until", "extend"];
const THEY_ARE: &str = "as, who, match, by, reason, at, until or extend";
