//! What detection was told, as bytes.

use super::recorder::{Block, LONGEST};
use crate::admission::detection::{
    Arrival, Cause, Codes, End, Moment, NoConnect, Session, Visit, ZonePolicy,
};
use crate::admission::{Client, Timestamp, TlsIdentity};
use std::borrow::Cow;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What detection is told.
#[derive(Debug)]
pub(super) enum Fact<'a> {
    Arrived(Client<'a>, bool),
    Accepted(&'a Arrival<'a>),
    Ended(&'a Visit<'a>),
    Unreachable(&'a str),
}

impl Fact<'_> {
    /// The broker that it is about.
    pub(super) fn server(&self) -> Option<&str> {
        match self {
            Fact::Arrived(..) => None,
            Fact::Accepted(arrival) => Some(arrival.upstream),
            Fact::Ended(visit) => visit.session().map(|session| session.upstream),
            Fact::Unreachable(server) => Some(server),
        }
    }

    /// Appends it: at most [`LONGEST`] bytes.
    pub(super) fn write(&self, since: u64, policy: u8, server: u8, to: &mut Vec<u8>) {
        let mut to = Writer(to);
        match self {
            Fact::Arrived(client, is_exempt) => {
                to.head(ARRIVED, since, [policy, server, u8::from(*is_exempt)]);
                to.client(client, None, None);
            }
            Fact::Accepted(arrival) => {
                to.head(ACCEPTED, since, [policy, server, u8::from(arrival.is_exempt)]);
                to.client(&arrival.client, arrival.assigned_client_id, arrival.credentials);
            }
            Fact::Ended(visit) => {
                let (kind, session) = match &visit.end {
                    End::NoConnect(no_connect) => (NO_CONNECT + place(&NO_CONNECTS, no_connect), None),
                    // Nothing follows from it.
                    End::Refused(_) => return,
                    End::Session(session) => (ENDED, Some(session)),
                };
                to.head(kind, since, [policy, server, u8::from(visit.is_exempt)]);
                to.client(&visit.client, visit.assigned_client_id, visit.credentials);
                if let Some(session) = session {
                    to.session(session);
                }
            }
            Fact::Unreachable(_) => to.head(UNREACHABLE, since, [policy, server, 0]),
        }
    }
}

const ARRIVED: u8 = 0;
const ACCEPTED: u8 = 1;
const ENDED: u8 = 2;
const UNREACHABLE: u8 = 3;
const NO_CONNECT: u8 = 4;

pub(super) const NO_CONNECTS: [NoConnect; 5] = [
    NoConnect::Probe,
    NoConnect::ClosedEarly,
    NoConnect::TimedOut,
    NoConnect::Malformed,
    NoConnect::TooLarge,
];
pub(super) const CAUSES: [Cause; 7] = [
    Cause::ClientClosed,
    Cause::ClientFailed,
    Cause::BrokerClosed,
    Cause::BrokerFailed,
    Cause::Idle,
    Cause::Violation,
    Cause::Stopped,
];

fn place<T: PartialEq>(all: &[T], one: &T) -> u8 {
    all.iter().position(|there| there == one).and_then(|place| u8::try_from(place).ok()).unwrap_or(0)
}

struct Writer<'v>(&'v mut Vec<u8>);

impl Writer<'_> {
    fn head(&mut self, kind: u8, since: u64, rest: [u8; 3]) {
        self.0.push(kind);
        self.number(since);
        self.0.extend_from_slice(&rest);
    }

    /// Seven bits at a time, the least first.
    fn number(&mut self, mut number: u64) {
        while let Some(rest) = Some(number >> 7).filter(|rest| *rest > 0) {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number = rest;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    fn client(&mut self, client: &Client<'_>, assigned: Option<&str>, credentials: Option<u64>) {
        let ja4 = client.tls().ja4;
        let texts = [client.client_id(), client.username(), assigned, ja4];
        let mut flags = 0;
        for (bit, text) in texts.iter().enumerate() {
            flags |= u8::from(text.is_some()) << bit;
        }
        flags |= u8::from(credentials.is_some()) << 4;
        flags |= match client.peer() {
            None => 0,
            Some(IpAddr::V4(_)) => 1 << 5,
            Some(IpAddr::V6(_)) => 2 << 5,
        };
        self.0.push(flags);
        match client.peer() {
            None => {}
            Some(IpAddr::V4(addr)) => self.0.extend_from_slice(&addr.octets()),
            Some(IpAddr::V6(addr)) => self.0.extend_from_slice(&addr.octets()),
        }
        if let Some(credentials) = credentials {
            self.0.extend_from_slice(&credentials.to_le_bytes());
        }
        for text in texts.into_iter().flatten() {
            self.text(text);
        }
    }

    /// One that is very long is cut, and told from others by a number.
    fn text(&mut self, text: &str) {
        let kept = shortened(text);
        self.number(u64::try_from(kept.len()).unwrap_or(0));
        self.0.extend_from_slice(kept.as_bytes());
    }

    fn session(&mut self, session: &Session<'_>) {
        let codes = [session.connack, session.client_disconnect, session.broker_disconnect];
        let mut flags = u8::from(session.codes == Codes::V5) | place(&CAUSES, &session.cause) << 5;
        for (bit, code) in (1..).zip(&codes) {
            flags |= u8::from(code.is_some()) << bit;
        }
        self.0.push(flags);
        self.0.extend(codes.into_iter().flatten());
        self.number(u64::try_from(session.lived.as_micros()).unwrap_or(u64::MAX));
    }
}

fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_TEXT {
        return Cow::Borrowed(text);
    }
    let number = BuildHasherDefault::<DefaultHasher>::default().hash_one(text);
    Cow::Owned(format!(
        "{}…{number:016x}",
        text.get(..text.floor_char_boundary(MAX_TEXT - 24)).unwrap_or_default()
    ))
}

