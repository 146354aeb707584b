//! Finds every rule whose network holds an address, at nearly the same price for ten rules as for a million.
//!
//! Checks run on every connection and must never wait, so they read an immutable tree behind one atomic pointer;
//! a writer copies the few branches on the way to its rule, shares all the others, and swaps the pointer. A rule
//! is therefore seen by every check that begins after [`NetworkMap::insert`] returns, and a check sees either all
//! of a bulk change or nothing of it.
//!
//! The tree is a tree bitmap (Eatherton, Varghese and Dittia 2004): a branch decides upon five bits of the address
//! and marks in one word which of the networks that end within those bits, and which ways further down, exist. What
//! is marked lies in one slice, so a check costs about one cache miss per branch. A rule that is alone below a way
//! sits there itself, and a branch with a single entry is never built: that keeps sparse IPv6 shallow and small.
//! Branches do not repeat the bits they skip; the rule at the end has the whole network, and is asked.
//!
//! IPv4 and IPv6 are two trees. An IPv4 address written in IPv6 (`::ffff:a.b.c.d`) is IPv4 everywhere, see
//! [`canonical`].

use arc_swap::ArcSwap;
use ipnet::{IpNet, Ipv4Net};
use std::iter;
use std::mem;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

/// Rules by network. Shared by reference; every method takes `&self`, and every network is taken as its
/// [`canonical`] form. Values are cloned along with their neighbours on each change: put large ones in an [`Arc`].
#[derive(Debug)]
pub struct NetworkMap<T> {
    /// What checks read: replaced whole, never changed in place.
    published: ArcSwap<Trees<T>>,
    /// Held while the next trees are prepared, so that no writer undoes another's change.
    writing: Mutex<()>,
}

/// The form in which a network is kept and compared: host bits are zero, and a network within `::ffff:0:0/96` is
/// the IPv4 network it stands for. A shorter IPv6 network stays IPv6, even one that spans `::ffff:0:0/96`, and
/// then covers no IPv4 client: `::/0` is all of IPv6 and nothing else.
pub fn canonical(net: IpNet) -> IpNet {
    let net = net.trunc();
    let IpNet::V6(v6) = net else { return net };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    let v4 = mapped.and_then(|(addr, length)| Ipv4Net::new(addr, length).ok());
    v4.map_or(net, IpNet::V4)
}

impl<T> Default for NetworkMap<T> {
    fn default() -> NetworkMap<T> {
        let trees = Trees { v4: Branch::default(), v6: Branch::default(), len: 0 };
        NetworkMap { published: ArcSwap::from_pointee(trees), writing: Mutex::new(()) }
    }
}

impl<T: Clone + Send + Sync> NetworkMap<T> {
    /// Visits every rule whose network holds `addr`, the shortest prefix first, until `visit` breaks. Takes no lock.
    pub fn for_each_covering<B>(
        &self,
        addr: IpAddr,
        mut visit: impl FnMut(IpNet, &T) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let addr = addr.to_canonical();
        self.published.load().of(addr).for_each_covering(addr, &mut visit)
    }

    /// Sets the rule of `net`. Returns the one it replaces.
    pub fn insert(&self, net: IpNet, value: T) -> Option<T> {
        self.change(|trees| trees.insert(canonical(net), value))
    }

    /// Sets many rules and publishes them at once; of two for one network the later stays. Far cheaper than to
    /// insert them in turn.
    pub fn extend(&self, rules: impl IntoIterator<Item = (IpNet, T)>) {
        let mut rules: Vec<_> = rules.into_iter().map(|(net, value)| (canonical(net), value)).collect();
        // Neighbours change the same branches, which are then still in the cache.
        rules.sort_by_key(|(net, _)| *net);
        self.change(|trees| {
            for (net, value) in rules {
                trees.insert(net, value);
            }
        });
    }

    /// Removes the rule of exactly `net`, and returns it.
    pub fn remove(&self, net: IpNet) -> Option<T> {
        self.change(|trees| trees.remove(canonical(net)))
    }

