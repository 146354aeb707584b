//! The list of bans, and the answer to "which ban keeps this client out?".
//!
//! Checks take no lock and touch no rule but the candidate's own: each kind is a concurrent hash map by exact value.

use super::ban::{Ban, Terms};
use super::client::Client;
use super::time::Timestamp;
use super::who::{As, Who};
use compact_str::CompactString;
use std::net::IpAddr;

type Map<K> = papaya::HashMap<K, Terms, foldhash::fast::RandomState>;

/// The list of bans. Shared by reference; every method takes `&self`.
#[derive(Debug, Default)]
pub struct BanList {
    client_ids: Map<CompactString>,
    usernames: Map<CompactString>,
    peers: Map<IpAddr>,
}

/// What the list says of one client at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// No ban holds.
    Admit,
    /// This ban holds: the first in the order of evaluation.
    Refuse(Ban),
}

impl BanList {
    /// Says whether `client` may enter at `now`. Order: client identifier, user name, address.
    pub fn check(&self, client: &Client<'_>, now: Timestamp) -> Verdict {
        let by_client_id = || {
            let id = client.client_id()?;
            Some(Ban { terms: active(&self.client_ids, id, now)?, who: Who::ClientId(id.into()) })
        };
        let by_username = || {
            let name = client.username()?;
            Some(Ban { terms: active(&self.usernames, name, now)?, who: Who::Username(name.into()) })
        };
        let ban = by_client_id().or_else(by_username).or_else(|| self.check_peer(client.peer(), now));
        ban.map_or(Verdict::Admit, Verdict::Refuse)
    }

    /// The ban that holds for an address alone, before anything else is known of the client.
    pub fn check_peer(&self, peer: IpAddr, now: Timestamp) -> Option<Ban> {
        let peer = peer.to_canonical();
        Some(Ban { terms: active(&self.peers, &peer, now)?, who: Who::PeerHost(peer) })
    }

    /// Adds a ban, or changes the terms of the one that names the same. Checks that begin after this returns see it.
    pub fn ban(&self, ban: Ban) {
        let Ban { who, terms } = ban;
        match who {
            Who::ClientId(id) => drop(self.client_ids.pin().insert(id, terms)),
            Who::Username(name) => drop(self.usernames.pin().insert(name, terms)),
            Who::PeerHost(peer) => drop(self.peers.pin().insert(peer, terms)),
        }
    }

    /// Lifts the ban that names `who`. Returns whether there was one, active or not.
    pub fn lift(&self, who: &Who) -> bool {
        match who {
            Who::ClientId(id) => self.client_ids.pin().remove(id).is_some(),
            Who::Username(name) => self.usernames.pin().remove(name).is_some(),
            Who::PeerHost(peer) => self.peers.pin().remove(peer).is_some(),
        }
    }

    /// How many bans of this kind are in the list, active or not.
    pub fn count(&self, kind: As) -> usize {
        match kind {
            As::ClientId => self.client_ids.len(),
            As::Username => self.usernames.len(),
            As::PeerHost => self.peers.len(),
        }
    }
}

fn active<K, Q>(map: &Map<K>, key: &Q, now: Timestamp) -> Option<Terms>
where
    K: std::hash::Hash + Eq + std::borrow::Borrow<Q>,
    Q: std::hash::Hash + Eq + ?Sized,
{
    map.pin().get(key).filter(|terms| terms.is_active(now)).cloned()
}

#[cfg(test)]
mod tests {
    use super::super::Until;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn ban(kind: As, who: &str, until: Until) -> Ban {
        let terms = Terms { by: "test".into(), reason: "".into(), at: NOW, until };
        Ban { who: Who::new(kind, who).expect("a name"), terms }
    }

    fn client<'a>(peer: &str, client_id: &'a str, username: Option<&'a str>) -> Client<'a> {
        Client::new(peer.parse().expect("an address"), client_id, username)
    }

    fn who_refuses(list: &BanList, client: &Client<'_>) -> Option<As> {
        match list.check(client, NOW) {
            Verdict::Admit => None,
            Verdict::Refuse(ban) => Some(ban.who.kind()),
        }
    }

