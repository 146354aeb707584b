//! Innocents: what happens to healthy fleets, and looks like flapping to whoever counts connections.

use super::device::{Claim, Device, Life, What};
use super::people::{
    SETTLED, anywhere, claim, healthy, in_site, random_id, same, short, town, v4, with_password,
};
use super::world::{MINUTE, Mood, SECOND, World};
use super::{Play, Scenario};
use std::net::IpAddr;

pub(crate) const INNOCENTS: &[Scenario] = &[
    Scenario { name: "broker restarts", play: Play { act: restart, minutes: 20 } },
    Scenario {
        name: "broker in a crash loop, up for 4 s at a time",
        play: Play { act: crash_loop, minutes: 20 },
    },
    Scenario {
        name: "broker that dies within the second it starts, unseen by any dial",
        play: Play { act: quick_crashes, minutes: 20 },
    },
    Scenario {
        name: "network to the broker lost for 5 minutes",
        play: Play { act: network_loss, minutes: 20 },
    },
    Scenario { name: "broker hangs", play: Play { act: hang, minutes: 18 } },
    Scenario { name: "one of two brokers in a crash loop", play: Play { act: one_of_two, minutes: 18 } },
    Scenario {
        name: "broker refuses everybody: its user database is away",
        play: Play { act: refuses_all, minutes: 18 },
    },
    Scenario {
        name: "gateway of 5,000 devices connects, lives, reboots",
        play: Play { act: gateway, minutes: 18 },
    },
    Scenario {
        name: "cellular fleet of 500 behind one address, 30 % loss",
        play: Play { act: cellular, minutes: 30 },
    },
    Scenario { name: "fleet of 1,000 reboots at midnight", play: Play { act: midnight, minutes: 16 } },
    Scenario {
        name: "fleet of 1,000 with one user name on a bad network, and its reboot",
        play: Play { act: one_user_name, minutes: 25 },
    },
    Scenario {
        name: "400 phones of an IPv6 carrier that roam through a /48",
        play: Play { act: carrier, minutes: 30 },
    },
    Scenario {
        name: "load balancer cuts 1,000 every 3 s, all from its address",
        play: Play { act: load_balancer, minutes: 14 },
    },
    Scenario {
        name: "wrong password every second, for ever, 5 behind one address",
        play: Play { act: wrong_password, minutes: 40 },
    },
    Scenario {
        name: "the same with a random client ID at each attempt",
        play: Play { act: wrong_password_random, minutes: 40 },
    },
    Scenario {
        name: "owner mistypes twice while the account is under siege",
        play: Play { act: typo, minutes: 30 },
    },
    Scenario {
        name: "passwords of a whole site changed on the broker",
        play: Play { act: rotated, minutes: 20 },
    },
    Scenario { name: "two devices with one client ID", play: Play { act: duplicates, minutes: 30 } },
    Scenario {
        name: "300 sensors behind one address that connect once a minute",
        play: Play { act: sensors, minutes: 30 },
    },
    Scenario {
        name: "fleet that has the TLS stack of an attacker who rotates all else, and a broker that restarts",
        play: Play { act: same_stack, minutes: 25 },
    },
    Scenario {
        name: "the same of five devices that come for two minutes every three hours",
        play: Play { act: sleepers_of_same_stack, minutes: 600 },
    },
    Scenario { name: "our own restart, and again", play: Play { act: own_restart, minutes: 25 } },
    Scenario { name: "client kicked every 2 s", play: Play { act: kicked, minutes: 14 } },
    Scenario {
        name: "health checks of a load balancer, 5 a second",
        play: Play { act: health_checks, minutes: 20 },
    },
    Scenario {
        name: "TLS client on the plain port, once a second, in a home of 20",
        play: Play { act: wrong_port, minutes: 30 },
    },
    Scenario { name: "wall clock jumps a year ahead and back", play: Play { act: clock_jumps, minutes: 25 } },
];

fn all_moods(world: &mut World, at: u64, mood: Mood) {
    world.at(at, move |world| world.cut(0, mood));
}

fn restart(world: &mut World) {
    town(world);
    healthy(world, &[v4(85, 1, 1, 2)], 200);
    all_moods(world, SETTLED, Mood::Down);
    all_moods(world, SETTLED + 20 * SECOND, Mood::Well);
}

fn crash_loop(world: &mut World) {
    town(world);
    for cycle in 0..60 {
        let at = SETTLED + cycle * 6 * SECOND;
        all_moods(world, at, Mood::Down);
        world.at(at + 2 * SECOND, |world| world.brokers[0] = Mood::Well);
    }
}

fn quick_crashes(world: &mut World) {
    town(world);
    for cycle in 0..150 {
        all_moods(world, SETTLED + cycle * 2 * SECOND, Mood::Well);
    }
    world.devices.iter_mut().for_each(|device| device.pause = 500..1500);
}

