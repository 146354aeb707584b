//! What TLS listeners show, and what brokers are shown: read at the start, at a reload, and when a file has changed.

use crate::config::{Config, ListenerConfig};
use crate::net::tls::{Shown, TlsFileError, TlsServer};
use crate::net::upstream::{Groups, Upstream};
use crate::proxy::Door;
use crate::telemetry::Chain;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
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
    pub(super) fn tick<'d>(&mut self, doors: impl Iterator<Item = &'d Arc<Door>>, groups: &Groups, now: i64) {
        self.ticks += 1;
        let (is_a_new_day, is_time) = (self.told_on != Some(now.div_euclid(DAY)), self.ticks >= TICKS);
        if !is_a_new_day && !is_time {
            return;
        }
        let doors: Vec<_> = doors.filter(|door| door.tls().is_some()).map(Arc::clone).collect();
        let groups: Vec<_> = groups.all().filter(|group| group.settings().tls.is_some()).cloned().collect();
        if is_a_new_day {
            self.told_on = Some(now.div_euclid(DAY));
            for door in &doors {
                warn_of_ends(door, now);
            }
            for group in &groups {
                warn_of_end(group, now);
            }
        }
        if !is_time {
            return;
        }
        self.ticks = 0;
        if doors.is_empty() && groups.is_empty() {
            return;
        }
        // Whoever still reads reads on; the next look finds what it missed.
        let Ok(turn) = Arc::clone(&self.reading).try_acquire_owned() else { return };
        tokio::task::spawn_blocking(move || {
            for door in &doors {
                refresh(door, now);
            }
            for group in &groups {
                refresh_group(group, now);
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

fn refresh_group(group: &Upstream, now: i64) {
    match group.refresh_tls() {
        None => {}
        Some(Ok(())) => {
            info!(upstream = %group.name(), "certificates have changed and are in use");
            warn_of_end(group, now);
        }
        Some(Err(error)) => {
            error!(upstream = %group.name(), error = %Chain(&error), "changed certificates are not used; those before stay");
        }
    }
}

/// Says which certificates of a listener end soon, or have ended.
fn warn_of_ends(door: &Door, now: i64) {
    let Some(server) = door.tls() else { return };
    for shown in server.shown() {
        let (listener, file, subject) = (door.name(), shown.path.display(), &shown.subject);
        match end_of(shown, server.settings().expiry_warning, now) {
            End::Past { days } => {
                error!(%listener, %file, subject, days, "certificate has expired; clients refuse it");
            }
            End::Near { days } => warn!(%listener, %file, subject, days, "certificate expires soon"),
            End::Far => {}
        }
    }
}

/// Says whether the certificate that we show to brokers ends soon, or has ended.
fn warn_of_end(group: &Upstream, now: i64) {
    let (Some(shown), Some(tls)) = (group.shown(), &group.settings().tls) else { return };
    let (upstream, file, subject) = (group.name(), shown.path.display(), &shown.subject);
    match end_of(&shown, tls.expiry_warning, now) {
        End::Past { days } => {
            error!(%upstream, %file, subject, days, "our certificate has expired; brokers refuse it");
        }
        End::Near { days } => warn!(%upstream, %file, subject, days, "our certificate expires soon"),
        End::Far => {}
    }
}

/// How far the end of a certificate is away, in days.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Past { days: i64 },
    Near { days: i64 },
    Far,
}

fn end_of(shown: &Shown, notice: Duration, now: i64) -> End {
    let left = shown.not_after.saturating_sub(now);
    if left <= 0 {
        End::Past { days: -(left / DAY) }
    } else if left <= i64::try_from(notice.as_secs()).unwrap_or(i64::MAX) {
        End::Near { days: left / DAY }
    } else {
        End::Far
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_warned_about_before_its_end_and_after_it() {
        let end = |now| {
            let shown =
                Shown { path: "cert.pem".into(), subject: "CN=proxy".to_owned(), not_after: 10 * DAY };
            end_of(&shown, Duration::from_hours(24 * 3), now)
        };
        assert_eq!(end(7 * DAY - 1), End::Far);
        assert_eq!(end(7 * DAY), End::Near { days: 3 });
        assert_eq!(end(10 * DAY - 1), End::Near { days: 0 });
        assert_eq!(end(10 * DAY), End::Past { days: 0 });
        assert_eq!(end(12 * DAY + 5), End::Past { days: 2 });
        assert_eq!(end(i64::MIN), End::Far);
    }
}
