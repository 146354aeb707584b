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
mod tests;
