//! One connection as a script: read CONNECT, ask, refuse or dial, replay, relay, tell how it ended.

use super::gate::{self, Arrival, NoConnect};
use super::limits::{Excess, Seat};
use super::refusal::Refusal;
use super::secure;
use super::websocket;
use super::witness::{Manners, Watched};
use super::{Door, DoorSettings, OnBannedPeer, Proxy, Traits};
use crate::admission::detection::Stay;
use crate::admission::{Ban, Client, Verdict};
use crate::metrics::Outcome;
use crate::net::linger;
use crate::net::peer::Peer;
use crate::net::proxy_header::Announced;
use crate::net::relay::{End, relay};
use crate::net::stream::Stream;
use crate::net::tls::{Heard, TlsFacts};
use crate::net::upstream::Connected;
use crate::refused::Reason;
use crate::sessions::{Entered, Guest};
use crate::telemetry::Chain;
use crate::wire::mqtt::Version;
use crate::wire::mqtt::connack::Refuse;
use crate::wire::mqtt::session::Session;
use crate::wire::proxy_protocol::{Tls, Tlvs};
use compact_str::CompactString;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};
use tracing::warn;

/// Serves one connection from accept to end.
pub(super) async fn serve(proxy: &Proxy, door: &Door, client: Stream, peer: Peer, is_set: bool) {
    let _connected = door.metrics().connection();
    let settings = door.settings();
    let mut connection = Connection {
        proxy,
        door,
        peer: peer.canonical(),
        via: None,
        announced: None,
        heard: None,
        tls: None,
        waited: Duration::ZERO,
        seats: Vec::new(),
        excess: None,
        settings: &settings,
    };
    // What this takes is given back before a session idles for days.
    let entering = Box::pin(connection.enter(client, is_set));
    let inside = tokio::select! {
        biased;
        inside = entering => inside,
        // Whoever is inside hears this in the relay.
        () = proxy.stop.raised() => None,
    };
    if let Some(inside) = inside {
        connection.stay(inside).await;
    }
}

/// One connection.
pub(super) struct Connection<'a> {
    pub(super) proxy: &'a Proxy,
    pub(super) door: &'a Door,
    /// In canonical form. Behind a load balancer, the client's own address once that is known.
    pub(super) peer: Peer,
    /// The load balancer that speaks for the client.
    pub(super) via: Option<Peer>,
    /// What the load balancer says.
    pub(super) announced: Option<Box<Announced>>,
    /// What it said first, until its handshake is over.
    pub(super) heard: Option<Box<Heard>>,
    /// What its TLS handshake with us told.
    pub(super) tls: Option<Arc<TlsFacts>>,
    /// How much of the time for its CONNECT has gone already.
    pub(super) waited: Duration,
    /// The places that it takes where places are limited.
    pub(super) seats: Vec<Seat>,
    /// The limit that it is over.
    pub(super) excess: Option<Excess>,
    /// As they were when it began.
    pub(super) settings: &'a DoorSettings,
}

/// Who a client says it is, and how to answer it.
pub(super) struct Name {
    pub(super) version: Version,
    pub(super) client_id: CompactString,
    pub(super) username: Option<CompactString>,
    /// A keyed hash of user name and password, where it sent a password.
    pub(super) credentials: Option<u64>,
    max_packet_size: Option<u32>,
    clean_start: bool,
}

/// What the CONNECT says, whoever the certificate says it is: the broker reads that, and keeps sessions by it.
struct Said {
    version: Version,
    client_id: CompactString,
    username: Option<CompactString>,
}

/// A client that was let in, with its broker, which has its CONNECT. It is boxed: futures hold what they are given, and
/// hand on, more than once.
struct Inside {
    client: Stream,
    connected: Connected,
    name: Name,
    session: Session,
    entered: Entered,
}

