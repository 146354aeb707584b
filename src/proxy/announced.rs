//! Behind a load balancer: whom a connection is for, and what a broker is told of that.

use super::connection::Connection;
use super::gate::NoConnect;
use super::witness::Untold;
use crate::metrics::Outcome;
use crate::net::peer::Peer;
use crate::net::proxy_header::{self, NoHeader};
use crate::net::stream::Stream;
use crate::net::upstream::Introduction;
use crate::refused::Reason;
use crate::wire::proxy_protocol::{Origin, Tlvs};
use ipnet::IpNet;
use std::time::Duration;

/// What a listener makes of PROXY headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Who sends one.
    pub mode: ProxyMode,
    /// Who may say for whom it speaks.
    pub trusted: Vec<IpNet>,
    /// Whoever may open the Unix sockets of the listener may, too.
    pub trusts_unix: bool,
    /// How long a header may take.
    pub timeout: Duration,
}

/// Who sends a PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyMode {
    /// Nobody.
    Off,
    /// Load balancers do, and clients come without.
    Optional,
    /// Everybody does.
    Required,
}

impl ProxyProtocol {
    pub(super) fn trusts(&self, peer: Peer) -> bool {
        match peer.ip() {
            Some(addr) => self.trusted.iter().any(|network| network.contains(&addr)),
            None => self.trusts_unix,
        }
    }
}

/// Why it is not known whom a connection is for.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoPeer {
    /// A header from somebody whom we do not believe.
    #[error("a PROXY header from an address that is not among the trusted ones")]
    Spoofed,
    /// Somebody whom we do not believe, where everybody has to have a header.
    #[error("the address is not among the trusted ones, which alone may connect here")]
    Untrusted,
    /// No header of a trusted one.
    #[error(transparent)]
    NoHeader(#[from] NoHeader),
}

impl NoPeer {
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            NoPeer::Spoofed | NoPeer::Untrusted => Outcome::UntrustedProxy,
            NoPeer::NoHeader(NoHeader::Bad(_)) => Outcome::BadProxyHeader,
            NoPeer::NoHeader(NoHeader::Probe) => Outcome::Probe,
            NoPeer::NoHeader(NoHeader::ClosedEarly(_) | NoHeader::Broke(..)) => Outcome::ClosedEarly,
            NoPeer::NoHeader(NoHeader::TimedOut(_)) => Outcome::ConnectTimeout,
        }
    }
}

impl Connection<'_> {
    /// Finds out whom the connection is for, and lets in whoever is not shut out by that address alone. Whatever it is
    /// for, the address that the connection itself has is never blamed for it where that is a trusted one: a ban of the
    /// load balancer would be a ban of everybody.
    pub(super) async fn meet(&mut self, client: Stream) -> Option<Stream> {
        let rules = &self.settings.proxy_protocol;
        match (rules.mode, rules.trusts(self.peer)) {
            (ProxyMode::Off, _) => self.knock(client),
            (ProxyMode::Required, false) => {
                let client = self.knock(client)?;
                self.turn_away(&NoPeer::Untrusted, Some(Untold::Probe));
                drop(client);
                None
            }
            (ProxyMode::Optional, false) => {
                let client = self.knock(client)?;
                if self.is_announced(&client).await? {
                    self.turn_away(&NoPeer::Spoofed, Some(Untold::Malformed));
                    return None;
                }
                Some(client)
            }
            (ProxyMode::Optional, true) if !self.is_announced(&client).await? => self.knock(client),
            (ProxyMode::Optional | ProxyMode::Required, true) => {
                let client = self.read_header(client).await?;
                self.knock(client)
            }
        }
    }

    async fn is_announced(&mut self, client: &Stream) -> Option<bool> {
        let began = tokio::time::Instant::now();
        let ahead = proxy_header::is_ahead(client, self.settings.connect_timeout).await;
        self.waited = began.elapsed();
        // Without a header it is a client like any other that says nothing.
        match ahead {
            Ok(is_ahead) => Some(is_ahead),
            Err(NoHeader::TimedOut(_)) => {
                self.end_without_connect(&NoConnect::TimedOut(0));
                None
            }
            Err(_) => {
                self.end_without_connect(&NoConnect::Probe);
                None
            }
        }
    }

    async fn read_header(&mut self, mut client: Stream) -> Option<Stream> {
        match proxy_header::read(&mut client, self.settings.proxy_protocol.timeout).await {
            Ok(announced) => {
                if let Origin::Client { source, .. } = announced.origin {
                    self.via = Some(self.peer);
                    self.peer = Peer::from(source).canonical();
                }
                self.announced = Some(Box::new(announced));
                Some(client)
            }
            Err(failure) => {
                self.turn_away(&failure.into(), None);
                None
            }
        }
    }

    fn turn_away(&self, failure: &NoPeer, untold: Option<Untold>) {
        self.log_no_peer(failure);
        let reason = match failure {
            NoPeer::Spoofed | NoPeer::Untrusted => Some(Reason::UntrustedProxy),
            NoPeer::NoHeader(NoHeader::Bad(_)) => Some(Reason::BadProxyHeader),
            NoPeer::NoHeader(_) => None,
        };
        if let Some(reason) = reason {
            self.note_turned_away(reason);
        }
        if let Some(untold) = untold {
            self.tell_untold(untold);
        }
    }

    /// True for what a load balancer does on its own account: to see whether we live, as a rule.
    pub(super) fn is_proxys_own(&self) -> bool {
        self.announced.as_ref().is_some_and(|announced| announced.origin == Origin::Local)
    }

    /// True where a load balancer has not said whom it speaks for, or says that it is itself: HAProxy's checks come with
    /// the address that HAProxy calls from.
    pub(super) fn is_unnamed(&self) -> bool {
        let is_itself = self.via.is_some_and(|via| via.ip().is_some() && via.ip() == self.peer.ip());
        self.announced.is_some() && (self.via.is_none() || is_itself) || self.is_http_proxy()
    }

    /// What is known of the client beside its address.
    pub(super) fn tlvs(&self) -> Tlvs<'_> {
        self.own_tlvs().or_else(|| Some(self.announced.as_deref()?.tlvs())).unwrap_or_default()
    }

    /// What a broker is told of the client, where it is told anything.
    pub(super) fn introduction(&self, client: &Stream) -> Introduction<'_> {
        let announced = self.announced.as_ref().and_then(|announced| match announced.origin {
            Origin::Client { destination, .. } => Some(destination),
            Origin::Local | Origin::Unknown => None,
        });
        let ends = self
            .peer
            .addr()
            .map(|source| (source, announced.or_else(|| proxy_header::local_addr(client)).unwrap_or(source)));
        Introduction { ends, tlvs: self.tlvs() }
    }
}
