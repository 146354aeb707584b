//! What TLS listeners show: read at the start, at a reload, and when a file has changed.

use crate::config::{Config, ListenerConfig};
use crate::net::tls::{TlsFileError, TlsServer};
use crate::proxy::Door;
use crate::telemetry::Chain;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tracing::{error, info, warn};

/// A listener cannot speak TLS.
#[derive(Debug, thiserror::Error)]
#[error("listener \"{listener}\" cannot speak TLS")]
pub struct CertificateError {
    /// The listener's name.
    pub listener: Arc<str>,
    /// Why it cannot.
    #[source]
    pub source: Box<TlsFileError>,
}

/// What each TLS listener shows, by its name.
pub(super) type Servers = HashMap<Arc<str>, Arc<TlsServer>>;

/// Reads what every listener is to show; `open` are the doors that are there already.
pub(super) fn load<'d>(
    listeners: &[ListenerConfig],
    open: impl Fn(&str) -> Option<&'d Arc<Door>>,
) -> Result<Servers, CertificateError> {
    let mut servers = Servers::new();
    for listener in listeners {
        let Some(settings) = &listener.door.tls else { continue };
        let before = open(&listener.name).and_then(|door| door.tls());
        let failed =
            |source| CertificateError { listener: Arc::clone(&listener.name), source: Box::new(source) };
        let server = TlsServer::load(settings, before.as_deref()).map_err(failed)?;
        servers.insert(Arc::clone(&listener.name), Arc::new(server));
    }
    Ok(servers)
}

/// Reads what every listener of a config is to show and throws it away: whether it can be used.
pub fn check_certificates(config: &Config) -> Result<(), CertificateError> {
    load(&config.listeners, |_| None).map(drop)
}

/// Looks at the files from time to time.
#[derive(Debug)]
pub(super) struct Certificates {
    /// Held while files are read.
    reading: Arc<Semaphore>,
    ticks: u32,
    /// The day on which their ends were looked at last, in days since 1970.
    told_on: Option<i64>,
}

/// How many ticks pass between two looks at the files.
const TICKS: u32 = 5;
const DAY: i64 = 86_400;

impl Certificates {
    pub(super) fn new() -> Certificates {
        Certificates { reading: Arc::new(Semaphore::new(1)), ticks: 0, told_on: None }
    }

    /// Reads what has changed, beside the connections, and once a day warns of what is about to end. `now` is in seconds
    /// since 1970.
    pub(super) fn tick<'d>(&mut self, doors: impl Iterator<Item = &'d Arc<Door>> + Clone, now: i64) {
        if self.told_on != Some(now.div_euclid(DAY)) {
            self.told_on = Some(now.div_euclid(DAY));
            doors.clone().for_each(|door| warn_of_ends(door, now));
        }
        self.ticks += 1;
        if self.ticks < TICKS {
            return;
        }
        self.ticks = 0;
        let doors: Vec<_> = doors.filter(|door| door.tls().is_some()).map(Arc::clone).collect();
        if doors.is_empty() {
            return;
        }
        // Whoever still reads reads on; the next look finds what it missed.
        let Ok(turn) = Arc::clone(&self.reading).try_acquire_owned() else { return };
        tokio::task::spawn_blocking(move || {
            for door in doors {
                refresh(&door, now);
            }
            drop(turn);
        });
    }
}

fn refresh(door: &Door, now: i64) {
    let Some(server) = door.tls().filter(|server| server.take_change()) else { return };
    match TlsServer::load(server.settings(), Some(&server)) {
        Ok(loaded) => {
            info!(listener = %door.name(), "certificates have changed and are in use");
            // A reload may have been faster.
            door.replace(&server, &Arc::new(loaded));
            warn_of_ends(door, now);
        }
        Err(error) => {
            error!(listener = %door.name(), error = %Chain(&error), "changed certificates are not used; those before stay");
        }
    }
}

/// Says which certificates of a listener end soon, or have ended.
pub(super) fn warn_of_ends(door: &Door, now: i64) {
    let Some(server) = door.tls() else { return };
    let notice = i64::try_from(server.settings().expiry_warning.as_secs()).unwrap_or(i64::MAX);
    for shown in server.shown() {
        let left = shown.not_after - now;
        let (listener, file, subject) = (door.name(), shown.path.display(), &shown.subject);
        if left <= 0 {
            error!(%listener, %file, subject, days = -left / DAY, "certificate has expired; clients refuse it");
        } else if left <= notice {
            warn!(%listener, %file, subject, days = left / DAY, "certificate expires soon");
        }
    }
}
