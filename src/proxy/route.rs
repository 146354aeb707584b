//! Which brokers a client is taken to.

use crate::admission::{Pattern, PatternIndex, TooMany};
use crate::net::upstream::{DEFAULT, Groups, Upstream};
use crate::wire::mqtt::Version;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The rules, and the groups that they lead to.
#[derive(Debug)]
pub struct Routes {
    /// The rules.
    pub rules: Rules,
    /// All groups of brokers, those that no rule names included.
    pub groups: Groups,
}

/// Rules in order: the first one that fits decides.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rules {
    /// The rules.
    pub rules: Vec<Rule>,
    /// By listener: the group of everybody whom no rule takes elsewhere, where that is not the default.
    pub usual: BTreeMap<Arc<str>, Arc<str>>,
}

/// Takes some clients to a group of brokers.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Which clients.
    pub when: Conditions,
    /// The name of the group.
    pub upstream: Arc<str>,
}

/// What must be true of a client: everything that is asked for here. Of what stands in one list, any.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Conditions {
    /// The version that it speaks.
    pub versions: Option<Vec<Version>>,
    /// The listener that it came to.
    pub listeners: Option<Vec<Arc<str>>>,
    /// Its client identifier, byte for byte.
    pub client_ids: Option<Vec<Box<str>>>,
    /// How its client identifier begins.
    pub client_id_prefixes: Option<Vec<Box<str>>>,
    /// Patterns that match its client identifier.
    pub client_id_patterns: Option<Patterns>,
    /// Its user name, byte for byte.
    pub usernames: Option<Vec<Box<str>>>,
    /// Patterns that match its user name.
    pub username_patterns: Option<Patterns>,
    /// The server that it asked for in TLS.
    pub server_names: Option<Vec<HostPattern>>,
    /// The common name of its certificate.
    pub cert_cns: Option<Vec<Box<str>>>,
}

/// What rules look at. What is not known fits no condition.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traits<'a> {
    /// The version that it speaks.
    pub version: Option<Version>,
    /// The listener that it came to.
    pub listener: Option<&'a str>,
    /// Its client identifier.
    pub client_id: &'a str,
    /// Its user name.
    pub username: Option<&'a str>,
    /// The server that it asked for in TLS.
    pub server_name: Option<&'a str>,
    /// The common name of its certificate.
    pub cert_cn: Option<&'a str>,
}

/// Where a client is taken, and by which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice<'a> {
    /// The rule's place among all, from 0; `None` when no rule fits.
    pub rule: Option<usize>,
    /// The name of the group.
    pub upstream: &'a str,
}

impl Rules {
    /// Where this client is taken.
    pub fn choose<'a>(&'a self, client: &Traits<'a>) -> Choice<'a> {
        let fits = |(_, rule): &(usize, &Rule)| rule.when.fit(client);
        if let Some((index, rule)) = self.rules.iter().enumerate().find(fits) {
            return Choice { rule: Some(index), upstream: &rule.upstream };
        }
        let usual = client.listener.and_then(|listener| self.usual.get(listener));
        Choice { rule: None, upstream: usual.map_or(DEFAULT, |upstream| upstream) }
    }
}

impl Routes {
    /// The brokers for this client; `None` when there is no such group, which no config file says.
    pub fn choose(&self, client: &Traits<'_>) -> Option<&Arc<Upstream>> {
        self.groups.get(self.rules.choose(client).upstream)
    }
}

