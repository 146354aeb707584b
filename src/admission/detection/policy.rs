//! What counts, and how much of it: the policies of a zone. Off by default; each detector is switched on by itself.
//!
//! `Default` of each policy has EMQX's numbers where EMQX has the detector. [`ZonePolicy::recommended`] has the numbers
//! that docs/DETECTION.md is measured with.

use std::sync::Arc;
use std::time::Duration;

/// How detection treats the clients of a zone. Every zone counts for itself; its name is part of every key, and so is
/// each detector's policy: when that is changed, its counts begin anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZonePolicy {
    /// The zone's name.
    pub zone: Arc<str>,
    /// Client identifiers whose sessions end too often.
    pub by_clientid: Option<ByClientId>,
    /// User names whose short sessions have ever new client identifiers.
    pub by_username: Option<Churn>,
    /// Addresses whose short sessions, or refused attempts, have ever new client identifiers.
    pub by_peerhost: Option<Churn>,
    /// The same of networks.
    pub by_network: Option<ByNetwork>,
    /// TLS fingerprints, on which nobody lives, whose short sessions or refused attempts have ever new names.
    pub by_ja4: Option<ByJa4>,
    /// Addresses that try password after password.
    pub auth_failures: Option<AuthFailures>,
    /// Addresses that send what is no CONNECT, or too large a one.
    pub malformed: Option<Nuisance>,
    /// Addresses whose CONNECTs do not come in time.
    pub connect_timeouts: Option<Nuisance>,
    /// Addresses that connect too often.
    pub connection_rate: Option<ConnectionRate>,
    /// Banned clients that never give up.
    pub hammering: Option<Hammering>,
    /// Clients that fight over one client identifier.
    pub duplicates: Option<Duplicates>,
    /// How bans grow.
    pub escalation: Escalation,
}

/// So many events within so much time make a ban of so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// How many events make a ban; 0 means 1.
    pub max_count: u32,
    /// Within how much time.
    pub window_time: Duration,
    /// How long the first ban lasts. 0 bans nobody; it is told all the same.
    pub ban_time: Duration,
    /// Tell what would be done, and do nothing.
    pub shadow: bool,
}

/// Flapping by client identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByClientId {
    /// How many ends make a ban.
    pub threshold: Threshold,
    /// Count every CONNECT that no ban refuses when it comes, whoever it claims to be and whatever becomes of it, as
    /// EMQX does. Anybody can then have anybody banned.
    pub count_refused: bool,
}

/// Churn of an address, a network or a user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Churn {
    /// How much of it makes a ban.
    pub threshold: Threshold,
    /// As in [`ByClientId`]; neither novelty nor residents are looked at then.
    pub count_refused: bool,
    /// A session that ends sooner than this is short.
    pub short_session: Duration,
    /// How many short sessions of a client that is known there are no churn, in each window.
    pub per_client: u32,
    /// One event more is allowed for so many long-lived sessions there; 0 allows none.
    pub residents_per_count: u32,
}

/// Churn of networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByNetwork {
    /// How much makes a ban. No single address (for an IPv6 network shorter than /64: no single /64) makes more than a
    /// quarter of it.
    pub churn: Churn,
    /// The prefix length of IPv4 networks; `None` leaves IPv4 out.
    pub ipv4_prefix: Option<u8>,
    /// The prefix lengths of IPv6 networks.
    pub ipv6_prefixes: [Option<u8>; 2],
}

/// Churn of TLS fingerprints. A whole fleet has one, so what counts against it is weighed against all who live under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByJa4 {
    /// How much makes a ban. No single address (IPv6: no single /64) makes more than a quarter of it. Its `count_refused`
    /// is not looked at: to ban a fleet's fingerprint for what its clients claim is in nobody's interest.
    pub churn: Churn,
    /// A fingerprint is never banned while more residents than this live under it, or did of late. One that had a
    /// resident within [`Settings::memory`] counts as having one.
    pub max_residents: u32,
}

/// Password guessing. What is counted is different credentials that the broker refuses; a client that repeats one
/// wrong password for years counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthFailures {
    /// How many different credentials from one address make a ban.
    pub threshold: Threshold,
    /// One more is allowed for so many long-lived sessions there; 0 allows none.
    pub residents_per_count: u32,
    /// How many different passwords within the window, from anywhere, put an account under siege. 0: no account ever.
    pub siege_count: u32,
    /// How many new passwords for an account under siege make a ban of the address that they come from.
    pub siege_max_count: u32,
}

/// Events that have no excuse but the size of the place that they come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nuisance {
    /// How many make a ban.
    pub threshold: Threshold,
    /// One more is allowed for so many long-lived sessions there; 0 allows none.
    pub residents_per_count: u32,
}

