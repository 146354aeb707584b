//! How fast an address may have passwords checked, right ones included: each costs 20 ms of a processor.
//!
//! This is the rate limit; what stops guessing is the [lock-out](crate::accounts::Lockout), which counts failures alone
//! and gives an attempt back that succeeds. A generic rate limiter cannot take anything back, so the two are apart.

use crate::accounts::place;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

/// The pace of every address; of no more than about [`MAX_PLACES`].
#[derive(Debug)]
pub(super) struct Pace<C: Clock = DefaultClock> {
    limiter: RateLimiter<IpAddr, HashMapStateStore<IpAddr>, C, NoOpMiddleware<C::Instant>>,
    clock: C,
}

/// So many in a minute, and as many at once after a quiet minute.
const A_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("not zero");

/// How many addresses are told apart.
const MAX_PLACES: usize = 16_384;

impl Default for Pace {
    fn default() -> Pace {
        Pace::new(DefaultClock::default())
    }
}

impl<C: Clock + Clone> Pace<C> {
    fn new(clock: C) -> Pace<C> {
        let store = HashMapStateStore::default();
        Pace { limiter: RateLimiter::new(Quota::per_minute(A_MINUTE), store, clock.clone()), clock }
    }

    /// Counts an attempt.
    ///
    /// # Errors
    /// It comes too fast: how long this address has to wait.
    pub(super) fn attempt(&self, peer: IpAddr) -> Result<(), Duration> {
        if self.limiter.len() >= MAX_PLACES {
            // Who has been quiet for long enough is as good as new, and needs not be remembered.
            self.limiter.retain_recent();
            if self.limiter.len() >= MAX_PLACES {
                // So many addresses in one minute are a flood, which no pace of a single one holds back.
                return Ok(());
            }
        }
        let too_fast = |not_until: governor::NotUntil<C::Instant>| not_until.wait_time_from(self.clock.now());
        self.limiter.check_key(&place(peer)).map_err(too_fast)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;

    fn addr(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_has_sixty_a_minute_whatever_comes_of_them() {
        let clock = FakeRelativeClock::default();
        let pace = Pace::new(clock.clone());
        let here = addr("2001:db8::1");
        assert_eq!((0..100).filter(|_| pace.attempt(here).is_ok()).count(), 60);
        let wait = pace.attempt(addr("2001:db8::2")).expect_err("the same subscriber");
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        assert_eq!(pace.attempt(addr("2001:db8:0:1::1")), Ok(()));
        clock.advance(wait);
        assert_eq!(pace.attempt(here), Ok(()));
        assert!(pace.attempt(here).is_err());
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory_than_allowed_and_locks_nobody_out() {
        let clock = FakeRelativeClock::default();
        let pace = Pace::new(clock.clone());
        for number in 0..40_000_u32 {
            assert_eq!(pace.attempt(number.to_be_bytes().into()), Ok(()));
        }
        assert!(pace.limiter.len() <= MAX_PLACES);
        clock.advance(Duration::from_mins(2));
        assert_eq!(pace.attempt(addr("192.0.2.1")), Ok(()));
        assert_eq!(pace.limiter.len(), 1, "they were quiet, and are forgotten");
    }
}
