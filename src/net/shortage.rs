//! The system has run out of something: file descriptors, memory, ports. That is nobody's fault whom we speak with, and
//! said once, however often it comes and goes.

use rustix::io::Errno;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// True when a connection could not be had because this machine, or this process, has no more to give.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::ADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| shortages.iter().any(|errno| errno.raw_os_error() == code))
}

/// Whether a shortage was told of. One that comes and goes with each connection is told of once a minute.
#[derive(Debug, Default)]
pub(super) struct Shortage {
    is_told: AtomicBool,
    told_at: Mutex<Option<Instant>>,
}

const QUIET: Duration = Duration::from_mins(1);

impl Shortage {
    /// There is one. True when that is to be told.
    pub(super) fn is_news(&self, now: Instant) -> bool {
        let mut told_at = self.told_at.lock().unwrap_or_else(PoisonError::into_inner);
        if told_at.is_some_and(|at| now.saturating_duration_since(at) < QUIET) {
            return false;
        }
        *told_at = Some(now);
        self.is_told.store(true, Ordering::Relaxed);
        true
    }

    /// There is none. True when that is to be told: it was told that there is one.
    pub(super) fn is_over(&self) -> bool {
        self.is_told.load(Ordering::Relaxed) && self.is_told.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_that_comes_and_goes_is_told_of_once_a_minute() {
        let (shortage, now) = (Shortage::default(), Instant::now());
        assert!(!shortage.is_over());
        assert!(shortage.is_news(now) && !shortage.is_news(now));
        assert!(shortage.is_over() && !shortage.is_over());
        assert!(!shortage.is_news(now + Duration::from_secs(59)) && !shortage.is_over());
        assert!(shortage.is_news(now + QUIET) && shortage.is_over());
    }

    #[test]
    fn what_a_peer_does_is_no_shortage() {
        assert!(is_shortage(&Errno::MFILE.into()) && is_shortage(&Errno::ADDRNOTAVAIL.into()));
        for errno in [Errno::CONNREFUSED, Errno::TIMEDOUT, Errno::HOSTUNREACH] {
            assert!(!is_shortage(&errno.into()), "{errno}");
        }
        assert!(!is_shortage(&io::ErrorKind::TimedOut.into()));
    }
}
