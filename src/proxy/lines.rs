//! What the log says of one connection: exactly one line for whoever is turned away, one for each session's end.

use super::announced::NoPeer;
use super::connection::{Connection, Name};
use super::gate::NoConnect;
use super::parting::LastWords;
use super::refusal::Refusal;
use crate::metrics::Outcome;
use crate::net::proxy_header::NoHeader;
use crate::net::relay::{Cause, End};
use crate::net::tls;
use crate::net::upstream::{Event, Server};
use crate::net::websocket::NoWebSocket;
use crate::telemetry::{Chain, Shown};
use crate::wire::mqtt::session::Session;
use std::time::Duration;
use tracing::{debug, info, warn};

impl Connection<'_> {
    /// One line for each client that was turned away by name or by address.
    pub(super) fn log_refused(&self, refusal: &Refusal, name: Option<&Name>) {
        let outcome = refusal.outcome();
        self.door.metrics().count(outcome);
        let ban = match refusal {
            Refusal::Banned(ban) => Some(ban),
            _ => None,
        };
        if let Some(ban) = ban {
            self.proxy.metrics.count_refused(ban.who.kind());
            self.proxy.bouncer.hit(&ban.who);
        }
        let who = ban.map(|ban| ban.who.to_string());
        let excess = match refusal {
            Refusal::RateLimited(excess) => Some(*excess),
            _ => None,
        };
        info!(
            listener = %self.door.name(),
            peer = %self.peer,
            version = name.map(|name| display(name.version)),
            client_id = name.map(|name| display(Shown(&name.client_id))),
            username = name.and_then(|name| name.username.as_deref()).map(|name| display(Shown(name))),
            outcome = %outcome,
            r#as = ban.map(|ban| display(ban.who.kind())),
            who = who.as_deref().map(|who| display(Shown(who))),
            by = ban.map(|ban| display(Shown(&ban.terms.by))),
            reason = ban.map(|ban| &*ban.terms.reason).filter(|reason| !reason.is_empty()).map(|reason| display(Shown(reason))),
            until = ban.map(|ban| display(ban.terms.until)),
            error = excess.map(display),
            via = self.via.map(display),
            "refused"
        );
    }

    /// One line for each connection that ended before it had a name.
    pub(super) fn log_no_connect(&self, failure: &NoConnect, outcome: Outcome) {
        self.door.metrics().count(outcome);
        let error = Chain(failure);
        match failure {
            NoConnect::Probe
            | NoConnect::Tls(tls::Ended::Probe)
            | NoConnect::WebSocket(NoWebSocket::Probe) => {
                debug!(listener = %self.door.name(), peer = %self.peer, %outcome, %error, via = self.via.map(display), "no CONNECT");
            }
            NoConnect::Bad(bad) => info!(
                listener = %self.door.name(),
                peer = %self.peer,
                version = bad.version.map(display),
                %outcome,
                %error,
                statement = bad.violation.statement(bad.version),
                via = self.via.map(display),
                "refused"
            ),
            NoConnect::Garbled(..)
            | NoConnect::Tls(tls::Ended::Refused(_))
            | NoConnect::WebSocket(NoWebSocket::Refused(_)) => {
                info!(listener = %self.door.name(), peer = %self.peer, %outcome, %error, via = self.via.map(display), "refused");
            }
            _ => {
                info!(listener = %self.door.name(), peer = %self.peer, %outcome, %error, via = self.via.map(display), "no CONNECT");
            }
        }
    }

    /// One line for each connection of which it is not known whom it is for.
    pub(super) fn log_no_peer(&self, failure: &NoPeer) {
        let (outcome, error) = (failure.outcome(), Chain(failure));
        self.door.metrics().count(outcome);
        match failure {
            NoPeer::NoHeader(NoHeader::Probe) => {
                debug!(listener = %self.door.name(), peer = %self.peer, %outcome, %error, "no PROXY header");
            }
            NoPeer::NoHeader(NoHeader::Bad(_)) | NoPeer::Spoofed | NoPeer::Untrusted => {
                info!(listener = %self.door.name(), peer = %self.peer, %outcome, %error, "refused");
            }
            NoPeer::NoHeader(_) => {
                info!(listener = %self.door.name(), peer = %self.peer, %outcome, %error, "no PROXY header");
            }
        }
    }

    /// One line for each session that ended.
    pub(super) fn log_end(
        &self,
        end: &End,
        name: &Name,
        server: &str,
        session: &Session,
        lasted: Duration,
        last_words: Option<&LastWords>,
    ) {
        let facts = session.facts();
        let (cause, error) = match &end.cause {
            Cause::ClientClosed => ("client_closed", None),
            Cause::BrokerClosed => ("broker_closed", None),
            Cause::ClientFailed(error) => ("client_failed", Some(error.to_string())),
            Cause::BrokerFailed(error) => ("broker_failed", Some(error.to_string())),
            Cause::Idle => ("idle_timeout", None),
            Cause::Violation(violation) => ("protocol_error", Some(violation.to_string())),
            Cause::Stopped => ("drained", None),
            Cause::Kicked => ("kicked", None),
        };
        debug!(
            listener = %self.door.name(),
            peer = %self.peer,
            version = %name.version,
            client_id = %Shown(&name.client_id),
            username = name.username.as_deref().map(|name| display(Shown(name))),
            assigned_client_id = facts.assigned_client_id.as_deref().map(|id| display(Shown(id))),
            %server,
            cause,
            error,
            connack = facts.connack,
            client_disconnect = facts.client_disconnect,
            broker_disconnect = facts.broker_disconnect,
            client_told = last_words.map(|words| words.to_client.is_some()),
            broker_told = last_words.map(|words| words.to_broker.is_some()),
            to_broker = end.to_broker,
            to_client = end.to_client,
            seconds = lasted.as_secs_f64(),
            via = self.via.map(display),
            "session ended"
        );
    }
}

/// One line for each change of what is believed of a broker.
pub(super) fn log_upstream(upstream: &str, server: &Server, event: &Event) {
    match event {
        Event::Ejected { failures, time } => {
            warn!(upstream, %server, failures, ?time, "server is left alone: it cannot be reached");
        }
        Event::Down { problem } => warn!(upstream, %server, problem, "server is down: its checks fail"),
        Event::Up => info!(upstream, %server, "server is up: its checks succeed"),
        Event::Returned => info!(upstream, %server, "server is reached again"),
    }
}
