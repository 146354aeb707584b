//! Speaks WebSocket with a client, where the listener does.

use super::connection::Connection;
use super::gate::NoConnect;
use super::witness::Manners;
use crate::metrics::Outcome;
use crate::net::linger;
use crate::net::stream::Stream;
use crate::net::websocket::{self, NoWebSocket};
use crate::refused::Reason;
use crate::wire::websocket::upgrade::Rules;
use std::net::{IpAddr, SocketAddr};
use tokio::time::Instant;

/// How a listener speaks WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketSettings {
    /// Which requests become one.
    pub rules: Rules,
    /// The largest frame, in bytes of payload.
    pub max_frame: u64,
    /// `X-Forwarded-For` of a trusted peer says whom it speaks for.
    pub forwarded_for: bool,
}

impl Connection<'_> {
    /// The stream that the client speaks MQTT on, after an upgrade where the listener asks for one.
    pub(super) async fn upgrade(&mut self, client: Stream) -> Option<Stream> {
        let Some(settings) = self.settings.websocket.as_deref() else { return Some(client) };
        let patience = self.settings.connect_timeout.saturating_sub(self.waited);
        let began = Instant::now();
        match websocket::accept(client, &settings.rules, settings.max_frame, patience).await {
            Ok((stream, upgrade)) => {
                // The request is a part of what has to come in time.
                self.waited += began.elapsed();
                let stream = Stream::WebSocket(Box::new(stream));
                match upgrade.forwarded_for.filter(|_| settings.forwarded_for) {
                    Some(forwarded) if self.follow(&forwarded) => {
                        let stream = self.knock(stream)?;
                        self.ration(stream)
                    }
                    _ => Some(stream),
                }
            }
            Err((failure, stream)) => {
                self.fail_upgrade(failure, stream).await;
                None
            }
        }
    }

    async fn fail_upgrade(&self, failure: NoWebSocket, stream: Stream) {
        let response = match &failure {
            NoWebSocket::Refused(refused) => {
                self.note_turned_away(Reason::WebSocketFailed);
                refused.response()
            }
            _ => Vec::new(),
        };
        let manners = self.end_without_connect(&NoConnect::WebSocket(failure));
        if manners == Manners::Answer && !response.is_empty() {
            linger::close(stream, &response).await;
        }
    }

    /// Takes the address of the client from the list of those that proxies speak for: the last one that no trusted proxy
    /// has. Says whether there is one. What stands before it, anybody may have written.
    fn follow(&mut self, forwarded: &str) -> bool {
        let rules = &self.settings.proxy_protocol;
        let mut client = self.peer;
        for earlier in forwarded.rsplit(',') {
            if !rules.trusts(client) {
                break;
            }
            let Some(addr) = address(earlier.trim()) else { break };
            client = SocketAddr::new(addr, 0).into();
        }
        if client.ip() == self.peer.ip() {
            return false;
        }
        self.via = self.via.or(Some(self.peer));
        self.peer = client;
        true
    }

    /// True while a trusted proxy may still say, in HTTP, whom it speaks for.
    pub(super) fn is_http_proxy(&self) -> bool {
        let follows = self.settings.websocket.as_deref().is_some_and(|settings| settings.forwarded_for);
        follows && self.settings.proxy_protocol.trusts(self.peer)
    }
}

/// An address as proxies write it: with a port, or with brackets, or neither.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let addr = text.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip())).or_else(bare);
    addr.map(|addr: IpAddr| addr.to_canonical())
}

/// How a connection counts that never became a WebSocket.
pub(super) fn outcome_of(failure: &NoWebSocket) -> Outcome {
    match failure {
        NoWebSocket::Probe => Outcome::Probe,
        NoWebSocket::ClosedEarly(_) | NoWebSocket::Broke(..) => Outcome::ClosedEarly,
        NoWebSocket::TimedOut(_) => Outcome::ConnectTimeout,
        NoWebSocket::Refused(_) => Outcome::WebSocketFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_proxies_write_them() {
        let read = |text| address(text).map(|addr| addr.to_string());
        for (text, addr) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(read(text).as_deref(), Some(addr), "{text}");
        }
        for text in ["", "unknown", "_hidden", "192.0.2", "localhost", "192.0.2.1, 192.0.2.2"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
