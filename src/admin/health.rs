//! Whether clients may be sent to this proxy.
//!
//! Whether a broker can be reached is known from the last attempt to take a client there. Where that is long ago, the
//! question itself makes one more attempt: a TCP connection that is closed at once.

use crate::metrics::Reached;
use crate::net::upstream::{Condition, Member, Server, Upstream};
use crate::proxy::{Proxy, Routes};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use utoipa::ToSchema;

/// Says whether clients may be sent here. Clones share what they ask of brokers.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    /// Held by the one who asks the brokers; others wait for what it learns.
    asking: Arc<Mutex<()>>,
}

/// Whether clients may be sent here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    Ready,
    NotReady(NotReady),
}

/// Why clients may not be sent here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum NotReady {
    Starting,
    Draining,
    NoUpstream,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotReady::Starting => "not every listener accepts connections yet",
            NotReady::Draining => "the proxy is draining and admits nobody any more",
            NotReady::NoUpstream => "none of the brokers can be reached",
        })
    }
}

/// How long it is believed that a broker can be reached, and that it cannot.
const BELIEVE_GOOD: Duration = Duration::from_secs(10);
const BELIEVE_BAD: Duration = Duration::from_secs(1);

/// How long a broker may take to answer the question.
const PATIENCE: Duration = Duration::from_secs(1);

impl Watch {
    pub(super) async fn look(&self, proxy: &Proxy) -> Readiness {
        let phase = || {
            if proxy.draining.is_raised() {
                Some(NotReady::Draining)
            } else if proxy.open.is_raised() {
                None
            } else {
                Some(NotReady::Starting)
            }
        };
        if let Some(reason) = phase() {
            return Readiness::NotReady(reason);
        }
        if is_any_known_to_be_reachable(proxy) {
            return Readiness::Ready;
        }
        let _turn = self.asking.lock().await;
        // Whoever had the turn before has asked for all.
        if !is_any_known_to_be_reachable(proxy) {
            ask_all(proxy).await;
        }
        match phase() {
            Some(reason) => Readiness::NotReady(reason),
            None if is_any_known_to_be_reachable(proxy) => Readiness::Ready,
            None => Readiness::NotReady(NotReady::NoUpstream),
        }
    }
}

/// Clients may be taken to a server that is not drained, and not taken down by its checks.
fn servers(routes: &Routes) -> impl Iterator<Item = (&Arc<Upstream>, &Member)> {
    let all = routes.groups.all().flat_map(|group| group.members().iter().map(move |member| (group, member)));
    let is_down = |group: &Upstream, member: &Member| {
        member.condition(Instant::now(), group.settings().slow_start) == Condition::Down
    };
    all.filter(move |(group, member)| !member.is_drained() && !is_down(group, member))
}

fn is_any_known_to_be_reachable(proxy: &Proxy) -> bool {
    servers(&proxy.routes.load()).any(|(_, member)| known(proxy, member.server()) == Some(true))
}

/// Whether this broker can be reached, as far as that is known.
fn known(proxy: &Proxy, server: &Server) -> Option<bool> {
    let Reached { is_reachable, at_micros } = proxy.metrics.servers.of(server.as_str()).latest()?;
    let age = Duration::from_micros(now(proxy).saturating_sub(at_micros));
    (age < if is_reachable { BELIEVE_GOOD } else { BELIEVE_BAD }).then_some(is_reachable)
}

fn now(proxy: &Proxy) -> u64 {
    proxy.bouncer.clock().moment().as_micros()
}

/// Tries to reach every broker of which nothing is known.
async fn ask_all(proxy: &Proxy) {
    let routes = proxy.routes.load_full();
    let unknown = servers(&routes).filter(|(_, member)| known(proxy, member.server()).is_none());
    join_all(unknown.map(|(group, member)| ask(proxy, group, member))).await;
}

async fn ask(proxy: &Proxy, group: &Upstream, member: &Member) {
    let is_reachable = group.probe(member, PATIENCE).await;
    let reached = Reached { is_reachable, at_micros: now(proxy) };
    proxy.metrics.servers.of(member.server().as_str()).tried(reached);
}
