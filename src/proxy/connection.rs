//! One connection as a script: read CONNECT, ask, refuse or dial, replay, relay, tell how it ended.

use super::gate::{self, Arrival, NoConnect};
use super::refusal::Refusal;
use super::{Door, DoorSettings, OnBannedPeer, Proxy};
use crate::admission::{Client, Verdict};
use crate::metrics::Outcome;
use crate::net::linger;
use crate::net::relay::{Cause, End, relay};
use crate::telemetry::{Chain, Shown};
use crate::wire::mqtt::Version;
use crate::wire::mqtt::connack::Refuse;
use crate::wire::mqtt::session::Session;
use compact_str::CompactString;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

/// Serves one connection from accept to end.
pub(super) async fn serve(proxy: &Proxy, door: &Door, socket: TcpStream, peer: SocketAddr) {
    let _connected = proxy.metrics.connection();
    let settings = door.settings();
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let visit = Visit { proxy, listener: door.name(), peer, settings: &settings };
    let inside = tokio::select! {
        biased;
        inside = visit.enter(socket) => inside,
        // Whoever is inside hears this in the relay.
        () = proxy.stop.raised() => None,
    };
    if let Some(inside) = inside {
        visit.stay(inside).await;
    }
}

/// One connection.
struct Visit<'a> {
    proxy: &'a Proxy,
    listener: &'a str,
    /// In canonical form.
    peer: SocketAddr,
    settings: &'a DoorSettings,
}

/// Who a client says it is, and how to answer it.
struct Name {
    version: Version,
    client_id: CompactString,
    username: Option<CompactString>,
    max_packet_size: Option<u32>,
}

/// A client that was let in, with its broker, which has its CONNECT.
struct Inside {
    client: TcpStream,
    broker: TcpStream,
    server: String,
    name: Name,
    session: Session,
}

