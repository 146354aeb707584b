//! The facts of a visit in the form that detectors count: keys instead of names.

use super::blame::Blame;
use super::evidence::Exhibit;
use super::key::{Kind, Secret};
use super::policy::ZonePolicy;
use super::visit::{Session, Visit};
use super::weather::Side;
use crate::admission::Client;
use compact_str::CompactString;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The keys of what a client is called, and of where it came from: they take long to hash, so a session keeps them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) peer: u64,
    /// An IPv4 address, or an IPv6 /64.
    pub(super) source: u64,
    /// The networks that counted when it came.
    networks: [u64; 2],
    prefixes: Prefixes,
    /// The client identifier by which the broker knows it; 0 when it has none.
    client_id: u64,
    /// 0 when it has none.
    username: u64,
}

/// The prefix lengths of the networks that count.
type Prefixes = [Option<u8>; 2];

fn prefixes(policy: &ZonePolicy, addr: IpAddr) -> Prefixes {
    policy.by_network.as_ref().map_or([None; 2], |by| by.prefixes(addr))
}

impl Names {
    /// `client_id` is [`Names::client_id_of`].
    pub(super) fn of(secret: &Secret, policy: &ZonePolicy, client: &Client<'_>, client_id: u64) -> Names {
        let username = client.username().map_or(0, |name| secret.name(Kind::Username, name));
        let Some(addr) = client.peer() else {
            let nowhere = secret.nowhere();
            return Names { peer: nowhere, source: nowhere, client_id, username, ..Names::default() };
        };
        let site = secret.site(addr);
        let peer = secret.peer(site, addr);
        let source = if addr.is_ipv4() { peer } else { secret.network(site, addr, 64) };
        let names = Names { peer, source, client_id, username, ..Names::default() };
        names.in_networks(secret, site, addr, prefixes(policy, addr))
    }

    /// The key of the client identifier by which the broker knows a client; 0 when it has none.
    pub(super) fn client_id_of(secret: &Secret, client: &Client<'_>, assigned: Option<&str>) -> u64 {
        client.client_id().or(assigned).map_or(0, |id| secret.name(Kind::ClientId, id))
    }

    /// With the networks that count under this policy. Whoever has no address is in none.
    fn under(self, secret: &Secret, policy: &ZonePolicy, addr: Option<IpAddr>) -> Names {
        let Some(addr) = addr else { return self };
        let prefixes = prefixes(policy, addr);
        if prefixes == self.prefixes {
            self
        } else {
            self.in_networks(secret, secret.site(addr), addr, prefixes)
        }
    }

    fn in_networks(self, secret: &Secret, site: u64, addr: IpAddr, prefixes: Prefixes) -> Names {
        let network = |prefix: Option<u8>| match prefix {
            None => 0,
            Some(64) if addr.is_ipv6() => self.source,
            Some(prefix) => secret.network(site, addr, prefix),
        };
        // Not by `map`, which calls for each of both.
        let [first, second] = prefixes;
        Names { networks: [network(first), network(second)], prefixes, ..self }
    }

    /// Where in the tables it is at home.
    pub(super) fn home(&self) -> u64 {
        if self.client_id == 0 { self.peer } else { self.client_id }
    }

    /// The networks that count, with their prefix lengths.
    pub(super) fn networks(&self) -> impl Iterator<Item = (u8, u64)> + use<> {
        self.prefixes.into_iter().zip(self.networks).filter_map(|(prefix, key)| Some((prefix?, key)))
    }
}

/// The keys of a client in a zone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    pub(super) zone: u64,
    pub(super) names: Names,
    /// Its TLS fingerprint, where fingerprints count.
    pub(super) ja4: Option<u64>,
    pub(super) credentials: Option<u64>,
    /// What tells it from its neighbours: see [`Keys::of`].
    pub(super) identity: u64,
}

