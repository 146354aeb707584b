//! From the config that runs and the one that is to run: what to do. Pure.

use super::file::{BanConfig, Config, ListenerConfig};
use crate::admission::{List, Who};
use crate::net::address::Address;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What a reload has to do.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Orders {
    /// Listeners to stop: they are gone from the file.
    pub close: Vec<Arc<str>>,
    /// Listeners to start: they are new in the file.
    pub open: Vec<ListenerConfig>,
    /// Listeners that stay, with settings that may have changed.
    pub keep: Vec<ListenerConfig>,
    /// Addresses on which listeners that stay listen no longer.
    pub unbind: Vec<(Arc<str>, Vec<Address>)>,
    /// Addresses on which listeners that stay listen from now on, too.
    pub bind: Vec<(Arc<str>, Vec<Address>)>,
    /// Bans and exemptions that are new, or have changed.
    pub put: Vec<(List, BanConfig)>,
    /// Bans and exemptions that are gone from the file. They are removed before others are put.
    pub remove: Vec<(List, Who)>,
    /// What changed, one line each, for the log: `listener.mqtt.connect_timeout: "10s" -> "5s"`.
    pub changes: Vec<String>,
    /// Options that changed and take effect at the next start only.
    pub after_restart: Vec<&'static str>,
}

/// Compares the config that runs with the one that is to run.
pub fn diff(old: &Config, new: &Config) -> Orders {
    let mut orders = Orders { changes: changed_settings(old, new), ..Orders::default() };
    diff_listeners(old, new, &mut orders);
    for list in List::ALL {
        diff_bans(list, old.bans_of(list), new.bans_of(list), &mut orders);
    }
    if old.worker_threads != new.worker_threads {
        orders.after_restart.push("node.worker_threads");
    }
    if old.name != new.name {
        orders.after_restart.push("node.name");
    }
    if old.data_dir != new.data_dir {
        orders.after_restart.push("node.data_dir");
    }
    if (old.detection, old.replay_memory) != (new.detection, new.replay_memory) {
        orders.after_restart.push("detection");
    }
    if old.bootstrap_file != new.bootstrap_file {
        orders.after_restart.push("banned.bootstrap_file");
    }
    if old.log.format != new.log.format {
        orders.after_restart.push("log.format");
    }
    orders
}

fn changed_settings(old: &Config, new: &Config) -> Vec<String> {
    let keys: std::collections::BTreeSet<_> = old.settings.keys().chain(new.settings.keys()).collect();
    let describe = |key: &String| match (old.settings.get(key), new.settings.get(key)) {
        (Some(was), Some(is)) if was != is => Some(format!("{key}: {was} -> {is}")),
        (Some(was), None) => Some(format!("{key}: {was} -> gone")),
        (None, Some(is)) => Some(format!("{key}: new, {is}")),
        _ => None,
    };
    keys.into_iter().filter_map(describe).collect()
}

fn diff_listeners(old: &Config, new: &Config, orders: &mut Orders) {
    let were: HashMap<_, _> = old.listeners.iter().map(|listener| (&listener.name, listener)).collect();
    let stays = |listener: &ListenerConfig| were.contains_key(&listener.name);
    (orders.keep, orders.open) = new.listeners.iter().cloned().partition(stays);
    let mut listens_otherwise = false;
    for listener in &orders.keep {
        let Some(was) = were.get(&listener.name) else { continue };
        let without = |from: &[Address], others: &[Address]| -> Vec<Address> {
            from.iter().filter(|address| !others.contains(address)).cloned().collect()
        };
        let (gone, new) = (without(&was.binds, &listener.binds), without(&listener.binds, &was.binds));
        listens_otherwise |= gone.len() < was.binds.len() && was.listen != listener.listen;
        if !gone.is_empty() {
            orders.unbind.push((Arc::clone(&listener.name), gone));
        }
        if !new.is_empty() {
            orders.bind.push((Arc::clone(&listener.name), new));
        }
    }
    if listens_otherwise {
        orders.after_restart.push(
            "backlog, ipv6_only, reuse_port, mark, transparent, unix_mode, unix_owner and unix_group of an address that stays",
        );
    }
    let kept: HashSet<_> = orders.keep.iter().map(|listener| &listener.name).collect();
    let gone = old.listeners.iter().filter(|listener| !kept.contains(&listener.name));
    orders.close = gone.map(|listener| Arc::clone(&listener.name)).collect();
}