impl Conditions {
    fn fit(&self, client: &Traits<'_>) -> bool {
        let any = |wanted: &Option<Vec<Box<str>>>, found: Option<&str>| {
            holds(wanted.as_ref(), |names| {
                found.is_some_and(|found| names.iter().any(|name| **name == *found))
            })
        };
        let pattern = |wanted: &Option<Patterns>, found: Option<&str>| {
            holds(wanted.as_ref(), |patterns| {
                found.is_some_and(|found| patterns.index.is_match(found.as_bytes()))
            })
        };
        let begins =
            |prefixes: &Vec<Box<str>>| prefixes.iter().any(|one| client.client_id.starts_with(&**one));
        holds(self.versions.as_ref(), |all| client.version.is_some_and(|one| all.contains(&one)))
            && holds(self.listeners.as_ref(), |all| all.iter().any(|one| client.listener == Some(&**one)))
            && any(&self.client_ids, Some(client.client_id))
            && holds(self.client_id_prefixes.as_ref(), begins)
            && any(&self.usernames, client.username)
            && any(&self.cert_cns, client.cert_cn)
            && holds(self.server_names.as_ref(), |all| {
                client.server_name.is_some_and(|name| all.iter().any(|one| one.fits(name)))
            })
            && pattern(&self.client_id_patterns, Some(client.client_id))
            && pattern(&self.username_patterns, client.username)
    }
}

/// What nobody asks for holds.
fn holds<T>(wanted: Option<&T>, is_so: impl FnOnce(&T) -> bool) -> bool {
    wanted.is_none_or(is_so)
}

/// Patterns of which any has to match; in the language of bans.
#[derive(Clone)]
pub struct Patterns {
    sources: Vec<Box<str>>,
    index: Arc<PatternIndex<()>>,
}

impl Patterns {
    /// All of these.
    ///
    /// # Errors
    /// Too many of them are tried for every client.
    pub fn new(patterns: impl IntoIterator<Item = Pattern>) -> Result<Patterns, TooMany> {
        let (mut sources, index) = (Vec::new(), PatternIndex::new());
        for pattern in patterns {
            sources.push(pattern.source().into());
            index.insert(pattern, ())?;
        }
        Ok(Patterns { sources, index: Arc::new(index) })
    }
}

impl PartialEq for Patterns {
    fn eq(&self, other: &Patterns) -> bool {
        self.sources == other.sources
    }
}

impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sources.fmt(f)
    }
}

/// A host's name, or `*.` and the end of some; in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern(Box<str>);

/// A text that is no name of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no name of a host; expected e.g. \"broker.example\" or \"*.example\"")]
pub struct HostPatternError;

