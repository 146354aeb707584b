//! Who is inside: every live session, found by number, client identifier, user name or address without walking all.
//!
//! A session is entered before the ban list is asked for the last time, and a ban is in force before its sessions are
//! looked for. Both take the lock of the same part, so whichever comes second sees the first: nobody whom a ban names
//! slips in between.
//!
//! No lock is held over more than a few sessions, however many there are; whoever walks them all does it in pieces, and
//! sees every session that is there from the first piece to the last.

mod live;
mod names;

pub use live::{Guest, Live};

use names::{Name, Names};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The live sessions. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Sessions(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    last: AtomicU64,
    count: AtomicUsize,
    /// By number; in each part those that leave the same remainder.
    parts: [Mutex<BTreeMap<u64, Arc<Live>>>; PARTS],
    names: Names,
}

/// So many locks that two sessions rarely want the same.
const PARTS: usize = 16;

/// How many sessions of one name are looked at under one lock.
const PIECE: usize = 256;

/// A session that is inside until this is dropped.
#[derive(Debug)]
pub struct Entered {
    sessions: Sessions,
    live: Arc<Live>,
}

impl Sessions {
    /// Enters a session. Whoever looks for it from now on finds it.
    pub fn enter(&self, guest: Guest<'_>) -> Entered {
        let number = self.0.last.fetch_add(1, Ordering::Relaxed) + 1;
        let live = Arc::new(Live::new(number, guest));
        self.part(number).insert(number, Arc::clone(&live));
        for name in names_of(&live) {
            self.0.names.insert(name, number);
        }
        self.0.count.fetch_add(1, Ordering::Relaxed);
        Entered { sessions: self.clone(), live }
    }

    /// How many sessions live.
    pub fn len(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }

    /// True when none lives.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The session of this number.
    pub fn get(&self, number: u64) -> Option<Arc<Live>> {
        self.part(number).get(&number).cloned()
    }

    /// The sessions whose number comes after `number`, in their order: about `limit` of them, none only when there are no
    /// more.
    pub fn after(&self, number: u64, limit: usize) -> Vec<Arc<Live>> {
        let share = limit / PARTS + 1;
        let (mut found, mut seen_to) = (Vec::new(), u64::MAX);
        for part in &self.0.parts {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner);
            let before = found.len();
            found
                .extend(part.range(number.saturating_add(1)..).take(share).map(|(_, live)| Arc::clone(live)));
            if found.len() - before == share {
                // What comes after this was not looked at.
                seen_to = seen_to.min(found.last().map_or(u64::MAX, |live| live.number()));
            }
        }
        found.retain(|live| live.number() <= seen_to);
        found.sort_unstable_by_key(|live| live.number());
        found
    }

    /// All sessions, in pieces, in the order of their numbers.
    pub fn walk(&self) -> impl Iterator<Item = Vec<Arc<Live>>> {
        let mut last = 0;
        std::iter::from_fn(move || {
            let piece = self.after(last, PIECE);
            last = piece.last()?.number();
            Some(piece)
        })
    }

    /// The sessions of this client identifier.
    pub fn of_client_id(&self, client_id: &str) -> impl Iterator<Item = Arc<Live>> {
        self.named(Name::ClientId(client_id)).filter(move |live| live.client_id() == client_id)
    }

    /// The sessions of this user name.
    pub fn of_username(&self, username: &str) -> impl Iterator<Item = Arc<Live>> {
        self.named(Name::Username(username)).filter(move |live| live.username() == Some(username))
    }

    /// The sessions from this address.
    pub fn of_peer(&self, peer: IpAddr) -> impl Iterator<Item = Arc<Live>> {
        let peer = peer.to_canonical();
        self.named(Name::Peer(peer)).filter(move |live| live.peer().ip() == Some(peer))
    }

    /// The sessions of clients whose certificate has this common name.
    pub fn of_cert_cn(&self, cn: &str) -> impl Iterator<Item = Arc<Live>> {
        self.named(Name::CertCn(cn)).filter(move |live| live.cert_cn() == Some(cn))
    }

    /// The sessions of this certificate, by its digest.
    pub fn of_cert_sha256(&self, digest: &str) -> impl Iterator<Item = Arc<Live>> {
        let is_it = move |live: &Arc<Live>| live.client().tls().cert_sha256 == Some(digest);
        self.named(Name::CertSha256(digest)).filter(is_it)
    }

    /// The sessions of this TLS fingerprint.
    pub fn of_ja4(&self, ja4: &str) -> impl Iterator<Item = Arc<Live>> {
        self.named(Name::Ja4(ja4)).filter(move |live| live.client().tls().ja4 == Some(ja4))
    }

    fn named(&self, name: Name<'_>) -> impl Iterator<Item = Arc<Live>> {
        let mut last = 0;
        let pieces = std::iter::from_fn(move || {
            let piece = self.0.names.find(name, last, PIECE);
            last = *piece.last()?;
            Some(piece)
        });
        pieces.flatten().filter_map(|number| self.get(number))
    }

    /// A thread that panicked has left the map whole.
    fn part(&self, number: u64) -> MutexGuard<'_, BTreeMap<u64, Arc<Live>>> {
        let index = usize::try_from(number % PARTS as u64).unwrap_or_default();
        #[expect(clippy::indexing_slicing, reason = "the index is a remainder of the length")]
        self.0.parts[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entered {
    /// The broker has chosen a client identifier for a client that named none. False when it has one.
    pub fn assign(&self, client_id: &str) -> bool {
        let is_new = !client_id.is_empty() && self.live.set_client_id(client_id);
        if is_new {
            self.sessions.0.names.insert(Name::ClientId(client_id), self.live.number());
        }
        is_new
    }
}

impl Deref for Entered {
    type Target = Live;

    fn deref(&self) -> &Live {
        &self.live
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let (Sessions(shared), number) = (&self.sessions, self.live.number());
        for name in names_of(&self.live) {
            shared.names.remove(name, number);
        }
        self.sessions.part(number).remove(&number);
        shared.count.fetch_sub(1, Ordering::Relaxed);
    }
}

fn names_of(live: &Live) -> impl Iterator<Item = Name<'_>> {
    let client_id = Some(live.client_id()).filter(|id| !id.is_empty()).map(Name::ClientId);
    let tls = live.client().tls();
    let names = [
        client_id,
        live.username().map(Name::Username),
        live.peer().ip().map(Name::Peer),
        tls.cert_cn.map(Name::CertCn),
        tls.cert_sha256.map(Name::CertSha256),
        tls.ja4.map(Name::Ja4),
    ];
    names.into_iter().flatten()
}

#[cfg(test)]
mod tests;
