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
    for text in ["::", "::1", "::fffe:ffff:ffff", "::1:0:0:0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
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
    for text in ["0.0.0.1", "255.255.255.254", "10.0.0.1", "10.0.0.3", "::1", "2001:db8::3", "2001:db8::1:2"]
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
    let map =
        map_of(&[("10.1.1.0/24", 1), ("10.1.1.128/25", 2), ("2001:db8::1/128", 3), ("2001:db8::2/128", 4)]);
    let absent =
        ["0.0.0.0/0", "10.0.0.0/8", "10.1.1.0/25", "10.1.1.0/32", "10.9.9.0/24", "::/0", "2001:db8::/125"];
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
