//! Who was turned away most often.

use crate::admin::api::Admin;
use crate::admin::fault::{Fault, FaultBody};
use crate::admin::listing::Words;
use crate::admission::Timestamp;
use crate::refused::{Origin, Refused, Row};
use axum::Json;
use axum::extract::{RawQuery, State};
use compact_str::CompactString;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Serialize;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use tokio::task::spawn_blocking;
use utoipa::{IntoParams, ToSchema};

/// Those who were turned away most often, the most frequent first.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Top {
    /// Client identifiers.
    clients: Vec<TopClient>,
    /// Addresses.
    addresses: Vec<TopAddress>,
    /// Networks: /24 of IPv4, /64 of IPv6.
    networks: Vec<TopNetwork>,
}

#[derive(Debug, Serialize, ToSchema)]
struct TopClient {
    /// Its client identifier, cut at 256 bytes.
    clientid: String,
    /// How often it came.
    count: u64,
    /// When it came last, RFC 3339.
    last_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct TopAddress {
    /// The address.
    peerhost: String,
    /// How often somebody came from there.
    count: u64,
    /// When somebody came last, RFC 3339.
    last_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct TopNetwork {
    /// The network.
    network: String,
    /// How often somebody came from there.
    count: u64,
    /// When somebody came last, RFC 3339.
    last_at: String,
}

/// What the call reads.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what the call reads")]
pub(super) struct TopParams {
    /// How many of each.
    #[param(minimum = 1, maximum = 100, default = 10)]
    limit: Option<u32>,
}

/// Who was turned away most often of late: clients, addresses, networks.
#[utoipa::path(
    get,
    path = "/api/v5/refused/top",
    tag = "refused",
    params(TopParams),
    responses(
        (status = OK, description = "the most frequent ones", body = Top),
        (status = BAD_REQUEST, description = "the query is wrong", body = FaultBody),
    )
)]
pub(super) async fn top_refused(
    State(admin): State<Admin>,
    RawQuery(query): RawQuery,
) -> Result<Json<Top>, Fault> {
    let words = Words::read(query.as_deref(), &["limit"])?;
    let limit =
        words.one("limit").map_or(Some(10), |text| text.parse().ok().filter(|n| (1..=100).contains(n)));
    let limit = limit.ok_or_else(|| Fault::bad_request(&"limit is wrong; expected a number of 1 to 100"))?;
    let now = admin.bouncer.clock().now();
    let counted = spawn_blocking(move || top(&admin.proxy.refused, now, limit));
    counted.await.map(Json).map_err(|_| Fault::internal(&"the list could not be made"))
}

/// How often something came, and when last.
type Counts<K> = HashMap<K, (u64, Timestamp)>;

/// The table is bounded, and so is what is counted of it.
fn top(refused: &Refused, now: Timestamp, limit: usize) -> Top {
    let (clients, addresses, networks) = (
        RefCell::<Counts<CompactString>>::default(),
        RefCell::<Counts<IpAddr>>::default(),
        RefCell::default(),
    );
    refused.pick(now, |row| {
        if let Some(client_id) = &row.client_id {
            count(&mut clients.borrow_mut(), client_id.clone(), row);
        }
        if let Origin::One(Some(address)) = row.origin {
            count(&mut addresses.borrow_mut(), address, row);
        }
        if let Some(network) = network_of(row.origin) {
            count(&mut networks.borrow_mut(), network, row);
        }
        false
    });
    let clients = most(clients.into_inner(), limit).map(|(clientid, count, last_at)| TopClient {
        clientid: clientid.into(),
        count,
        last_at,
    });
    let addresses = most(addresses.into_inner(), limit).map(|(address, count, last_at)| TopAddress {
        peerhost: address.to_string(),
        count,
        last_at,
    });
    let networks = most(networks.into_inner(), limit).map(|(network, count, last_at)| TopNetwork {
        network: network.to_string(),
        count,
        last_at,
    });
    Top { clients: clients.collect(), addresses: addresses.collect(), networks: networks.collect() }
}

fn count<K: Eq + Hash>(counts: &mut Counts<K>, key: K, row: &Row) {
    let (count, last) = counts.entry(key).or_insert((0, row.last));
    *count = count.saturating_add(row.count);
    *last = row.last.max(*last);
}

/// Those that came most often; of equals, who came last.
fn most<K: Ord>(counts: Counts<K>, limit: usize) -> impl Iterator<Item = (K, u64, String)> {
    let mut all: Vec<_> = counts.into_iter().map(|(key, (count, last))| (count, last, key)).collect();
    all.sort_unstable_by(|one, other| other.cmp(one));
    all.into_iter().take(limit).map(|(count, last, key)| (key, count, last.to_string()))
}

/// None where it came by a Unix socket.
fn network_of(origin: Origin) -> Option<IpNet> {
    let of = |address| match address {
        IpAddr::V4(address) => Ipv4Net::new(address, 24).unwrap_or_default().trunc().into(),
        IpAddr::V6(address) => Ipv6Net::new(address, 64).unwrap_or_default().trunc().into(),
    };
    match origin {
        Origin::One(address) => address.map(of),
        Origin::Others(place) => place.map(|place| of(place.addr())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Client;
    use crate::refused::{Attempt, Reason, RefusedSettings};
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn whoever_came_most_often_stands_first_and_networks_sum_up() {
        let refused = Refused::new(RefusedSettings { max_entries: 1000, ttl: Duration::from_hours(1) });
        let name: Arc<str> = "mqtt".into();
        let now = Timestamp::from_millis(1_920_594_240_000);
        let come = |client_id: &str, peer: [u8; 4], times: u32| {
            for _ in 0..times {
                let attempt = Attempt {
                    client: Client::new(IpAddr::from(peer), client_id, None),
                    has_password: None,
                    is_tls: false,
                    server_name: None,
                    via: None,
                    listener: &name,
                    zone: &name,
                    reason: Reason::Banned,
                    ban: None,
                };
                refused.note(&attempt, now);
            }
        };
        come("a", [192, 0, 2, 1], 3);
        come("a", [192, 0, 2, 2], 3);
        come("b", [192, 0, 2, 2], 2);
        come("c", [203, 0, 113, 1], 7);
        let told = top(&refused, now, 2);
        let clients: Vec<_> = told.clients.iter().map(|one| (one.clientid.as_str(), one.count)).collect();
        assert_eq!(clients, [("c", 7), ("a", 6)]);
        let addresses: Vec<_> = told.addresses.iter().map(|one| (one.peerhost.as_str(), one.count)).collect();
        assert_eq!(addresses, [("203.0.113.1", 7), ("192.0.2.2", 5)]);
        let networks: Vec<_> = told.networks.iter().map(|one| (one.network.as_str(), one.count)).collect();
        assert_eq!(networks, [("192.0.2.0/24", 8), ("203.0.113.0/24", 7)]);
    }
}
