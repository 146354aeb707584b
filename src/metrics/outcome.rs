//! How a connection's way to the broker can end.

use std::fmt;

/// How a connection's way to the broker ended: each connection has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was let in.
    Admitted,
    /// It closed without a byte: a health check.
    Probe,
    /// It closed in the middle of its CONNECT.
    ClosedEarly,
    /// It sent no CONNECT in time.
    ConnectTimeout,
    /// It is banned.
    Banned,
    /// No broker could be reached.
    UpstreamUnavailable,
    /// The door was about to close.
    Draining,
    /// It speaks an MQTT version that does not exist.
    UnsupportedVersion,
    /// It speaks no MQTT.
    NotMqtt,
    /// Its CONNECT breaks the format.
    Malformed,
    /// Its CONNECT says what it may not.
    ProtocolError,
    /// Its CONNECT is too large.
    TooLarge,
    /// It has a PROXY header, or needs one, and is not trusted to send one.
    UntrustedProxy,
    /// Its PROXY header cannot be used, or is missing.
    BadProxyHeader,
    /// It speaks no TLS, or none that we do, or one of the two does not believe the other.
    TlsFailed,
    /// It is over a limit on how many may come.
    RateLimited,
    /// It sends no HTTP request, or none that becomes a WebSocket here.
    WebSocketFailed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Outcome; 17] = [
        Outcome::Admitted,
        Outcome::Probe,
        Outcome::ClosedEarly,
        Outcome::ConnectTimeout,
        Outcome::Banned,
        Outcome::UpstreamUnavailable,
        Outcome::Draining,
        Outcome::UnsupportedVersion,
        Outcome::NotMqtt,
        Outcome::Malformed,
        Outcome::ProtocolError,
        Outcome::TooLarge,
        Outcome::UntrustedProxy,
        Outcome::BadProxyHeader,
        Outcome::TlsFailed,
        Outcome::RateLimited,
        Outcome::WebSocketFailed,
    ];

    /// The outcome's name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Admitted => "admitted",
            Outcome::Probe => "probe",
            Outcome::ClosedEarly => "closed_early",
            Outcome::ConnectTimeout => "connect_timeout",
            Outcome::Banned => "banned",
            Outcome::UpstreamUnavailable => "upstream_unavailable",
            Outcome::Draining => "draining",
            Outcome::UnsupportedVersion => "unsupported_version",
            Outcome::NotMqtt => "not_mqtt",
            Outcome::Malformed => "malformed",
            Outcome::ProtocolError => "protocol_error",
            Outcome::TooLarge => "too_large",
            Outcome::UntrustedProxy => "untrusted_proxy",
            Outcome::BadProxyHeader => "bad_proxy_header",
            Outcome::TlsFailed => "tls_failed",
            Outcome::RateLimited => "rate_limited",
            Outcome::WebSocketFailed => "websocket_failed",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_have_different_names() {
        let names: std::collections::BTreeSet<_> =
            Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect();
        assert_eq!(names.len(), Outcome::ALL.len());
    }
}
