//! One server of a group: what is known of it, who is there, and whether it takes more.

use super::balance::{Candidate, stable_hash};
use super::health::{Condition, Event, Failure, Health, Thresholds};
use super::resolve::Addresses;
use super::server::Server;
use super::settings::{ServerSettings, UpstreamSettings};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A server of a group.
#[derive(Debug)]
pub struct Member {
    settings: ServerSettings,
    /// What its name hashes to.
    key: u64,
    state: Arc<State>,
}

/// What a reload of the config does not change, as long as the server stays in its group.
#[derive(Debug, Default)]
pub(super) struct State {
    health: Mutex<Health>,
    /// Connections that live, those that are being made included.
    live: AtomicUsize,
    is_drained: AtomicBool,
    /// What the config file said last: when it says something else, that holds again.
    is_drained_in_file: AtomicBool,
    ejections: AtomicU64,
    checks: Outcomes,
    addresses: Arc<Addresses>,
}

/// How many of something came to what.
#[derive(Debug, Default)]
struct Outcomes {
    good: AtomicU64,
    bad: AtomicU64,
}

/// A place at a server, for as long as this lives.
#[derive(Debug)]
pub struct Lease(Arc<State>);

impl Lease {
    fn new(state: &Arc<State>) -> Lease {
        state.live.fetch_add(1, Ordering::Relaxed);
        Lease(Arc::clone(state))
    }

    pub(super) fn is_at(&self, member: &Member) -> bool {
        Arc::ptr_eq(&self.0, &member.state)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::Relaxed);
    }
}

impl State {
    /// A thread that panicked has left it whole.
    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    /// A server of which nothing is known but what an earlier member knew.
    pub(super) fn new(settings: ServerSettings, earlier: Option<&Member>) -> Member {
        let state = earlier.map_or_else(Arc::default, |member| Arc::clone(&member.state));
        let is_new = earlier.is_none();
        let was_drained = state.is_drained_in_file.swap(settings.is_drained, Ordering::Relaxed);
        if is_new || was_drained != settings.is_drained {
            state.is_drained.store(settings.is_drained, Ordering::Relaxed);
        }
        Member { key: stable_hash(settings.server.as_str().as_bytes()), settings, state }
    }

    /// Where it is.
    pub fn server(&self) -> &Server {
        &self.settings.server
    }

    /// How it is set.
    pub fn settings(&self) -> &ServerSettings {
        &self.settings
    }

    /// Connections that it has, those that are being made included.
    pub fn live(&self) -> usize {
        self.state.live.load(Ordering::Relaxed)
    }

    /// True when it takes no new clients because somebody said so.
    pub fn is_drained(&self) -> bool {
        self.state.is_drained.load(Ordering::Relaxed)
    }

    /// Gives it no new clients from now on, or clients again. Whoever is there stays.
    pub fn drain(&self, is_drained: bool) {
        self.state.is_drained.store(is_drained, Ordering::Relaxed);
    }

    /// How it is.
    pub fn condition(&self, now: Instant, slow_start: Duration) -> Condition {
        self.state.health().condition(now, slow_start)
    }

    /// The last dial or check that failed.
    pub fn last_failure(&self) -> Option<Failure> {
        self.state.health().last_failure().cloned()
    }

    /// How often it was ejected.
    pub fn ejections(&self) -> u64 {
        self.state.ejections.load(Ordering::Relaxed)
    }

    /// How many checks have found it well, and how many have not.
    pub fn checks(&self) -> (u64, u64) {
        let Outcomes { good, bad } = &self.state.checks;
        (good.load(Ordering::Relaxed), bad.load(Ordering::Relaxed))
    }

    /// The addresses that its name leads to, as far as that is known; none where it is an address itself.
    pub fn addresses(&self) -> Arc<[SocketAddr]> {
        self.state.addresses.known()
    }

    /// True when clients may be taken there now.
    pub fn is_usable(&self, now: Instant) -> bool {
        !self.is_drained() && self.state.health().is_usable(now)
    }

    pub(super) fn candidate(&self, index: usize, now: Instant, slow_start: Duration) -> Candidate {
        let ServerSettings { weight, .. } = self.settings;
        let share = weight.saturating_mul(self.state.health().part(now, slow_start)).max(1);
        Candidate { index, key: self.key, weight, share, live: self.live() }
    }

    /// Takes a place for a client that is going to be taken there.
    pub(super) fn take(&self, now: Instant, patience: Duration) -> Lease {
        self.state.health().attempt(now, patience);
        Lease::new(&self.state)
    }

    pub(super) fn reached(&self, now: Instant) -> Option<Event> {
        self.state.health().reached(now)
    }

    pub(super) fn missed(
        &self,
        (began, now): (Instant, Instant),
        settings: &UpstreamSettings,
        error: &io::Error,
    ) -> Option<Event> {
        let event = self.state.health().missed((began, now), &settings.ejection, error.to_string());
        if matches!(event, Some(Event::Ejected { .. })) {
            self.state.ejections.fetch_add(1, Ordering::Relaxed);
        }
        self.state.addresses.doubt(self.server());
        event
    }

    pub(super) fn checked(
        &self,
        now: Instant,
        outcome: Result<(), String>,
        thresholds: Thresholds,
    ) -> Option<Event> {
        let Outcomes { good, bad } = &self.state.checks;
        let counter = if outcome.is_ok() { good } else { bad };
        counter.fetch_add(1, Ordering::Relaxed);
        self.state.health().checked(now, outcome, thresholds)
    }

    /// No checks are made any more: what they have found is void.
    pub(super) fn forget_checks(&self) {
        self.state.health().forget_checks();
    }

    /// Where to dial, in the order to try.
    pub(super) async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        self.state.addresses.of(self.server()).await
    }

    /// Looks its name up, again and again; ends at once where it is an address.
    pub(super) async fn keep_resolved(&self, interval: Duration) {
        if self.server().is_name() {
            self.state.addresses.keep(self.server(), interval).await;
        }
    }
}