impl Visit<'_> {
    /// Lets the client in, or turns it away.
    async fn enter(&self, client: TcpStream) -> Option<Inside> {
        if self.settings.tcp.apply(&client).is_err() {
            self.log_no_connect(&NoConnect::Probe, Outcome::Probe);
            return None;
        }
        let client = self.knock(client)?;
        let (client, arrival) = self.read_connect(client).await?;
        let Arrival { bytes, version, client_id, username, max_packet_size, session } = arrival;
        let name = Name { version, client_id, username, max_packet_size };

        if let Some(refusal) = self.ask(&name) {
            return self.refuse(client, refusal, &name).await;
        }
        let routes = self.proxy.routes.load_full();
        let (mut broker, server) = match routes.choose(version).dial().await {
            Ok((broker, server)) => (broker, server.to_string()),
            Err(error) => {
                warn!(listener = %self.listener, server = %error.server, error = %Chain(&error), "no broker");
                return self.refuse(client, Refusal::UpstreamUnavailable, &name).await;
            }
        };
        // A ban may have landed while we dialled. After this the broker knows the client.
        if let Some(refusal) = self.ask(&name) {
            return self.refuse(client, refusal, &name).await;
        }
        if let Err(error) = write_all(&mut broker, &bytes, self.settings.connect_timeout).await {
            warn!(listener = %self.listener, %server, %error, "broker did not take the CONNECT");
            return self.refuse(client, Refusal::UpstreamUnavailable, &name).await;
        }
        Some(Inside { client, broker, server, name, session })
    }

    /// Ends a connection from a banned address before anything is read, where the listener is set to.
    fn knock(&self, client: TcpStream) -> Option<TcpStream> {
        if self.settings.on_banned_peer == OnBannedPeer::Connack {
            return Some(client);
        }
        let Some(ban) = self.proxy.bouncer.check_peer(self.peer.ip()) else { return Some(client) };
        if self.settings.on_banned_peer == OnBannedPeer::Reset {
            // Only a socket that the peer has reset already cannot be reset.
            let _ = client.set_zero_linger();
        }
        self.log_refused(&Refusal::Banned(ban), None);
        None
    }

    async fn read_connect(&self, mut client: TcpStream) -> Option<(TcpStream, Arrival)> {
        let DoorSettings { max_connect_size, connect_timeout, .. } = *self.settings;
        let failure = match gate::read_connect(&mut client, max_connect_size, connect_timeout).await {
            Ok(arrival) => return Some((client, arrival)),
            Err(failure) => failure,
        };
        match failure {
            NoConnect::Bad(error) => {
                let refusal = Refusal::from(error);
                self.log_no_connect(&failure, refusal.outcome());
                if let Some(version) = error.version {
                    self.answer(client, &refusal, version, None).await;
                }
            }
            NoConnect::Probe => self.log_no_connect(&failure, Outcome::Probe),
            NoConnect::ClosedEarly(_) | NoConnect::Broke(..) => {
                self.log_no_connect(&failure, Outcome::ClosedEarly);
            }
            NoConnect::TimedOut(_) => self.log_no_connect(&failure, Outcome::ConnectTimeout),
        }
        None
    }

    /// Why this client may not enter now, if it may not.
    fn ask(&self, name: &Name) -> Option<Refusal> {
        if self.proxy.draining.is_raised() {
            return Some(Refusal::Draining);
        }
        let client = Client::new(self.peer.ip(), &name.client_id, name.username.as_deref());
        match self.proxy.bouncer.check(&client) {
            Verdict::Admit => None,
            Verdict::Refuse(ban) => Some(Refusal::Banned(ban)),
        }
    }

    async fn refuse(&self, client: TcpStream, refusal: Refusal, name: &Name) -> Option<Inside> {
        self.log_refused(&refusal, Some(name));
        self.answer(client, &refusal, name.version, name.max_packet_size).await;
        None
    }

    async fn answer(
        &self,
        client: TcpStream,
        refusal: &Refusal,
        version: Version,
        max_packet_size: Option<u32>,
    ) {
        let answers = **self.proxy.answers.load();
        let connack = refusal.connack(version, answers, max_packet_size).map(Refuse::encode);
        linger::close(client, connack.as_deref().unwrap_or_default()).await;
    }

    /// Relays until the session ends.
    async fn stay(&self, inside: Inside) {
        let Inside { client, broker, server, name, mut session } = inside;
        let session_counted = self.proxy.metrics.session();
        let began = Instant::now();
        let end = relay(client, broker, &mut session, self.settings.limits, &self.proxy.stop).await;
        session_counted.ended(end.to_broker, end.to_client);
        self.log_end(&end, &name, &server, &session, began.elapsed());
    }

    /// One line for each client that was turned away by name or by address.
    fn log_refused(&self, refusal: &Refusal, name: Option<&Name>) {
        let outcome = refusal.outcome();
        self.proxy.metrics.count(outcome);
        let ban = match refusal {
            Refusal::Banned(ban) => Some(ban),
            _ => None,
        };
        let who = ban.map(|ban| ban.who.to_string());
        info!(
            listener = %self.listener,
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
            "refused"
        );
    }

    /// One line for each connection that ended before it had a name.
    fn log_no_connect(&self, failure: &NoConnect, outcome: Outcome) {
        self.proxy.metrics.count(outcome);
        let error = Chain(failure);
        match failure {
            NoConnect::Probe => {
                debug!(listener = %self.listener, peer = %self.peer, %outcome, %error, "no CONNECT");
            }
            NoConnect::Bad(bad) => info!(
                listener = %self.listener,
                peer = %self.peer,
                version = bad.version.map(display),
                %outcome,
                %error,
                statement = bad.violation.statement(bad.version),
                "refused"
            ),
            _ => info!(listener = %self.listener, peer = %self.peer, %outcome, %error, "no CONNECT"),
        }
    }

    /// One line for each session that ended.
    fn log_end(&self, end: &End, name: &Name, server: &str, session: &Session, lasted: Duration) {
        let facts = session.facts();
        let (cause, error) = match &end.cause {
            Cause::ClientClosed => ("client_closed", None),
            Cause::BrokerClosed => ("broker_closed", None),
            Cause::ClientFailed(error) => ("client_failed", Some(error.to_string())),
            Cause::BrokerFailed(error) => ("broker_failed", Some(error.to_string())),
            Cause::Idle => ("idle_timeout", None),
            Cause::Violation(violation) => ("protocol_error", Some(violation.to_string())),
            Cause::Stopped => ("drained", None),
        };
        debug!(
            listener = %self.listener,
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
            to_broker = end.to_broker,
            to_client = end.to_client,
            seconds = lasted.as_secs_f64(),
            "session ended"
        );
    }
}

async fn write_all(stream: &mut TcpStream, bytes: &[u8], deadline: Duration) -> io::Result<()> {
    timeout(deadline, stream.write_all(bytes)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
