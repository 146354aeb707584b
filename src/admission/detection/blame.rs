//! Whose fault was it that a connection ended? Only what is the client's fault counts against anybody.
//!
//! [`judge`] looks at one connection alone. Where its facts fit a bad client as well as a bad broker (a 3.x broker
//! closes without a word when it crashes, and when the client breaks a rule), the judgement is *doubtful*: it waits a
//! moment, and `weather` says whether others ended the same way.
#![expect(clippy::match_same_arms, reason = "a table is read row by row")]

use super::visit::{Cause, Codes, End, NoConnect, Refused, Session};
use std::fmt;
use std::time::Duration;

/// Whose fault it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Blame {
    /// The client's: the only blame that counts.
    Client,
    /// The broker's, or the network's on the way to it.
    Broker,
    /// The operator's: a ban, a limit, a kick, a restart.
    Operator,
    /// Nobody can tell.
    Unknown,
}

impl Blame {
    /// Its name in evidence, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Blame::Client => "client",
            Blame::Broker => "broker",
            Blame::Operator => "operator",
            Blame::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A blame, and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// Whose fault it seems to be.
    pub blame: Blame,
    /// True when it would be the broker's fault if others ended the same way at the same time.
    pub is_doubtful: bool,
}

const CLIENT: Judgement = Judgement { blame: Blame::Client, is_doubtful: false };
const BROKER: Judgement = Judgement { blame: Blame::Broker, is_doubtful: false };
const OPERATOR: Judgement = Judgement { blame: Blame::Operator, is_doubtful: false };
const UNKNOWN: Judgement = Judgement { blame: Blame::Unknown, is_doubtful: false };
const DOUBTFUL: Judgement = Judgement { blame: Blame::Client, is_doubtful: true };

/// A client that waited longer than this for its CONNACK may go without blame.
pub const CONNACK_PATIENCE: Duration = Duration::from_secs(2);

/// Judges one connection by itself. Total: every end has a blame.
pub fn judge(end: &End<'_>) -> Judgement {
    match end {
        End::NoConnect(NoConnect::Probe) => UNKNOWN,
        End::NoConnect(_) => CLIENT,
        End::Refused(Refused::UpstreamUnavailable) => BROKER,
        End::Refused(Refused::Banned | Refused::RateLimited | Refused::Draining) => OPERATOR,
        End::Session(Session { cause: Cause::Stopped, .. }) => OPERATOR,
        End::Session(Session { cause: Cause::Violation, .. }) => CLIENT,
        End::Session(session) => match session.connack {
            None => unanswered(session),
            Some(0) => accepted(session),
            Some(code) => refused(session.codes, code),
        },
    }
}

/// The broker never answered the CONNECT.
fn unanswered(session: &Session<'_>) -> Judgement {
    match session.cause {
        // A broker that hangs makes its clients give up.
        Cause::ClientClosed | Cause::ClientFailed if session.lived >= CONNACK_PATIENCE => BROKER,
        Cause::ClientClosed | Cause::ClientFailed | Cause::Violation => CLIENT,
        Cause::BrokerFailed | Cause::Idle => BROKER,
        // 3.x brokers close so when they do not like the CONNECT [MQTT-3.1.4-1], and when they crash.
        Cause::BrokerClosed => DOUBTFUL,
        Cause::Stopped => OPERATOR,
    }
}

/// The broker refused the CONNECT.
fn refused(codes: Codes, code: u8) -> Judgement {
    match (codes, code) {
        (Codes::V3, 1 | 2 | 4 | 5) => CLIENT,
        (Codes::V3, 3) => BROKER,
        // Malformed, protocol error, version, identifier, password, authorisation, method, topic, size, format,
        // retain, QoS.
        (Codes::V5, 0x81 | 0x82 | 0x84..=0x87 | 0x8C | 0x90 | 0x95 | 0x99..=0x9B) => CLIENT,
        // Unavailable, busy, a quota (of the broker's licence, for one), another server, its rate limit.
        (Codes::V5, 0x88 | 0x89 | 0x97 | 0x9C | 0x9D | 0x9F) => BROKER,
        (Codes::V5, 0x8A) => OPERATOR,
        // Unspecified, implementation specific, and what no standard knows.
        (Codes::V3 | Codes::V5, _) => UNKNOWN,
    }
}

/// The broker accepted the client; how did the session end?
fn accepted(session: &Session<'_>) -> Judgement {
    if let Some(reason) = session.broker_disconnect {
        return disconnected(reason);
    }
    match session.cause {
        // With DISCONNECT or without: it came and went by its own will, or by its own network.
        Cause::ClientClosed | Cause::ClientFailed | Cause::Idle | Cause::Violation => CLIENT,
        // A polite client that was answered by a close.
        Cause::BrokerClosed | Cause::BrokerFailed if session.client_disconnect.is_some() => CLIENT,
        Cause::BrokerClosed | Cause::BrokerFailed => DOUBTFUL,
        Cause::Stopped => OPERATOR,
    }
}

