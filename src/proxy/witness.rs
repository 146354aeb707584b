//! Tells detection what one connection does, in its words.

use super::connection::{Connection, Name};
use super::gate;
use super::lines::log_upstream;
use super::refusal::Refusal;
use crate::admission::detection::{
    Answer, Arrival, Cause, Codes, End, Knock, NoConnect, Refused, Session, Stay, Visit, ZonePolicy,
};
use crate::admission::{As, Ban, Client};
use crate::metrics::{ListenerMetrics, Reached};
use crate::net::relay::{self, Watch};
use crate::net::stream::Stream;
use crate::net::tls;
use crate::net::upstream::Attempt;
use crate::net::websocket::NoWebSocket;
use crate::sessions::Entered;
use crate::telemetry::Shown;
use crate::wire::mqtt::Version;
use crate::wire::mqtt::connect::Violation;
use crate::wire::mqtt::session;
use crate::wire::websocket::upgrade;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;
use tracing::debug;

/// How a refused client is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manners {
    /// It is told why.
    Answer,
    /// It knows, and does not give up: it is closed without a word.
    Silence,
}

/// What somebody has done who was not asked for a CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Untold {
    /// Nothing.
    Probe,
    /// Something that is not done.
    Malformed,
}

impl Connection<'_> {
    /// The policy that holds now, not the one that held when the connection began.
    fn policy(&self) -> Arc<ZonePolicy> {
        Arc::clone(&self.door.settings().policy)
    }

    /// A broker was dialled for this client.
    pub(super) fn tell_attempt(&self, attempt: &Attempt<'_>) {
        let Attempt { group, server, took, error, event } = attempt;
        let at_micros = self.proxy.bouncer.clock().moment().as_micros();
        let reached = Reached { is_reachable: error.is_none(), at_micros };
        self.proxy.metrics.servers.of(server.as_str()).dialled(*took, reached);
        if let Some(error) = error {
            debug!(listener = %self.door.name(), peer = %self.peer, upstream = group, %server, %error, "server was passed over");
            self.tell_unreachable(server);
        }
        if let Some(event) = event {
            log_upstream(group, server, event);
        }
    }

    pub(super) fn tell_unreachable(&self, server: &impl Display) {
        self.proxy.bouncer.unreachable(&server.to_string());
    }

    pub(super) fn tell_arrived(&self, name: &Name) {
        if !self.is_proxys_own() {
            self.proxy.bouncer.arrived(&self.policy(), &self.client(name));
        }
    }

    pub(super) fn tell_untold(&self, untold: Untold) {
        let end = match untold {
            _ if self.ban_of_address().is_some() => End::Refused(Refused::Banned),
            Untold::Probe => End::NoConnect(NoConnect::Probe),
            Untold::Malformed => End::NoConnect(NoConnect::Malformed),
        };
        self.tell(Client::new(self.peer.ip(), "", None), None, None, end);
    }

    /// A connection was ended for its address's sake.
    pub(super) fn tell_rate_limited(&self) {
        self.tell(Client::new(self.peer.ip(), "", None), None, None, End::Refused(Refused::RateLimited));
    }

    /// Says how the client is to be treated.
    pub(super) fn tell_no_connect(&self, failure: &gate::NoConnect) -> Manners {
        if self.is_unnamed() {
            return Manners::Answer;
        }
        let nobody = Client::new(self.peer.ip(), "", None);
        // What a banned address sends is one more attempt that its ban refuses, whatever it is.
        if let Some(ban) = self.ban_of_address() {
            let manners = self.manners(&ban, nobody);
            self.tell(nobody, None, None, End::Refused(Refused::Banned));
            return manners;
        }
        let no_connect = match failure {
            gate::NoConnect::Probe => NoConnect::Probe,
            gate::NoConnect::Tls(ended) => of_handshake(ended),
            gate::NoConnect::WebSocket(ended) => of_upgrade(ended),
            gate::NoConnect::ClosedEarly(_) | gate::NoConnect::Broke(..) => NoConnect::ClosedEarly,
            gate::NoConnect::Garbled(..) => NoConnect::Malformed,
            gate::NoConnect::TimedOut(_) => NoConnect::TimedOut,
            gate::NoConnect::Bad(error) => match error.violation {
                Violation::TooLarge { .. } => NoConnect::TooLarge,
                _ => NoConnect::Malformed,
            },
        };
        self.tell(nobody, None, None, End::NoConnect(no_connect));
        Manners::Answer
    }

    /// Says how the refused client is to be treated.
    pub(super) fn tell_refused(&self, refusal: &Refusal, name: &Name) -> Manners {
        let (refused, manners) = match refusal {
            Refusal::Banned(ban) => (Refused::Banned, self.manners(ban, self.client(name))),
            Refusal::RateLimited(_) => (Refused::RateLimited, Manners::Answer),
            Refusal::UpstreamUnavailable => (Refused::UpstreamUnavailable, Manners::Answer),
            Refusal::Draining => (Refused::Draining, Manners::Answer),
            // Whoever has a name has sent a good CONNECT.
            Refusal::UnsupportedVersion
            | Refusal::NotMqtt
            | Refusal::Malformed
            | Refusal::ProtocolError
            | Refusal::TooLarge => return Manners::Answer,
        };
        self.tell(self.client(name), None, name.credentials, End::Refused(refused));
        manners
    }

    /// True when this banned address is closed without a word, whatever it would say.
    pub(super) fn is_hushed(&self, ban: &Ban) -> bool {
        let knock = Knock { client: Client::new(self.peer.ip(), "", None), who: &ban.who };
        self.proxy.bouncer.is_hushed(&self.policy(), &knock)
    }

    fn manners(&self, ban: &Ban, client: Client<'_>) -> Manners {
        let knock = Knock { client, who: &ban.who };
        match self.proxy.bouncer.banned(&self.policy(), &knock) {
            Answer::Silence { is_shadow: false, .. } => Manners::Silence,
            Answer::Silence { is_shadow: true, .. } | Answer::Connack => Manners::Answer,
        }
    }

    pub(super) fn tell_ended(
        &self,
        end: &relay::End,
        name: &Name,
        server: &str,
        session: &session::Session,
        stay: Option<Stay>,
        lived: Duration,
    ) {
        let facts = session.facts();
        let told = Session {
            upstream: server,
            stay,
            lived,
            codes: if name.version == Version::V5 { Codes::V5 } else { Codes::V3 },
            connack: facts.connack,
            client_disconnect: facts.client_disconnect,
            broker_disconnect: facts.broker_disconnect,
            cause: match end.cause {
                relay::Cause::ClientClosed => Cause::ClientClosed,
                relay::Cause::BrokerClosed => Cause::BrokerClosed,
                relay::Cause::ClientFailed(_) => Cause::ClientFailed,
                relay::Cause::BrokerFailed(_) => Cause::BrokerFailed,
                relay::Cause::Idle => Cause::Idle,
                relay::Cause::Violation(_) => Cause::Violation,
                relay::Cause::Stopped | relay::Cause::Kicked => Cause::Stopped,
            },
        };
        let assigned = facts.assigned_client_id.as_deref();
        self.tell(self.client(name), assigned, name.credentials, End::Session(told));
    }

    fn tell(
        &self,
        client: Client<'_>,
        assigned_client_id: Option<&str>,
        credentials: Option<u64>,
        end: End<'_>,
    ) {
        let is_exempt = self.is_proxys_own() || self.proxy.bouncer.is_exempt(&client);
        let visit = Visit { client, assigned_client_id, credentials, is_exempt, end };
        self.proxy.bouncer.ended(&self.policy(), &visit);
    }
}

