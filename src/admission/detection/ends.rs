//! The end of a session: whose fault it was, and to whom it is told. Ends whose blame is in doubt wait here until it is
//! clear whether others share their cause.

use super::blame::{self, Blame};
use super::crowd::Stay;
use super::duplicates::Recognised;
use super::facts::{Doubt, Facts};
use super::finding::{DuplicateClients, Finding};
use super::known::Hand;
use super::moment::{self, Moment};
use super::policy::{OnDuplicates, Threshold};
use super::strike::Now;
use super::visit::{Cause, Session, Visit};
use super::weather::Side;
use super::{Detection, MAX_DOUBTS};
use crate::admission::Who;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

impl Detection {
    pub(super) fn leave(
        &self,
        facts: &Facts<'_>,
        visit: &Visit<'_>,
        session: &Session<'_>,
        hand: &mut Hand<'_>,
        now: Now,
        findings: &mut Vec<Finding>,
    ) {
        let was_resident = session
            .stay
            .as_ref()
            .is_some_and(|stay| stay.is_resident(now.moment, self.settings.resident_after));
        self.ask_ahead(facts, session.stay.as_ref().filter(|_| was_resident), hand);
        let side = session.side();
        let broker =
            session.stay.as_ref().map_or_else(|| self.broker_key(session.upstream), |stay| stay.broker);
        if let Some(stay) = &session.stay {
            self.weather.leave(stay, side, now.moment);
            self.move_out(stay, was_resident, hand, now);
            if was_resident {
                self.remember(facts, stay, hand, now);
            }
        }
        let judgement = blame::judge(&visit.end);
        if judgement.blame == Blame::Broker {
            self.weather.trouble(broker, now.moment);
        }
        if side == Side::Broker && session.is_accepted() {
            let mut recognised = || {
                let (holder, policy) = (self.holder(facts)?, facts.policy.duplicates.as_ref()?);
                self.fights.end(&mut hand.clients(holder.id).holders, holder, policy, now.moment)
            };
            let finding = recognised().and_then(|recognised| self.tell_duplicates(facts, recognised, now));
            findings.extend(finding.filter(|_| !visit.is_exempt));
        }
        if visit.is_exempt {
            return;
        }
        if judgement.blame != Blame::Client {
            self.note_end(facts, judgement.blame);
            return;
        }
        if session.is_auth_failure() {
            self.count_refused_credentials(facts, hand, now, findings);
            return;
        }
        self.count_pace(facts, hand, now, findings);
        let may_be_excused = judgement.is_doubtful
            || (was_resident && side == Side::Client && session.cause != Cause::Violation);
        if may_be_excused {
            self.doubt(Doubt::new(facts, broker, side, was_resident), now);
        } else if session.connack.is_none() && self.weather.explains(broker, Side::Broker, false, now.moment)
        {
            // It did not wait long for an answer, but from this broker nobody gets one.
            self.note_end(facts, Blame::Broker);
        } else {
            self.count_flapping(facts, hand, now, findings);
        }
    }

    /// A resident has left.
    fn remember(&self, facts: &Facts<'_>, stay: &Stay, hand: &mut Hand<'_>, now: Now) {
        let Some(key) = self.resident_key(facts) else { return };
        let until = now.moment.after(self.settings.memory);
        hand.clients(key).marks.remember(key, until, now.moment);
        if now.moment.since(stay.began) >= self.settings.resident_after {
            self.claim(facts, until, hand, now);
        }
        self.remember_stack(facts, until, hand, now);
    }

    fn count_refused_credentials(
        &self,
        facts: &Facts<'_>,
        hand: &mut Hand<'_>,
        now: Now,
        findings: &mut Vec<Finding>,
    ) {
        if self.is_excused_refusal(facts, hand, now) {
            self.note_end(facts, Blame::Unknown);
            return;
        }
        let found = findings.len();
        if let Some(policy) = &facts.policy.auth_failures {
            self.count_guess(facts, policy, hand, now, findings);
        }
        // Whoever is banned for guessing need not be banned for flapping as well.
        if findings.len() == found {
            self.count_pace(facts, hand, now, findings);
            self.count_flapping(facts, hand, now, findings);
        }
    }

    fn doubt(&self, doubt: Doubt, now: Now) {
        let mut doubts = self.doubts();
        if doubts.len() < MAX_DOUBTS {
            doubts.push_back((now.moment.after(self.settings.patience), doubt));
            self.note_first(&doubts);
        }
    }

    /// Counts the ends that no common cause has explained by now.
    pub(super) fn clear_doubts(&self, now: Now) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.first_doubt.load(Ordering::Relaxed) > now.moment.as_micros() {
            return findings;
        }
        let mut hand = self.known.hand();
        while self.first_doubt.load(Ordering::Relaxed) <= now.moment.as_micros() {
            let mut doubts = self.doubts();
            let cleared = doubts.pop_front_if(|(clears, _)| *clears <= now.moment);
            self.note_first(&doubts);
            drop(doubts);
            let Some((clears, doubt)) = cleared else { break };
            let ended = Moment::from_micros(
                clears.as_micros().saturating_sub(moment::micros(self.settings.patience)),
            );
            let facts = doubt.facts();
            if self.weather.explains(doubt.broker, doubt.side, doubt.was_resident, ended) {
                let blame = if doubt.side == Side::Broker { Blame::Broker } else { Blame::Unknown };
                self.note_end(&facts, blame);
            } else {
                self.count_flapping(&facts, &mut hand, Now { moment: clears, ..now }, &mut findings);
            }
        }
        findings
    }

    /// Says when the first doubt clears to those who do not hold the lock.
    fn note_first(&self, doubts: &VecDeque<(Moment, Doubt)>) {
        let first = doubts.front().map_or(u64::MAX, |(clears, _)| clears.as_micros());
        self.first_doubt.store(first, Ordering::Relaxed);
    }

    fn doubts(&self) -> MutexGuard<'_, VecDeque<(Moment, Doubt)>> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client was accepted: does it fight with another one over its client identifier?
    pub(super) fn look_for_duplicates(
        &self,
        facts: &Facts<'_>,
        hand: &mut Hand<'_>,
        now: Now,
    ) -> Option<Finding> {
        let (holder, policy) = (self.holder(facts)?, facts.policy.duplicates.as_ref()?);
        let holders = &mut hand.clients(holder.id).holders;
        let recognised = self.fights.begin(holders, holder, policy, now.moment)?;
        self.tell_duplicates(facts, recognised, now)
    }

    fn tell_duplicates(&self, facts: &Facts<'_>, recognised: Recognised, now: Now) -> Option<Finding> {
        let (policy, client_id) = (facts.policy.duplicates?, facts.client_id?);
        let Recognised { addresses, returns } = recognised;
        let threshold = Threshold {
            max_count: policy.max_count,
            window_time: policy.window_time,
            ban_time: policy.ban_time,
            shadow: policy.shadow,
        };
        match policy.action {
            OnDuplicates::Ban => self.ban_duplicates(facts, client_id, &threshold, addresses, now),
            OnDuplicates::Warn => Some(Finding::Duplicates(Box::new(DuplicateClients {
                who: Who::ClientId(client_id.into()),
                zone: Arc::clone(&facts.policy.zone),
                addresses,
                returns,
            }))),
        }
    }
}
