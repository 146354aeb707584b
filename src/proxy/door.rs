//! A listener at work: takes connections off the queue and gives each a task of its own.

use super::limits::{LimitSettings, OnRateLimited, Throttle};
use super::{Proxy, ProxyProtocol, WebSocketSettings, connection};
use crate::admission::detection::ZonePolicy;
use crate::metrics::ListenerMetrics;
use crate::net::listener::Listener;
use crate::net::options::TcpOptions;
use crate::net::peer::Peer;
use crate::net::relay::Limits;
use crate::net::slots::{Slot, Slots};
use crate::net::stop::Stop;
use crate::net::stream::Stream;
use crate::net::tls::{CertField, TlsServer, TlsSettings};
use arc_swap::{ArcSwap, ArcSwapOption};
use std::sync::Arc;
use std::time::Duration;

/// One listener, as its connections see it.
#[derive(Debug)]
pub struct Door {
    name: Arc<str>,
    settings: ArcSwap<DoorSettings>,
    /// How it speaks TLS, where it does.
    tls: ArcSwapOption<TlsServer>,
    throttle: ArcSwap<Throttle>,
    slots: Slots,
    /// As many as there are connections; the slots may have more, for those that are about to be accepted.
    live: Slots,
    metrics: Arc<ListenerMetrics>,
}

/// What can be set for one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoorSettings {
    /// How long a client may take to send its CONNECT.
    pub connect_timeout: Duration,
    /// The largest CONNECT, in bytes.
    pub max_connect_size: usize,
    /// How many connections may live at once; more wait in the kernel's queue.
    pub max_connections: usize,
    /// What happens to a client whose address is banned.
    pub on_banned_peer: OnBannedPeer,
    /// How many may come through this listener.
    pub rates: LimitSettings,
    /// What happens to a client that is over a limit.
    pub on_rate_limited: OnRateLimited,
    /// When a session is given up.
    pub limits: Limits,
    /// What is made of PROXY headers.
    pub proxy_protocol: ProxyProtocol,
    /// Options of the clients' connections.
    pub tcp: TcpOptions,
    /// Who is found out, and for what: the policy of the listener's zone.
    pub policy: Arc<ZonePolicy>,
    /// How it is to speak TLS, where it is to.
    pub tls: Option<Arc<TlsSettings>>,
    /// What a client's certificate says of it.
    pub peer_cert_as: PeerCertAs,
    /// How it speaks WebSocket, where it does.
    pub websocket: Option<Arc<WebSocketSettings>>,
}

/// What of a client's certificate takes the place of what its CONNECT says, for all that we do: its bans, its detection,
/// its name in lists. The broker gets the CONNECT as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerCertAs {
    /// The user name.
    pub username: Option<CertField>,
    /// The client identifier.
    pub client_id: Option<CertField>,
}

/// What happens to a client whose address is banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBannedPeer {
    /// Its CONNECT is read and answered, so that it learns why.
    Connack,
    /// It is closed at once.
    Close,
    /// It is reset at once.
    Reset,
}

impl Door {
    /// A door with this name and these settings, which counts here.
    pub fn new(name: Arc<str>, settings: DoorSettings, metrics: Arc<ListenerMetrics>) -> Door {
        let slots = Slots::new(settings.max_connections);
        count_limit(&metrics, &settings);
        Door {
            name,
            throttle: ArcSwap::from_pointee(Throttle::new(&settings.rates, None)),
            settings: ArcSwap::from_pointee(settings),
            tls: ArcSwapOption::empty(),
            slots,
            live: Slots::new(usize::MAX),
            metrics,
        }
    }

    /// The listener's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How many connections it has.
    pub fn connections(&self) -> usize {
        self.live.taken()
    }

    /// What is counted for this listener.
    pub(super) fn metrics(&self) -> &ListenerMetrics {
        &self.metrics
    }

