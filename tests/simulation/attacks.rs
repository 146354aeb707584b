//! Attacks, each beside a town of healthy devices. Attackers that have an account are as dangerous as it gets.

use super::device::{Claim, Device, Life, What};
use super::people::{
    SETTLED, anywhere, claim, in_site, random_id, same, town, v4, with_odd_stack, with_password,
};
use super::world::{SECOND, World};
use super::{Play, Scenario};
use fastrand::Rng;

pub(crate) const ATTACKS: &[Scenario] = &[
    Scenario { name: "flapper with one client ID, once a second", play: Play { act: one_id, minutes: 15 } },
    Scenario { name: "slow flapper, 16 times a minute", play: Play { act: slow, minutes: 20 } },
    Scenario {
        name: "ever new client IDs from one address",
        play: Play { act: new_ids_one_address, minutes: 15 },
    },
    Scenario {
        name: "30 client IDs in turn, each below the limit",
        play: Play { act: ids_in_turn, minutes: 15 },
    },
    Scenario { name: "no client ID at all", play: Play { act: no_id, minutes: 15 } },
    Scenario {
        name: "ever new client IDs from an IPv4 /24",
        play: Play { act: new_ids_v4_network, minutes: 15 },
    },
    Scenario { name: "ever new client IDs from an IPv6 /64", play: Play { act: new_ids_v6_64, minutes: 15 } },
    Scenario { name: "ever new client IDs from an IPv6 /48", play: Play { act: new_ids_v6_48, minutes: 15 } },
    Scenario {
        name: "ever new client IDs and user names from an IPv6 /48, all refused",
        play: Play { act: refused_v6_48, minutes: 15 },
    },
    Scenario {
        name: "one user name, ever new client IDs, addresses all over",
        play: Play { act: one_name, minutes: 15 },
    },
    Scenario {
        name: "ever new client IDs and addresses all over, one TLS stack",
        play: Play { act: one_stack, minutes: 15 },
    },
    Scenario {
        name: "ever new client IDs, user names and addresses all over, all refused, one TLS stack",
        play: Play { act: one_stack_refused, minutes: 15 },
    },
    Scenario {
        name: "guessing one account's password from 300 addresses",
        play: Play { act: siege, minutes: 30 },
    },
    Scenario {
        name: "guessing passwords of many accounts from one address",
        play: Play { act: spray, minutes: 15 },
    },
    Scenario { name: "guessing slowly, one password in 40 s", play: Play { act: slow_guess, minutes: 60 } },
    Scenario { name: "flood of malformed packets", play: Play { act: malformed, minutes: 12 } },
    Scenario {
        name: "slow-loris: 200 half-open connections at a time",
        play: Play { act: slow_loris, minutes: 13 },
    },
    Scenario { name: "flood of connections that say nothing", play: Play { act: probes, minutes: 12 } },
    Scenario {
        name: "framing: a victim's client ID with one wrong password, 20 a second",
        play: Play { act: framing, minutes: 12 },
    },
    Scenario {
        name: "framing with an account of its own: takes a victim's client ID over",
        play: Play { act: takeover, minutes: 14 },
    },
    Scenario {
        name: "bursts of its own residents to pass for a common cause",
        play: Play { act: own_bursts, minutes: 25 },
    },
    Scenario {
        name: "flapping while the broker restarts once",
        play: Play { act: under_cover, minutes: 20 },
    },
];

const PASSWORD: u64 = 99;

/// Has an account on the broker.
fn insider(world: &mut World) {
    world.accounts.insert("insider".to_owned(), PASSWORD);
}

fn trusted(claim: Claim) -> Claim {
    with_password(claim, "insider", PASSWORD)
}

fn attack(world: &mut World, pause: std::ops::Range<u64>, claim: impl FnMut(&mut Rng) -> Claim + 'static) {
    world.add(Device::attacker(pause, claim), SETTLED..SETTLED + SECOND);
}

fn one_id(world: &mut World) {
    town(world);
    insider(world);
    attack(world, 700..900, same(trusted(claim(v4(198, 51, 100, 1), "flapper"))));
}

fn slow(world: &mut World) {
    town(world);
    insider(world);
    attack(world, 3500..3600, same(trusted(claim(v4(198, 51, 100, 1), "flapper"))));
}

fn new_ids_one_address(world: &mut World) {
    town(world);
    insider(world);
    attack(world, 100..300, |rng| trusted(claim(v4(198, 51, 100, 1), &random_id(rng))));
}

fn ids_in_turn(world: &mut World) {
    town(world);
    insider(world);
    for i in 0..30 {
        attack(world, 4000..5000, same(trusted(claim(v4(198, 51, 100, 1), &format!("bot-{i}")))));
    }
}

