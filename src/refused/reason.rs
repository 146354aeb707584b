//! Why a client was turned away.

use std::fmt;

/// Why a client was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A ban of ours holds.
    Banned,
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
    /// It never came to speak TLS.
    TlsFailed,
    /// It was over a limit on how many may come.
    RateLimited,
    /// It never became a WebSocket.
    WebSocketFailed,
    /// The broker's CONNACK has this code.
    Broker(Codes, u8),
}

/// Which codes a CONNACK has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codes {
    /// The return codes of MQTT 3.1 and 3.1.1.
    V3,
    /// The reason codes of MQTT 5.
    V5,
}

impl Reason {
    /// Its name in the API and on the command line. The broker's are those that EMQX gives to the codes of MQTT 5.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Banned => "banned",
            Reason::UnsupportedVersion => "unsupported_version",
            Reason::NotMqtt => "not_mqtt",
            Reason::Malformed => "malformed",
            Reason::ProtocolError => "protocol_error",
            Reason::TooLarge => "too_large",
            Reason::UntrustedProxy => "untrusted_proxy",
            Reason::BadProxyHeader => "bad_proxy_header",
            Reason::TlsFailed => "tls_failed",
            Reason::RateLimited => "rate_limited",
            Reason::WebSocketFailed => "websocket_failed",
            Reason::Broker(Codes::V3, code) => match code {
                1 => "unsupported_protocol_version",
                2 => "client_identifier_not_valid",
                3 => "server_unavailable",
                4 => "bad_username_or_password",
                5 => "not_authorized",
                _ => "unknown_code",
            },
            Reason::Broker(Codes::V5, code) => match code {
                0x80 => "unspecified_error",
                0x81 => "malformed_packet",
                0x82 => "protocol_error",
                0x83 => "implementation_specific_error",
                0x84 => "unsupported_protocol_version",
                0x85 => "client_identifier_not_valid",
                0x86 => "bad_username_or_password",
                0x87 => "not_authorized",
                0x88 => "server_unavailable",
                0x89 => "server_busy",
                0x8A => "banned",
                0x8C => "bad_authentication_method",
                0x90 => "topic_name_invalid",
                0x95 => "packet_too_large",
                0x97 => "quota_exceeded",
                0x99 => "payload_format_invalid",
                0x9A => "retain_not_supported",
                0x9B => "qos_not_supported",
                0x9C => "use_another_server",
                0x9D => "server_moved",
                0x9F => "connection_rate_exceeded",
                _ => "unknown_code",
            },
        }
    }

    /// The code of the broker's CONNACK, where the broker has turned the client away.
    pub fn connack(self) -> Option<u8> {
        match self {
            Reason::Broker(_, code) => Some(code),
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
