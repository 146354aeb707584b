//! Writes down who was turned away, and strikes out who gets in.

use super::connection::{Connection, Name};
use super::refusal::Refusal;
use crate::admission::Client;
use crate::net::peer::Peer;
use crate::refused::{Attempt, Codes, Reason};
use crate::wire::mqtt::Version;

impl Connection<'_> {
    /// We have turned a client away. Before its CONNECT is read it has no name.
    pub(super) fn note_refused(&self, refusal: &Refusal, name: Option<&Name>) {
        let (reason, ban) = match refusal {
            Refusal::Banned(ban) => (Reason::Banned, Some(&ban.who)),
            Refusal::RateLimited(_) => (Reason::RateLimited, None),
            Refusal::UnsupportedVersion => (Reason::UnsupportedVersion, None),
            Refusal::NotMqtt => (Reason::NotMqtt, None),
            Refusal::Malformed => (Reason::Malformed, None),
            Refusal::ProtocolError => (Reason::ProtocolError, None),
            Refusal::TooLarge => (Reason::TooLarge, None),
            // That is our own trouble, or the broker's, and everybody has it.
            Refusal::UpstreamUnavailable | Refusal::Draining => return,
        };
        let attempt = self.attempt(name, reason);
        self.proxy.refused.note(&Attempt { ban, ..attempt }, self.proxy.bouncer.clock().now());
    }

    /// We have turned away somebody who was not asked for a name.
    pub(super) fn note_turned_away(&self, reason: Reason) {
        self.proxy.refused.note(&self.attempt(None, reason), self.proxy.bouncer.clock().now());
    }

    /// The broker has turned a client away.
    pub(super) fn note_broker_refused(&self, name: &Name, code: u8) {
        let codes = if name.version == Version::V5 { Codes::V5 } else { Codes::V3 };
        let attempt = self.attempt(Some(name), Reason::Broker(codes, code));
        self.proxy.refused.note(&attempt, self.proxy.bouncer.clock().now());
    }

    /// The broker has let a client in.
    pub(super) fn note_admitted(&self, name: &Name) {
        self.remember(name);
        self.proxy.refused.admitted(&self.client(name));
    }

    /// The client before it has a name.
    fn nobody(&self) -> Client<'_> {
        Client::new(self.peer.ip(), "", None).with_tls(self.tls_identity())
    }

    fn attempt<'n>(&'n self, name: Option<&'n Name>, reason: Reason) -> Attempt<'n> {
        Attempt {
            client: name.map_or_else(|| self.nobody(), |name| self.client(name)),
            has_password: name.map(|name| name.credentials.is_some()),
            is_tls: self.is_tls(),
            server_name: self.server_name(),
            via: self.via.and_then(Peer::ip),
            listener: self.door.name(),
            zone: &self.settings.policy.zone,
            reason,
            ban: None,
        }
    }
}