/// What a handshake that came to nothing says of the client. That it does not believe our certificate is not its fault;
/// that it speaks nothing that we do may not be, either, but it goes on trying.
fn of_handshake(ended: &tls::Ended) -> NoConnect {
    match ended {
        tls::Ended::Probe => NoConnect::Probe,
        tls::Ended::TimedOut => NoConnect::TimedOut,
        tls::Ended::Refused(refused) if refused.is_malformed() => NoConnect::Malformed,
        tls::Ended::Refused(refused) if refused.is_by_client() => NoConnect::Probe,
        tls::Ended::Refused(_) | tls::Ended::ClosedEarly(_) | tls::Ended::Broke(_) => NoConnect::ClosedEarly,
    }
}

/// What a request that came to nothing says of the client: a browser of another page is no attacker.
fn of_upgrade(ended: &NoWebSocket) -> NoConnect {
    match ended {
        NoWebSocket::Probe => NoConnect::Probe,
        NoWebSocket::TimedOut(_) => NoConnect::TimedOut,
        NoWebSocket::ClosedEarly(_) | NoWebSocket::Broke(..) => NoConnect::ClosedEarly,
        NoWebSocket::Refused(upgrade::Refused::Path | upgrade::Refused::Host | upgrade::Refused::Origin) => {
            NoConnect::ClosedEarly
        }
        NoWebSocket::Refused(upgrade::Refused::TooLarge) => NoConnect::TooLarge,
        NoWebSocket::Refused(_) => NoConnect::Malformed,
    }
}

