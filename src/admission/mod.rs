//! Who may enter. Pure: no I/O, no clock; callers pass `now`.
//!
//! A [`Client`] is what a CONNECT claims and where it came from. A [`Ban`] names clients: by identifier, user name or
//! address, by network, or by a pattern on any of the three. An exemption has the same form and wins over every ban.
//! [`Admission`] holds both lists and answers, for one client and one moment, whether it may enter.
//!
//! Order of evaluation, as EMQX and TBMQ have it: client identifier, user name (then what TLS says of the client: common
//! name and digest of its certificate, fingerprint), address; then networks, the longest
//! prefix first; then patterns on client identifier, user name and address. The first ban that holds is the verdict.

mod ban;
mod ban_list;
mod client;
pub mod detection;
mod duration;
mod ends;
mod kinds;
mod networks;
mod pattern;
mod time;
mod who;

pub use ban::{Ban, Status, Terms, Until, UntilError};
pub use ban_list::{BanList, Statuses};
pub use client::{Client, TlsIdentity};
pub use duration::parse_duration;
pub use kinds::Kinds;
pub use networks::{NetworkMap, canonical};
pub use pattern::{
    Class, EXACT_LEN, Finder, Match, Pattern, PatternError, PatternIndex, TooMany, UnknownMatch,
};
pub use time::{Timestamp, TimestampError};
pub use who::{As, MAX_WHO, UnknownAs, Who, WhoError};

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The bans and the exemptions, and the verdict that they make together.
#[derive(Debug, Default)]
pub struct Admission {
    bans: BanList,
    exemptions: BanList,
}

/// One of the two lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum List {
    /// Who may not enter.
    Bans,
    /// Who may enter whatever bans there are, and is never banned by a detector.
    Exemptions,
}

/// What the lists say of one client at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// No ban holds, or an exemption wins over it.
    Admit,
    /// This ban holds: the first in the order of evaluation.
    Refuse(Ban),
}

/// Why a client gets the verdict that it gets: everything that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The verdict.
    pub verdict: Verdict,
    /// The exemptions that name the client, in the order of evaluation, whether they hold or have ended.
    pub exemptions: Vec<Ban>,
    /// The bans that name the client, in the order of evaluation, whether they hold or have ended.
    pub bans: Vec<Ban>,
}

impl Admission {
    /// One of the lists.
    pub fn list(&self, list: List) -> &BanList {
        match list {
            List::Bans => &self.bans,
            List::Exemptions => &self.exemptions,
        }
    }

    /// Says whether `client` may enter at `now`. Exemptions are looked at only when a ban holds: whoever is named by no
    /// ban pays nothing for them.
    pub fn check(&self, client: &Client<'_>, now: Timestamp) -> Verdict {
        match self.bans.check(client, now) {
            Some(ban) if self.exemptions.check(client, now).is_none() => Verdict::Refuse(ban),
            _ => Verdict::Admit,
        }
    }

    /// The ban of an address or its network that holds at `now`, before anything else is known of the client. `None`
    /// while exemptions by client identifier or user name might still save it.
    pub fn check_peer(&self, peer: IpAddr, now: Timestamp) -> Option<Ban> {
        let ban = self.bans.check_peer(peer, now)?;
        self.is_lost(&Client::new(peer, "", None), now).then_some(ban)
    }

    /// As [`check_peer`](Admission::check_peer), for the fingerprint of a client's first message.
    pub fn check_ja4(&self, peer: Option<IpAddr>, ja4: &str, now: Timestamp) -> Option<Ban> {
        let ban = self.bans.check_ja4(ja4, now)?;
        let tls = TlsIdentity { ja4: Some(ja4), ..TlsIdentity::default() };
        self.is_lost(&Client::new(peer, "", None).with_tls(tls), now).then_some(ban)
    }

    /// True when no exemption can save a client, whatever it will call itself.
    fn is_lost(&self, nameless: &Client<'_>, now: Timestamp) -> bool {
        let by_name = [
            As::ClientId,
            As::Username,
            As::CertCn,
            As::CertSha256,
            As::TlsJa4,
            As::ClientIdRe,
            As::UsernameRe,
        ];
        let may_be_saved = by_name.into_iter().any(|kind| self.exemptions.count(kind) > 0);
        !may_be_saved && self.exemptions.check(nameless, now).is_none()
    }

    /// Everything that names `client`, and the verdict at `now`.
    pub fn explain(&self, client: &Client<'_>, now: Timestamp) -> Explanation {
        Explanation {
            verdict: self.check(client, now),
            exemptions: self.exemptions.hits(client),
            bans: self.bans.hits(client),
        }
    }
}

impl List {
    /// Both lists.
    pub const ALL: [List; 2] = [List::Bans, List::Exemptions];

    /// The list's name in the store, on the command line and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            List::Bans => "bans",
            List::Exemptions => "exemptions",
        }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no list's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a list; expected bans or exemptions")]
pub struct UnknownList;

impl FromStr for List {
    type Err = UnknownList;

    fn from_str(name: &str) -> Result<List, UnknownList> {
        List::ALL.into_iter().find(|list| list.as_str() == name).ok_or(UnknownList)
    }
}

#[cfg(test)]
mod tests;
