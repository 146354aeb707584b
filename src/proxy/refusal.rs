//! From a reason to refuse to the bytes that say so.

use super::limits::Excess;
use crate::admission::Ban;
use crate::metrics::Outcome;
use crate::wire::mqtt::Version;
use crate::wire::mqtt::connack::{ReasonCode, Refuse, ReturnCode};
use crate::wire::mqtt::connect::{ConnectError, Violation};

/// Why a client that sent a CONNECT, or something like one, is not let in.
#[derive(Debug)]
pub(super) enum Refusal {
    /// This ban holds.
    Banned(Ban),
    /// It is over a limit on how many may come.
    RateLimited(Excess),
    /// No broker can be reached.
    UpstreamUnavailable,
    /// The door is about to close for good.
    Draining,
    /// It speaks an MQTT version that does not exist.
    UnsupportedVersion,
    /// It speaks no MQTT.
    NotMqtt,
    /// Its CONNECT breaks the format.
    Malformed,
    /// Its CONNECT is well-formed and says what it may not.
    ProtocolError,
    /// Its CONNECT is larger than the door allows.
    TooLarge,
}

/// How refusals are worded, where there is a choice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answers {
    /// The return code that tells a 3.1 or 3.1.1 client that it is banned.
    pub v3_banned: ReturnCode,
    /// Tell a banned MQTT 5 client the reason that the ban gives.
    pub tell_reason: bool,
}

impl From<ConnectError> for Refusal {
    fn from(error: ConnectError) -> Refusal {
        match error.violation {
            Violation::NotConnect { .. } | Violation::FixedHeaderFlags { .. } | Violation::ProtocolName => {
                Refusal::NotMqtt
            }
            Violation::ProtocolLevel { .. } => Refusal::UnsupportedVersion,
            Violation::TooLarge { .. } => Refusal::TooLarge,
            violation if violation.is_protocol_error() => Refusal::ProtocolError,
            _ => Refusal::Malformed,
        }
    }
}

impl Refusal {
    /// What this refusal counts as.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Refusal::Banned(_) => Outcome::Banned,
            Refusal::RateLimited(_) => Outcome::RateLimited,
            Refusal::UpstreamUnavailable => Outcome::UpstreamUnavailable,
            Refusal::Draining => Outcome::Draining,
            Refusal::UnsupportedVersion => Outcome::UnsupportedVersion,
            Refusal::NotMqtt => Outcome::NotMqtt,
            Refusal::Malformed => Outcome::Malformed,
            Refusal::ProtocolError => Outcome::ProtocolError,
            Refusal::TooLarge => Outcome::TooLarge,
        }
    }

    /// The CONNACK that tells a client of this version; `None` where the specification has the server close without
    /// a word. `max_packet_size` is the client's limit.
    pub(super) fn connack(
        &self,
        version: Version,
        answers: Answers,
        max_packet_size: Option<u32>,
    ) -> Option<Refuse<'_>> {
        match version {
            Version::V31 | Version::V311 => self.return_code(answers).map(Refuse::V3),
            Version::V5 => self.reason_code().map(|code| {
                let reason = match self {
                    Refusal::Banned(ban) if answers.tell_reason && !ban.terms.reason.is_empty() => {
                        Some(&*ban.terms.reason)
                    }
                    _ => None,
                };
                Refuse::V5 { code, reason, max_packet_size }
            }),
        }
    }

    /// MQTT 3.1.1 section 3.2.2.3: a CONNECT that is wrong for any other reason than these is closed without CONNACK.
    fn return_code(&self, answers: Answers) -> Option<ReturnCode> {
        match self {
            Refusal::Banned(_) => Some(answers.v3_banned),
            Refusal::RateLimited(_) | Refusal::UpstreamUnavailable | Refusal::Draining => {
                Some(ReturnCode::ServiceUnavailable)
            }
            Refusal::UnsupportedVersion => Some(ReturnCode::RefusedProtocolVersion),
            Refusal::NotMqtt | Refusal::Malformed | Refusal::ProtocolError | Refusal::TooLarge => None,
        }
    }

    fn reason_code(&self) -> Option<ReasonCode> {
        match self {
            Refusal::Banned(_) => Some(ReasonCode::Banned),
            Refusal::RateLimited(_) => Some(ReasonCode::ConnectionRateExceeded),
            Refusal::UpstreamUnavailable | Refusal::Draining => Some(ReasonCode::ServerUnavailable),
            Refusal::UnsupportedVersion => Some(ReasonCode::UnsupportedProtocolVersion),
            Refusal::NotMqtt => None,
            Refusal::Malformed => Some(ReasonCode::MalformedPacket),
            Refusal::ProtocolError => Some(ReasonCode::ProtocolError),
            Refusal::TooLarge => Some(ReasonCode::PacketTooLarge),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{Terms, Timestamp, Until, Who};

    const ANSWERS: Answers = Answers { v3_banned: ReturnCode::NotAuthorized, tell_reason: false };

    fn banned(reason: &str) -> Refusal {
        let at = Timestamp::from_millis(0);
        let terms = Terms { by: "test".into(), reason: reason.into(), at, until: Until::Infinity };
        Refusal::Banned(Ban { who: Who::ClientId("c".into()), terms })
    }

    fn bytes(refusal: &Refusal, version: Version, answers: Answers) -> Vec<u8> {
        refusal.connack(version, answers, None).map(|connack| connack.encode().to_vec()).unwrap_or_default()
    }

    #[test]
    fn every_refusal_has_its_bytes_in_every_version() {
        for (refusal, v3, v5) in [
            (banned(""), &b"\x20\x02\x00\x05"[..], &b"\x20\x03\x00\x8a\x00"[..]),
            (Refusal::UpstreamUnavailable, b"\x20\x02\x00\x03", b"\x20\x03\x00\x88\x00"),
            (Refusal::Draining, b"\x20\x02\x00\x03", b"\x20\x03\x00\x88\x00"),
            (Refusal::RateLimited(Excess::Crowded), b"\x20\x02\x00\x03", b"\x20\x03\x00\x9f\x00"),
            (Refusal::UnsupportedVersion, b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00"),
            (Refusal::Malformed, b"", b"\x20\x03\x00\x81\x00"),
            (Refusal::ProtocolError, b"", b"\x20\x03\x00\x82\x00"),
            (Refusal::TooLarge, b"", b"\x20\x03\x00\x95\x00"),
            (Refusal::NotMqtt, b"", b""),
        ] {
            assert_eq!(bytes(&refusal, Version::V31, ANSWERS), v3, "{refusal:?}");
            assert_eq!(bytes(&refusal, Version::V311, ANSWERS), v3, "{refusal:?}");
            assert_eq!(bytes(&refusal, Version::V5, ANSWERS), v5, "{refusal:?}");
        }
    }

    #[test]
    fn the_wording_of_a_ban_can_be_chosen() {
        let answers = Answers { v3_banned: ReturnCode::BadClientId, tell_reason: true };
        assert_eq!(bytes(&banned("flood"), Version::V311, answers), b"\x20\x02\x00\x02");
        assert_eq!(bytes(&banned("flood"), Version::V5, answers), b"\x20\x0b\x00\x8a\x08\x1f\x00\x05flood");
        assert_eq!(bytes(&banned(""), Version::V5, answers), b"\x20\x03\x00\x8a\x00");
    }
}
