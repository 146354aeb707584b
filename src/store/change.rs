//! What can be asked of the store, and what has come of it.

use super::offence::Offence;
use crate::accounts::AccountChange;
use crate::admission::{Ban, List, Terms, Timestamp, Until, Who};
use crate::bouncer::Hit;
use std::sync::Arc;
use std::time::Duration;

/// One change of a list, or of what is remembered of those on it. A request is several of them, made together or not at all.
#[derive(Debug, Clone)]
pub enum Change {
    /// Adds a ban, or changes the one that names the same.
    Put(List, Ban),
    /// Adds a ban, unless one that names the same ends as late, or later: that one stays as it is.
    Extend(List, Ban),
    /// Adds a ban that nobody has made yet: one that names the same and has not ended at this moment is an error
    /// ([`ChangeError::Exists`](super::ChangeError::Exists)), one that has ended is replaced.
    Add(List, Ban, Timestamp),
    /// Changes some of the terms of the ban that names this. None there is no error.
    Amend {
        /// On which list.
        list: List,
        /// Whom it names.
        who: Who,
        /// What changes.
        amendment: Box<Amendment>,
        /// The moment: a new end has to lie after it.
        now: Timestamp,
    },
    /// Counts how often a ban has refused somebody, and when last. No such ban is no error.
    Hit(Hit),
    /// Takes the ban that names this off the list. None there is no error. A ban's offence goes with it: whoever lifts a
    /// ban by hand forgives.
    Remove(List, Who),
    /// Empties a list. The offences of the bans that were on it go with them.
    Clear(List),
    /// Takes off what has ended at a moment or before, the oldest first. Their offences stay.
    RemoveEnded {
        /// From which list.
        list: List,
        /// The moment.
        by: Timestamp,
        /// The most that are taken off.
        limit: usize,
    },
    /// Changes who may use the API.
    Account(AccountChange),
    /// Remembers an offence, in the place of what was remembered of the same before, its evidence included.
    Offend(Offence),
    /// Forgets what somebody did; a ban stays. Nothing there is no error.
    Absolve(Who),
    /// Forgets the offences whose last ban has ended at a moment or before, the oldest first.
    ForgetOffences {
        /// The moment.
        by: Timestamp,
        /// The most that are forgotten.
        limit: usize,
    },
}

/// What changes of a ban; the rest stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Amendment {
    /// The ban as somebody has seen it who decided on this: another one is not changed. `None` changes any.
    pub seen: Option<Box<Ban>>,
    /// The same name, with another `match`.
    pub who: Option<Who>,
    /// Its author.
    pub by: Option<Arc<str>>,
    /// Its reason.
    pub reason: Option<Arc<str>>,
    /// When it was made.
    pub at: Option<Timestamp>,
    /// When it ends.
    pub end: Option<NewEnd>,
}

/// A new end of a ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewEnd {
    /// This one.
    At(Until),
    /// So much later than now planned, or than now where the ban has ended.
    Later(Duration),
}

impl Amendment {
    /// The ban as it is afterwards.
    pub(super) fn apply(self, ban: Ban, now: Timestamp) -> Ban {
        let Ban { who, terms: Terms { by, reason, at, until } } = ban;
        let until = match (self.end, until) {
            (None, until) => until,
            (Some(NewEnd::At(end)), _) => end,
            (Some(NewEnd::Later(_)), Until::Infinity) => Until::Infinity,
            (Some(NewEnd::Later(time)), Until::Moment(end)) => Until::Moment(end.max(now).after(time)),
        };
        let terms = Terms {
            by: self.by.unwrap_or(by),
            reason: self.reason.unwrap_or(reason),
            at: self.at.unwrap_or(at),
            until,
        };
        Ban { who: self.who.unwrap_or(who), terms }
    }
}

/// What a request has changed on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changed {
    /// Bans that were not there before.
    pub added: usize,
    /// Bans that were there, and were given new terms.
    pub changed: usize,
    /// Bans that are no longer there.
    pub removed: usize,
    /// Offences that were forgotten, or have gone with their bans. No ban is counted here, and no offence above.
    pub forgotten: usize,
}