    /// The rule of exactly `net`.
    pub fn get(&self, net: IpNet) -> Option<T> {
        let net = canonical(net);
        self.published.load().of(net.addr()).get(net).cloned()
    }

    /// Visits every rule once, in no particular order, as they were when this began.
    pub fn for_each(&self, mut visit: impl FnMut(IpNet, &T)) {
        let trees = self.published.load_full();
        trees.v4.for_each(&mut visit);
        trees.v6.for_each(&mut visit);
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.published.load().len
    }

    /// True when there is no rule.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn change<R>(&self, change: impl FnOnce(&mut Trees<T>) -> R) -> R {
        // The lock guards no data, and what a panicking writer prepared was never published.
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Trees::clone(&self.published.load());
        let outcome = change(&mut next);
        self.published.store(Arc::new(next));
        outcome
    }
}

/// All rules at one moment. A clone shares every branch with its origin.
#[derive(Debug, Clone)]
struct Trees<T> {
    v4: Branch<T>,
    v6: Branch<T>,
    len: usize,
}

impl<T> Trees<T> {
    fn of(&self, addr: IpAddr) -> &Branch<T> {
        if addr.is_ipv4() { &self.v4 } else { &self.v6 }
    }

    fn of_mut(&mut self, addr: IpAddr) -> &mut Branch<T> {
        if addr.is_ipv4() { &mut self.v4 } else { &mut self.v6 }
    }
}

impl<T: Clone> Trees<T> {
    fn insert(&mut self, net: IpNet, value: T) -> Option<T> {
        let replaced = self.of_mut(net.addr()).insert(0, net, value);
        self.len += usize::from(replaced.is_none());
        replaced
    }

    fn remove(&mut self, net: IpNet) -> Option<T> {
        let removed = self.of_mut(net.addr()).remove(0, net);
        self.len -= usize::from(removed.is_some());
        removed
    }
}

/// A node of a tree, which decides upon the `STRIDE` bits that follow its depth.
///
/// Slots are numbered like a heap: 1 is the network that ends at the branch's depth, and slot `n` has the halves `2n`
/// and `2n + 1`. A slot before [`FIRST_WAY`] is one network. A slot of the last row stands for all that begins with
/// its bits: it holds the only rule there, or a branch.
#[derive(Debug, Clone)]
struct Branch<T> {
    /// Bit `n` tells whether slot `n` is taken.
    taken: u64,
    /// The taken slots in ascending order. Only a root has fewer than two.
    entries: Arc<[Entry<T>]>,
}

#[derive(Debug, Clone)]
enum Entry<T> {
    Rule {
        net: IpNet,
        value: T,
    },
    Branch {
        /// How many leading bits all networks within share: a multiple of `STRIDE`, as great as it can be.
        depth: u8,
        branch: Branch<T>,
    },
}

impl<T> Default for Branch<T> {
    fn default() -> Branch<T> {
        Branch { taken: 0, entries: Arc::default() }
    }
}

impl<T> Branch<T> {
    fn for_each_covering<B>(
        &self,
        addr: IpAddr,
        visit: &mut impl FnMut(IpNet, &T) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let bits = bits(addr);
        let mut below = Some((0, self));
        while let Some((depth, branch)) = below.take() {
            let mut covering = branch.taken & line(way(bits, depth));
            while covering != 0 {
                match branch.entry(covering.trailing_zeros()) {
                    Some(Entry::Rule { net, value }) if net.contains(&addr) => visit(*net, value)?,
                    Some(Entry::Branch { depth, branch }) => below = Some((*depth, branch)),
                    _ => {}
                }
                covering &= covering - 1;
            }
        }
        ControlFlow::Continue(())
    }

    fn get(&self, net: IpNet) -> Option<&T> {
        let (mut depth, mut branch) = (0, self);
        loop {
            match branch.entry(slot_of(net, depth))? {
                Entry::Rule { net: found, value } => return (*found == net).then_some(value),
                Entry::Branch { depth: deeper, branch: below } => (depth, branch) = (*deeper, below),
            }
        }
    }

