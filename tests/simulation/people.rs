//! Who lives in the simulated worlds: claims and crowds that scenarios share.

use super::device::{Claim, Device, Life, What};
use super::world::{MINUTE, World};
use fastrand::Rng;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// The TLS stack of everybody who is not told apart by it: healthy devices, and attackers that are as careful.
const FLEET: &str = "t13d1516h2_8daaf6152771_02713d6af862";

/// Healthy devices are there before anything happens.
pub(crate) const SETTLED: u64 = 10 * MINUTE;

pub(crate) fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    Ipv4Addr::new(a, b, c, d).into()
}

/// Some address of an IPv6 /48.
pub(crate) fn in_site(site: u16, rng: &mut Rng) -> IpAddr {
    let host = u128::from(rng.u64(..)) | u128::from(rng.u16(..)) << 64;
    Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | u128::from(site) << 80 | host).into()
}

pub(crate) fn claim(peer: IpAddr, client_id: &str) -> Claim {
    let client_id = client_id.to_owned();
    Claim { peer, what: What::Connect, client_id, username: None, password: None, ja4: FLEET }
}

/// The same claim, by a TLS stack that nobody else has.
pub(crate) fn with_odd_stack(claim: Claim) -> Claim {
    Claim { ja4: "t13i1310h1_f57a46bbacb6_e7c285222651", ..claim }
}

/// Some address of the whole Internet.
pub(crate) fn anywhere(rng: &mut Rng) -> IpAddr {
    v4(rng.u8(11..80), rng.u8(..), rng.u8(..), rng.u8(..))
}

pub(crate) fn with_password(claim: Claim, username: &str, password: u64) -> Claim {
    Claim { username: Some(username.to_owned()), password: Some(password), ..claim }
}

/// Always the same claim.
pub(crate) fn same(claim: Claim) -> impl FnMut(&mut Rng) -> Claim {
    move |_| claim.clone()
}

/// A claim under an identifier that was never used before.
pub(crate) fn random_id(rng: &mut Rng) -> String {
    format!("mqttjs_{:016x}", rng.u64(..))
}

/// So many healthy devices behind each of these addresses, each with a name and a password of its own, that connect
/// within the first minutes and stay. Returns which ones they are.
pub(crate) fn healthy(world: &mut World, addresses: &[IpAddr], each: usize) -> Range<usize> {
    let first = world.devices.len();
    for peer in addresses {
        for _ in 0..each {
            let number = world.devices.len();
            let (name, password) = (format!("device-{number}"), 1_000_000 + number as u64);
            world.accounts.insert(name.clone(), password);
            let device = Device::new(same(with_password(claim(*peer, &name), &name, password)));
            world.add(device, 0..2 * MINUTE);
        }
    }
    first..world.devices.len()
}

/// 100 healthy devices of their own addresses, and 60 behind one.
pub(crate) fn town(world: &mut World) -> Range<usize> {
    let homes: Vec<IpAddr> = (0..100).map(|i| v4(81, 2, i, 7)).collect();
    let first = healthy(world, &homes, 1).start;
    first..healthy(world, &[v4(85, 1, 1, 1)], 60).end
}

pub(crate) fn short(range: Range<u64>) -> Life {
    Life::For(range)
}