fn network_loss(world: &mut World) {
    let town = town(world);
    world.at(SETTLED, |world| world.brokers[0] = Mood::Hangs);
    // Clients notice one by one, when their pings are not answered.
    for device in town {
        world.at(SETTLED + 200 * device as u64, move |world| world.break_off(device..device + 1));
    }
    world.at(SETTLED + MINUTE, |world| world.brokers[0] = Mood::Down);
    all_moods(world, SETTLED + 5 * MINUTE, Mood::Well);
}

fn hang(world: &mut World) {
    let town = town(world);
    world.at(SETTLED, |world| world.brokers[0] = Mood::Hangs);
    world.at(SETTLED + 40 * SECOND, move |world| world.break_off(town));
    all_moods(world, SETTLED + 5 * MINUTE, Mood::Well);
}

fn one_of_two(world: &mut World) {
    let town = town(world);
    world.brokers.push(Mood::Well);
    world.devices[town].iter_mut().step_by(2).for_each(|device| device.broker = 1);
    for cycle in 0..50 {
        let at = SETTLED + cycle * 6 * SECOND;
        world.at(at, |world| world.cut(1, Mood::Down));
        world.at(at + 3 * SECOND, |world| world.brokers[1] = Mood::Well);
    }
}

fn refuses_all(world: &mut World) {
    let gateway = healthy(world, &[v4(85, 1, 1, 2)], 300);
    let town = town(world);
    world.at(SETTLED, |world| world.brokers[0] = Mood::Refuses);
    world.at(SETTLED, move |world| world.break_off(gateway));
    world.at(SETTLED + 20 * SECOND, move |world| world.break_off(town));
    world.at(SETTLED + 5 * MINUTE, |world| world.brokers[0] = Mood::Well);
}

fn gateway(world: &mut World) {
    let gateway = healthy(world, &[v4(85, 1, 1, 2)], 5000);
    world.at(SETTLED, move |world| world.break_off(gateway));
}

fn cellular(world: &mut World) {
    let fleet = healthy(world, &[v4(100, 64, 0, 1)], 500);
    for device in &mut world.devices[fleet] {
        device.loss = 30;
        device.life = short(4 * SECOND..4 * MINUTE);
        device.pause = SECOND..20 * SECOND;
    }
}

fn midnight(world: &mut World) {
    let homes: Vec<IpAddr> = (0..250).map(|i| v4(81, 2, i, 7)).collect();
    let fleet = healthy(world, &homes, 4);
    world.at(SETTLED, move |world| world.break_off(fleet));
}

/// All devices of a maker have its name and password, wherever they are.
fn one_user_name(world: &mut World) {
    town(world);
    world.accounts.insert("maker".to_owned(), 9);
    let first = world.devices.len();
    for i in 0..1000_u16 {
        let [b, d] = i.to_be_bytes();
        let thing = with_password(claim(v4(90, b, d, 5), &format!("thing-{i}")), "maker", 9);
        let life = short(5 * SECOND..4 * MINUTE);
        world.add(Device { life, loss: 10, ..Device::new(same(thing)) }, 0..2 * MINUTE);
    }
    let fleet = first..world.devices.len();
    world.at(SETTLED, move |world| world.break_off(fleet));
}

fn carrier(world: &mut World) {
    for i in 0..400 {
        let (name, password) = (format!("phone-{i}"), 70_000 + i);
        world.accounts.insert(name.clone(), password);
        let phone =
            move |rng: &mut fastrand::Rng| with_password(claim(in_site(0xce11, rng), &name), &name, password);
        let life = short(3 * SECOND..5 * MINUTE);
        world.add(Device { life, loss: 20, ..Device::new(phone) }, 0..3 * MINUTE);
    }
}

fn load_balancer(world: &mut World) {
    let fleet = healthy(world, &[v4(10, 9, 9, 9)], 1000);
    for cycle in 0..40 {
        let fleet = fleet.clone();
        world.at(SETTLED + cycle * 3 * SECOND, move |world| world.break_off(fleet));
    }
    world.devices.iter_mut().for_each(|device| device.pause = 200..1500);
}

fn wrong_password(world: &mut World) {
    town(world);
    for i in 0..5 {
        let lost = with_password(claim(v4(85, 1, 1, 9), &format!("lost-{i}")), &format!("lost-{i}"), 1);
        world.add(Device { pause: SECOND..SECOND + 1, ..Device::new(same(lost)) }, 0..SECOND);
    }
}

fn wrong_password_random(world: &mut World) {
    town(world);
    for i in 0..5 {
        let lost = Device::new(move |rng| {
            with_password(claim(v4(85, 1, 1, 9), &random_id(rng)), &format!("lost-{i}"), 1)
        });
        world.add(Device { pause: SECOND..SECOND + 1, ..lost }, 0..SECOND);
    }
}