    fn for_each(&self, visit: &mut impl FnMut(IpNet, &T)) {
        for entry in &*self.entries {
            match entry {
                Entry::Rule { net, value } => visit(*net, value),
                Entry::Branch { branch, .. } => branch.for_each(visit),
            }
        }
    }

    /// Any network of this branch: all of them share the bits above its depth.
    fn sample(&self) -> Option<IpNet> {
        self.entries.first()?.sample()
    }

    fn entry(&self, slot: u32) -> Option<&Entry<T>> {
        if self.has(slot) { self.entries.get(self.rank(slot)) } else { None }
    }

    fn has(&self, slot: u32) -> bool {
        self.taken & (1 << slot) != 0
    }

    /// How many taken slots come before `slot`.
    fn rank(&self, slot: u32) -> usize {
        (self.taken & ((1 << slot) - 1)).count_ones() as usize
    }
}

impl<T> Entry<T> {
    fn sample(&self) -> Option<IpNet> {
        match self {
            Entry::Rule { net, .. } => Some(*net),
            Entry::Branch { branch, .. } => branch.sample(),
        }
    }
}

/// Changes are made in place where nothing else shares the branch, and in a copy where a check may be reading.
impl<T: Clone> Branch<T> {
    fn insert(&mut self, depth: u8, net: IpNet, value: T) -> Option<T> {
        let slot = slot_of(net, depth);
        if !self.has(slot) {
            self.add(slot, Entry::Rule { net, value });
            return None;
        }
        let rank = self.rank(slot);
        let entry = Arc::make_mut(&mut self.entries).get_mut(rank)?;
        match entry {
            Entry::Rule { net: found, value: old } if *found == net => return Some(mem::replace(old, value)),
            Entry::Branch { depth: deeper, branch }
                // The slot has compared all bits, unless some are skipped.
                if *deeper == depth + STRIDE
                    || branch.sample().is_some_and(|found| shared_depth(found, net) >= *deeper) =>
            {
                return branch.insert(*deeper, net, value);
            }
            _ => {}
        }
        let found = entry.sample()?;
        let depth = shared_depth(found, net);
        let mut branch = Branch::default();
        branch.add(slot_of(found, depth), entry.clone());
        branch.add(slot_of(net, depth), Entry::Rule { net, value });
        *entry = Entry::Branch { depth, branch };
        None
    }

    fn add(&mut self, slot: u32, entry: Entry<T>) {
        let (before, after) = self.entries.split_at(self.rank(slot));
        self.entries = before.iter().cloned().chain(iter::once(entry)).chain(after.iter().cloned()).collect();
        self.taken |= 1 << slot;
    }

    fn remove(&mut self, depth: u8, net: IpNet) -> Option<T> {
        let slot = slot_of(net, depth);
        let rank = self.rank(slot);
        match self.entry(slot)? {
            Entry::Rule { net: found, .. } if *found != net => None,
            Entry::Rule { value, .. } => {
                let removed = value.clone();
                let (before, after) = self.entries.split_at(rank);
                self.entries = before.iter().chain(after.iter().skip(1)).cloned().collect();
                self.taken &= !(1 << slot);
                Some(removed)
            }
            Entry::Branch { depth, branch } => {
                let (depth, mut branch) = (*depth, branch.clone());
                let removed = branch.remove(depth, net)?;
                let entry = match &*branch.entries {
                    [alone] => alone.clone(),
                    _ => Entry::Branch { depth, branch },
                };
                *Arc::make_mut(&mut self.entries).get_mut(rank)? = entry;
                Some(removed)
            }
        }
    }
}

/// Where a branch at `depth` keeps `net`, or the way to it. A network shorter than `depth` was led astray by skipped
/// bits; it meets another's rule or none.
fn slot_of(net: IpNet, depth: u8) -> u32 {
    let own = net.prefix_len().saturating_sub(depth).min(STRIDE);
    way(bits(net.addr()), depth) >> (STRIDE - own)
}

