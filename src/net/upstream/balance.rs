//! Chooses one of several servers. Pure: who may be chosen, and how busy they are, are arguments.

/// How the servers of a group share the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// They take turns, as often as their weights say.
    RoundRobin,
    /// Whoever has the fewest connections for its weight.
    LeastConnections,
    /// The same client identifier goes to the same server. When a server goes, its clients alone go elsewhere; when it
    /// comes back, they come back. Clients without an identifier take turns.
    Hash,
}

impl Balance {
    /// The name in files and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Balance::RoundRobin => "round_robin",
            Balance::LeastConnections => "least_connections",
            Balance::Hash => "hash",
        }
    }
}

/// A server that may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Its place among all servers of the group.
    pub(super) index: usize,
    /// What its name hashes to.
    pub(super) key: u64,
    /// Its weight in the config file.
    pub(super) weight: u32,
    /// Its weight now, in units of 1/1024: less than that while it starts slowly.
    pub(super) share: u32,
    /// Connections that it has, those that are being made included.
    pub(super) live: usize,
}

/// Who had how many turns. Turns are spread as evenly as the weights allow: 2:1 gives `a b a`, not `a a b`.
#[derive(Debug)]
pub(super) struct Turns {
    /// How much each server of the group is owed.
    credit: Vec<i64>,
}

impl Turns {
    pub(super) fn new(servers: usize) -> Turns {
        Turns { credit: vec![0; servers] }
    }

    /// The index of the one that is to be taken; `key` is what the client's identifier hashes to, if it has one.
    pub(super) fn choose(
        &mut self,
        balance: Balance,
        candidates: &[Candidate],
        key: Option<u64>,
    ) -> Option<usize> {
        match (balance, key) {
            (Balance::Hash, Some(key)) => rendezvous(candidates, key),
            (Balance::RoundRobin | Balance::Hash, _) => self.next(candidates),
            (Balance::LeastConnections, _) => self.next(&least_busy(candidates)),
        }
    }

    /// Each is owed its share more, and whoever is owed most has the turn and pays for it all.
    fn next(&mut self, candidates: &[Candidate]) -> Option<usize> {
        let mut total = 0_i64;
        let mut best: Option<(usize, i64)> = None;
        for candidate in candidates {
            let Some(credit) = self.credit.get_mut(candidate.index) else { continue };
            let share = i64::from(candidate.share);
            *credit = credit.saturating_add(share);
            total = total.saturating_add(share);
            if best.is_none_or(|(_, most)| *credit > most) {
                best = Some((candidate.index, *credit));
            }
        }
        let (index, _) = best?;
        if let Some(credit) = self.credit.get_mut(index) {
            *credit = credit.saturating_sub(total);
        }
        Some(index)
    }
}

/// Those who would be the least busy for their weight with one connection more.
fn least_busy(candidates: &[Candidate]) -> Vec<Candidate> {
    let load = |one: &Candidate, of: &Candidate| -> u128 {
        let live = u128::try_from(one.live).unwrap_or(u128::MAX >> 64);
        (live + 1) * u128::from(of.share)
    };
    // a/b < c/d where a·d < c·b.
    let least = candidates.iter().min_by(|a, b| load(a, b).cmp(&load(b, a)));
    let Some(least) = least else { return Vec::new() };
    candidates.iter().filter(|other| load(other, least) == load(least, other)).copied().collect()
}

/// Weighted rendezvous hashing: each server draws a number from its name and the client's, and the best draw wins. What
/// the others draw does not depend on who else is there, so only the share of one that goes or comes moves.
///
/// A server that starts slowly draws with its whole weight: its clients' sessions are there.
fn rendezvous(candidates: &[Candidate], key: u64) -> Option<usize> {
    let drawn =
        |candidate: &Candidate| -unit(mix(candidate.key ^ key)).ln() / f64::from(candidate.weight.max(1));
    let best = candidates.iter().min_by(|a, b| drawn(a).total_cmp(&drawn(b)));
    best.map(|candidate| candidate.index)
}

/// A hash that is the same on every machine and in every version: several proxies take a client to the same server.
/// FNV-1a, and a finaliser, since rendezvous hashing wants all bits good.
pub(super) fn stable_hash(bytes: &[u8]) -> u64 {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fnv))
}