/// Connections of an address that come to nothing: those without CONNECT, and those of clients that come more often
/// than `per_client`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionRate {
    /// How many of them make a ban.
    pub threshold: Threshold,
    /// How many connections in each window every client may have for itself.
    pub per_client: u32,
    /// One more is allowed for so many long-lived sessions there; 0 allows none.
    pub residents_per_count: u32,
}

/// Banned clients that come again and again are not answered any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hammering {
    /// How many attempts.
    pub max_count: u32,
    /// Within how much time.
    pub window_time: Duration,
    /// For how long they are not answered. Attempts meanwhile do not prolong it.
    pub hush_time: Duration,
    /// Tell, and answer all the same.
    pub shadow: bool,
}

/// Two clients with one client identifier, each taking the other's session over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duplicates {
    /// What to do about them.
    pub action: OnDuplicates,
    /// How many times a client that was displaced has to come back and displace.
    pub max_count: u32,
    /// Within how much time.
    pub window_time: Duration,
    /// How long a ban of the client identifier lasts, and how long a warning is not repeated.
    pub ban_time: Duration,
    /// Tell of the ban, and ban nobody.
    pub shadow: bool,
}

/// What to do about duplicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDuplicates {
    /// Tell the operator.
    #[default]
    Warn,
    /// Ban the client identifier.
    Ban,
}

/// How bans of the same name grow, after fail2ban.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escalation {
    /// What multiplies the ban's time.
    pub growth: Growth,
    /// The longest ban. A detector's own `ban_time` is kept even when that is longer.
    pub max_ban_time: Duration,
    /// How much of a grown ban may be taken off at random, in percent: bans made together end apart. Never below
    /// `ban_time`, never above `max_ban_time`.
    pub jitter_percent: u8,
    /// An offence is forgotten when its ban is over for this long, and for as long as the ban was, whichever is longer.
    pub memory: Duration,
}

/// What multiplies the time of a ban.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Growth {
    /// Nothing: every ban is as long as the first.
    Off,
    /// Each ban is so many times as long as the one before.
    Factor(u32),
    /// The first ban by the first, and so on; the last for all that follow.
    Steps(Vec<u32>),
}

/// What holds for all zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How many clients detection keeps in mind; see docs/DETECTION.md for what it costs.
    pub max_tracked: usize,
    /// After the start, while it is not known who lives where, nothing counts that is measured by novelty.
    pub learning: Duration,
    /// For how long a client, its credentials and where it came from are remembered after they were last seen.
    pub memory: Duration,
    /// A session that lives for this long makes its client a resident.
    pub resident_after: Duration,
    /// How long a doubtful end waits for others like it.
    pub patience: Duration,
    /// How long after its last trouble a broker counts as unsteady.
    pub settle: Duration,
}

impl Default for Threshold {
    fn default() -> Threshold {
        Threshold { max_count: 15, window_time: MINUTE, ban_time: 5 * MINUTE, shadow: false }
    }
}

impl Default for Churn {
    fn default() -> Churn {
        Churn {
            threshold: Threshold::default(),
            count_refused: false,
            short_session: Duration::from_secs(10),
            per_client: 10,
            residents_per_count: 10,
        }
    }
}

impl Default for ByNetwork {
    fn default() -> ByNetwork {
        ByNetwork { churn: Churn::default(), ipv4_prefix: Some(24), ipv6_prefixes: [Some(64), Some(48)] }
    }
}

impl Default for ByJa4 {
    fn default() -> ByJa4 {
        let threshold = Threshold { max_count: 100, ban_time: 10 * MINUTE, ..Threshold::default() };
        ByJa4 { churn: Churn { threshold, ..Churn::default() }, max_residents: 0 }
    }
}

impl Default for AuthFailures {
    fn default() -> AuthFailures {
        AuthFailures {
            threshold: Threshold {
                max_count: 10,
                window_time: 10 * MINUTE,
                ban_time: 30 * MINUTE,
                shadow: false,
            },
            residents_per_count: 10,
            siege_count: 10,
            siege_max_count: 2,
        }
    }
}

impl Default for Nuisance {
    fn default() -> Nuisance {
        let threshold = Threshold { max_count: 100, ban_time: 10 * MINUTE, ..Threshold::default() };
        Nuisance { threshold, residents_per_count: 10 }
    }
}

impl Default for ConnectionRate {
    fn default() -> ConnectionRate {
        ConnectionRate {
            threshold: Threshold { max_count: 600, ..Threshold::default() },
            per_client: 120,
            residents_per_count: 10,
        }
    }
}

