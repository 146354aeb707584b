//! The one handle to the lists that the rest of the program holds: the lists, and the time to ask them with.

use crate::admission::{Admission, As, Ban, Client, Explanation, List, TooMany, Verdict, Who};
use crate::clock::Clock;
use std::net::IpAddr;
use std::sync::Arc;

/// A handle to the lists. Clones share them. Checks take no lock.
#[derive(Debug, Clone, Default)]
pub struct Bouncer {
    admission: Arc<Admission>,
    clock: Clock,
}

impl Bouncer {
    /// A bouncer with empty lists that takes the time from `clock`.
    pub fn new(clock: Clock) -> Bouncer {
        Bouncer { admission: Arc::default(), clock }
    }

    /// Says whether this client may enter now.
    pub fn check(&self, client: &Client<'_>) -> Verdict {
        self.admission.check(client, self.clock.now())
    }

    /// The ban that holds now for an address alone.
    pub fn check_peer(&self, peer: IpAddr) -> Option<Ban> {
        self.admission.check_peer(peer, self.clock.now())
    }

    /// Everything that names this client, and the verdict now.
    pub fn explain(&self, client: &Client<'_>) -> Explanation {
        self.admission.explain(client, self.clock.now())
    }

    /// Adds a ban or an exemption, or changes the one that names the same. In force for every check that begins after
    /// this returns.
    ///
    /// # Errors
    /// It is an expensive pattern, and there are too many already.
    pub fn put(&self, list: List, ban: Ban) -> Result<Option<Ban>, TooMany> {
        self.admission.list(list).insert(ban)
    }

    /// Takes a ban or an exemption off its list; returns what it was.
    pub fn remove(&self, list: List, who: &Who) -> Option<Ban> {
        self.admission.list(list).remove(who)
    }

    /// How many bans or exemptions of this kind there are, active or not.
    pub fn count(&self, list: List, kind: As) -> usize {
        self.admission.list(list).count(kind)
    }

    /// The lists.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// The clock that bans are held to.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}
