//! `[[route]]`: who is taken to which group of brokers.

use super::document::Section;
use super::file::{ListenerConfig, Name, VersionName, all};
use crate::admission::{Match, Pattern};
use crate::net::upstream::DEFAULT;
use crate::proxy::{Conditions, HostPattern, Patterns, Rule};
use std::str::FromStr;
use std::sync::Arc;

/// Reads all of them. `groups` are the names of `[upstreams.NAME]`.
pub(super) fn read(
    root: &Section<'_, '_>,
    groups: &[String],
    listeners: Option<&[ListenerConfig]>,
) -> Option<Vec<Rule>> {
    all(root.sections("route").into_iter().map(|section| {
        let when = read_conditions(&section, listeners);
        let upstream: Option<String> = section.required("upstream", "the NAME of an [upstreams.NAME]");
        let upstream = upstream.and_then(|name| known(&section, "upstream", name, groups));
        section.finish();
        Some(Rule { when, upstream: upstream? })
    }))
}

/// A group that there is; else a mistake.
pub(super) fn known(
    section: &Section<'_, '_>,
    key: &str,
    name: String,
    groups: &[String],
) -> Option<Arc<str>> {
    if name == DEFAULT || groups.contains(&name) {
        return Some(name.into());
    }
    section.wrong(
        key,
        format!("is no group of brokers; expected the NAME of an [upstreams.NAME], e.g. [upstreams.{name}]"),
    );
    None
}

fn read_conditions(section: &Section<'_, '_>, listeners: Option<&[ListenerConfig]>) -> Conditions {
    let versions =
        section.optional_list::<VersionName>("protocol", "at least one of \"3.1\", \"3.1.1\", \"5\"");
    let listener = section.optional_list::<Name>("listener", "at least one NAME of a listener");
    let is_known = |name: &Arc<str>| listeners.is_none_or(|all| all.iter().any(|one| one.name == *name));
    for Name(name) in listener.iter().flatten().filter(|Name(name)| !is_known(name)) {
        section.wrong(
            "listener",
            format!("is no listener; expected the name of a [[listener]], not \"{name}\""),
        );
    }
    let texts = |key, expected| {
        let texts = section.optional_list::<String>(key, expected)?;
        Some(texts.into_iter().map(Into::into).collect())
    };
    let patterns = |key| {
        let sources = section.optional_list::<RoutePattern>(key, "at least one regular expression")?;
        Patterns::new(sources.into_iter().map(|pattern| pattern.0))
            .map_err(|problem| section.wrong(key, format!("cannot be used: {problem}")))
            .ok()
    };
    let conditions = Conditions {
        versions: versions.map(|versions| versions.into_iter().map(|version| version.0).collect()),
        listeners: listener.map(|names| names.into_iter().map(|name| name.0).collect()),
        client_ids: texts("clientid", "at least one client identifier"),
        client_id_prefixes: texts("clientid_prefix", "at least one beginning of client identifiers"),
        client_id_patterns: patterns("clientid_re"),
        usernames: texts("username", "at least one user name"),
        username_patterns: patterns("username_re"),
        server_names: section
            .optional_list::<HostPattern>("sni", "at least one name, e.g. \"a.example\" or \"*.example\""),
        cert_cns: texts("cert_cn", "at least one common name"),
    };
    if !CONDITIONS.iter().any(|key| section.has(key)) {
        let problem = format!("is missing; expected a condition, any of {}", CONDITIONS.join(", "));
        section.mistake("protocol", problem);
    }
    conditions
}

/// The options that are conditions.
const CONDITIONS: [&str; 9] = [
    "protocol",
    "listener",
    "clientid",
    "clientid_prefix",
    "clientid_re",
    "username",
    "username_re",
    "sni",
    "cert_cn",
];

struct RoutePattern(Pattern);

impl FromStr for RoutePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<RoutePattern, String> {
        let pattern = Pattern::parse(text, Match::Search).map(RoutePattern);
        pattern.map_err(|problem| format!("is not a usable pattern: {problem}"))
    }
}