impl Default for Hammering {
    fn default() -> Hammering {
        Hammering { max_count: 30, window_time: MINUTE, hush_time: 10 * MINUTE, shadow: false }
    }
}

impl Default for Duplicates {
    fn default() -> Duplicates {
        Duplicates {
            action: OnDuplicates::Warn,
            max_count: 3,
            window_time: 10 * MINUTE,
            ban_time: 10 * MINUTE,
            shadow: false,
        }
    }
}

impl Default for Escalation {
    fn default() -> Escalation {
        Escalation { growth: Growth::Off, max_ban_time: 24 * HOUR, jitter_percent: 10, memory: 24 * HOUR }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_tracked: 1 << 21,
            learning: 5 * MINUTE,
            memory: 24 * HOUR,
            resident_after: MINUTE,
            patience: Duration::from_secs(3),
            settle: MINUTE,
        }
    }
}

impl ZonePolicy {
    /// A zone whose detectors are all off.
    pub fn off(zone: &str) -> ZonePolicy {
        ZonePolicy {
            zone: zone.into(),
            by_clientid: None,
            by_username: None,
            by_peerhost: None,
            by_network: None,
            by_ja4: None,
            auth_failures: None,
            malformed: None,
            connect_timeouts: None,
            connection_rate: None,
            hammering: None,
            duplicates: None,
            escalation: Escalation::default(),
        }
    }

    /// Every detector on, with the numbers that docs/DETECTION.md is measured with.
    pub fn recommended(zone: &str) -> ZonePolicy {
        let per_minute =
            |max_count, minutes| Threshold { max_count, ban_time: minutes * MINUTE, ..Threshold::default() };
        let churn = Churn { threshold: per_minute(60, 5), ..Churn::default() };
        let wide = Churn { threshold: per_minute(100, 10), ..Churn::default() };
        ZonePolicy {
            zone: zone.into(),
            by_clientid: Some(ByClientId::default()),
            by_username: Some(churn),
            by_peerhost: Some(churn),
            by_network: Some(ByNetwork { churn: wide, ..ByNetwork::default() }),
            by_ja4: Some(ByJa4::default()),
            auth_failures: Some(AuthFailures::default()),
            malformed: Some(Nuisance::default()),
            connect_timeouts: Some(Nuisance { threshold: per_minute(30, 10), ..Nuisance::default() }),
            connection_rate: Some(ConnectionRate::default()),
            hammering: Some(Hammering::default()),
            duplicates: Some(Duplicates::default()),
            escalation: Escalation { growth: Growth::Factor(2), ..Escalation::default() },
        }
    }

    /// True when nothing is detected.
    pub fn is_off(&self) -> bool {
        self.by_clientid.is_none()
            && self.by_username.is_none()
            && self.by_network.is_none()
            && self.by_ja4.is_none()
            && self.hammering.is_none()
            && self.duplicates.is_none()
            && !self.weighs_sources()
    }

    /// True when anything counts CONNECTs as EMQX does.
    pub fn counts_connects(&self) -> bool {
        let churn = [self.by_username, self.by_peerhost, self.by_network.map(|by| by.churn)];
        self.by_clientid.is_some_and(|by| by.count_refused)
            || churn.into_iter().flatten().any(|churn| churn.count_refused)
    }

    /// True when anything is weighed against the residents of an address.
    pub(super) fn weighs_sources(&self) -> bool {
        self.by_peerhost.is_some()
            || self.auth_failures.is_some()
            || self.malformed.is_some()
            || self.connect_timeouts.is_some()
            || self.connection_rate.is_some()
    }

    /// Every detector in shadow mode: it tells whom it would ban, and bans nobody.
    #[must_use]
    pub fn shadowed(mut self) -> ZonePolicy {
        let thresholds = [
            self.by_clientid.as_mut().map(|policy| &mut policy.threshold),
            self.by_username.as_mut().map(|policy| &mut policy.threshold),
            self.by_peerhost.as_mut().map(|policy| &mut policy.threshold),
            self.by_network.as_mut().map(|policy| &mut policy.churn.threshold),
            self.by_ja4.as_mut().map(|policy| &mut policy.churn.threshold),
            self.auth_failures.as_mut().map(|policy| &mut policy.threshold),
            self.malformed.as_mut().map(|policy| &mut policy.threshold),
            self.connect_timeouts.as_mut().map(|policy| &mut policy.threshold),
            self.connection_rate.as_mut().map(|policy| &mut policy.threshold),
        ];
        thresholds.into_iter().flatten().for_each(|threshold| threshold.shadow = true);
        if let Some(hammering) = &mut self.hammering {
            hammering.shadow = true;
        }
        if let Some(duplicates) = &mut self.duplicates {
            duplicates.shadow = true;
        }
        self
    }
}

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