/// A session, and the moment at which the broker says yes to it.
pub(super) struct Watched<'a> {
    connection: &'a Connection<'a>,
    name: &'a Name,
    server: &'a str,
    entered: &'a Entered,
    session: &'a mut session::Session,
    stay: Option<Stay>,
    has_connack: bool,
    is_plain: bool,
}

impl<'a> Watched<'a> {
    pub(super) fn new(
        connection: &'a Connection<'a>,
        name: &'a Name,
        server: &'a str,
        entered: &'a Entered,
        session: &'a mut session::Session,
        client: &Stream,
    ) -> Watched<'a> {
        let is_plain = matches!(client, Stream::Tcp(_) | Stream::Unix(_));
        Watched { connection, name, server, entered, session, stay: None, has_connack: false, is_plain }
    }

    pub(super) fn into_stay(self) -> Option<Stay> {
        self.stay
    }

    fn metrics(&self) -> &ListenerMetrics {
        self.connection.door.metrics()
    }

    /// The broker has chosen a client identifier. Its ban may have come before there was anybody of that name: who is
    /// banned now goes; a ban that lands after this finds the session by its name.
    fn assigned(&self, client_id: &str) {
        let kinds = [As::ClientId, As::ClientIdRe].into_iter().collect();
        if self.entered.assign(client_id)
            && self.connection.proxy.bouncer.is_to_go(&self.entered.client(), kinds)
            && self.entered.kick()
        {
            let Connection { door, peer, .. } = self.connection;
            debug!(listener = %door.name(), %peer, client_id = %Shown(client_id), "the broker chose a client identifier that is banned");
        }
    }

    fn accepted(&self) -> Option<Stay> {
        let client = self.connection.client(self.name);
        let bouncer = &self.connection.proxy.bouncer;
        let arrival = Arrival {
            client,
            assigned_client_id: self.session.facts().assigned_client_id.as_deref(),
            credentials: self.name.credentials,
            is_exempt: self.connection.is_proxys_own() || bouncer.is_exempt(&client),
            upstream: self.server,
        };
        bouncer.accepted(&self.connection.policy(), &arrival)
    }
}

impl Watch for Watched<'_> {
    fn see_client(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        self.entered.count_from_client(bytes.len());
        self.session.from_client(bytes)?;
        self.metrics().bytes_to_broker.add(length(bytes));
        Ok(())
    }

    fn see_broker(&mut self, bytes: &[u8]) {
        self.entered.count_to_client(bytes.len());
        self.metrics().bytes_to_client.add(length(bytes));
        self.session.from_broker(bytes);
        if !self.has_connack
            && let Some(code) = self.session.facts().connack
        {
            self.has_connack = true;
            if code == 0 {
                self.connection.note_admitted(self.name);
                self.entered.accept(self.session.keep_alive());
                if let Some(client_id) = &self.session.facts().assigned_client_id {
                    self.assigned(client_id);
                }
                self.stay = self.accepted();
            } else {
                self.connection.note_broker_refused(self.name, code);
            }
        }
    }

    fn session(&self) -> &session::Session {
        self.session
    }

    fn parting(&self, cause: &relay::Cause) -> relay::Parting {
        self.connection.proxy.partings.load().parting(cause, self.name.version)
    }

    fn is_client_told_by_drop(&self) -> bool {
        self.is_plain
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