fn no_id(world: &mut World) {
    town(world);
    insider(world);
    attack(world, 100..300, same(trusted(claim(v4(198, 51, 100, 1), ""))));
}

fn new_ids_v4_network(world: &mut World) {
    town(world);
    world.is_open = true;
    attack(world, 20..100, |rng| claim(v4(198, 51, 100, rng.u8(..)), &random_id(rng)));
}

fn new_ids_v6_64(world: &mut World) {
    town(world);
    world.is_open = true;
    attack(world, 20..100, |rng| {
        let bits = 0x2001_0db8_00aa_0001_u128 << 64 | u128::from(rng.u64(..));
        claim(std::net::Ipv6Addr::from_bits(bits).into(), &random_id(rng))
    });
}

fn new_ids_v6_48(world: &mut World) {
    town(world);
    world.is_open = true;
    attack(world, 20..100, |rng| claim(in_site(0xbad, rng), &random_id(rng)));
}

fn refused_v6_48(world: &mut World) {
    town(world);
    attack(world, 20..100, |rng| {
        let name = random_id(rng);
        with_password(claim(in_site(0xbad, rng), &name), &name, 1)
    });
}

fn one_name(world: &mut World) {
    town(world);
    insider(world);
    attack(world, 50..200, |rng| {
        trusted(claim(v4(rng.u8(100..120), rng.u8(..), rng.u8(..), 9), &random_id(rng)))
    });
}

fn one_stack(world: &mut World) {
    town(world);
    world.is_open = true;
    attack(world, 50..200, |rng| with_odd_stack(claim(anywhere(rng), &random_id(rng))));
}

fn one_stack_refused(world: &mut World) {
    town(world);
    attack(world, 50..200, |rng| {
        let (peer, name) = (anywhere(rng), random_id(rng));
        with_odd_stack(with_password(claim(peer, &name), &name, rng.u64(..)))
    });
}

fn siege(world: &mut World) {
    let town = town(world);
    let account = format!("device-{}", town.start);
    for i in 0..300_u16 {
        let [b, d] = i.to_be_bytes();
        let account = account.clone();
        attack(world, 50 * SECOND..70 * SECOND, move |rng| {
            with_password(claim(v4(150, b, d, 3), &random_id(rng)), &account, rng.u64(..))
        });
    }
}

fn spray(world: &mut World) {
    town(world);
    attack(world, 500..1500, |rng| {
        let account = format!("device-{}", rng.u8(..));
        with_password(claim(v4(198, 51, 100, 1), "probe"), &account, rng.u64(..))
    });
}

fn slow_guess(world: &mut World) {
    let town = town(world);
    let account = format!("device-{}", town.start);
    attack(world, 39 * SECOND..41 * SECOND, move |rng| {
        with_password(claim(v4(198, 51, 100, 1), "probe"), &account, rng.u64(..))
    });
}

fn of_kind(what: What) -> impl FnMut(&mut Rng) -> Claim {
    move |_| Claim { what, ..claim(v4(198, 51, 100, 1), "") }
}

fn malformed(world: &mut World) {
    town(world);
    attack(world, 50..150, of_kind(What::Malformed));
}

fn slow_loris(world: &mut World) {
    town(world);
    for _ in 0..200 {
        attack(world, 9 * SECOND..10 * SECOND, of_kind(What::HalfOpen));
    }
}

fn probes(world: &mut World) {
    town(world);
    attack(world, 5..15, of_kind(What::Probe));
}

fn framing(world: &mut World) {
    let town = town(world);
    let victim = format!("device-{}", town.start);
    let claim = with_password(claim(v4(198, 51, 100, 1), &victim), &victim, 1);
    attack(world, 40..60, same(claim));
}

fn takeover(world: &mut World) {
    let town = town(world);
    insider(world);
    let victim = format!("device-{}", town.start);
    attack(world, 100..200, same(trusted(claim(v4(198, 51, 100, 1), &victim))));
}

/// 30 residents of its own, a fifth of the town, which it ends all at once, while the same clients flap.
fn own_bursts(world: &mut World) {
    town(world);
    insider(world);
    let first = world.devices.len();
    for i in 0..30 {
        let bot = trusted(claim(v4(198, 51, 100, 1), &format!("bot-{i}")));
        let bot =
            Device { life: Life::Forever, pause: SECOND..SECOND + 1, ..Device::attacker(1..2, same(bot)) };
        world.add(bot, 0..SECOND);
    }
    for burst in 0..200 {
        world.at(SETTLED + burst * 3 * SECOND, move |world| world.break_off(first..first + 30));
    }
}

fn under_cover(world: &mut World) {
    one_id(world);
    world.at(SETTLED + 5 * SECOND, |world| world.cut(0, super::world::Mood::Down));
    world.at(SETTLED + 15 * SECOND, |world| world.brokers[0] = super::world::Mood::Well);
}
