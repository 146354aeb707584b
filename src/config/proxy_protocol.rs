//! The options about PROXY headers, of listeners and of groups of brokers.

use super::document::Section;
use crate::admission::canonical;
use crate::proxy::{ProxyMode, ProxyProtocol};
use crate::wire::proxy_protocol::Version;
use ipnet::IpNet;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

/// Those of a listener.
pub(super) fn read(section: &Section<'_, '_>) -> Option<ProxyProtocol> {
    let mode = section.choice(
        "proxy_protocol",
        "\"off\"",
        &[("off", ProxyMode::Off), ("optional", ProxyMode::Optional), ("required", ProxyMode::Required)],
    );
    let trusted = section.list_or::<Trusted>("trusted", ("[]", Vec::new()), NETWORKS);
    let timeout = section.duration("proxy_protocol_timeout", "\"5s\"", Duration::from_millis(1));
    let mode = mode?;
    if mode != ProxyMode::Off && trusted.is_empty() && !section.has("trusted") {
        section.mistake("trusted", format!("is missing; expected {NETWORKS}"));
    }
    let trusts_unix = trusted.iter().any(|one| matches!(one, Trusted::Unix));
    let network = |one| match one {
        Trusted::Network(network) => Some(network),
        Trusted::Unix => None,
    };
    let trusted = trusted.into_iter().filter_map(network).collect();
    Some(ProxyProtocol { mode, trusted, trusts_unix, timeout: timeout? })
}

/// What a group of brokers may be told.
pub(super) const VERSIONS: [(&str, Option<Version>); 3] =
    [("off", None), ("v1", Some(Version::V1)), ("v2", Some(Version::V2))];

const NETWORKS: &str = "the addresses and networks of your load balancers, e.g. [\"10.0.0.0/8\"]";

/// Somebody who is trusted.
enum Trusted {
    Network(IpNet),
    /// Whoever comes by a Unix socket.
    Unix,
}

impl FromStr for Trusted {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Trusted, &'static str> {
        if text == "unix" {
            return Ok(Trusted::Unix);
        }
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        network
            .map(|network| Trusted::Network(canonical(network)))
            .ok_or("is not a network; expected e.g. \"10.0.0.0/8\" or \"192.0.2.7\", or \"unix\"")
    }
}
