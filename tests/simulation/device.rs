//! Devices: what they send, how long they stay, when they come again.

use super::world::SECOND;
use fastrand::Rng;
use mqtt_bouncer::admission::detection::Stay;
use mqtt_bouncer::admission::{Client, TlsIdentity};
use std::net::IpAddr;
use std::ops::Range;

/// What a device sends.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) peer: IpAddr,
    pub(crate) what: What,
    pub(crate) client_id: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<u64>,
    /// The fingerprint of its TLS stack.
    pub(crate) ja4: &'static str,
}

impl Claim {
    pub(crate) fn client(&self) -> Client<'_> {
        let tls = TlsIdentity { ja4: Some(self.ja4), ..TlsIdentity::default() };
        Client::new(self.peer, &self.client_id, self.username.as_deref()).with_tls(tls)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Connect,
    Malformed,
    /// It connects and says nothing.
    HalfOpen,
    /// It connects and closes.
    Probe,
}

/// How long a device stays when it is let in.
#[derive(Debug, Clone)]
pub(crate) enum Life {
    Forever,
    For(Range<u64>),
}

/// Somebody who connects.
pub(crate) struct Device {
    pub(crate) is_attacker: bool,
    pub(crate) claim: Box<dyn FnMut(&mut Rng) -> Claim>,
    pub(crate) life: Life,
    /// It says DISCONNECT when it goes.
    pub(crate) is_polite: bool,
    pub(crate) pause: Range<u64>,
    pub(crate) broker: usize,
    /// How many attempts in a hundred never reach the door.
    pub(crate) loss: u8,
    pub(crate) claimed: Option<Claim>,
    pub(crate) session: Option<Live>,
    pub(crate) number: u64,
    pub(crate) plan: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) number: u64,
    pub(crate) began: u64,
    pub(crate) stay: Stay,
}

impl Device {
    /// A device that stays when it is let in, and tries again after 1 to 5 seconds when it is not.
    pub(crate) fn new(claim: impl FnMut(&mut Rng) -> Claim + 'static) -> Device {
        Device {
            is_attacker: false,
            claim: Box::new(claim),
            life: Life::Forever,
            is_polite: false,
            pause: SECOND..5 * SECOND,
            broker: 0,
            loss: 0,
            claimed: None,
            session: None,
            number: 0,
            plan: 0,
        }
    }

    /// Somebody who comes and goes: stays for a moment, and comes again after a pause.
    pub(crate) fn attacker(pause: Range<u64>, claim: impl FnMut(&mut Rng) -> Claim + 'static) -> Device {
        Device { is_attacker: true, life: Life::For(50..300), pause, ..Device::new(claim) }
    }
}
