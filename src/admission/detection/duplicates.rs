//! Two clients that fight over one client identifier.
//!
//! A broker that gets a second client of the same identifier ends the first one's session \[MQTT-3.1.4-3\]. When both
//! are told to reconnect, they displace each other for ever, and a detector that counts connections sees a flapping
//! client. The sign is a *return*: a client that was displaced by another comes back and displaces that one. Clients
//! are told apart by address and credentials.
//!
//! Only sessions that the broker accepted are looked at, so nobody becomes a duplicate by claiming a name.

use super::moment::Moment;
use super::policy::Duplicates;
use super::table::{Compact, Part};
use compact_str::CompactString;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Who fights over which client identifier.
///
/// Who has just got its session, or lost it to the broker, is kept elsewhere, by client identifier: 15 bits of who it
/// is, and which of the two.
#[derive(Debug, Default)]
pub(super) struct Fights {
    open: Mutex<HashMap<u64, Fight, foldhash::fast::RandomState>>,
    count: AtomicUsize,
    /// When those that are over were last looked for, in seconds: no flood of new fights makes every event do that.
    swept: AtomicU64,
}

#[derive(Debug)]
struct Fight {
    /// Who was displaced, and when. Never longer than [`MAX_DISPLACED`].
    displaced: VecDeque<(Moment, u16)>,
    addresses: Vec<IpAddr>,
    returns: VecDeque<Moment>,
    recognised_until: Option<Moment>,
    quiet_until: Option<Moment>,
}

/// Duplicates that were recognised and not told of for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recognised {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) returns: u32,
}

/// A session that was accepted, or that has ended, as fights see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holder {
    /// The key of the client identifier.
    pub(super) id: u64,
    /// The key of address and credentials.
    pub(super) origin: u64,
    /// None where it has no address.
    pub(super) peer: Option<IpAddr>,
}

const MAX_FIGHTS: usize = 4096;
const MAX_DISPLACED: usize = 16;
const MAX_ADDRESSES: usize = 8;
/// The broker ends the old session this close to the acceptance of the new one.
const HANDOVER: Duration = Duration::from_secs(2);
const ENDED: u16 = 1 << 15;

impl Fights {
    /// The broker accepted this client.
    pub(super) fn begin(
        &self,
        holders: &mut Part<Compact>,
        holder: Holder,
        policy: &Duplicates,
        now: Moment,
    ) -> Option<Recognised> {
        let origin = origin(holder);
        self.see(holder);
        let displaced = holders.with(holder.id, now, |slot, is_known| {
            let before = is_known.then_some(*slot);
            *slot = Compact::new(holder.id, now.after(HANDOVER), origin);
            before.filter(|before| before.until() > now && before.tag() & ENDED != 0)
        })?;
        let displaced = displaced.tag() & !ENDED;
        (displaced != origin).then(|| self.displace(holder, displaced, origin, policy, now)).flatten()
    }

    /// The broker ended the session of this client.
    pub(super) fn end(
        &self,
        holders: &mut Part<Compact>,
        holder: Holder,
        policy: &Duplicates,
        now: Moment,
    ) -> Option<Recognised> {
        let origin = origin(holder);
        self.see(holder);
        let taker = holders.with(holder.id, now, |slot, is_known| {
            let other = (is_known && slot.until() > now).then_some(*slot);
            let other = other.filter(|other| other.tag() & !ENDED != origin);
            if other.is_none() {
                *slot = Compact::new(holder.id, now.after(HANDOVER), origin | ENDED);
            }
            other
        })?;
        self.displace(holder, origin, taker.tag() & !ENDED, policy, now)
    }

    /// True when nobody fights.
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// True while it is known that clients fight over this identifier.
    pub(super) fn is_recognised(&self, id: u64, now: Moment) -> bool {
        self.open().get(&id).and_then(|fight| fight.recognised_until).is_some_and(|until| until > now)
    }

