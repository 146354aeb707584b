//! Password guessing, told from a client that has a wrong password.
//!
//! What counts is *different* credentials. A client that repeats one wrong password for ever brings one. Credentials
//! that the broker has accepted before are no guess: the broker changed its mind, or is not well. When it refuses most
//! of the credentials that it used to accept, nothing that it refuses counts.
//!
//! An account that is guessed from many addresses is *under siege*. Its name is not banned, since that is what would
//! lock its owner out; each address that brings a new password for it is, at a much lower count.

use super::Detection;
use super::facts::Facts;
use super::finding::{Detector, Finding};
use super::key::Kind;
use super::known::Hand;
use super::moment::{Moment, micros};
use super::policy::{AuthFailures, Threshold};
use super::sightings::{Due, Sighting};
use super::strike::{Now, Strike, Target};
use std::sync::{Mutex, PoisonError};

impl Detection {
    /// True when a refusal of these credentials says nothing of the client.
    pub(super) fn is_excused_refusal(&self, facts: &Facts<'_>, hand: &mut Hand<'_>, now: Now) -> bool {
        let Some(accepted) = self.accepted_key(facts) else { return false };
        if !hand.clients(accepted).accepted.is_known(accepted, now.moment) {
            return self.trust.is_shaken(now.moment);
        }
        let once_a_minute = Due { count: 1, window: Trust::SPAN };
        let pair = self.secret.key(Kind::Pace, &[facts.keys.zone, accepted]);
        if self.seen.see(pair, once_a_minute, Trust::SPAN, now.moment) == Sighting::New {
            self.trust.refused(now.moment);
        }
        true
    }

    /// The broker refused credentials that it never accepted.
    pub(super) fn count_guess(
        &self,
        facts: &Facts<'_>,
        policy: &AuthFailures,
        hand: &mut Hand<'_>,
        now: Now,
        findings: &mut Vec<Finding>,
    ) {
        let (Some(credentials), Some(peer)) = (facts.keys.credentials, facts.peer) else { return };
        let target = Target::source(peer);
        let source = facts.keys.names.source;
        if self.is_new_password(facts, policy, credentials, now) {
            let threshold = Threshold { max_count: policy.siege_max_count, ..policy.threshold };
            let strike = Strike {
                detector: Detector::AuthFailures,
                target,
                // Apart from the count of all guesses of this source.
                key: self.secret.key(Kind::Siege, &[source]),
                threshold,
                residents_per_count: 0,
            };
            let finding = self.strike(facts, &strike, hand, now);
            if finding.is_some() {
                findings.extend(finding);
                return;
            }
        }
        let pair = self.secret.key(Kind::Seen, &[facts.keys.zone, source, credentials]);
        if now.moment < self.learned || !self.is_new(pair, policy, now) {
            return;
        }
        let strike = Strike {
            detector: Detector::AuthFailures,
            target,
            key: source,
            threshold: policy.threshold,
            residents_per_count: policy.residents_per_count,
        };
        findings.extend(self.strike(facts, &strike, hand, now));
    }

    /// True when an account is under siege, and this password is new for it.
    fn is_new_password(&self, facts: &Facts<'_>, policy: &AuthFailures, credentials: u64, now: Now) -> bool {
        let Some(account) = facts.keys.username().filter(|_| policy.siege_count > 0) else { return false };
        let siege = self.secret.key(Kind::Siege, &[facts.keys.zone, account]);
        let is_besieged = self.marks.is_known(siege, now.moment);
        let pair = self.secret.key(Kind::Seen, &[facts.keys.zone, siege, credentials]);
        if !self.is_new(pair, policy, now) {
            return false;
        }
        let window = policy.threshold.window_time;
        if is_besieged {
            // It lasts for as long as new passwords come.
            self.marks.remember(siege, now.moment.after(window), now.moment);
            return true;
        }
        let count = self.secret.key(Kind::Window, &[siege, policy.siege_count.into(), micros(window)]);
        let none = || 0;
        if self.windows.count(count, policy.siege_count, none, window, now.moment).0 >= policy.siege_count {
            self.marks.remember(siege, now.moment.after(window), now.moment);
        }
        false
    }

    fn is_new(&self, pair: u64, policy: &AuthFailures, now: Now) -> bool {
        let once = Due { count: 1, window: policy.threshold.window_time };
        self.seen.see(pair, once, self.settings.memory, now.moment) == Sighting::New
    }
}

/// Whether the broker still accepts the credentials that it used to accept.
#[derive(Debug, Default)]
pub(super) struct Trust(Mutex<[(u64, Counts); 6]>);

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    accepted: u32,
    refused: u32,
}

impl Trust {
    /// How far it looks back.
    pub(super) const SPAN: std::time::Duration = std::time::Duration::from_mins(1);
    const SLICES: u64 = 6;
    /// Fewer different clients than this say nothing of the broker.
    const MIN_REFUSED: u32 = 5;

    pub(super) fn accepted(&self, now: Moment) {
        self.add(now, Counts { accepted: 1, refused: 0 });
    }

    fn refused(&self, now: Moment) {
        self.add(now, Counts { accepted: 0, refused: 1 });
    }

    /// True when it refuses most of them.
    pub(super) fn is_shaken(&self, now: Moment) -> bool {
        let slice = Trust::slice(now);
        let slices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = slices.iter().filter(|(number, _)| number.abs_diff(slice) < Trust::SLICES);
        let counts = recent.fold(Counts::default(), |sum, (_, counts)| Counts {
            accepted: sum.accepted.saturating_add(counts.accepted),
            refused: sum.refused.saturating_add(counts.refused),
        });
        counts.refused >= Trust::MIN_REFUSED && counts.refused >= counts.accepted
    }

    /// Each slice has its place, which it takes over from the one that was there six slices before.
    fn add(&self, now: Moment, more: Counts) {
        let slice = Trust::slice(now);
        let mut slices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((number, counts)) =
            usize::try_from(slice % Trust::SLICES).ok().and_then(|at| slices.get_mut(at))
        else {
            return;
        };
        if *number != slice {
            (*number, *counts) = (slice, Counts::default());
        }
        counts.accepted = counts.accepted.saturating_add(more.accepted);
        counts.refused = counts.refused.saturating_add(more.refused);
    }

    fn slice(now: Moment) -> u64 {
        now.as_micros() / (micros(Trust::SPAN) / Trust::SLICES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_is_shaken_while_most_of_the_known_credentials_are_refused() {
        let trust = Trust::default();
        let at = |seconds: u64| Moment::from_millis(seconds * 1000);
        (0..10).for_each(|_| trust.accepted(at(0)));
        (0..9).for_each(|_| trust.refused(at(10)));
        assert!(!trust.is_shaken(at(10)));
        trust.refused(at(10));
        assert!(trust.is_shaken(at(10)) && trust.is_shaken(at(69)) && !trust.is_shaken(at(70)));
        (0..4).for_each(|_| trust.refused(at(200)));
        assert!(!trust.is_shaken(at(200)), "a handful says nothing");
    }
}