/// The broker said why it ends the session. \[MQTT 5, section 3.14.2.1\]
fn disconnected(reason: u8) -> Judgement {
    match reason {
        // Malformed, protocol error, not authorised, keep alive timeout, taken over, topics, limits that the client
        // knew, packets too many or too large, a quota, what the broker had said that it does not support.
        0x81 | 0x82 | 0x87 | 0x8D..=0x90 | 0x93..=0x97 | 0x99..=0x9B | 0x9E | 0xA1 | 0xA2 => CLIENT,
        // Busy, shutting down, another server, its rate limit.
        0x89 | 0x8B | 0x9C | 0x9D | 0x9F => BROKER,
        // Administrative action, maximum connect time.
        0x98 | 0xA0 => OPERATOR,
        // Normal, unspecified, implementation specific: as good as none.
        0x00 | 0x80 | 0x83 => DOUBTFUL,
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(codes: Codes, connack: Option<u8>, cause: Cause) -> Session<'static> {
        Session {
            upstream: "broker",
            stay: None,
            lived: Duration::from_millis(500),
            codes,
            connack,
            client_disconnect: None,
            broker_disconnect: None,
            cause,
        }
    }

    fn verdict(session: Session<'static>) -> Judgement {
        judge(&End::Session(session))
    }

    const CAUSES: [Cause; 7] = [
        Cause::ClientClosed,
        Cause::ClientFailed,
        Cause::BrokerClosed,
        Cause::BrokerFailed,
        Cause::Idle,
        Cause::Violation,
        Cause::Stopped,
    ];

    #[test]
    fn connections_without_a_session() {
        for (end, expected) in [
            (End::NoConnect(NoConnect::Probe), UNKNOWN),
            (End::NoConnect(NoConnect::ClosedEarly), CLIENT),
            (End::NoConnect(NoConnect::TimedOut), CLIENT),
            (End::NoConnect(NoConnect::Malformed), CLIENT),
            (End::NoConnect(NoConnect::TooLarge), CLIENT),
            (End::Refused(Refused::Banned), OPERATOR),
            (End::Refused(Refused::RateLimited), OPERATOR),
            (End::Refused(Refused::UpstreamUnavailable), BROKER),
            (End::Refused(Refused::Draining), OPERATOR),
        ] {
            assert_eq!(judge(&end), expected, "{end:?}");
        }
    }

    #[test]
    fn sessions_without_an_answer() {
        let expected = [CLIENT, CLIENT, DOUBTFUL, BROKER, BROKER, CLIENT, OPERATOR];
        for (cause, expected) in CAUSES.into_iter().zip(expected) {
            assert_eq!(verdict(session(Codes::V5, None, cause)), expected, "{cause:?}");
        }
        for cause in [Cause::ClientClosed, Cause::ClientFailed] {
            let late = Session { lived: CONNACK_PATIENCE, ..session(Codes::V3, None, cause) };
            assert_eq!(verdict(late), BROKER, "{cause:?}");
        }
    }

    #[test]
    fn sessions_that_the_broker_accepted() {
        let expected = [CLIENT, CLIENT, DOUBTFUL, DOUBTFUL, CLIENT, CLIENT, OPERATOR];
        for codes in [Codes::V3, Codes::V5] {
            for (cause, expected) in CAUSES.into_iter().zip(expected) {
                assert_eq!(verdict(session(codes, Some(0), cause)), expected, "{cause:?}");
            }
        }
        for cause in [Cause::BrokerClosed, Cause::BrokerFailed] {
            let polite = Session { client_disconnect: Some(0), ..session(Codes::V3, Some(0), cause) };
            assert_eq!(verdict(polite), CLIENT, "{cause:?}");
        }
    }

    #[test]
    fn refusals_by_code() {
        let blamed = |codes, blame| -> Vec<u8> {
            (1..=255).filter(|code| refused(codes, *code).blame == blame).collect()
        };
        assert_eq!(blamed(Codes::V3, Blame::Client), [1, 2, 4, 5]);
        assert_eq!(blamed(Codes::V3, Blame::Broker), [3]);
        assert_eq!(blamed(Codes::V3, Blame::Operator), [0_u8; 0]);
        let client = [0x81, 0x82, 0x84, 0x85, 0x86, 0x87, 0x8C, 0x90, 0x95, 0x99, 0x9A, 0x9B];
        assert_eq!(blamed(Codes::V5, Blame::Client), client);
        assert_eq!(blamed(Codes::V5, Blame::Broker), [0x88, 0x89, 0x97, 0x9C, 0x9D, 0x9F]);
        assert_eq!(blamed(Codes::V5, Blame::Operator), [0x8A]);
    }

    #[test]
    fn disconnects_by_reason() {
        let blamed = |blame| -> Vec<u8> {
            (0..=255)
                .filter(|reason| disconnected(*reason).blame == blame && !disconnected(*reason).is_doubtful)
                .collect()
        };
        let client = [
            0x81, 0x82, 0x87, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x99, 0x9A, 0x9B, 0x9E,
            0xA1, 0xA2,
        ];
        assert_eq!(blamed(Blame::Client), client);
        assert_eq!(blamed(Blame::Broker), [0x89, 0x8B, 0x9C, 0x9D, 0x9F]);
        assert_eq!(blamed(Blame::Operator), [0x98, 0xA0]);
        assert!([0x00, 0x80, 0x83].into_iter().all(|reason| disconnected(reason) == DOUBTFUL));
    }

    /// Whatever else is known: what we ended ourselves is nobody else's fault.
    #[test]
    fn our_own_end_is_the_operators_whatever_else_was_said() {
        for connack in [None, Some(0), Some(5), Some(0x87)] {
            let stopped =
                Session { broker_disconnect: Some(0x81), ..session(Codes::V5, connack, Cause::Stopped) };
            assert_eq!(verdict(stopped), OPERATOR);
        }
    }
}
