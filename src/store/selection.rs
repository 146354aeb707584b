//! Which bans of a list are shown, and in which order.

use super::entry::Source;
use crate::admission::{As, Pattern, Timestamp, Until};

/// Which bans of a list are wanted. The default is all of them, by kind and name.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only of these kinds; empty is all of them.
    pub kinds: Vec<As>,
    /// Only with this text.
    pub who: Option<String>,
    /// Only those in whose text this pattern is found.
    pub like: Option<Pattern>,
    /// Only those with this in their text; the case of A to Z does not matter.
    pub text: Option<String>,
    /// Only those made by this author.
    pub by: Option<String>,
    /// Only those with this in their reason; the case of A to Z does not matter.
    pub reason: Option<String>,
    /// Only those that end within this.
    pub ends: Ends,
    /// Only those made at this moment or later.
    pub made_from: Option<Timestamp>,
    /// Only those made at this moment or before.
    pub made_to: Option<Timestamp>,
    /// Only those that are in force as this source says.
    pub source: Option<Source>,
    /// Only what is kept here, and all of it, whatever the config file says.
    pub is_stored: bool,
    /// By what they are put in order; `None` is whatever is cheapest for this selection.
    pub sort: Option<Sort>,
    /// In which direction.
    pub is_descending: bool,
    /// Only what comes after this place.
    pub after: Option<Place>,
    /// How many of them to pass over first.
    pub skip: usize,
    /// The most to show.
    pub limit: Option<usize>,
}

/// What a list is put in order by. Kind and name decide between equals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// The text.
    Who,
    /// The kind.
    As,
    /// The author.
    By,
    /// The reason.
    Reason,
    /// When it was made.
    At,
    /// When it ends; infinity is later than everything.
    Until,
    /// Active ones, those that have ended, those that are about to go.
    Status,
    /// How often it has refused somebody.
    Hits,
    /// When it has refused somebody last; never is before everything.
    LastHit,
}

impl Sort {
    /// Every order.
    pub const ALL: [Sort; 9] = [
        Sort::Who,
        Sort::As,
        Sort::By,
        Sort::Reason,
        Sort::At,
        Sort::Until,
        Sort::Status,
        Sort::Hits,
        Sort::LastHit,
    ];

    /// The name of the column.
    pub fn as_str(self) -> &'static str {
        match self {
            Sort::Who => "who",
            Sort::As => "as",
            Sort::By => "by",
            Sort::Reason => "reason",
            Sort::At => "at",
            Sort::Until => "until",
            Sort::Status => "status",
            Sort::Hits => "hits",
            Sort::LastHit => "last_hit",
        }
    }
}

/// A place in an order: the last ban that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What the order is by, in that ban.
    pub key: Key,
    /// Its kind.
    pub kind: As,
    /// Its text.
    pub who: String,
}

/// What an order is by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// Nothing: kind and name say it all, or it never ends, or it was never hit.
    None,
    /// A moment or a number.
    Number(i64),
    /// A text.
    Text(String),
}

/// The ends of bans that are wanted; the default is all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ends {
    /// At this moment or later.
    pub from: Option<Until>,
    /// At this moment or before; `None` takes in those that never end.
    pub to: Option<Timestamp>,
}

impl Ends {
    /// Those of both.
    #[must_use]
    pub fn and(self, other: Ends) -> Ends {
        let to = match (self.to, other.to) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Ends { from: self.from.max(other.from), to }
    }

    pub(super) fn has_endless(self) -> bool {
        self.to.is_none()
    }

    pub(super) fn has_ending(self) -> bool {
        self.from != Some(Until::Infinity)
    }
}

impl Selection {
    /// What the list is put in order by.
    pub fn order(&self) -> Sort {
        let by_window = || match self {
            _ if self.made_from.or(self.made_to).is_some() => Sort::At,
            _ if self.ends.to.is_some() => Sort::Until,
            _ => Sort::As,
        };
        self.sort.unwrap_or_else(by_window)
    }
}
