//! Sees to the brokers beside the connections: asks them how they are, and looks their names up.

use super::Proxy;
use super::lines::log_upstream;
use crate::metrics::Reached;
use crate::net::upstream::{CheckError, CheckSettings, Checked, Member, Upstream};
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// The tasks that do it; they end with this.
#[derive(Debug)]
pub struct Upkeep {
    _tasks: JoinSet<()>,
}

impl Upkeep {
    /// Sees to the brokers that the proxy has now. Must be called inside a tokio runtime.
    pub fn start(proxy: &Arc<Proxy>) -> Upkeep {
        let mut tasks = JoinSet::new();
        for group in proxy.routes.load().groups.all() {
            for index in 0..group.members().len() {
                let named = Arc::clone(group);
                tasks.spawn(async move {
                    if let Some(member) = named.members().get(index) {
                        named.keep_resolved(member).await;
                    }
                });
                if let Some(check) = group.settings().check.clone() {
                    tasks.spawn(keep_checked(Arc::clone(proxy), Arc::clone(group), index, check));
                }
            }
        }
        Upkeep { _tasks: tasks }
    }
}

async fn keep_checked(proxy: Arc<Proxy>, group: Arc<Upstream>, index: usize, check: CheckSettings) {
    let Some(member) = group.members().get(index) else { return };
    let mut ticks = interval(check.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let checked = group.check(member, &check).await;
        note(&proxy, &group, member, &checked);
    }
}

fn note(proxy: &Proxy, group: &Upstream, member: &Member, checked: &Checked) {
    let (server, is_reachable) = (member.server(), !matches!(checked.outcome, Err(CheckError::Connect(_))));
    let at_micros = proxy.bouncer.clock().moment().as_micros();
    proxy.metrics.servers.of(server.as_str()).tried(Reached { is_reachable, at_micros });
    if !is_reachable {
        // Whose session ends now ends for that, as when a client's dial had found it out. What a broker says to the
        // check is no such sign: it may be the check that is set wrongly.
        proxy.bouncer.unreachable(server.as_str());
    }
    if let Some(event) = &checked.event {
        log_upstream(group.name(), server, event);
    }
}