impl HostPattern {
    /// `*.example` fits `a.example`, and neither `example` nor `a.b.example`, as in certificates (RFC 6125, section 6.4.3).
    fn fits(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.');
        match self.0.strip_prefix("*.") {
            None => name.eq_ignore_ascii_case(&self.0),
            Some(end) => name
                .split_once('.')
                .is_some_and(|(first, rest)| !first.is_empty() && rest.eq_ignore_ascii_case(end)),
        }
    }
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<HostPattern, HostPatternError> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if !name.is_empty() && name.len() <= 253 && name.bytes().all(is_plain) {
            Ok(HostPattern(text.to_ascii_lowercase().into()))
        } else {
            Err(HostPatternError)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Match;

    fn names(names: &[&str]) -> Vec<Box<str>> {
        names.iter().map(|name| (*name).into()).collect()
    }

    fn patterns(sources: &[&str]) -> Option<Patterns> {
        let parsed = sources.iter().map(|source| Pattern::parse(source, Match::Search).expect("a pattern"));
        Patterns::new(parsed).ok()
    }

    fn client<'a>() -> Traits<'a> {
        Traits {
            version: Some(Version::V5),
            listener: Some("tls"),
            client_id: "sensor-7",
            username: Some("ann"),
            server_name: Some("eu.Broker.example"),
            cert_cn: Some("device-7"),
        }
    }

    #[test]
    fn every_condition_of_a_rule_must_hold_and_any_of_its_list() {
        let fits = |when: Conditions| when.fit(&client());
        let with = Conditions::default;
        assert!(fits(with()));
        assert!(fits(Conditions { versions: Some(vec![Version::V31, Version::V5]), ..with() }));
        assert!(!fits(Conditions { versions: Some(vec![Version::V31]), ..with() }));
        assert!(fits(Conditions { listeners: Some(vec!["a".into(), "tls".into()]), ..with() }));
        assert!(!fits(Conditions { listeners: Some(vec!["a".into()]), ..with() }));
        assert!(fits(Conditions { client_ids: Some(names(&["x", "sensor-7"])), ..with() }));
        assert!(!fits(Conditions { client_ids: Some(names(&["sensor"])), ..with() }));
        assert!(fits(Conditions { client_id_prefixes: Some(names(&["x", "sensor-"])), ..with() }));
        assert!(!fits(Conditions { client_id_prefixes: Some(names(&["ensor"])), ..with() }));
        assert!(fits(Conditions { client_id_patterns: patterns(&["x", r"^sensor-\d+$"]), ..with() }));
        assert!(!fits(Conditions { client_id_patterns: patterns(&[r"^\d"]), ..with() }));
        assert!(fits(Conditions { usernames: Some(names(&["ann"])), ..with() }));
        assert!(!fits(Conditions { usernames: Some(names(&["Ann"])), ..with() }));
        assert!(!fits(Conditions { username_patterns: patterns(&["^b"]), ..with() }));
        assert!(fits(Conditions { cert_cns: Some(names(&["device-7"])), ..with() }));
        let both = Conditions {
            usernames: Some(names(&["ann"])),
            client_id_prefixes: Some(names(&["pump-"])),
            ..with()
        };
        assert!(!fits(both));
    }

    #[test]
    fn what_is_not_known_of_a_client_fits_no_condition() {
        let nobody = Traits { client_id: "sensor-7", ..Traits::default() };
        let any = patterns(&[""]);
        for when in [
            Conditions { versions: Some(Version::ALL.to_vec()), ..Conditions::default() },
            Conditions { username_patterns: any, ..Conditions::default() },
            Conditions { server_names: Some(vec!["a".parse().expect("a name")]), ..Conditions::default() },
            Conditions { cert_cns: Some(names(&[""])), ..Conditions::default() },
        ] {
            assert!(!when.fit(&nobody), "{when:?}");
        }
    }

    #[test]
    fn hosts_are_compared_as_certificates_do() {
        let fits = |pattern: &str, name| pattern.parse::<HostPattern>().expect("a name").fits(name);
        assert!(fits("eu.broker.example", "EU.broker.example."));
        assert!(fits("*.Broker.example", "eu.broker.example"));
        assert!(!fits("*.example", "eu.broker.example"));
        assert!(!fits("*.example", "example"));
        assert!(!fits("*.example", ".example"));
        for bad in ["", "*", "*.", "a.*.b", "a b", "ü"] {
            assert_eq!(bad.parse::<HostPattern>(), Err(HostPatternError), "{bad}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides_then_the_listener_then_the_default() {
        let rule = |when, upstream: &str| Rule { when, upstream: upstream.into() };
        let list = vec![
            rule(Conditions { client_ids: Some(names(&["nobody"])), ..Conditions::default() }, "none"),
            rule(
                Conditions { client_id_prefixes: Some(names(&["sensor-"])), ..Conditions::default() },
                "sensors",
            ),
            rule(Conditions { usernames: Some(names(&["ann"])), ..Conditions::default() }, "people"),
        ];
        let rules = Rules { rules: list, usual: [("tls".into(), "edge".into())].into() };
        let known = client();
        assert_eq!(rules.choose(&known), Choice { rule: Some(1), upstream: "sensors" });
        let pump = Traits { client_id: "pump", ..known };
        assert_eq!(rules.choose(&pump), Choice { rule: Some(2), upstream: "people" });
        let stranger = Traits { username: None, ..pump };
        assert_eq!(rules.choose(&stranger), Choice { rule: None, upstream: "edge" });
        let stranger = Traits { listener: Some("tcp"), ..stranger };
        assert_eq!(rules.choose(&stranger), Choice { rule: None, upstream: "default" });
    }
}
