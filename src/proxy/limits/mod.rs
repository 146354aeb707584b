//! How many may come: rates and numbers of connections. Nothing here knows a socket; who is over a limit is answered
//! elsewhere.
//!
//! What one address or network does too often is refused ([`Throttle`]). What all do together too often is nobody's fault:
//! they wait their turn ([`pacer`]). Whatever a stranger can make an entry in has a fixed size, and forgets whoever has
//! behaved for longest.

mod crowd;
mod known;
mod pacer;
mod rate;
mod table;

pub use known::Known;
pub use pacer::{Pacer, Pacing};
pub use rate::{Rate, RateError};

use arc_swap::ArcSwap;
use crowd::{Crowd, Place};
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::{Quota, RateLimiter};
use ipnet::IpNet;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use table::Table;
use tokio::time::Instant;

/// What holds in one scope: at one listener, or at all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ThrottleSettings {
    /// How many may come, whoever they are; more wait.
    pub rate: Option<Rate>,
    /// How many may come from one address; more are refused.
    pub per_address: Option<Rate>,
    /// How many may come from one network, an IPv4 /24 or an IPv6 /64.
    pub per_network: Option<Rate>,
    /// How many connections one address may have.
    pub connections_per_address: Option<NonZeroU32>,
    /// How many sessions one user name may have.
    pub sessions_per_username: Option<NonZeroU32>,
}

/// What holds in a scope, and how that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSettings {
    /// What holds in this scope.
    pub throttle: ThrottleSettings,
    /// How those wait who come too fast.
    pub pacing: Pacing,
    /// How many clients are known, so that they wait less.
    pub known_clients: usize,
    /// How many addresses and networks are told apart.
    pub max_tracked: usize,
}

/// What happens to a client that is over a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRateLimited {
    /// Its CONNECT is read and answered.
    Connack,
    /// It is closed at once, where its address alone shows it.
    Close,
}

/// The limits of one scope at work.
#[derive(Debug)]
pub struct Throttle {
    settings: ThrottleSettings,
    addresses: Option<Limiter>,
    networks: Option<Limiter>,
    crowds: Arc<Crowds>,
    pacer: Option<Pacer>,
}

/// The limits of all listeners together.
#[derive(Debug)]
pub struct Limits {
    settings: ArcSwap<LimitSettings>,
    throttle: ArcSwap<Throttle>,
    known: Known,
}

/// Who is here. It outlives a change of the limits.
#[derive(Debug, Default)]
struct Crowds {
    addresses: Crowd,
    usernames: Crowd,
}

/// A place that somebody takes in a crowd, for as long as this lives.
#[derive(Debug)]
pub struct Seat {
    _place: Place,
}

/// Somebody is over a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// New connections of its address.
    #[error("too many new connections from this address")]
    AddressRate,
    /// New connections of its network.
    #[error("too many new connections from this network")]
    NetworkRate,
    /// Connections of its address.
    #[error("too many connections from this address")]
    Connections,
    /// Sessions of its user name.
    #[error("too many sessions of this user name")]
    Sessions,
    /// It has waited for long enough, or too many wait.
    #[error("too many clients are coming back")]
    Crowded,
}

type Limiter = RateLimiter<IpAddr, Table, Ticks, NoOpMiddleware<Duration>>;

impl Limits {
    /// Limits like these.
    pub fn new(settings: LimitSettings) -> Limits {
        Limits {
            throttle: ArcSwap::from_pointee(Throttle::new(&settings, None)),
            known: Known::new(settings.known_clients),
            settings: ArcSwap::from_pointee(settings),
        }
    }

    /// Changes them. Who waits already goes on as before; rates that have changed begin anew.
    pub fn adjust(&self, settings: LimitSettings) {
        if **self.settings.load() == settings {
            return;
        }
        self.throttle.store(Arc::new(Throttle::new(&settings, Some(&self.throttle.load()))));
        self.known.resize(settings.known_clients);
        self.settings.store(Arc::new(settings));
    }

    /// What holds for all listeners together.
    pub fn throttle(&self) -> Arc<Throttle> {
        self.throttle.load_full()
    }

    /// Whom brokers have accepted.
    pub fn known(&self) -> &Known {
        &self.known
    }
}

impl Throttle {
    /// Limits like these. Who is here stays counted when they take the place of `earlier` ones.
    pub fn new(limits: &LimitSettings, earlier: Option<&Throttle>) -> Throttle {
        let settings = limits.throttle;
        let limiter =
            |rate: Rate| RateLimiter::new(rate.quota(), Table::new(limits.max_tracked), Ticks::default());
        Throttle {
            settings,
            addresses: settings.per_address.map(limiter),
            networks: settings.per_network.map(limiter),
            crowds: earlier.map(|earlier| Arc::clone(&earlier.crowds)).unwrap_or_default(),
            pacer: settings.rate.map(|rate| Pacer::new(rate, limits.pacing)),
        }
    }

    /// A connection has come from this address. It has its seat whatever comes of it.
    pub fn enter(&self, peer: IpAddr) -> (Option<Seat>, Result<(), Excess>) {
        let max = self.settings.connections_per_address;
        let seat = max.map(|_| Seat { _place: self.crowds.addresses.enter(&peer) });
        let number = if max.is_some() { self.crowds.addresses.len(&peer) } else { 0 };
        (seat, self.may_enter(peer, number))
    }

    fn may_enter(&self, peer: IpAddr, number: u32) -> Result<(), Excess> {
        if self.settings.connections_per_address.is_some_and(|max| number > max.get()) {
            return Err(Excess::Connections);
        }
        let is_over = |limiter: &Option<Limiter>, key: IpAddr| {
            limiter.as_ref().is_some_and(|limiter| limiter.check_key(&key).is_err())
        };
        if is_over(&self.addresses, peer) {
            return Err(Excess::AddressRate);
        }
        if is_over(&self.networks, network_of(peer)) { Err(Excess::NetworkRate) } else { Ok(()) }
    }

    /// Somebody wants a session under this user name.
    pub fn enter_username(&self, username: &str) -> Result<Option<Seat>, Excess> {
        let Some(max) = self.settings.sessions_per_username else { return Ok(None) };
        let place = self.crowds.usernames.enter(username);
        if self.crowds.usernames.len(username) > max.get() {
            return Err(Excess::Sessions);
        }
        Ok(Some(Seat { _place: place }))
    }

    /// The queue of those who come too fast together.
    pub fn pacer(&self) -> Option<&Pacer> {
        self.pacer.as_ref()
    }
}

/// The first address of the network that an address is in: /24, or /64.
fn network_of(addr: IpAddr) -> IpAddr {
    let prefix = if addr.is_ipv4() { 24 } else { 64 };
    IpNet::new(addr, prefix).map_or(addr, |network| network.trunc().addr())
}

/// Time since it was made, by the clock that tests can stop.
#[derive(Debug, Clone, Copy)]
struct Ticks(Instant);

impl Default for Ticks {
    fn default() -> Ticks {
        Ticks(Instant::now())
    }
}

impl Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

impl Rate {
    fn quota(self) -> Quota {
        let every = self.period() / self.count().get();
        // No rate is so fast that nothing is left of the time between two.
        let quota = Quota::with_period(every.max(Duration::from_nanos(1)));
        quota.unwrap_or_else(|| Quota::per_second(self.count())).allow_burst(self.burst())
    }
}

#[cfg(test)]
mod tests;
