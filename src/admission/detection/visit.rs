//! The facts of one connection, as the caller saw them: what detection judges.

use crate::admission::{Client, Who};
use std::time::Duration;

/// One connection that has ended.
#[derive(Debug, Clone)]
pub struct Visit<'a> {
    /// Where it came from, and who it claimed to be. Before a CONNECT was read: the address, and no names.
    pub client: Client<'a>,
    /// The client identifier that the broker assigned, where it did.
    pub assigned_client_id: Option<&'a str>,
    /// A keyed hash of user name and password together, where there was a password: tells a client that repeats one
    /// wrong password from one that guesses. [`Secret::hash`](super::Secret::hash) makes one.
    pub credentials: Option<u64>,
    /// True when an exemption names the client: it is never banned, and nothing it does counts.
    pub is_exempt: bool,
    /// How it ended.
    pub end: End<'a>,
}

/// How a connection ended.
#[derive(Debug, Clone)]
pub enum End<'a> {
    /// There was no CONNECT.
    NoConnect(NoConnect),
    /// The door refused it.
    Refused(Refused),
    /// The broker got its CONNECT.
    Session(Session<'a>),
}

/// Why there was no CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoConnect {
    /// It closed before its first byte, as health checks do.
    Probe,
    /// It closed or broke in the middle.
    ClosedEarly,
    /// It was not complete in time.
    TimedOut,
    /// What came is no acceptable CONNECT.
    Malformed,
    /// It was too large.
    TooLarge,
}

/// Why the door refused a client whose CONNECT it had read, or whose address it knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// A ban names it.
    Banned,
    /// A limit on the rate or the number of connections.
    RateLimited,
    /// No broker could be reached.
    UpstreamUnavailable,
    /// The door is about to close.
    Draining,
}

/// A connection whose CONNECT the broker got.
#[derive(Debug, Clone)]
pub struct Session<'a> {
    /// Which broker: its address as configured.
    pub upstream: &'a str,
    /// What [`Detection::accepted`](super::Detection::accepted) returned when the broker's CONNACK said yes.
    pub stay: Option<super::Stay>,
    /// From when the broker got the CONNECT to the end.
    pub lived: Duration,
    /// Which codes the broker speaks.
    pub codes: Codes,
    /// The code of the broker's CONNACK; `None` when there was none.
    pub connack: Option<u8>,
    /// The reason code of the client's DISCONNECT, where it sent one; 0 in 3.x.
    pub client_disconnect: Option<u8>,
    /// The reason code of the broker's DISCONNECT, where it sent one (5 only).
    pub broker_disconnect: Option<u8>,
    /// What ended it.
    pub cause: Cause,
}

/// Which codes a CONNACK has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codes {
    /// The return codes of MQTT 3.1 and 3.1.1.
    V3,
    /// The reason codes of MQTT 5.
    V5,
}

/// What ended a session first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The client closed, with or without DISCONNECT.
    ClientClosed,
    /// The connection to the client broke.
    ClientFailed,
    /// The broker closed, with or without DISCONNECT.
    BrokerClosed,
    /// The connection to the broker broke.
    BrokerFailed,
    /// Nobody said anything for too long.
    Idle,
    /// The client broke a rule that the door keeps for the broker.
    Violation,
    /// The door ends its sessions, or the session was kicked.
    Stopped,
}

impl Session<'_> {
    /// Which side ended it.
    pub(super) fn side(&self) -> super::weather::Side {
        use super::weather::Side;
        match self.cause {
            _ if self.broker_disconnect.is_some() => Side::Broker,
            _ if self.client_disconnect.is_some() => Side::Client,
            Cause::ClientClosed | Cause::ClientFailed | Cause::Idle | Cause::Violation => Side::Client,
            Cause::BrokerClosed | Cause::BrokerFailed => Side::Broker,
            Cause::Stopped => Side::Neither,
        }
    }

    /// True when the broker's CONNACK said yes.
    pub fn is_accepted(&self) -> bool {
        self.connack == Some(0)
    }

    /// True when the broker's CONNACK blames user name, password or the like.
    pub fn is_auth_failure(&self) -> bool {
        match (self.codes, self.connack) {
            (Codes::V3, Some(code)) => matches!(code, 4 | 5),
            (Codes::V5, Some(code)) => matches!(code, 0x86 | 0x87 | 0x8C),
            (_, None) => false,
        }
    }
}

impl Visit<'_> {
    /// The client identifier by which the broker knows the client.
    pub fn client_id(&self) -> Option<&str> {
        self.client.client_id().or(self.assigned_client_id)
    }

    /// The session, if it came to one.
    pub fn session(&self) -> Option<&Session<'_>> {
        match &self.end {
            End::Session(session) => Some(session),
            End::NoConnect(_) | End::Refused(_) => None,
        }
    }
}

/// A banned client that came all the same.
#[derive(Debug, Clone, Copy)]
pub struct Knock<'a> {
    /// Where it came from, and who it claimed to be.
    pub client: Client<'a>,
    /// Whom the ban names.
    pub who: &'a Who,
}
