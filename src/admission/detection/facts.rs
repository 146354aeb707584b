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

/// The keys of what a client is called, and of where it came from: names take long to hash, so a session keeps them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Names {
    peer: u64,
    /// The client identifier by which the broker knows it; 0 when it has none.
    client_id: u64,
    /// 0 when it has none.
    username: u64,
}

impl Names {
    pub(super) fn of(secret: &Secret, client: &Client<'_>, assigned: Option<&str>) -> Names {
        let key = |kind, name: Option<&str>| name.map_or(0, |name| secret.name(kind, name));
        Names {
            peer: secret.peer(client.peer()),
            client_id: key(Kind::ClientId, client.client_id().or(assigned)),
            username: key(Kind::Username, client.username()),
        }
    }
}

/// The keys of a client in a zone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    pub(super) zone: u64,
    pub(super) peer: u64,
    /// An IPv4 address, or an IPv6 /64.
    pub(super) source: u64,
    /// The networks that count, with their prefix lengths.
    pub(super) networks: [Option<(u8, u64)>; 2],
    /// Its TLS fingerprint, where fingerprints count.
    pub(super) ja4: Option<u64>,
    /// The client identifier by which the broker knows it.
    pub(super) client_id: Option<u64>,
    pub(super) username: Option<u64>,
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
        let peer = names.peer;
        let [client_id, username] = [names.client_id, names.username].map(|key| (key != 0).then_some(key));
        let identity = match (client_id.filter(|_| client.client_id().is_some()), credentials) {
            (_, Some(credentials)) if by_credentials => secret.key(Kind::Seen, &[1, credentials]),
            (Some(id), _) => secret.key_of(id, Kind::Seen, &[2, id]),
            (None, _) => secret.key(Kind::Seen, &[3, username.unwrap_or(0), credentials.unwrap_or(0)]),
        };
        let addr = client.peer();
        let source = if addr.is_ipv4() { peer } else { secret.network(addr, 64) };
        let mut networks = [None; 2];
        let prefixes = policy.by_network.into_iter().flat_map(|by| by.prefixes(addr));
        for (network, prefix) in networks.iter_mut().zip(prefixes) {
            let is_source = addr.is_ipv6() && prefix == 64;
            *network = Some((prefix, if is_source { source } else { secret.network(addr, prefix) }));
        }
        let counted = policy.by_ja4.and(client.tls().ja4);
        let ja4 = counted.map(|ja4| secret.name(Kind::Ja4, ja4));
        Keys { zone, peer, source, networks, ja4, client_id, username, credentials, identity }
    }
}

/// A connection whose end is to be counted. Borrowed from a visit, or from a doubt that was kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) policy: &'a Arc<ZonePolicy>,
    pub(super) keys: Keys,
    pub(super) peer: IpAddr,
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
            .and_then(|session| session.stay)
            .map_or_else(|| Names::of(secret, &visit.client, visit.assigned_client_id), |stay| stay.names);
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
    peer: IpAddr,
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
