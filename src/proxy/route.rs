//! Which brokers a client is taken to.

use crate::net::upstream::Upstream;
use crate::wire::mqtt::Version;

/// Rules in order, and where everybody else goes.
#[derive(Debug)]
pub struct Routes {
    /// The first rule that fits decides.
    pub rules: Vec<Route>,
    /// For clients that no rule fits.
    pub default: Upstream,
}

/// Takes clients of some MQTT versions to a group of brokers.
#[derive(Debug)]
pub struct Route {
    /// The versions.
    pub versions: Vec<Version>,
    /// The brokers.
    pub upstream: Upstream,
}

impl Routes {
    /// All groups of brokers.
    pub fn groups(&self) -> impl Iterator<Item = &Upstream> {
        self.rules.iter().map(|route| &route.upstream).chain([&self.default])
    }

    /// The brokers for a client of this version.
    pub fn choose(&self, version: Version) -> &Upstream {
        let rule = self.rules.iter().find(|route| route.versions.contains(&version));
        rule.map_or(&self.default, |route| &route.upstream)
    }
}
