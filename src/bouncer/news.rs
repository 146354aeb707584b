//! Which bans have come in force, for whoever ends the sessions that they name.

use super::Bouncer;
use crate::admission::{Ban, Client, Kinds, List, Verdict, Who};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Carries the names of bans to one follower, who is told only of the kinds that it wants.
#[derive(Debug)]
pub(super) struct News {
    wanted: AtomicU16,
    sender: Sender<Who>,
    receiver: Mutex<Option<Receiver<Who>>>,
    missed: AtomicBool,
}

/// How many may wait. An import has more, and its follower then asks for everybody.
const WAITING: usize = 1024;

impl Default for News {
    fn default() -> News {
        let (sender, receiver) = channel(WAITING);
        News {
            wanted: AtomicU16::new(0),
            sender,
            receiver: Mutex::new(Some(receiver)),
            missed: AtomicBool::new(false),
        }
    }
}

impl News {
    /// Tells of a ban that is in force. Waits for nobody.
    pub(super) fn tell(&self, list: List, ban: &Who) {
        let wanted = Kinds::from_bits(self.wanted.load(Ordering::Relaxed));
        if list == List::Bans && wanted.contains(ban.kind()) && self.sender.try_send(ban.clone()).is_err() {
            self.missed.store(true, Ordering::Release);
        }
    }
}

impl Bouncer {
    /// Whom bans name that come in force from now on, of the kinds that are [wanted](Bouncer::want_news). For one
    /// receiver: later calls get nothing.
    pub fn news(&self) -> Option<Receiver<Who>> {
        self.shared.news.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Says of which kinds of bans the receiver of the [news](Bouncer::news) is told from now on: none at first.
    pub fn want_news(&self, kinds: Kinds) {
        self.shared.news.wanted.store(kinds.to_bits(), Ordering::Relaxed);
    }

    /// True when there were more bans than the receiver of the news could be told since this was last asked.
    pub fn take_missed_news(&self) -> bool {
        self.shared.news.missed.swap(false, Ordering::AcqRel)
    }

    /// True when a client that is inside is to go: it may not enter now, and a ban of these kinds names it.
    pub fn is_to_go(&self, client: &Client<'_>, kinds: Kinds) -> bool {
        let now = self.clock.now();
        let names = |ban: &Ban| kinds.contains(ban.who.kind());
        match self.shared.admission.check(client, now) {
            Verdict::Admit => false,
            Verdict::Refuse(ban) if names(&ban) => true,
            // The first ban that names it may be of another kind.
            Verdict::Refuse(_) => {
                self.list(List::Bans).hits(client).iter().any(|ban| names(ban) && ban.terms.is_active(now))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{As, Terms, Timestamp, Until};

    fn ban(kind: As, who: &str) -> Ban {
        let terms = Terms {
            by: "ops".into(),
            reason: "".into(),
            at: Timestamp::from_millis(0),
            until: Until::Infinity,
        };
        Ban { who: Who::new(kind, who, None).expect("a name"), terms }
    }

    #[test]
    fn bans_of_the_wanted_kinds_are_told_once_they_are_in_force() {
        let bouncer = Bouncer::default();
        let mut news = bouncer.news().expect("the first receiver");
        assert!(bouncer.news().is_none());
        bouncer.put(List::Bans, ban(As::ClientId, "before")).expect("room");
        bouncer.want_news([As::ClientId, As::PeerHostNet].into_iter().collect());
        bouncer.put(List::Bans, ban(As::ClientId, "put")).expect("room");
        bouncer.put(List::Bans, ban(As::Username, "not wanted")).expect("room");
        bouncer.put(List::Exemptions, ban(As::ClientId, "no ban")).expect("room");
        bouncer.extend(List::Bans, ban(As::ClientId, "detected")).expect("room");
        bouncer.put_from_file(List::Bans, ban(As::PeerHostNet, "10.0.0.0/8")).expect("room");
        let told: Vec<_> = std::iter::from_fn(|| news.try_recv().ok()).map(|who| who.to_string()).collect();
        assert_eq!(told, ["put", "detected", "10.0.0.0/8"]);
        assert!(!bouncer.take_missed_news());
    }

    #[test]
    fn more_than_can_wait_is_said_to_be_missed() {
        let bouncer = Bouncer::default();
        bouncer.want_news([As::ClientId].into_iter().collect());
        for number in 0..=WAITING {
            bouncer.put(List::Bans, ban(As::ClientId, &number.to_string())).expect("room");
        }
        assert!(bouncer.take_missed_news() && !bouncer.take_missed_news());
    }

    #[test]
    fn whoever_is_named_by_a_ban_of_these_kinds_and_not_exempt_is_to_go() {
        let bouncer = Bouncer::default();
        let client = Client::new(std::net::IpAddr::from([10, 0, 0, 1]), "bot", Some("eve"));
        let is_to_go = |kind| bouncer.is_to_go(&client, Kinds::from_iter([kind]));
        assert!(!is_to_go(As::ClientId));
        bouncer.put(List::Bans, ban(As::ClientId, "bot")).expect("room");
        bouncer.put(List::Bans, ban(As::PeerHostNet, "10.0.0.0/8")).expect("room");
        assert_eq!([As::ClientId, As::PeerHostNet, As::Username].map(is_to_go), [true, true, false]);
        bouncer.put(List::Exemptions, ban(As::Username, "eve")).expect("room");
        assert_eq!([As::ClientId, As::PeerHostNet].map(is_to_go), [false, false]);
    }
}