/// The slot of the last row that leads to `bits`.
fn way(bits: u128, depth: u8) -> u32 {
    let [next, ..] = (bits << depth).to_be_bytes();
    FIRST_WAY | u32::from(next >> (8 - STRIDE))
}

/// The slot `way` and those of the networks above it, which are its leading bits.
fn line(way: u32) -> u64 {
    (0..=STRIDE).fold(0, |line, up| line | 1 << (way >> up))
}

/// The depth of the branch that holds both networks apart.
fn shared_depth(one: IpNet, other: IpNet) -> u8 {
    let common = (bits(one.addr()) ^ bits(other.addr())).leading_zeros();
    let shortest = one.prefix_len().min(other.prefix_len());
    let shared = u8::try_from(common).map_or(shortest, |common| common.min(shortest));
    shared - shared % STRIDE
}

/// An address of either family, from the left, so that both have the same tree.
fn bits(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// How many bits one branch decides upon: the most whose slots, `2 << STRIDE`, one `u64` can mark.
const STRIDE: u8 = 5;
const FIRST_WAY: u32 = 1 << STRIDE;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::thread;

    fn net(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    fn addr(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn map_of<T: Clone + Send + Sync>(rules: &[(&str, T)]) -> NetworkMap<T> {
        let map = NetworkMap::default();
        map.extend(rules.iter().map(|(text, value)| (net(text), value.clone())));
        map
    }

    fn covering<T: Clone + Send + Sync>(map: &NetworkMap<T>, addr: IpAddr) -> Vec<(IpNet, T)> {
        let mut rules = Vec::new();
        let _ = map.for_each_covering(addr, |net, value| {
            rules.push((net, value.clone()));
            ControlFlow::<()>::Continue(())
        });
        rules
    }

    /// Counts the branches below the roots, and checks on the way what makes a tree sound.
    fn branches<T: Clone + Send + Sync>(map: &NetworkMap<T>) -> usize {
        let trees = map.published.load_full();
        below(&trees.v4, 0) + below(&trees.v6, 0)
    }

    fn below<T>(branch: &Branch<T>, depth: u8) -> usize {
        assert_eq!(branch.entries.len(), branch.taken.count_ones() as usize);
        let slots = (0..u64::BITS).filter(|slot| branch.has(*slot));
        let count = |(slot, entry): (u32, &Entry<T>)| {
            assert_eq!(slot_of(entry.sample().expect("no empty branch"), depth), slot);
            let Entry::Branch { depth: deeper, branch } = entry else { return 0 };
            assert!(slot >= FIRST_WAY && *deeper > depth && *deeper % STRIDE == 0);
            assert!(branch.entries.len() >= 2, "a branch with one entry is not built");
            1 + below(branch, *deeper)
        };
        slots.zip(&*branch.entries).map(count).sum()
    }

    fn is_bare<T: Clone + Send + Sync>(map: &NetworkMap<T>) -> bool {
        let trees = map.published.load_full();
        map.is_empty() && trees.v4.entries.is_empty() && trees.v6.entries.is_empty()
    }

    #[test]
    fn networks_have_one_form() {
        for (text, form) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3/0", "0.0.0.0/0"),
            ("10.1.2.3/32", "10.1.2.3/32"),
            ("2001:db8::7/32", "2001:db8::/32"),
            ("::ffff:10.1.2.3/128", "10.1.2.3/32"),
            ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
            ("::ffff:10.1.2.3/96", "0.0.0.0/0"),
            ("::ffff:10.1.2.3/95", "::fffe:0:0/95"),
            ("::10.1.2.3/104", "::10.0.0.0/104"),
            ("64:ff9b::10.1.2.3/128", "64:ff9b::a01:203/128"),
            ("::ffff:10.1.2.3/0", "::/0"),
        ] {
            assert_eq!(canonical(net(text)), net(form), "{text}");
        }
    }

    #[test]
    fn a_network_is_one_however_it_is_written() {
        let map = map_of(&[("::ffff:10.1.2.3/104", 'a')]);
        assert_eq!(map.insert(net("10.9.9.9/8"), 'b'), Some('a'));
        assert_eq!(map.get(net("::ffff:10.0.0.0/104")), Some('b'));
        assert_eq!(covering(&map, addr("::ffff:10.7.7.7")), [(net("10.0.0.0/8"), 'b')]);
        assert_eq!(map.remove(net("10.0.0.0/8")), Some('b'));
        assert!(is_bare(&map));
    }

    #[test]
    fn everything_is_everything_of_one_family() {
        let map = map_of(&[("0.0.0.0/0", 4), ("::/0", 6)]);
        for text in ["0.0.0.0", "255.255.255.255", "::ffff:0.0.0.0", "::ffff:255.255.255.255"] {
            assert_eq!(covering(&map, addr(text)), [(net("0.0.0.0/0"), 4)], "{text}");
        }
        for text in ["::", "::1", "::fffe:ffff:ffff", "::1:0:0:0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]
        {
            assert_eq!(covering(&map, addr(text)), [(net("::/0"), 6)], "{text}");
        }
    }

    #[test]
    fn a_host_is_one_address_and_not_its_neighbours() {
        let hosts = ["0.0.0.0/32", "255.255.255.255/32", "10.0.0.2/32", "::/128", "2001:db8::2/128"];
        let map = map_of(&hosts.map(|host| (host, host)));
        for host in hosts {
            assert_eq!(covering(&map, net(host).addr()), [(net(host), host)]);
        }
        for text in
            ["0.0.0.1", "255.255.255.254", "10.0.0.1", "10.0.0.3", "::1", "2001:db8::3", "2001:db8::1:2"]
        {
            assert_eq!(covering(&map, addr(text)), [], "{text}");
        }
    }

    #[test]
    fn rules_of_every_length_cover_what_shares_their_bits_shortest_first() {
        for (text, width) in [("172.21.170.85", 32_u8), ("2001:db8:5555:aaaa:f00f:33cc:1:fffe", 128)] {
            let map = NetworkMap::default();
            let nets = || (0..=width).map(|length| IpNet::new(addr(text), length).expect("a length").trunc());
            nets().rev().for_each(|net| assert_eq!(map.insert(net, net.prefix_len()), None));
            assert_eq!(map.len(), usize::from(width) + 1);
            assert!(covering(&map, addr(text)).into_iter().eq(nets().zip(0..)));
            for flipped in 0..width {
                let other = bits(addr(text)) ^ (1_u128 << 127 >> flipped);
                let other = match addr(text) {
                    IpAddr::V4(_) => IpAddr::from(u32::try_from(other >> 96).expect("32 bits").to_be_bytes()),
                    IpAddr::V6(_) => IpAddr::from(other.to_be_bytes()),
                };
                assert!(covering(&map, other).into_iter().eq(nets().zip(0..=flipped)), "{other}");
            }
            nets().for_each(|net| assert_eq!(map.remove(net), Some(net.prefix_len())));
            assert!(is_bare(&map));
        }
    }

    #[test]
    fn a_visit_ends_where_it_breaks() {
        let map = map_of(&[("10.0.0.0/8", 1), ("10.1.0.0/16", 2), ("10.1.1.0/24", 3)]);
        let mut seen = Vec::new();
        let end = map.for_each_covering(addr("10.1.1.1"), |_, value| {
            seen.push(*value);
            if *value == 2 { ControlFlow::Break("enough") } else { ControlFlow::Continue(()) }
        });
        assert_eq!((end, seen), (ControlFlow::Break("enough"), vec![1, 2]));
    }

    #[test]
    fn what_is_not_there_is_neither_found_nor_removed() {
        let map = map_of(&[
            ("10.1.1.0/24", 1),
            ("10.1.1.128/25", 2),
            ("2001:db8::1/128", 3),
            ("2001:db8::2/128", 4),
        ]);
        let absent = [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.1.1.0/25",
            "10.1.1.0/32",
            "10.9.9.0/24",
            "::/0",
            "2001:db8::/125",
        ];
        for text in absent.into_iter().chain(["2001:db8::/126", "2001:db8::/128", "3001:db8::1/128"]) {
            assert_eq!(map.get(net(text)), None, "{text}");
            assert_eq!(map.remove(net(text)), None, "{text}");
        }
        assert_eq!(map.len(), 4);
    }

    #[test]
    fn of_two_rules_for_one_network_the_later_stays() {
        let map = map_of(&[("10.0.0.0/8", 1), ("10.0.0.0/8", 2), ("10.3.3.3/8", 3)]);
        assert_eq!((map.len(), map.get(net("10.0.0.0/8"))), (1, Some(3)));
        map.extend([(net("10.0.0.0/8"), 4), (net("11.0.0.0/8"), 5)]);
        assert_eq!((map.len(), map.get(net("10.0.0.0/8"))), (2, Some(4)));
    }

    #[test]
    fn two_entries_with_a_pointer_each_fit_a_cache_line() {
        assert_eq!(size_of::<Entry<Arc<()>>>(), 32);
    }

    #[test]
    fn a_removed_value_is_let_go() {
        let value = Arc::new(());
        let map = NetworkMap::default();
        map.extend((0..=255).map(|host| (IpNet::from(IpAddr::from([10, 0, 0, host])), Arc::clone(&value))));
        assert_eq!(Arc::strong_count(&value), 257);
        (0..=255).for_each(|host| drop(map.remove(IpAddr::from([10, 0, 0, host]).into())));
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn a_standing_rule_is_seen_by_every_check_while_others_come_and_go() {
        let standing = net("10.0.0.0/9");
        let map = map_of(&[("10.0.0.0/9", 0), ("10.0.0.7/32", 1)]);
        let done = AtomicBool::new(false);
        thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let values: Vec<_> =
                            covering(&map, addr("10.0.0.7")).into_iter().map(|rule| rule.1).collect();
                        assert!(values.contains(&0) && values.contains(&1), "{values:?}");
                    }
                });
            }
            let others = (0..32_u32).flat_map(|flipped| {
                let addr = IpAddr::from((0x0a00_0007 ^ 1_u32 << flipped).to_be_bytes());
                (0..=32).map(move |length| canonical(IpNet::new(addr, length).expect("a length")))
            });
            for _ in 0..4 {
                for net in others.clone().filter(|net| *net != standing) {
                    map.insert(net, 2);
                }
                for net in others.clone().filter(|net| *net != standing) {
                    map.remove(net);
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(map.len(), 2);
    }

    #[test]
    fn a_check_that_begins_after_insert_returns_sees_the_rule() {
        let map = NetworkMap::default();
        let host = |n: usize| IpAddr::from(u32::try_from(n * 0x9e37).expect("an address").to_be_bytes());
        let inserted = AtomicUsize::new(0);
        thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    while inserted.load(Ordering::Acquire) < 5000 {
                        if let Some(last) = inserted.load(Ordering::Acquire).checked_sub(1) {
                            assert_eq!(covering(&map, host(last)), [(host(last).into(), last)]);
                        }
                    }
                });
            }
            for n in 0..5000 {
                map.insert(host(n).into(), n);
                inserted.store(n + 1, Ordering::Release);
            }
        });
    }

    #[test]
    fn a_check_sees_all_of_a_bulk_change_or_nothing() {
        let map = NetworkMap::default();
        let done = AtomicBool::new(false);
        thread::scope(|threads| {
            threads.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let values: Vec<_> =
                        covering(&map, addr("10.1.2.3")).into_iter().map(|rule| rule.1).collect();
                    assert!(values.is_empty() || values == [values[0]; 33], "{values:?}");
                }
            });
            for round in 0..500 {
                map.extend(
                    (0..=32).map(|length| (IpNet::new(addr("10.1.2.3"), length).expect("a length"), round)),
                );
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(IpNet),
        Extend(Vec<IpNet>),
        Remove(IpNet),
    }

    /// Mostly a handful of addresses that part at any bit, so that networks meet and nest; sometimes any address.
    fn any_addr() -> impl Strategy<Value = IpAddr> {
        let near_v4 = (0..32_u32, 0..32_u32)
            .prop_map(|(a, b)| IpAddr::from((0x0a00_0000_u32 ^ 1 << a ^ 1 << b).to_be_bytes()));
        let near_v6 =
            (prop::sample::select(vec![0_u128, 0xffff << 32, 0x2001_0db8 << 96]), 0..128_u32, 0..128_u32)
                .prop_map(|(base, a, b)| IpAddr::from((base ^ 1 << a ^ 1 << b).to_be_bytes()));
        prop_oneof![4 => near_v4, 4 => near_v6, 1 => any::<IpAddr>()]
    }

    fn any_net() -> impl Strategy<Value = IpNet> {
        (any_addr(), 0..=128_u8).prop_map(|(addr, length)| {
            let length = if addr.is_ipv4() { length % 33 } else { length };
            IpNet::new(addr, length).expect("a length")
        })
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => any_net().prop_map(Step::Insert),
            1 => prop::collection::vec(any_net(), 0..20).prop_map(Step::Extend),
            2 => any_net().prop_map(Step::Remove),
        ]
    }

    /// The rules in a row, with the naive way to do everything.
    #[derive(Default)]
    struct Model(Vec<(IpNet, usize)>);

    impl Model {
        fn insert(&mut self, net: IpNet, value: usize) -> Option<usize> {
            let replaced = self.remove(net);
            self.0.push((canonical(net), value));
            replaced
        }

        fn remove(&mut self, net: IpNet) -> Option<usize> {
            let at = self.0.iter().position(|rule| rule.0 == canonical(net))?;
            Some(self.0.swap_remove(at).1)
        }

        fn covering(&self, addr: IpAddr) -> Vec<(IpNet, usize)> {
            let mut rules = self.0.clone();
            rules.retain(|(net, _)| net.contains(&addr.to_canonical()));
            rules.sort_by_key(|(net, _)| net.prefix_len());
            rules
        }
    }

    proptest! {
        #[test]
        fn the_map_agrees_with_a_loop_over_all_rules(
            steps in prop::collection::vec(any_step(), 0..80),
            addrs in prop::collection::vec(any_addr(), 0..30),
        ) {
            let (map, mut model) = (NetworkMap::default(), Model::default());
            for (value, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(net) => prop_assert_eq!(map.insert(net, value), model.insert(net, value)),
                    Step::Remove(net) => prop_assert_eq!(map.remove(net), model.remove(net)),
                    Step::Extend(nets) => {
                        map.extend(nets.iter().map(|net| (*net, value)));
                        for net in nets {
                            model.insert(net, value);
                        }
                    }
                }
                prop_assert_eq!(map.len(), model.0.len());
            }
            for addr in addrs.into_iter().chain(model.0.iter().map(|(net, _)| net.broadcast())) {
                prop_assert_eq!(covering(&map, addr), model.covering(addr), "{}", addr);
            }
            let mut listed = Vec::new();
            map.for_each(|net, value| listed.push((net, *value)));
            listed.sort_unstable();
            model.0.sort_unstable();
            prop_assert_eq!(&listed, &model.0);

            let fresh = NetworkMap::default();
            fresh.extend(listed.iter().copied());
            prop_assert_eq!(branches(&map), branches(&fresh), "the shape tells nothing of the past");
            for (net, value) in listed {
                prop_assert_eq!(map.get(net), Some(value));
                prop_assert_eq!(map.remove(net), Some(value));
                branches(&map);
            }
            prop_assert!(is_bare(&map));
        }
    }
}
