//! What detection would have found with other limits: asked after the fact, of what it was told of late.

use super::Bouncer;
use super::replay::{Replayed, replay};
use crate::admission::Timestamp;
use crate::admission::detection::{Detected, Detector, Moment, OnDuplicates, Threshold, ZonePolicy};
use std::collections::BTreeMap;
use std::time::Duration;

/// Limits that somebody has in mind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wish {
    /// Only for this zone; the others keep theirs.
    pub zone: Option<String>,
    /// What each of these detectors is to have; `None` switches it off. The others keep what they have.
    pub detectors: BTreeMap<Detector, Option<Limits>>,
}

/// The limits of one detector; what is left out stays as it is, or as it is recommended where the detector is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// How many events make a ban.
    pub max_count: Option<u32>,
    /// Within how much time.
    pub window_time: Option<Duration>,
}

/// Whom detection would have banned.
#[derive(Debug)]
pub struct WhatIf {
    /// From when on it is known; an hour ago at the earliest.
    pub since: Timestamp,
    /// All of the last hour is known.
    pub is_complete: bool,
    /// How much was looked at: connections that were accepted or ended, and brokers that were not reached.
    pub facts: usize,
    /// Each name of each detector once, when it would have been banned first.
    pub found: Vec<(Box<Detected>, Timestamp)>,
}

/// Why it is not known what would have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// Nothing is remembered.
    #[error("nothing is remembered that could be looked at: [detection] replay_memory is 0")]
    Off,
    /// It is being found out for somebody else.
    #[error("another such question is being answered; try again")]
    Busy,
    /// It takes too long.
    #[error(
        "it takes longer than 10 s to go through what is remembered; make [detection] replay_memory smaller"
    )]
    TooSlow,
}

impl Bouncer {
    /// Whom detection would have banned within the last hour with these limits. It sees what really happened: whoever
    /// was banned meanwhile could do nothing more. Takes up to seconds; for threads that may block.
    ///
    /// # Errors
    /// It is not known.
    pub fn what_if(&self, wish: &Wish) -> Result<WhatIf, Unknown> {
        let recorder = self.shared.recorder.as_ref().ok_or(Unknown::Off)?;
        let _alone = self.shared.replaying.try_lock().map_err(|_| Unknown::Busy)?;
        let (at, now) = self.times();
        let hour_ago = Moment::from_micros(now.as_micros().saturating_sub(HOUR_MICROS));
        let (blocks, known) = recorder.all();
        let since = known.max(hour_ago);
        let began = self.clock.nanos();
        let is_enough = || Duration::from_nanos(self.clock.nanos().saturating_sub(began)) > PATIENCE;
        let apply = |policy: &ZonePolicy| wish.apply(policy);
        let replayed = replay(&blocks, self.shared.settings, super::secret(), since, apply, is_enough);
        let Replayed { found, facts } = replayed.ok_or(Unknown::TooSlow)?;
        let is_complete = now.as_micros() >= HOUR_MICROS && known <= hour_ago;
        Ok(WhatIf { since: at.before(now.since(since)), is_complete, facts, found })
    }
}

impl Wish {
    pub(super) fn apply(&self, policy: &ZonePolicy) -> ZonePolicy {
        let mut wished = policy.clone();
        if self.zone.as_ref().is_none_or(|zone| **zone == *policy.zone) {
            for (detector, limits) in &self.detectors {
                match limits {
                    Some(limits) => limits.put(*detector, &mut wished),
                    None => switch_off(*detector, &mut wished),
                }
            }
        }
        wished
    }
}

impl Limits {
    fn put(self, detector: Detector, policy: &mut ZonePolicy) {
        let best = ZonePolicy::recommended(&policy.zone);
        let threshold = match detector {
            Detector::ByClientId => wished(&mut policy.by_clientid, best.by_clientid, |by| &mut by.threshold),
            Detector::ByUsername => wished(&mut policy.by_username, best.by_username, |by| &mut by.threshold),
            Detector::ByPeerHost => wished(&mut policy.by_peerhost, best.by_peerhost, |by| &mut by.threshold),
            Detector::ByNetwork => {
                wished(&mut policy.by_network, best.by_network, |by| &mut by.churn.threshold)
            }
            Detector::ByJa4 => wished(&mut policy.by_ja4, best.by_ja4, |by| &mut by.churn.threshold),
            Detector::AuthFailures => {
                wished(&mut policy.auth_failures, best.auth_failures, |by| &mut by.threshold)
            }
            Detector::Malformed => wished(&mut policy.malformed, best.malformed, |by| &mut by.threshold),
            Detector::ConnectTimeouts => {
                wished(&mut policy.connect_timeouts, best.connect_timeouts, |by| &mut by.threshold)
            }
            Detector::ConnectionRate => {
                wished(&mut policy.connection_rate, best.connection_rate, |by| &mut by.threshold)
            }
            Detector::Duplicates => {
                let duplicates = policy.duplicates.get_or_insert_with(|| best.duplicates.unwrap_or_default());
                duplicates.action = OnDuplicates::Ban;
                duplicates.max_count = self.max_count.unwrap_or(duplicates.max_count);
                duplicates.window_time = self.window_time.unwrap_or(duplicates.window_time);
                None
            }
            // It bans nobody.
            Detector::Hammering => None,
        };
        if let Some(threshold) = threshold {
            threshold.max_count = self.max_count.unwrap_or(threshold.max_count);
            threshold.window_time = self.window_time.unwrap_or(threshold.window_time);
        }
    }
}

/// The threshold of a detector, which is switched on as it is recommended if it is off.
fn wished<'p, T>(
    place: &'p mut Option<T>,
    recommended: Option<T>,
    threshold: impl FnOnce(&'p mut T) -> &'p mut Threshold,
) -> Option<&'p mut Threshold> {
    if place.is_none() {
        *place = recommended;
    }
    place.as_mut().map(threshold)
}

fn switch_off(detector: Detector, policy: &mut ZonePolicy) {
    match detector {
        Detector::ByClientId => policy.by_clientid = None,
        Detector::ByUsername => policy.by_username = None,
        Detector::ByPeerHost => policy.by_peerhost = None,
        Detector::ByNetwork => policy.by_network = None,
        Detector::ByJa4 => policy.by_ja4 = None,
        Detector::AuthFailures => policy.auth_failures = None,
        Detector::Malformed => policy.malformed = None,
        Detector::ConnectTimeouts => policy.connect_timeouts = None,
        Detector::ConnectionRate => policy.connection_rate = None,
        Detector::Hammering => policy.hammering = None,
        Detector::Duplicates => policy.duplicates = None,
    }
}

const HOUR_MICROS: u64 = 3_600_000_000;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(10);