/// Longer names are cut, in bytes. Four of them and all the rest fit into [`LONGEST`].
pub(super) const MAX_TEXT: usize = 400;
const _: () = assert!(4 * (MAX_TEXT + 2) + 100 < LONGEST);

/// What was written, read again.
#[derive(Debug)]
pub(super) struct Told<'b> {
    pub(super) policy: Option<&'b Arc<ZonePolicy>>,
    pub(super) server: &'b str,
    pub(super) is_exempt: bool,
    pub(super) now: Moment,
    pub(super) at: Timestamp,
    pub(super) what: What<'b>,
}

#[derive(Debug)]
pub(super) enum What<'b> {
    Arrived(Client<'b>),
    Accepted(Named<'b>),
    NoConnect(Named<'b>, NoConnect),
    Ended(Named<'b>, Ended),
    Unreachable,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'b> {
    pub(super) client: Client<'b>,
    pub(super) assigned: Option<&'b str>,
    pub(super) credentials: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) codes: Codes,
    pub(super) connack: Option<u8>,
    pub(super) client_disconnect: Option<u8>,
    pub(super) broker_disconnect: Option<u8>,
    pub(super) cause: Cause,
    pub(super) was_accepted: bool,
    pub(super) lived: Duration,
}

/// Reads what a [`Writer`] has written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'b> {
    pub(super) block: &'b Block,
    pub(super) at: usize,
}

impl<'b> Facts<'b> {
    fn bytes(&mut self, count: usize) -> Option<&'b [u8]> {
        let bytes = self.block.facts.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.bytes(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'b str> {
        let length = usize::try_from(self.number()?).ok()?;
        str::from_utf8(self.bytes(length)?).ok()
    }

    fn octets<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn named(&mut self) -> Option<Named<'b>> {
        let flags = self.byte()?;
        let peer: Option<IpAddr> = match flags >> 5 {
            0 => None,
            1 => Some(self.octets::<4>()?.into()),
            _ => Some(self.octets::<16>()?.into()),
        };
        let has = |bit: u8| flags >> bit & 1 == 1;
        let credentials = if has(4) { Some(u64::from_le_bytes(self.octets()?)) } else { None };
        let mut texts = [None; 4];
        for (bit, text) in (0..).zip(&mut texts) {
            if has(bit) {
                *text = Some(self.text()?);
            }
        }
        let [client_id, username, assigned, ja4] = texts;
        let tls = TlsIdentity { ja4, ..TlsIdentity::default() };
        let client = Client::new(peer, client_id.unwrap_or_default(), username).with_tls(tls);
        Some(Named { client, assigned, credentials })
    }

    fn ended(&mut self) -> Option<Ended> {
        let flags = self.byte()?;
        let has = |bit: u8| flags >> bit & 1 == 1;
        let mut codes = [None; 3];
        for (bit, code) in (1..).zip(&mut codes) {
            if has(bit) {
                *code = Some(self.byte()?);
            }
        }
        let [connack, client_disconnect, broker_disconnect] = codes;
        Some(Ended {
            was_accepted: connack == Some(0),
            codes: if has(0) { Codes::V5 } else { Codes::V3 },
            connack,
            client_disconnect,
            broker_disconnect,
            cause: *CAUSES.get(usize::from(flags >> 5))?,
            lived: Duration::from_micros(self.number()?),
        })
    }

    /// The next fact.
    pub(super) fn next(&mut self) -> Option<Told<'b>> {
        let kind = self.byte()?;
        let since = Duration::from_micros(self.number()?);
        let [policy, server, is_exempt] = self.octets()?;
        let what = match kind {
            ARRIVED => What::Arrived(self.named()?.client),
            ACCEPTED => What::Accepted(self.named()?),
            ENDED => What::Ended(self.named()?, self.ended()?),
            UNREACHABLE => What::Unreachable,
            kind => {
                let no_connect = *NO_CONNECTS.get(usize::from(kind - NO_CONNECT))?;
                What::NoConnect(self.named()?, no_connect)
            }
        };
        let (moment, millis) = self.block.began;
        Some(Told {
            policy: self.block.policies.get(usize::from(policy)),
            server: self.block.servers.get(usize::from(server)).map_or("", |server| server),
            is_exempt: is_exempt == 1,
            now: moment.after(since),
            at: Timestamp::from_millis(millis).after(since),
            what,
        })
    }
}
