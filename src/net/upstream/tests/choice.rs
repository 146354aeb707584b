//! Whatever becomes of its servers, a group never leaves a client without one to try.

use super::{DEFAULT, settings};
use crate::net::upstream::{
    Balance, Lease, Member, Server, Thresholds, Upstream, UpstreamSettings, dial::Place,
};
use proptest::prelude::*;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const SERVERS: usize = 5;

/// Something that becomes of a server.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Reached,
    Missed,
    CheckedWell,
    CheckedBadly,
    Drained(bool),
}

fn fates() -> impl Strategy<Value = Vec<(usize, Fate, u64)>> {
    let fate = prop_oneof![
        1 => Just(Fate::Reached),
        3 => Just(Fate::Missed),
        1 => Just(Fate::CheckedWell),
        2 => Just(Fate::CheckedBadly),
        1 => any::<bool>().prop_map(Fate::Drained),
    ];
    prop::collection::vec((0..SERVERS, fate, 0_u64..20_000), 1..80)
}

fn balances() -> impl Strategy<Value = Balance> {
    prop_oneof![Just(Balance::RoundRobin), Just(Balance::LeastConnections), Just(Balance::Hash)]
}

fn befall(group: &Upstream, member: &Member, fate: Fate, now: Instant) {
    let thresholds = Thresholds { rise: 1, fall: 1 };
    match fate {
        Fate::Reached => drop(member.reached(now)),
        Fate::Missed => drop(member.missed((now, now), group.settings(), &io::ErrorKind::TimedOut.into())),
        Fate::CheckedWell => drop(member.checked(now, Ok(()), thresholds)),
        Fate::CheckedBadly => drop(member.checked(now, Err("x".to_owned()), thresholds)),
        Fate::Drained(is_drained) => member.drain(is_drained),
    }
}

proptest! {
    #[test]
    fn somebody_is_chosen_unless_all_are_drained_and_the_sick_only_where_nobody_is_well(
        fates in fates(),
        balance in balances(),
        key in prop::option::of(any::<u64>()),
    ) {
        let servers = (1..=SERVERS).map(|port| format!("127.0.0.1:{port}").parse::<Server>().expect("a server"));
        let settings = UpstreamSettings { balance, ..settings(servers) };
        let group = Arc::new(Upstream::new(DEFAULT.into(), settings, None).expect("no files"));
        let mut now = Instant::now();
        for (index, fate, millis) in fates {
            now += Duration::from_millis(millis);
            // Names are looked up where a server cannot be reached; these are addresses.
            befall(&group, &group.members()[index], fate, now);
            let was_well: Vec<bool> = group.members().iter().map(|member| member.is_usable(now)).collect();
            let well = was_well.iter().filter(|is_well| **is_well).count();
            let drained = group.members().iter().filter(|member| member.is_drained()).count();
            let mut tried = Vec::new();
            let mut sick = 0;
            while let Some((Place { group, index }, lease)) = Upstream::choose(&group, &tried, key, now) {
                prop_assert!(!group.members()[index].is_drained());
                prop_assert!(!tried.iter().any(|lease: &Lease| lease.is_at(&group.members()[index])));
                // A trial makes it unusable for others at once, so whoever is well was counted before.
                sick += usize::from(!was_well[index]);
                prop_assert!(was_well[index] || tried.len() >= well, "the sick come last");
                tried.push(lease);
            }
            // Each that is not drained is tried once.
            prop_assert_eq!(tried.len(), SERVERS - drained);
            prop_assert_eq!(sick, SERVERS - drained - well);
            drop(tried);
            prop_assert!(group.members().iter().all(|member| member.live() == 0));
        }
    }
}