fn diff_bans(list: List, old: &[BanConfig], new: &[BanConfig], orders: &mut Orders) {
    let was: HashMap<_, _> = old.iter().map(|ban| (&ban.who, ban)).collect();
    let is: HashSet<_> = new.iter().map(|ban| &ban.who).collect();
    let put = new.iter().filter(|ban| was.get(&ban.who).is_none_or(|was| !was.is_same(ban)));
    orders.put.extend(put.map(|ban| (list, ban.clone())));
    let gone = old.iter().map(|ban| &ban.who).filter(|who| !is.contains(who));
    orders.remove.extend(gone.map(|who| (list, who.clone())));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let text = format!("{text}\n[upstream]\nservers = [\"127.0.0.1:1884\"]\n");
        Config::parse("test.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
    }

    fn listener(name: &str, port: u16, more: &str) -> String {
        format!("[[listener]]\nname = \"{name}\"\nbind = \"127.0.0.1:{port}\"\n{more}\n")
    }

    fn names(listeners: &[ListenerConfig]) -> Vec<&str> {
        listeners.iter().map(|listener| &*listener.name).collect()
    }

    #[test]
    fn nothing_is_to_be_done_when_nothing_changed() {
        let config = config(&listener("a", 1, "[[ban]]\nas = \"clientid\"\nwho = \"x\""));
        let orders = diff(&config, &config);
        assert_eq!(Orders { keep: config.listeners.clone(), ..Orders::default() }, orders);
    }

    #[test]
    fn listeners_are_opened_closed_moved_and_adjusted() {
        let old =
            config(&[listener("stays", 1, ""), listener("moves", 2, ""), listener("goes", 3, "")].concat());
        let new = config(
            &[
                listener("moves", 5, ""),
                listener("comes", 3, ""),
                listener("stays", 1, "max_connections = 7"),
            ]
            .concat(),
        );
        let orders = diff(&old, &new);
        assert_eq!(names(&orders.open), ["comes"]);
        assert_eq!(names(&orders.keep), ["moves", "stays"]);
        assert_eq!(orders.close, ["goes".into()]);
        assert_eq!(bound(&orders.unbind), ["moves 127.0.0.1:2"]);
        assert_eq!(bound(&orders.bind), ["moves 127.0.0.1:5"]);
        assert_eq!(orders.keep[1].door.max_connections, 7);
        assert!(
            orders.changes.contains(&"listener.stays.max_connections: 100000 -> 7".to_owned()),
            "{:?}",
            orders.changes
        );
        assert!(
            orders.changes.contains(&"listener.moves.bind: \"127.0.0.1:2\" -> \"127.0.0.1:5\"".to_owned())
        );
    }

    fn bound(changes: &[(Arc<str>, Vec<Address>)]) -> Vec<String> {
        let one = |(name, addresses): &(Arc<str>, Vec<Address>)| {
            addresses.iter().map(|address| format!("{name} {address}")).collect::<Vec<_>>()
        };
        changes.iter().flat_map(one).collect()
    }

    #[test]
    fn single_addresses_of_a_listener_come_and_go() {
        let listener = |addresses: &str, more: &str| {
            config(&format!("[[listener]]\nname = \"a\"\nbind = {addresses}\n{more}\n"))
        };
        let old = listener("[\"127.0.0.1:1\", \"127.0.0.1:2\"]", "");
        let new = listener("[\"unix:/a\", \"127.0.0.1:2\"]", "backlog = 7");
        let orders = diff(&old, &new);
        assert_eq!((names(&orders.keep), orders.open.len(), orders.close.len()), (vec!["a"], 0, 0));
        assert_eq!(
            (bound(&orders.unbind), bound(&orders.bind)),
            (vec!["a 127.0.0.1:1".to_owned()], vec!["a unix:/a".to_owned()])
        );
        assert!(orders.after_restart[0].starts_with("backlog, "), "{:?}", orders.after_restart);
        // Where no address stays, everything is opened as the file has it.
        let orders = diff(&new, &listener("\"127.0.0.1:3\"", ""));
        assert_eq!(orders.after_restart, [""; 0]);
    }

    #[test]
    fn bans_are_added_changed_and_lifted() {
        let ban = |who: &str, reason: &str| {
            format!("[[ban]]\nas = \"clientid\"\nwho = \"{who}\"\nreason = \"{reason}\"\n")
        };
        let old =
            config(&[listener("a", 1, ""), ban("same", ""), ban("changed", "old"), ban("gone", "")].concat());
        let new =
            config(&[listener("a", 1, ""), ban("new", ""), ban("changed", "new"), ban("same", "")].concat());
        let orders = diff(&old, &new);
        let put: Vec<_> = orders.put.iter().map(|(list, ban)| (*list, ban.who.to_string())).collect();
        assert_eq!(put, [(List::Bans, "new".to_owned()), (List::Bans, "changed".to_owned())]);
        assert_eq!(orders.remove, [(List::Bans, Who::ClientId("gone".into()))]);
    }

    #[test]
    fn exemptions_are_compared_like_bans_and_apart_from_them() {
        let rule = |table: &str| format!("[[{table}]]\nas = \"peerhost_net\"\nwho = \"10.0.0.0/8\"\n");
        let old = config(&[listener("a", 1, ""), rule("ban")].concat());
        let new = config(&[listener("a", 1, ""), rule("exempt")].concat());
        let orders = diff(&old, &new);
        let lists = (
            orders.remove.iter().map(|(list, _)| *list).next(),
            orders.put.iter().map(|(list, _)| *list).next(),
        );
        assert_eq!(lists, (Some(List::Bans), Some(List::Exemptions)));
    }

    #[test]
    fn a_pattern_that_is_to_match_otherwise_has_changed() {
        let rule =
            |matching: &str| format!("[[ban]]\nas = \"clientid_re\"\nwho = \"x\"\nmatch = \"{matching}\"\n");
        let old = config(&[listener("a", 1, ""), rule("search")].concat());
        let new = config(&[listener("a", 1, ""), rule("full")].concat());
        let orders = diff(&old, &new);
        assert_eq!((orders.put.len(), orders.remove.len()), (1, 0));
    }

    #[test]
    fn what_a_running_process_cannot_change_is_said() {
        let old = config(&listener("a", 1, ""));
        let new = config(&listener("a", 1, "[node]\nworker_threads = 3\n[log]\nformat = \"json\""));
        assert_eq!(diff(&old, &new).after_restart, ["node.worker_threads", "log.format"]);
    }
}