/// The owner of a besieged account has a stored password that is wrong, and then types one wrong password more.
fn typo(world: &mut World) {
    let town = town(world);
    let account = format!("device-{}", town.start);
    for i in 0..100_u8 {
        let account = account.clone();
        let guess = move |rng: &mut fastrand::Rng| {
            with_password(claim(v4(150, 1, i, 3), &random_id(rng)), &account, rng.u64(..))
        };
        world.add(Device::attacker(50 * SECOND..70 * SECOND, guess), SETTLED..SETTLED + MINUTE);
    }
    let mut attempt = 0;
    let owner = Device::new(move |_| {
        attempt += 1;
        with_password(claim(v4(85, 1, 1, 9), "phone"), &account, if attempt < 600 { 1 } else { 2 })
    });
    world.add(Device { pause: SECOND..SECOND + 1, ..owner }, SECOND..2 * SECOND);
}

fn rotated(world: &mut World) {
    let site = healthy(world, &[v4(85, 1, 1, 2)], 300);
    town(world);
    world.at(SETTLED, move |world| {
        for device in site.clone() {
            world.accounts.insert(format!("device-{device}"), 5);
        }
        world.break_off(site);
    });
}

fn duplicates(world: &mut World) {
    town(world);
    world.accounts.insert("twin".to_owned(), 7);
    for last in [1, 2] {
        let twin = with_password(claim(v4(85, 7, last, 9), "twin"), "twin", 7);
        let twin = Device { pause: SECOND..SECOND + 200, ..Device::new(same(twin)) };
        world.add(twin, SETTLED..SETTLED + SECOND);
    }
}

fn sensors(world: &mut World) {
    let sensors = healthy(world, &[v4(85, 1, 1, 2)], 300);
    for sensor in &mut world.devices[sensors] {
        sensor.life = short(200..2000);
        sensor.is_polite = true;
        sensor.pause = 58 * SECOND..62 * SECOND;
    }
}

/// Somebody with the fleet's TLS stack, and with nothing else that stays.
fn rotating(world: &mut World, pause: std::ops::Range<u64>) {
    world.is_open = true;
    let bot = Device::attacker(pause, |rng| claim(anywhere(rng), &random_id(rng)));
    world.add(bot, SETTLED..SETTLED + SECOND);
}

fn same_stack(world: &mut World) {
    town(world);
    healthy(world, &[v4(85, 1, 1, 2)], 500);
    rotating(world, 50..200);
    all_moods(world, SETTLED + 3 * MINUTE, Mood::Down);
    all_moods(world, SETTLED + 4 * MINUTE, Mood::Well);
}

fn sleepers_of_same_stack(world: &mut World) {
    let homes: Vec<IpAddr> = (0..5).map(|i| v4(81, 2, i, 7)).collect();
    for sleeper in healthy(world, &homes, 1) {
        let sleeper = &mut world.devices[sleeper];
        sleeper.life = short(2 * MINUTE..3 * MINUTE);
        sleeper.is_polite = true;
        sleeper.pause = 170 * MINUTE..180 * MINUTE;
    }
    rotating(world, 200..600);
}

fn own_restart(world: &mut World) {
    town(world);
    healthy(world, &[v4(85, 1, 1, 2)], 1000);
    for minute in [10, 11, 17] {
        world.at(minute * MINUTE, World::restart_proxy);
    }
    // The broker has had enough as well.
    all_moods(world, 17 * MINUTE + 8 * SECOND, Mood::Down);
    all_moods(world, 17 * MINUTE + 20 * SECOND, Mood::Well);
}

fn kicked(world: &mut World) {
    let town = town(world);
    for i in 0..100 {
        let device = town.start;
        world.at(SETTLED + i * 2 * SECOND, move |world| world.kick(device));
    }
    world.devices[town.start].pause = SECOND..SECOND + 1;
}

fn health_checks(world: &mut World) {
    town(world);
    for _ in 0..5 {
        let check = Claim { what: What::Probe, ..claim(v4(10, 9, 9, 9), "") };
        world.add(Device { pause: SECOND..SECOND + 1, ..Device::new(same(check)) }, 0..SECOND);
    }
}

fn wrong_port(world: &mut World) {
    healthy(world, &[v4(85, 1, 1, 3)], 20);
    let lost = Claim { what: What::Malformed, ..claim(v4(85, 1, 1, 3), "") };
    world.add(Device { pause: SECOND..SECOND + 1, ..Device::new(same(lost)) }, 0..SECOND);
}

fn clock_jumps(world: &mut World) {
    let town = town(world);
    for device in &mut world.devices[town] {
        device.life = Life::For(MINUTE..5 * MINUTE);
    }
    world.at(SETTLED, |world| world.wall_offset += 365 * 86_400_000);
    world.at(SETTLED + 5 * MINUTE, |world| world.wall_offset -= 2 * 365 * 86_400_000);
}