    #[test]
    fn each_kind_refuses_whom_it_names_and_nobody_else() {
        let list = BanList::default();
        for (kind, who) in [(As::ClientId, "c"), (As::Username, "u"), (As::PeerHost, "10.0.0.1")] {
            list.ban(ban(kind, who, Until::Infinity));
        }
        let refused = |peer, id, name| who_refuses(&list, &client(peer, id, name));
        assert_eq!(refused("10.0.0.2", "x", None), None);
        assert_eq!(refused("10.0.0.2", "u", Some("c")), None, "a name of one kind is no name of another");
        assert_eq!(refused("10.0.0.2", "c", None), Some(As::ClientId));
        assert_eq!(refused("10.0.0.2", "x", Some("u")), Some(As::Username));
        assert_eq!(refused("::ffff:10.0.0.1", "x", None), Some(As::PeerHost));
    }

    #[test]
    fn client_id_is_asked_before_username_and_username_before_address() {
        let list = BanList::default();
        let who = client("10.0.0.1", "c", Some("u"));
        list.ban(ban(As::PeerHost, "10.0.0.1", Until::Infinity));
        assert_eq!(who_refuses(&list, &who), Some(As::PeerHost));
        list.ban(ban(As::Username, "u", Until::Infinity));
        assert_eq!(who_refuses(&list, &who), Some(As::Username));
        list.ban(ban(As::ClientId, "c", Until::Infinity));
        assert_eq!(who_refuses(&list, &who), Some(As::ClientId));
        list.ban(ban(As::ClientId, "c", Until::Moment(NOW)));
        assert_eq!(who_refuses(&list, &who), Some(As::Username), "an expired ban stands in nobody's way");
    }

    #[test]
    fn a_later_ban_of_the_same_name_replaces_the_terms() {
        let list = BanList::default();
        list.ban(ban(As::ClientId, "c", Until::Moment(NOW)));
        list.ban(ban(As::ClientId, "c", Until::Infinity));
        assert_eq!(list.count(As::ClientId), 1);
        assert_eq!(who_refuses(&list, &client("::1", "c", None)), Some(As::ClientId));
        assert!(list.lift(&Who::ClientId("c".into())));
        assert!(!list.lift(&Who::ClientId("c".into())));
        assert_eq!(who_refuses(&list, &client("::1", "c", None)), None);
    }

    /// The whole truth in a loop: every ban in turn.
    fn naive(bans: &BTreeMap<Who, Until>, client: &Client<'_>) -> Option<As> {
        let hits = bans.iter().filter(|(who, until)| {
            let named = match who {
                Who::ClientId(id) => client.client_id() == Some(id.as_str()),
                Who::Username(name) => client.username() == Some(name.as_str()),
                Who::PeerHost(peer) => client.peer() == *peer,
            };
            named && until.is_after(NOW)
        });
        hits.map(|(who, _)| who.kind()).min()
    }

    fn name() -> impl Strategy<Value = String> {
        "[abc]{1,2}"
    }

    proptest! {
        #[test]
        fn the_list_agrees_with_a_loop_over_all_bans(
            changes in prop::collection::vec(
                (prop::sample::select(&As::ALL[..]), name(), 1_u8..6, any::<bool>(), -2_i64..3), 0..60),
            clients in prop::collection::vec((name(), prop::option::of(name()), 1_u8..6), 1..40),
        ) {
            let (list, mut model) = (BanList::default(), BTreeMap::new());
            for (kind, name, host, add, offset) in changes {
                let who = if kind == As::PeerHost { format!("10.0.0.{host}") } else { name };
                let until = Until::Moment(Timestamp::from_millis(NOW.as_millis() + offset));
                let ban = ban(kind, &who, until);
                if add {
                    model.insert(ban.who.clone(), until);
                    list.ban(ban);
                } else {
                    prop_assert_eq!(list.lift(&ban.who), model.remove(&ban.who).is_some());
                }
            }
            for (id, username, host) in &clients {
                let client = Client::new([10, 0, 0, *host].into(), id, username.as_deref());
                prop_assert_eq!(who_refuses(&list, &client), naive(&model, &client));
            }
        }
    }
}
