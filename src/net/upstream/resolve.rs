//! What a name leads to. An answer is kept until there is another: nobody waits for a look-up when an answer is known,
//! and a look-up that fails changes nothing.
//!
//! Names are looked up as the system does it (`getaddrinfo`): hosts file, DNS, whatever it is set to.

use super::server::Server;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

/// The addresses of one server.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    answer: watch::Sender<Answer>,
    /// Set while it is looked up: the system may take its time, and is asked once.
    is_looking: AtomicBool,
    /// Which address is the first to be tried.
    turn: AtomicUsize,
}

/// What the last look-ups have found.
#[derive(Debug, Clone, Default)]
struct Answer {
    /// Of the last one that found any.
    addrs: Arc<[SocketAddr]>,
    /// When the last one failed, and why; `None` when it did not.
    failure: Option<(Instant, Arc<str>)>,
    /// When the last one was made.
    at: Option<Instant>,
}

/// Says that nobody looks any more, whatever has become of whoever did.
struct Looking<'a>(&'a AtomicBool);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// What a look-up has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum LookUp {
    /// Other addresses than before.
    Changed(Arc<[SocketAddr]>),
    /// It failed; what was known before still holds. Told once, until one succeeds.
    Failed(Arc<str>),
    /// What is known was found again.
    Same,
}

/// How many addresses of a name are tried.
const MAX_ADDRS: usize = 16;

/// For how long nobody asks again after a look-up that has failed.
const BELIEVE_FAILURE: Duration = Duration::from_secs(1);

impl Addresses {
    /// The addresses, beginning with another one each time. Waits only where none was ever found.
    pub(super) async fn of(self: &Arc<Self>, server: &Server) -> io::Result<Vec<SocketAddr>> {
        if let Some(addr) = server.addr() {
            return Ok(vec![addr]);
        }
        let mut answers = self.answer.subscribe();
        loop {
            let Answer { addrs, failure, .. } = answers.borrow_and_update().clone();
            if !addrs.is_empty() {
                let first = self.turn.fetch_add(1, Ordering::Relaxed) % addrs.len();
                return Ok(addrs.iter().cycle().skip(first).take(addrs.len()).copied().collect());
            }
            if let Some((_, problem)) = failure.filter(|(at, _)| at.elapsed() < BELIEVE_FAILURE) {
                return Err(io::Error::other(problem.to_string()));
            }
            self.refresh(server);
            if answers.changed().await.is_err() {
                return Err(io::ErrorKind::NotFound.into());
            }
        }
    }

    /// Has the name looked up, beside whoever asks for that.
    fn refresh(self: &Arc<Self>, server: &Server) {
        let (addresses, server) = (Arc::clone(self), server.clone());
        tokio::spawn(async move { addresses.look_up(&server).await });
    }

    /// Nobody was found at the addresses that are known: perhaps there are others by now.
    pub(super) fn doubt(self: &Arc<Self>, server: &Server) {
        let is_old = self.answer.borrow().at.is_some_and(|at| at.elapsed() >= BELIEVE_FAILURE);
        if server.is_name() && is_old {
            self.refresh(server);
        }
    }

    /// Looks the name up, unless somebody is at it.
    pub(super) async fn look_up(&self, server: &Server) {
        if self.is_looking.swap(true, Ordering::Acquire) {
            return;
        }
        let _looking = Looking(&self.is_looking);
        let found = tokio::net::lookup_host(server.as_str()).await;
        match self.note(found.map(|addrs| addrs.take(MAX_ADDRS).collect())) {
            LookUp::Changed(addrs) => info!(%server, ?addrs, "server has other addresses"),
            LookUp::Failed(error) => {
                warn!(%server, %error, "server's name cannot be looked up; what is known of it still holds");
            }
            LookUp::Same => {}
        }
    }

    /// Looks the name up, again and again.
    pub(super) async fn keep(&self, server: &Server, interval: Duration) {
        loop {
            self.look_up(server).await;
            sleep(interval).await;
        }
    }