    /// The limits on how many may come through it.
    pub(super) fn throttle(&self) -> Arc<Throttle> {
        self.throttle.load_full()
    }

    /// The settings that hold for a connection that begins now.
    pub fn settings(&self) -> Arc<DoorSettings> {
        self.settings.load_full()
    }

    /// Changes the settings for connections to come. Those that live keep theirs.
    pub fn adjust(&self, settings: DoorSettings) {
        self.slots.resize(settings.max_connections);
        count_limit(&self.metrics, &settings);
        if self.settings.load().rates != settings.rates {
            self.throttle.store(Arc::new(Throttle::new(&settings.rates, Some(&self.throttle.load()))));
        }
        self.settings.store(Arc::new(settings));
    }

    /// How it speaks TLS, where it does.
    pub fn tls(&self) -> Option<Arc<TlsServer>> {
        self.tls.load_full()
    }

    /// Changes how it speaks TLS with clients to come.
    pub fn show(&self, server: Option<Arc<TlsServer>>) {
        self.count_certificates(server.as_deref());
        self.tls.store(server);
    }

    /// As [`show`](Door::show), unless something else was shown meanwhile.
    pub fn replace(&self, before: &Arc<TlsServer>, server: &Arc<TlsServer>) {
        let there = self.tls.compare_and_swap(before, Some(Arc::clone(server)));
        if there.as_ref().is_some_and(|there| Arc::ptr_eq(there, before)) {
            self.count_certificates(Some(server));
        }
    }

    fn count_certificates(&self, server: Option<&TlsServer>) {
        let first_end = server.and_then(|server| server.shown().iter().map(|shown| shown.not_after).min());
        self.metrics.tls.certificate_ends.set(first_end.and_then(|end| u64::try_from(end).ok()).unwrap_or(0));
    }

    /// Accepts until `close` is raised. Whoever waited in the queue by then is still served, unless another door
    /// listens on the same socket.
    pub async fn keep(self: Arc<Self>, proxy: Arc<Proxy>, listener: Arc<Listener>, close: Stop) {
        let (mut next, is_set) = (None, listener.passes_options_on());
        let accept = async {
            loop {
                // A place that was kept for nobody would be missing at another address of the listener.
                next = Some(listener.accept().await);
                let slot = self.slot().await;
                if let Some((client, peer)) = next.take() {
                    self.admit(&proxy, client, peer, slot, is_set);
                }
            }
        };
        tokio::select! {
            biased;
            () = close.raised() => {}
            () = accept => {}
        }
        if let Some(last) = Arc::into_inner(listener) {
            last.stop_queueing();
            while let Some((slot, (client, peer))) = self.slots.try_take().zip(last.take_last()) {
                self.admit(&proxy, client, peer, slot, is_set);
            }
        }
        // Whoever found the door full waits on; the address is free meanwhile.
        if let Some((client, peer)) = next {
            let slot = self.slots.take().await;
            self.admit(&proxy, client, peer, slot, is_set);
        }
    }

    async fn slot(&self) -> Slot {
        if let Some(slot) = self.slots.try_take() {
            return slot;
        }
        let max_connections = self.settings.load().max_connections;
        tracing::warn!(listener = %self.name, max_connections, "listener is full; new connections wait");
        self.slots.take().await
    }

    /// `is_set`: the options of its connection are what they are to be.
    fn admit(self: &Arc<Self>, proxy: &Arc<Proxy>, client: Stream, peer: Peer, slot: Slot, is_set: bool) {
        let (door, shared) = (Arc::clone(self), Arc::clone(proxy));
        let live = self.live.try_take();
        proxy.connections.spawn(async move {
            connection::serve(&shared, &door, client, peer, is_set).await;
            drop((slot, live));
        });
    }
}

fn count_limit(metrics: &ListenerMetrics, settings: &DoorSettings) {
    metrics.max_connections.set(u64::try_from(settings.max_connections).unwrap_or(u64::MAX));
}