/// The finaliser of SplitMix64: every bit of the input changes half of the output.
fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// The hash as a number above 0, at most 1.
fn unit(hash: u64) -> f64 {
    const HALF: f64 = 4_294_967_296.0;
    let (high, low) = (u32::try_from(hash >> 32), u32::try_from(hash & 0xffff_ffff));
    let (high, low) = (f64::from(high.unwrap_or_default()), f64::from(low.unwrap_or_default()));
    ((high + (low + 1.0) / HALF) / HALF).clamp(f64::MIN_POSITIVE, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidates(weights: &[u32]) -> Vec<Candidate> {
        let candidate = |(index, weight): (usize, &u32)| Candidate {
            index,
            key: stable_hash(format!("10.0.0.{index}:1883").as_bytes()),
            weight: *weight,
            share: weight * 1024,
            live: 0,
        };
        weights.iter().enumerate().map(candidate).collect()
    }

    fn turns(candidates: &[Candidate], count: usize) -> Vec<usize> {
        let mut turns = Turns::new(candidates.len());
        (0..count).filter_map(|_| turns.choose(Balance::RoundRobin, candidates, None)).collect()
    }

    fn home(candidates: &[Candidate], number: u32) -> usize {
        let mut turns = Turns::new(64);
        let key = stable_hash(format!("device-{number}").as_bytes());
        turns.choose(Balance::Hash, candidates, Some(key)).expect("somebody")
    }

    #[test]
    fn equals_take_turns_and_weights_are_spread() {
        assert_eq!(turns(&candidates(&[1, 1, 1]), 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(turns(&candidates(&[2, 1]), 6), [0, 1, 0, 0, 1, 0]);
        assert_eq!(turns(&candidates(&[5, 1, 1]), 7), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(turns(&[], 3), [0; 0]);
    }

    #[test]
    fn the_least_busy_for_its_weight_is_chosen_and_equals_take_turns() {
        let mut servers = candidates(&[1, 1, 2]);
        let mut turns = Turns::new(3);
        for (index, live) in [3, 1, 4].into_iter().enumerate() {
            servers[index].live = live;
        }
        assert_eq!(turns.choose(Balance::LeastConnections, &servers, None), Some(1));
        servers[1].live = 2;
        assert_eq!(turns.choose(Balance::LeastConnections, &servers, None), Some(2));
        servers[2].live = 5;
        let chosen = [(); 4].map(|()| turns.choose(Balance::LeastConnections, &servers, None).expect("one"));
        assert!(chosen.contains(&1) && chosen.contains(&2) && !chosen.contains(&0), "{chosen:?}");
    }

    #[test]
    fn nobody_without_an_identifier_is_hashed() {
        let servers = candidates(&[1, 1]);
        let mut turns = Turns::new(2);
        let chosen = [(); 4].map(|()| turns.choose(Balance::Hash, &servers, None));
        assert_eq!(chosen, [Some(0), Some(1), Some(0), Some(1)]);
    }

    #[test]
    fn the_hash_is_the_same_in_every_version() {
        // Whoever changes these moves every client of everybody who upgrades one proxy of several.
        assert_eq!(stable_hash(b""), 0xf52a_15e9_a9b5_e89b);
        assert_eq!(stable_hash(b"device-1"), 0x9a42_5baa_2e7d_7b35);
    }

    #[test]
    fn clients_are_spread_as_the_weights_say() {
        let servers = candidates(&[1, 1, 2]);
        let mut counts = [0_u32; 3];
        for number in 0..40_000 {
            counts[home(&servers, number)] += 1;
        }
        for (count, expected) in counts.into_iter().zip([10_000, 10_000, 20_000]) {
            assert!(count.abs_diff(expected) < 500, "{counts:?}");
        }
    }

    proptest! {
        #[test]
        fn a_server_that_goes_moves_its_own_clients_alone(
            weights in prop::collection::vec(1_u32..8, 2..12),
            gone in any::<prop::sample::Index>(),
        ) {
            let all = candidates(&weights);
            let gone = gone.index(all.len());
            let left: Vec<_> = all.iter().filter(|one| one.index != gone).copied().collect();
            for number in 0..300 {
                let (before, after) = (home(&all, number), home(&left, number));
                prop_assert!(before == after || before == gone, "client {number}: {before} to {after}");
                prop_assert_ne!(after, gone);
            }
        }

        #[test]
        fn a_server_that_starts_slowly_keeps_its_clients(share in 1_u32..1024) {
            let all = candidates(&[1, 1, 1]);
            let mut slow = all.clone();
            slow[1].share = share;
            for number in 0..200 {
                prop_assert_eq!(home(&all, number), home(&slow, number));
            }
        }

        #[test]
        fn turns_come_as_often_as_the_weights_say(weights in prop::collection::vec(1_u32..20, 1..8)) {
            let all = candidates(&weights);
            let round: u32 = weights.iter().sum();
            let mut counts = vec![0; weights.len()];
            for index in turns(&all, usize::try_from(round).expect("small")) {
                counts[index] += 1;
            }
            prop_assert_eq!(counts, weights);
        }
    }
}
