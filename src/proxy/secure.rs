//! Speaks TLS with a client, where the listener does.

use super::connection::{Connection, Name};
use super::gate::NoConnect;
use super::refusal::Refusal;
use super::witness::Manners;
use super::{OnBannedPeer, PeerCertAs};
use crate::admission::TlsIdentity;
use crate::metrics::Outcome;
use crate::net::linger;
use crate::net::stream::Stream;
use crate::net::tls::{self, CertField, Ended, Knock};
use crate::refused::Reason;
use crate::wire::proxy_protocol::{Tls, Tlvs};
use compact_str::CompactString;
use std::sync::Arc;
use std::time::Duration;

impl Connection<'_> {
    /// The stream that the client speaks MQTT on, after a handshake where the listener asks for one.
    pub(super) async fn secure(&mut self, client: Stream) -> Option<Stream> {
        let Some(server) = self.door.tls() else { return Some(client) };
        let shaken = match tls::listen(&server, client, &mut self.heard).await {
            Ok(knock) => tls::accept(&server, self.hear(knock)?).await,
            Err(failure) => Err(failure),
        };
        match shaken {
            Ok((stream, facts)) => {
                self.door.metrics().tls.count(if facts.is_resumed { "resumed" } else { "full" });
                self.tls = Some(Arc::new(facts));
                self.heard = None;
                // From here on the time for its CONNECT runs.
                self.waited = Duration::ZERO;
                Some(stream)
            }
            Err((ended, stream)) => {
                self.fail(ended, stream).await;
                None
            }
        }
    }

    /// Ends a connection from a client whose fingerprint is banned before anything is computed for it, where the listener is
    /// set to end those of banned addresses.
    fn hear(&self, knock: Knock) -> Option<Knock> {
        let close = self.settings.on_banned_peer;
        if close == OnBannedPeer::Connack {
            return Some(knock);
        }
        let Some(ban) = self.proxy.bouncer.check_ja4(self.peer.ip(), knock.ja4().as_str()) else {
            return Some(knock);
        };
        if close == OnBannedPeer::Reset {
            // Only a socket that the peer has reset already cannot be reset.
            let _ = knock.into_stream().reset_on_drop();
        }
        let refusal = Refusal::Banned(ban);
        self.log_refused(&refusal, None);
        self.note_refused(&refusal, None);
        None
    }

    async fn fail(&self, ended: Ended, stream: Option<Stream>) {
        let result = match &ended {
            Ended::Probe => None,
            Ended::ClosedEarly(_) | Ended::Broke(_) => Some("closed"),
            Ended::TimedOut => Some("timeout"),
            Ended::Refused(refused) => Some(refused.as_str()),
        };
        if let Some(result) = result {
            self.door.metrics().tls.count(result);
        }
        if outcome_of(&ended) == Outcome::TlsFailed {
            self.note_turned_away(Reason::TlsFailed);
        }
        let manners = self.end_without_connect(&NoConnect::Tls(ended));
        if let Some(stream) = stream.filter(|_| manners == Manners::Answer) {
            // The alert has been written; a reset would have the client never read it.
            linger::close(stream, &[]).await;
        }
    }

    /// What its TLS with us says of the client, as a PROXY header would.
    pub(super) fn own_tlvs(&self) -> Option<Tlvs<'_>> {
        let facts = self.tls.as_deref()?;
        let tls = Tls {
            certificate_now: facts.cert.is_some() && !facts.is_resumed,
            certificate_in_session: facts.cert.is_some(),
            verify: 0,
            version: Some(if facts.version == "1.3" { "TLSv1.3" } else { "TLSv1.2" }),
            common_name: facts.cert.as_ref().and_then(|cert| cert.cn.as_deref()),
        };
        let (alpn, authority) = (facts.alpn.as_deref().map(str::as_bytes), facts.server_name.as_deref());
        Some(Tlvs { alpn, authority, tls: Some(tls) })
    }

    /// What TLS says of the client, with us or with the load balancer, as bans name it.
    pub(super) fn tls_identity(&self) -> TlsIdentity<'_> {
        let (facts, told) = (self.tls.as_deref(), self.tlvs().tls.filter(Tls::is_verified));
        TlsIdentity {
            cert_cn: told.and_then(|tls| tls.common_name),
            cert_sha256: facts.and_then(|facts| Some(facts.cert.as_ref()?.sha256.as_str())),
            ja4: match facts {
                Some(facts) => Some(facts.ja4.as_str()),
                None => self.heard.as_ref().map(|heard| heard.ja4.as_str()),
            },
        }
    }

    /// The name of the server that the client asked for by TLS, with us or with the load balancer.
    pub(super) fn server_name(&self) -> Option<&str> {
        let heard = self.heard.as_deref().and_then(|heard| heard.server_name.as_deref());
        heard.or_else(|| self.tlvs().authority)
    }

    /// True when the client speaks TLS, with us or with the load balancer.
    pub(super) fn is_tls(&self) -> bool {
        self.door.tls().is_some() || self.tlvs().tls.is_some()
    }

    /// The client under the name that its certificate gives it, where it showed one and the listener goes by that. A
    /// certificate that lacks the part in question names nobody: what the client merely claims does not count then.
    pub(super) fn identified(&self, mut name: Name) -> Name {
        let PeerCertAs { username, client_id } = self.settings.peer_cert_as;
        let Some(cert) = self.tls.as_ref().and_then(|tls| tls.cert.as_ref()) else {
            return self.identified_by_header(name);
        };
        if let Some(field) = username {
            name.username = cert.field(field).map(Into::into);
        }
        if let Some(field) = client_id {
            name.client_id = cert.field(field).map(Into::into).unwrap_or_default();
        }
        name
    }
}

impl Connection<'_> {
    /// As [`identified`](Connection::identified), by what a load balancer says of the certificate: its common name.
    fn identified_by_header(&self, mut name: Name) -> Name {
        let PeerCertAs { username, client_id } = self.settings.peer_cert_as;
        let Some(tls) = self.tlvs().tls.filter(Tls::is_verified) else { return name };
        let of = |field| {
            tls.common_name.filter(|cn| field == CertField::Cn && !cn.is_empty()).map(CompactString::from)
        };
        if let Some(field) = username {
            name.username = of(field);
        }
        if let Some(field) = client_id {
            name.client_id = of(field).unwrap_or_default();
        }
        name
    }
}

/// How a connection counts that never came to speak TLS.
pub(super) fn outcome_of(ended: &Ended) -> Outcome {
    match ended {
        Ended::Probe => Outcome::Probe,
        Ended::ClosedEarly(_) | Ended::Broke(_) => Outcome::ClosedEarly,
        Ended::TimedOut => Outcome::ConnectTimeout,
        Ended::Refused(_) => Outcome::TlsFailed,
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::TlsMetrics;
    use crate::net::tls::Refused;

    #[test]
    fn every_reason_to_refuse_a_handshake_is_counted() {
        for reason in Refused::ALL {
            assert!(TlsMetrics::RESULTS.contains(&reason), "{reason}");
        }
    }
}