    pub(super) fn tidy(&self, now: Moment) {
        let mut open = self.open();
        open.retain(|_, fight| fight.is_alive(now));
        self.count.store(open.len(), Ordering::Relaxed);
    }

    /// Remembers where it is who uses an identifier that is fought over. Of a displacement only one of the two is seen, and
    /// that may be the same one each time.
    fn see(&self, holder: Holder) {
        if !self.is_empty()
            && let Some(fight) = self.open().get_mut(&holder.id)
        {
            fight.see(holder.peer);
        }
    }

    /// One client displaced another. `holder` is either of the two.
    fn displace(
        &self,
        holder: Holder,
        displaced: u16,
        taker: u16,
        policy: &Duplicates,
        now: Moment,
    ) -> Option<Recognised> {
        let mut open = self.open();
        if open.len() >= MAX_FIGHTS && !open.contains_key(&holder.id) {
            let second = now.as_micros() / 1_000_000;
            if self.swept.swap(second, Ordering::Relaxed) == second {
                return None;
            }
            open.retain(|_, fight| fight.is_alive(now));
            if open.len() >= MAX_FIGHTS {
                return None;
            }
        }
        let fight = open.entry(holder.id).or_insert_with(Fight::new);
        let recognised = fight.displace(holder.peer, displaced, taker, policy, now);
        self.count.store(open.len(), Ordering::Relaxed);
        recognised
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Fight, foldhash::fast::RandomState>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fight {
    fn new() -> Fight {
        Fight {
            displaced: VecDeque::new(),
            addresses: Vec::new(),
            returns: VecDeque::new(),
            recognised_until: None,
            quiet_until: None,
        }
    }

    fn displace(
        &mut self,
        peer: Option<IpAddr>,
        displaced: u16,
        taker: u16,
        policy: &Duplicates,
        now: Moment,
    ) -> Option<Recognised> {
        let limit = usize::try_from(policy.max_count.clamp(1, 64)).unwrap_or(1);
        let is_old = |then: &Moment| now.since(*then) >= policy.window_time;
        self.displaced.retain(|(then, _)| !is_old(then));
        self.returns.retain(|then| !is_old(then));
        if self.displaced.iter().any(|(_, earlier)| *earlier == taker) {
            self.returns.push_back(now);
        }
        if self.returns.len() > limit {
            self.returns.pop_front();
        }
        if self.displaced.len() >= MAX_DISPLACED {
            self.displaced.pop_front();
        }
        self.displaced.push_back((now, displaced));
        self.see(peer);
        if self.returns.len() < limit {
            return None;
        }
        self.recognised_until = Some(now.after(policy.window_time));
        let is_quiet = self.quiet_until.is_some_and(|until| until > now);
        if is_quiet {
            return None;
        }
        self.quiet_until = Some(now.after(policy.ban_time));
        let returns = u32::try_from(self.returns.len()).unwrap_or(u32::MAX);
        Some(Recognised { addresses: self.addresses.clone(), returns })
    }

    fn see(&mut self, peer: Option<IpAddr>) {
        let Some(peer) = peer else { return };
        if self.addresses.len() < MAX_ADDRESSES && !self.addresses.contains(&peer) {
            self.addresses.push(peer);
        }
    }

    fn is_alive(&self, now: Moment) -> bool {
        let recent =
            self.displaced.back().is_some_and(|(then, _)| now.since(*then) < Duration::from_hours(1));
        recent || self.recognised_until.is_some_and(|until| until > now)
    }
}

fn origin(holder: Holder) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "15 bits of a hash")]
    let origin = holder.origin as u16 & !ENDED;
    origin
}

