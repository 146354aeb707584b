//! Which brokers a client is taken to.

use crate::net::upstream::{Groups, Upstream};
use crate::wire::mqtt::Version;
use std::sync::Arc;

/// Rules in order, and where everybody else goes.
#[derive(Debug)]
pub struct Routes {
    /// The first rule that fits decides.
    pub rules: Vec<Route>,
    /// For clients that no rule fits.
    pub default: Arc<Upstream>,
    /// All groups of brokers, those that no rule names included.
    pub groups: Groups,
}

/// Takes clients of some MQTT versions to a group of brokers.
#[derive(Debug)]
pub struct Route {
    /// The versions.
    pub versions: Vec<Version>,
    /// The brokers.
    pub upstream: Arc<Upstream>,
}

impl Routes {
    /// The brokers for a client of this version.
    pub fn choose(&self, version: Version) -> &Arc<Upstream> {
        let rule = self.rules.iter().find(|route| route.versions.contains(&version));
        rule.map_or(&self.default, |route| &route.upstream)
    }
}