    fn note(&self, found: io::Result<Vec<SocketAddr>>) -> LookUp {
        let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let found = found.and_then(|addrs| if addrs.is_empty() { Err(none()) } else { Ok(addrs) });
        let mut told = LookUp::Same;
        self.answer.send_modify(|answer| {
            let now = Instant::now();
            answer.at = Some(now);
            match found {
                Ok(mut addrs) => {
                    // Name servers shuffle them; that is no change.
                    addrs.sort_unstable();
                    addrs.dedup();
                    answer.failure = None;
                    if *answer.addrs != *addrs {
                        answer.addrs = addrs.into();
                        told = LookUp::Changed(Arc::clone(&answer.addrs));
                    }
                }
                Err(error) => {
                    let problem: Arc<str> = error.to_string().into();
                    if answer.failure.is_none() {
                        told = LookUp::Failed(Arc::clone(&problem));
                    }
                    answer.failure = Some((now, problem));
                }
            }
        });
        told
    }

    /// What is known.
    pub(super) fn known(&self) -> Arc<[SocketAddr]> {
        Arc::clone(&self.answer.borrow().addrs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    fn addrs(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    fn failed() -> io::Result<Vec<SocketAddr>> {
        Err(io::Error::other("no name server"))
    }

    #[tokio::test]
    async fn an_answer_is_kept_when_a_look_up_fails_and_that_is_told_once() {
        let addresses = Arc::new(Addresses::default());
        let server: Server = "broker.invalid:1883".parse().expect("a server");
        let two = addrs(&["127.0.0.2:1883", "127.0.0.1:1883"]);
        let sorted: Arc<[SocketAddr]> = addrs(&["127.0.0.1:1883", "127.0.0.2:1883"]).into();
        assert_eq!(addresses.note(Ok(two.clone())), LookUp::Changed(Arc::clone(&sorted)));
        assert_eq!(addresses.note(Ok(sorted.to_vec())), LookUp::Same);
        assert_eq!(addresses.note(failed()), LookUp::Failed("no name server".into()));
        assert_eq!(addresses.note(Ok(Vec::new())), LookUp::Same);
        assert_eq!(addresses.known(), sorted);
        // Nobody looks it up for this: the name cannot be.
        let (first, second) = (addresses.of(&server).await, addresses.of(&server).await);
        assert_eq!((first.expect("known"), second.expect("known")), (sorted.to_vec(), two));
        let one = addrs(&["127.0.0.3:1883"]);
        assert_eq!(addresses.note(Ok(one.clone())), LookUp::Changed(one.into()));
        assert_eq!(addresses.note(failed()), LookUp::Failed("no name server".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_leads_nowhere_is_not_looked_up_for_everybody() {
        let addresses = Arc::new(Addresses::default());
        let server: Server = "broker.invalid:1883".parse().expect("a server");
        addresses.note(failed());
        let error = addresses.of(&server).await.expect_err("no answer");
        assert_eq!(error.to_string(), "no name server");
        assert!(!addresses.is_looking.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_looked_up_again_and_again() {
        let addresses = Addresses::default();
        let server: Server = "localhost:1883".parse().expect("a server");
        let began = Instant::now();
        let keeping = addresses.keep(&server, Duration::from_secs(30));
        timeout(Duration::from_secs(70), keeping).await.expect_err("it never ends");
        let last = addresses.answer.borrow().at.expect("looked up");
        assert!(last - began >= Duration::from_mins(1), "{:?}", last - began);
        assert!(!addresses.known().is_empty());
    }

    #[tokio::test]
    async fn a_look_up_that_is_given_up_is_no_look_up_that_goes_on() {
        let addresses = Addresses::default();
        let server: Server = "localhost:1883".parse().expect("a server");
        let mut looking = tokio_test::task::spawn(addresses.look_up(&server));
        tokio_test::assert_pending!(looking.poll());
        assert!(addresses.is_looking.load(Ordering::Relaxed));
        drop(looking);
        assert!(!addresses.is_looking.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn the_first_who_need_a_name_wait_for_one_look_up() {
        let addresses = Arc::new(Addresses::default());
        let server: Server = "localhost:1883".parse().expect("a server");
        let (one, other) = tokio::join!(addresses.of(&server), addresses.of(&server));
        for found in [one.expect("this machine"), other.expect("this machine")] {
            assert!(found.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 1883), "{found:?}");
        }
        assert!(addresses.answer.borrow().at.is_some());
    }
}