impl Keys {
    /// A client is who its client identifier says. One without is who its credentials say; and so is one that the
    /// broker refused for its credentials, since whoever repeats one wrong password is one client under any name.
    pub(super) fn of(
        secret: &Secret,
        policy: &ZonePolicy,
        client: &Client<'_>,
        names: Names,
        credentials: Option<u64>,
        by_credentials: bool,
    ) -> Keys {
        let zone = secret.own_name(Kind::Zone, &policy.zone);
        let id = names.client_id;
        let identity = match credentials {
            Some(credentials) if by_credentials => secret.key(Kind::Seen, &[1, credentials]),
            _ if id != 0 && client.client_id().is_some() => id,
            _ => secret.key(Kind::Seen, &[2, names.username, credentials.unwrap_or(0)]),
        };
        let counted = policy.by_ja4.as_ref().and(client.tls().ja4);
        let ja4 = counted.map(|ja4| secret.name(Kind::Ja4, ja4));
        Keys { zone, names, ja4, credentials, identity }
    }

    pub(super) fn client_id(&self) -> Option<u64> {
        Some(self.names.client_id).filter(|key| *key != 0)
    }

    pub(super) fn username(&self) -> Option<u64> {
        Some(self.names.username).filter(|key| *key != 0)
    }
}

/// A connection whose end is to be counted. Borrowed from a visit, or from a doubt that was kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) policy: &'a Arc<ZonePolicy>,
    pub(super) keys: Keys,
    pub(super) peer: Option<IpAddr>,
    pub(super) client_id: Option<&'a str>,
    pub(super) username: Option<&'a str>,
    pub(super) ja4: Option<&'a str>,
    /// The broker said yes.
    pub(super) is_accepted: bool,
    /// From the CONNECT to the end.
    pub(super) lived: Duration,
}

impl<'a> Facts<'a> {
    pub(super) fn of(secret: &Secret, policy: &'a Arc<ZonePolicy>, visit: &'a Visit<'a>) -> Facts<'a> {
        let session = visit.session();
        let by_credentials = session.is_some_and(Session::is_auth_failure);
        let names = session
            .and_then(|session| session.stay.as_ref())
            .map(|stay| stay.names.under(secret, policy, visit.client.peer()));
        let names = names.unwrap_or_else(|| {
            let client_id = Names::client_id_of(secret, &visit.client, visit.assigned_client_id);
            Names::of(secret, policy, &visit.client, client_id)
        });
        let keys = Keys::of(secret, policy, &visit.client, names, visit.credentials, by_credentials);
        Facts {
            policy,
            keys,
            peer: visit.client.peer(),
            client_id: visit.client_id(),
            username: visit.client.username(),
            ja4: visit.client.tls().ja4,
            is_accepted: session.is_some_and(Session::is_accepted),
            lived: session.map_or(Duration::ZERO, |session| session.lived),
        }
    }

    /// Of a client that has only come.
    pub(super) fn of_client(policy: &'a Arc<ZonePolicy>, keys: Keys, client: &Client<'a>) -> Facts<'a> {
        Facts {
            policy,
            keys,
            peer: client.peer(),
            client_id: client.client_id(),
            username: client.username(),
            ja4: client.tls().ja4,
            is_accepted: false,
            lived: Duration::ZERO,
        }
    }

    pub(super) fn exhibit(&self, blame: Blame) -> Exhibit<'a> {
        Exhibit { peer: self.peer, client_id: self.client_id, blame }
    }
}

/// A connection whose end is in doubt.
#[derive(Debug)]
pub(super) struct Doubt {
    policy: Arc<ZonePolicy>,
    keys: Keys,
    peer: Option<IpAddr>,
    client_id: Option<CompactString>,
    username: Option<CompactString>,
    /// Where fingerprints count.
    ja4: Option<CompactString>,
    is_accepted: bool,
    lived: Duration,
    pub(super) broker: u64,
    pub(super) side: Side,
    pub(super) was_resident: bool,
}

impl Doubt {
    pub(super) fn new(facts: &Facts<'_>, broker: u64, side: Side, was_resident: bool) -> Doubt {
        Doubt {
            policy: Arc::clone(facts.policy),
            keys: facts.keys,
            peer: facts.peer,
            client_id: facts.client_id.map(CompactString::from),
            username: facts.username.map(CompactString::from),
            ja4: facts.keys.ja4.and(facts.ja4).map(CompactString::from),
            is_accepted: facts.is_accepted,
            lived: facts.lived,
            broker,
            side,
            was_resident,
        }
    }

    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            policy: &self.policy,
            keys: self.keys,
            peer: self.peer,
            client_id: self.client_id.as_deref(),
            username: self.username.as_deref(),
            ja4: self.ja4.as_deref(),
            is_accepted: self.is_accepted,
            lived: self.lived,
        }
    }
}
