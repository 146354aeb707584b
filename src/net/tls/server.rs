//! A listener's side of TLS, with every file read.

use super::files::{self, Loaded, Shown, TlsFileError};
use super::resolver::ByName;
use super::settings::{ClientAuth, MinVersion, TlsSettings};
use super::watch::WatchedFiles;
use aws_lc_rs::digest::{Context, SHA256};
use std::sync::Arc;
use std::thread::available_parallelism;
use tokio::sync::Semaphore;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions,
    WebPkiClientVerifier,
};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{Error, ServerConfig, SupportedProtocolVersion};

/// What a listener shows and whom it believes.
#[derive(Debug)]
pub struct TlsServer {
    pub(super) settings: TlsSettings,
    pub(super) config: Arc<ServerConfig>,
    pub(super) by_name: Arc<ByName>,
    /// Who may compute a handshake now. It outlives the files.
    pub(super) turns: Arc<Semaphore>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    shown: Vec<Shown>,
    files: WatchedFiles,
    resumption: Option<Resumption>,
}

/// What lets clients skip most of a handshake.
#[derive(Debug, Clone)]
struct Resumption {
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
    capacity: usize,
    /// Of whom clients had to be believed by when they got their tickets.
    believed: Vec<u8>,
}

impl TlsServer {
    /// Reads every file. `before` is the one that this takes the place of: its clients may resume their sessions, unless
    /// whom the listener believes has changed.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn load(settings: &TlsSettings, before: Option<&TlsServer>) -> Result<TlsServer, TlsFileError> {
        let files = watched(settings);
        let provider = Arc::new(provider_of(settings));
        let loaded: Vec<Loaded> = settings
            .certificates
            .iter()
            .map(|files| files::key_pair(files, &provider))
            .collect::<Result<_, _>>()?;
        let (verifier, believed) = verifier(settings, &provider)?;
        let by_name = Arc::new(ByName::new(&loaded, settings.unknown_name));
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions(settings))
            .map_err(TlsFileError::Setup)?;
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&by_name) as _);
        config.alpn_protocols = settings.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let resumption = resumption(settings, believed, before)?;
        if let Some(resumption) = &resumption {
            config.ticketer = Arc::clone(&resumption.tickets);
            config.session_storage = Arc::clone(&resumption.sessions);
            // Each is good for one connection, and gives the next one; who needs two at once is rare.
            config.send_tls13_tickets = 1;
        } else {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        let shown = loaded.iter().map(Loaded::shown);
        let turns = match before.filter(|before| before.settings.max_handshakes == settings.max_handshakes) {
            Some(before) => Arc::clone(&before.turns),
            None => Arc::new(Semaphore::new(turns(settings))),
        };
        Ok(TlsServer {
            settings: settings.clone(),
            config: Arc::new(config),
            by_name,
            turns,
            verifier,
            shown: shown.collect(),
            files,
            resumption,
        })
    }

    /// How it was set.
    pub fn settings(&self) -> &TlsSettings {
        &self.settings
    }

    /// What it shows.
    pub fn shown(&self) -> &[Shown] {
        &self.shown
    }

    /// True when a file is another one than it was when this was asked last, or when it was read.
    pub fn take_change(&self) -> bool {
        self.files.take_change()
    }

    /// Whether a certificate that was believed once is still to be: a ticket may outlive it.
    pub(super) fn believes(&self, chain: &[CertificateDer<'_>]) -> Result<(), Error> {
        let (Some(verifier), [leaf, others @ ..]) = (&self.verifier, chain) else { return Ok(()) };
        verifier.verify_client_cert(leaf, others, UnixTime::now()).map(drop)
    }
}

/// The files to look at.
fn watched(settings: &TlsSettings) -> WatchedFiles {
    let pairs = settings.certificates.iter().flat_map(|files| [&files.cert, &files.key]);
    WatchedFiles::new(pairs.chain(&settings.client_ca).chain(&settings.client_crl))
}

fn turns(settings: &TlsSettings) -> usize {
    let processors = || available_parallelism().map_or(1, usize::from);
    settings.max_handshakes.map_or_else(processors, usize::from).min(Semaphore::MAX_PERMITS)
}

fn versions(settings: &TlsSettings) -> &'static [&'static SupportedProtocolVersion] {
    const FROM_12: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
    const FROM_13: &[&SupportedProtocolVersion] = &[&TLS13];
    match settings.min_version {
        MinVersion::V12 => FROM_12,
        MinVersion::V13 => FROM_13,
    }
}

/// The provider with the cipher suites that are to be spoken. It is named, since a process that has two could not
/// choose.
fn provider_of(settings: &TlsSettings) -> CryptoProvider {
    let all = provider::default_provider();
    if settings.cipher_suites.is_empty() {
        return all;
    }
    let cipher_suites = settings.cipher_suites.iter().filter_map(|name| name.suite()).collect();
    CryptoProvider { cipher_suites, ..all }
}

type Verifier = Arc<dyn ClientCertVerifier>;

/// Who checks clients' certificates, and a digest of whom it believes.
fn verifier(
    settings: &TlsSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<(Option<Verifier>, Vec<u8>), TlsFileError> {
    let (ClientAuth::Optional | ClientAuth::Required, Some(ca)) = (settings.client_auth, &settings.client_ca)
    else {
        return Ok((None, Vec::new()));
    };
    let (roots, revocations) = (files::authorities(ca)?, files::revocations(&settings.client_crl)?);
    let mut believed = Context::new(&SHA256);
    for root in &roots.roots {
        believed.update(&root.subject);
        believed.update(&root.subject_public_key_info);
    }
    for list in &revocations {
        believed.update(list);
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if !revocations.is_empty() {
        // Lists are often there for the authority that signs clients alone; and one that is past its date still names
        // whom it names.
        builder = builder.with_crls(revocations).allow_unknown_revocation_status();
    }
    if settings.client_auth == ClientAuth::Optional {
        builder = builder.allow_unauthenticated();
        believed.update(b"optional");
    }
    let verifier = builder.build().map_err(|source| TlsFileError::Verifier(ca.clone(), source))?;
    Ok((Some(verifier), believed.finish().as_ref().to_vec()))
}

fn resumption(
    settings: &TlsSettings,
    believed: Vec<u8>,
    before: Option<&TlsServer>,
) -> Result<Option<Resumption>, TlsFileError> {
    if !settings.resumption {
        return Ok(None);
    }
    let capacity = settings.session_cache;
    let kept = before.and_then(|before| before.resumption.as_ref());
    if let Some(kept) = kept.filter(|kept| kept.capacity == capacity && kept.believed == believed) {
        return Ok(Some(kept.clone()));
    }
    let sessions: Arc<dyn StoresServerSessions> = match capacity {
        0 => Arc::new(NoServerSessionStorage {}),
        _ => ServerSessionMemoryCache::new(capacity),
    };
    let tickets = provider::Ticketer::new().map_err(TlsFileError::Setup)?;
    Ok(Some(Resumption { tickets, sessions, capacity, believed }))
}
