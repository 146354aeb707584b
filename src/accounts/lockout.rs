//! Stops guessing: an address that fails too often has to wait, longer each time.
//!
//! Addresses are locked, not names: whoever guesses somebody's password does not lock that somebody out. An attempt
//! counts as a failure from its beginning and is given back when it succeeds, so that many at once are no more than
//! many in a row.

use crate::admission::detection::Moment;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// The addresses that failed lately; at most `MAX_PLACES`.
#[derive(Debug, Default)]
pub struct Lockout {
    places: HashMap<IpAddr, Failures>,
}

#[derive(Debug)]
struct Failures {
    /// In the window that began at `since`.
    count: u32,
    since: Moment,
    /// The last one.
    last: Moment,
    locked_until: Moment,
    /// How often it was locked.
    locks: u32,
}

/// So many failures in a window lock an address.
const MAX_FAILURES: u32 = 5;
const WINDOW: Duration = Duration::from_mins(1);

/// How long an address is locked the first time; then twice as long each time, up to the longest.
const FIRST_LOCK: Duration = Duration::from_mins(1);
const LONGEST_LOCK: Duration = Duration::from_mins(15);

/// After so long without a failure, an address is a stranger again.
const MEMORY: Duration = Duration::from_hours(1);

/// How many addresses are kept in mind. Beyond it, those are forgotten whose last failure is longest ago.
const MAX_PLACES: usize = 16_384;

impl Lockout {
    /// How long this address has to wait still; `None` when it may try.
    pub fn wait(&self, peer: IpAddr, now: Moment) -> Option<Duration> {
        let left = self.places.get(&place(peer))?.locked_until.since(now);
        (left > Duration::ZERO).then_some(left)
    }

    /// Counts an attempt as a failure. Says how long the address is locked for, when it is locked by this.
    ///
    /// # Errors
    /// It is locked, for so long still.
    pub fn attempt(&mut self, peer: IpAddr, now: Moment) -> Result<Option<Duration>, Duration> {
        if let Some(left) = self.wait(peer, now) {
            return Err(left);
        }
        self.make_room(now);
        let new = Failures { count: 0, since: now, last: now, locked_until: Moment::default(), locks: 0 };
        let failures = self.places.entry(place(peer)).or_insert(new);
        if now.since(failures.last) >= MEMORY {
            failures.locks = 0;
        }
        if now.since(failures.since) >= WINDOW {
            (failures.count, failures.since) = (0, now);
        }
        failures.count += 1;
        failures.last = now;
        if failures.count < MAX_FAILURES {
            return Ok(None);
        }
        let lock = FIRST_LOCK.saturating_mul(1 << failures.locks.min(8)).min(LONGEST_LOCK);
        failures.locked_until = now.after(lock);
        failures.locks += 1;
        failures.count = 0;
        Ok(Some(lock))
    }

    /// Gives an attempt back that has succeeded; `locked` is what [`attempt`](Lockout::attempt) said of it. Earlier
    /// failures stay: whoever can log in somewhere must not buy guesses with it.
    pub fn succeeded(&mut self, peer: IpAddr, locked: Option<Duration>) {
        let Some(failures) = self.places.get_mut(&place(peer)) else { return };
        if locked.is_some() {
            failures.locked_until = Moment::default();
            failures.locks = failures.locks.saturating_sub(1);
            failures.count = MAX_FAILURES - 1;
        } else {
            failures.count = failures.count.saturating_sub(1);
        }
    }

    fn make_room(&mut self, now: Moment) {
        if self.places.len() < MAX_PLACES {
            return;
        }
        self.places.retain(|_, failures| now.since(failures.last) < MEMORY);
        if self.places.len() < MAX_PLACES {
            return;
        }
        // A quarter at once, so that a flood of addresses does not pay for this each time.
        let mut last: Vec<_> = self.places.values().map(|failures| failures.last).collect();
        let (_, border, _) = last.select_nth_unstable(MAX_PLACES / 4);
        let border = *border;
        self.places.retain(|_, failures| failures.last > border);
    }
}

/// Whom an address stands for: a site with IPv6 has a network of its own to choose addresses from.
pub fn place(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(addr) => addr.into(),
        IpAddr::V6(addr) => Ipv6Addr::from_bits(addr.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(1_000_000 + seconds * 1000)
    }

    fn minutes(count: u64) -> Duration {
        Duration::from_mins(count)
    }

    /// Fails until the address is locked; for how long?
    fn fail(lockout: &mut Lockout, peer: IpAddr, now: Moment) -> Duration {
        for _ in 0..MAX_FAILURES {
            if let Some(lock) = lockout.attempt(peer, now).expect("not locked yet") {
                return lock;
            }
        }
        panic!("never locked");
    }

    #[test]
    fn the_fifth_failure_in_a_minute_locks_and_each_lock_is_longer() {
        let mut lockout = Lockout::default();
        let mut now = 0;
        for expected in [1, 2, 4, 8, 15, 15] {
            assert_eq!(fail(&mut lockout, HERE, at(now)), minutes(expected));
            assert_eq!(lockout.attempt(HERE, at(now + 1)), Err(Duration::from_secs(expected * 60 - 1)));
            now += expected * 60;
            assert_eq!(lockout.wait(HERE, at(now)), None);
        }
        now += 3600;
        assert_eq!(fail(&mut lockout, HERE, at(now)), minutes(1), "an hour makes a stranger");
    }

    #[test]
    fn failures_that_are_far_apart_do_not_lock() {
        let mut lockout = Lockout::default();
        for number in 0..50 {
            assert_eq!(lockout.attempt(HERE, at(number * 15)), Ok(None), "{number}");
        }
    }

    #[test]
    fn success_gives_its_own_attempt_back_and_no_other() {
        let mut lockout = Lockout::default();
        for _ in 0..100 {
            let attempt = lockout.attempt(HERE, at(0)).expect("not locked");
            lockout.succeeded(HERE, attempt);
        }
        for _ in 0..4 {
            assert_eq!(lockout.attempt(HERE, at(0)), Ok(None));
        }
        let fifth = lockout.attempt(HERE, at(0)).expect("not locked");
        lockout.succeeded(HERE, fifth);
        assert_eq!(lockout.wait(HERE, at(0)), None);
        assert_eq!(lockout.attempt(HERE, at(0)), Ok(Some(minutes(1))), "logging in buys no guesses");
    }

    #[test]
    fn many_at_once_are_no_more_than_many_in_a_row() {
        let mut lockout = Lockout::default();
        let begun = (0..100).filter(|_| lockout.attempt(HERE, at(0)).is_ok()).count();
        assert_eq!(begun, 5);
    }

    #[test]
    fn a_network_of_ipv6_is_one_place_and_mapped_addresses_are_ipv4() {
        let mut lockout = Lockout::default();
        let peer = |text: &str| text.parse::<IpAddr>().expect("an address");
        fail(&mut lockout, peer("2001:db8::1"), at(0));
        fail(&mut lockout, peer("::ffff:10.0.0.1"), at(0));
        let is_locked = |text| lockout.wait(peer(text), at(1)).is_some();
        assert!(is_locked("2001:db8::ffff:1") && is_locked("10.0.0.1"));
        assert!(!is_locked("2001:db8:0:1::1") && !is_locked("10.0.0.2"));
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory_than_allowed() {
        let mut lockout = Lockout::default();
        for number in 0..200_000_u32 {
            let _ = lockout.attempt(IpAddr::from(number.to_be_bytes()), at(u64::from(number) / 1000));
        }
        assert!(lockout.places.len() <= MAX_PLACES);
    }
}