impl Connection<'_> {
    /// Lets the client in, or turns it away.
    async fn enter(&mut self, client: Stream, is_set: bool) -> Option<Box<Inside>> {
        if !is_set && self.settings.tcp.apply(&client).is_err() {
            self.log_no_connect(&NoConnect::Probe, Outcome::Probe);
            return None;
        }
        let client = self.meet(client).await?;
        let client = self.ration(client)?;
        let client = self.secure(client).await?;
        let client = self.upgrade(client).await?;
        let (client, arrival) = self.read_connect(client).await?;
        let Arrival { bytes, session, version, client_id, username, credentials, .. } = arrival;
        let Arrival { max_packet_size, clean_start, .. } = arrival;
        let name = Name { version, client_id, username, credentials, max_packet_size, clean_start };
        let said = Said { version, client_id: name.client_id.clone(), username: name.username.clone() };
        let name = self.identified(name);

        if let Some(refusal) = self.ask(&name) {
            return self.refuse(client, refusal, &name).await;
        }
        if let Some(refusal) = self.await_turn(&name).await {
            return self.refuse(client, refusal, &name).await;
        }
        self.take_inside(client, name, said, session, &bytes).await
    }

    /// Takes the client, whose first bytes these are, to a broker; to another one as long as none has seen it.
    async fn take_inside(
        &self,
        client: Stream,
        name: Name,
        said: Said,
        session: Session,
        bytes: &[u8],
    ) -> Option<Box<Inside>> {
        let Some(group) = self.proxy.routes.load().choose(&self.traits(&said)).cloned() else {
            return self.refuse(client, Refusal::UpstreamUnavailable, &name).await;
        };
        let mut dialling = group.dial(&said.client_id);
        if group.is_introduced() {
            dialling = dialling.introduce(self.introduction(&client));
        }
        let mut has_arrived = false;
        loop {
            let dialled = dialling.next(|attempt| self.tell_attempt(attempt)).await;
            let dialled = dialled.map(|connected| {
                let server = connected.server.clone();
                let guest = self.guest(&name, server.as_str(), &session, bytes.len());
                (connected, self.proxy.sessions.enter(guest))
            });
            // A ban may have landed while we dialled; one that lands after this finds the session among those who are
            // inside. After this the broker knows the client.
            if let Some(refusal) = self.ask(&name) {
                return self.refuse(client, refusal, &name).await;
            }
            // The CONNECT that makes a ban is not refused by it.
            if !std::mem::replace(&mut has_arrived, true) {
                self.tell_arrived(&name);
            }
            let (mut connected, entered) = match dialled {
                Ok(dialled) => dialled,
                Err(error) => {
                    if !error.is_shortage() {
                        warn!(listener = %self.door.name(), upstream = %group.name(), error = %Chain(&error), "no broker");
                    }
                    return self.refuse(client, Refusal::UpstreamUnavailable, &name).await;
                }
            };
            let patience = self.settings.connect_timeout;
            let Err((written, error)) = write_all(&mut connected.stream, bytes, patience).await else {
                return Some(Box::new(Inside { client, connected, name, session, entered }));
            };
            let server = &connected.server;
            warn!(listener = %self.door.name(), %server, written, %error, "broker did not take the CONNECT");
            if written > 0 {
                // It has seen some of the client, and what it made of that nobody knows: no other broker is asked.
                self.tell_unreachable(server);
                return self.refuse(client, Refusal::UpstreamUnavailable, &name).await;
            }
            dialling.rejected(connected, error, |attempt| self.tell_attempt(attempt));
        }
    }

    /// Ends a connection from a banned address before anything is read, where the listener is set to, or where the
    /// address hammers.
    pub(super) fn knock(&self, client: Stream) -> Option<Stream> {
        let policy = &self.settings.policy;
        if self.settings.on_banned_peer == OnBannedPeer::Connack && policy.hammering.is_none() {
            return Some(client);
        }
        let Some(ban) = self.ban_of_address() else { return Some(client) };
        match self.settings.on_banned_peer {
            OnBannedPeer::Connack if !self.is_hushed(&ban) => return Some(client),
            OnBannedPeer::Connack | OnBannedPeer::Close => {}
            // Only a socket that the peer has reset already cannot be reset.
            OnBannedPeer::Reset => drop(client.reset_on_drop()),
        }
        let refusal = Refusal::Banned(ban);
        self.log_refused(&refusal, None);
        self.note_refused(&refusal, None);
        None
    }

    /// The ban of its address, where it has one.
    pub(super) fn ban_of_address(&self) -> Option<Ban> {
        self.proxy.bouncer.check_peer(self.peer.ip()?)
    }

    async fn read_connect(&self, mut client: Stream) -> Option<(Stream, Arrival)> {
        let DoorSettings { max_connect_size, connect_timeout, .. } = *self.settings;
        let fingerprint =
            |username: Option<&str>, password: &[u8]| self.proxy.bouncer.fingerprint(username, password);
        let patience = connect_timeout.saturating_sub(self.waited);
        let reading = gate::read_connect(&mut client, max_connect_size, patience, fingerprint);
        let failure = match reading.await {
            Ok(arrival) => return Some((client, arrival)),
            Err(failure) => failure,
        };
        let manners = self.end_without_connect(&failure);
        if let NoConnect::Bad(error) = failure
            && let Some(version) = error.version.filter(|_| manners == Manners::Answer)
        {
            self.answer(client, &Refusal::from(error), version, None).await;
        }
        None
    }

    /// There will be no CONNECT. Says how the client is to be treated.
    pub(super) fn end_without_connect(&self, failure: &NoConnect) -> Manners {
        let manners = self.tell_no_connect(failure);
        match failure {
            NoConnect::Bad(error) => {
                let refusal = Refusal::from(*error);
                self.log_no_connect(failure, refusal.outcome());
                self.note_refused(&refusal, None);
            }
            NoConnect::Probe => self.log_no_connect(failure, Outcome::Probe),
            NoConnect::ClosedEarly(_) | NoConnect::Broke(..) => {
                self.log_no_connect(failure, Outcome::ClosedEarly);
            }
            NoConnect::Garbled(..) => {
                self.log_no_connect(failure, Outcome::Malformed);
                self.note_turned_away(Reason::Malformed);
            }
            NoConnect::TimedOut(_) => self.log_no_connect(failure, Outcome::ConnectTimeout),
            NoConnect::Tls(ended) => self.log_no_connect(failure, secure::outcome_of(ended)),
            NoConnect::WebSocket(ended) => self.log_no_connect(failure, websocket::outcome_of(ended)),
        }
        manners
    }

    /// Why this client may not enter now, if it may not.
    fn ask(&self, name: &Name) -> Option<Refusal> {
        if self.proxy.draining.is_raised() {
            return Some(Refusal::Draining);
        }
        match self.proxy.bouncer.check(&self.client(name)) {
            Verdict::Admit => None,
            Verdict::Refuse(ban) => Some(Refusal::Banned(ban)),
        }
    }

    /// The client as bans name it.
    pub(super) fn client<'n>(&'n self, name: &'n Name) -> Client<'n> {
        Client::new(self.peer.ip(), &name.client_id, name.username.as_deref()).with_tls(self.tls_identity())
    }

    /// The client as routes look at it.
    fn traits<'n>(&'n self, said: &'n Said) -> Traits<'n> {
        let Tlvs { authority, tls, .. } = self.own_tlvs().unwrap_or_else(|| self.tlvs());
        Traits {
            version: Some(said.version),
            listener: Some(self.door.name()),
            client_id: &said.client_id,
            username: said.username.as_deref(),
            server_name: authority,
            cert_cn: tls.filter(Tls::is_verified).and_then(|tls| tls.common_name),
        }
    }

    async fn refuse(&self, client: Stream, refusal: Refusal, name: &Name) -> Option<Box<Inside>> {
        self.log_refused(&refusal, Some(name));
        self.note_refused(&refusal, Some(name));
        match self.tell_refused(&refusal, name) {
            Manners::Answer => self.answer(client, &refusal, name.version, name.max_packet_size).await,
            Manners::Silence => drop(client),
        }
        None
    }

    async fn answer(
        &self,
        mut client: Stream,
        refusal: &Refusal,
        version: Version,
        max_packet_size: Option<u32>,
    ) {
        // The CONNACK and the end are one packet.
        client.hold_back();
        let answers = **self.proxy.answers.load();
        let connack = refusal.connack(version, answers, max_packet_size).map(Refuse::encode);
        linger::close(client, connack.as_deref().unwrap_or_default()).await;
    }

    /// Relays until the session ends.
    async fn stay(&self, mut inside: Box<Inside>) {
        let began = Instant::now();
        let (end, stay) = self.relay(&mut inside).await;
        if let Some(farewell) = self.leave(*inside, &end, stay, began.elapsed()) {
            farewell.await;
        }
    }

    async fn relay(&self, inside: &mut Inside) -> (End, Option<Stay>) {
        let Inside { client, connected, name, session, entered } = inside;
        let server = connected.server.as_str();
        let _counted = (self.door.metrics().session(), self.proxy.metrics.servers.of(server).session());
        let mut watched = Watched::new(self, name, server, entered, session, client);
        let (limits, stop) = (self.settings.limits, &self.proxy.stop);
        let end =
            relay(client, &mut connected.stream, &mut watched, limits, stop, entered.kick_signal()).await;
        (end, watched.into_stay())
    }

    /// Tells how the session ended; returns what is still to be said to both sides, where something is.
    fn leave(
        &self,
        inside: Inside,
        end: &End,
        stay: Option<Stay>,
        lasted: Duration,
    ) -> Option<Pin<Box<impl Future<Output = ()> + Send>>> {
        let Inside { client, connected, name, session, entered } = inside;
        let Connected { stream: broker, server, lease, .. } = connected;
        let server = server.as_str();
        drop((entered, lease));
        let last_words = self.last_words(end, &session);
        self.log_end(end, &name, server, &session, lasted, last_words.as_ref());
        self.tell_ended(end, &name, server, &session, stay, lasted);
        // Rare and large, as in the relay.
        last_words.map(|last_words| Box::pin(last_words.say(client, broker)))
    }

    /// The client as those see it who ask who is inside.
    fn guest<'n>(&'n self, name: &'n Name, server: &'n str, session: &Session, received: usize) -> Guest<'n> {
        Guest {
            client_id: &name.client_id,
            username: name.username.as_deref(),
            peer: self.peer,
            listener: Arc::clone(self.door.name()),
            zone: Arc::clone(&self.settings.policy.zone),
            upstream: server,
            version: name.version,
            clean_start: name.clean_start,
            keep_alive: session.keep_alive(),
            via: self.via,
            is_tls: self.is_tls(),
            tls: self.tls.clone(),
            cert_cn: self.tls_identity().cert_cn,
            since: self.proxy.bouncer.clock().now(),
            received: received as u64,
        }
    }
}

/// Writes all of it; on failure, says how many bytes the socket took before.
async fn write_all(stream: &mut Stream, bytes: &[u8], deadline: Duration) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    let writing = async {
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match stream.write(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => written += count,
            }
        }
        stream.flush().await
    };
    let outcome = timeout(deadline, writing).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    outcome.map_err(|error| (written, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<'a, F: Future>(_: impl Fn(&'a Proxy, &'a Door, Stream, Peer, bool) -> F) -> usize {
        size_of::<F>()
    }

    /// A fleet of a million idles in as many of these.
    #[test]
    fn a_connection_takes_little_memory() {
        let (task, inside) = (size(serve), size_of::<Inside>());
        assert!(task <= 1_100 && inside <= 384, "{task} and {inside} bytes");
    }
}