/// "is used by clients at 192.0.2.1 and 198.51.100.7", for a ban's reason.
pub(super) fn reason(addresses: &[IpAddr]) -> CompactString {
    let mut reason = CompactString::from("client identifier is used by several clients, at ");
    for (i, address) in addresses.iter().enumerate() {
        if i > 0 {
            reason.push_str(", ");
        }
        reason.push_str(&address.to_string());
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Duplicates = Duplicates {
        action: super::super::policy::OnDuplicates::Warn,
        max_count: 3,
        window_time: Duration::from_mins(10),
        ban_time: Duration::from_mins(10),
        shadow: false,
    };

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    fn holder(origin: u8) -> Holder {
        Holder { id: 7, origin: origin.into(), peer: Some(IpAddr::from([192, 0, 2, origin])) }
    }

    /// With who has the sessions.
    struct Ring(Fights, Part<Compact>);

    impl Ring {
        fn new() -> Ring {
            Ring(Fights::default(), Part::new(1_000_000))
        }

        fn begin(&mut self, holder: Holder, now: Moment) -> Option<Recognised> {
            self.0.begin(&mut self.1, holder, &POLICY, now)
        }

        fn end(&mut self, holder: Holder, now: Moment) -> Option<Recognised> {
            self.0.end(&mut self.1, holder, &POLICY, now)
        }
    }

    #[test]
    fn two_that_displace_each_other_are_recognised_whichever_event_comes_first() {
        // The last two: it is always the same one that tells of the displacement.
        let orders: [fn(u64) -> bool; 4] = [|_| true, |_| false, |turn| turn % 2 == 0, |turn| turn % 2 == 1];
        for order in orders {
            let mut ring = Ring::new();
            ring.begin(holder(1), at(0));
            let mut told = Vec::new();
            for turn in 1..40_u64 {
                let (new, old) = if turn % 2 == 1 { (2, 1) } else { (1, 2) };
                let now = at(turn * 5000);
                let (end_first, mut end) = (order(turn), None);
                if end_first {
                    end = ring.end(holder(old), now);
                }
                let begin = ring.begin(holder(new), now);
                if !end_first {
                    end = ring.end(holder(old), now);
                }
                told.extend(begin.or(end).map(|recognised| (turn, recognised)));
            }
            assert_eq!(told.len(), 1, "{told:?}");
            assert_eq!((told[0].0, told[0].1.returns, told[0].1.addresses.len()), (4, 3, 2), "{told:?}");
            assert!(ring.0.is_recognised(7, at(200_000)) && !ring.0.is_recognised(7, at(900_000)));
        }
    }

    #[test]
    fn one_client_that_moves_or_displaces_itself_is_no_duplicate() {
        let mut ring = Ring::new();
        for turn in 0..100_u64 {
            // It roams: the broker ends the old session, and no address comes back.
            let id = u8::try_from(turn).expect("small");
            assert_eq!(ring.begin(holder(id), at(turn * 1000)), None);
            assert_eq!(ring.end(holder(id.saturating_sub(1)), at(turn * 1000)), None);
        }
        for turn in 100..200_u64 {
            assert_eq!(ring.begin(holder(1), at(turn * 1000)), None);
            assert_eq!(ring.end(holder(1), at(turn * 1000)), None);
        }
        assert!(!ring.0.is_recognised(7, at(200_000)));
    }

    #[test]
    fn two_that_take_turns_without_displacing_are_no_duplicates() {
        let mut ring = Ring::new();
        for turn in 0..100_u64 {
            let origin = u8::try_from(turn % 2).expect("small");
            ring.begin(holder(origin), at(turn * 10_000));
            assert_eq!(ring.end(holder(origin), at(turn * 10_000 + 5000)), None);
        }
    }

    #[test]
    fn fights_are_bounded() {
        let mut ring = Ring::new();
        for id in 1..10_000_u64 {
            ring.begin(Holder { id, ..holder(1) }, at(0));
            ring.end(Holder { id, ..holder(1) }, at(0));
            ring.begin(Holder { id, ..holder(2) }, at(0));
        }
        assert_eq!(ring.0.open().len(), MAX_FIGHTS);
        ring.0.tidy(at(4_000_000));
        assert_eq!(ring.0.open().len(), 0);
    }
}
