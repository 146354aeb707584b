//! The one handle to the ban list that the rest of the program holds: the list, and the time to ask it with.

use crate::admission::{As, Ban, BanList, Client, Verdict, Who};
use crate::clock::Clock;
use std::net::IpAddr;
use std::sync::Arc;

/// A handle to the ban list. Clones share the list. Checks take no lock.
#[derive(Debug, Clone, Default)]
pub struct Bouncer {
    list: Arc<BanList>,
    clock: Clock,
}

impl Bouncer {
    /// A bouncer with an empty list that takes the time from `clock`.
    pub fn new(clock: Clock) -> Bouncer {
        Bouncer { list: Arc::default(), clock }
    }

    /// Says whether this client may enter now.
    pub fn check(&self, client: &Client<'_>) -> Verdict {
        self.list.check(client, self.clock.now())
    }

    /// The ban that holds now for an address alone.
    pub fn check_peer(&self, peer: IpAddr) -> Option<Ban> {
        self.list.check_peer(peer, self.clock.now())
    }

    /// Adds a ban, or changes the one that names the same. In force for every check that begins after this returns.
    pub fn ban(&self, ban: Ban) {
        self.list.ban(ban);
    }

    /// Lifts a ban; returns whether there was one.
    pub fn lift(&self, who: &Who) -> bool {
        self.list.lift(who)
    }

    /// How many bans of this kind there are, active or not.
    pub fn count(&self, kind: As) -> usize {
        self.list.count(kind)
    }

    /// The clock that bans are held to.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}
