//! Many clients that come back at once whenever they are thrown out, as badly written ones do.

use super::caller::{Answer, Caller};
use crate::harness::eventually;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

pub(super) struct Swarm {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    inside: AtomicUsize,
    ends: AtomicUsize,
    /// How often each code was heard.
    refusals: Mutex<BTreeMap<u8, usize>>,
}

impl Swarm {
    pub(super) fn new(callers: impl IntoIterator<Item = Caller>) -> Swarm {
        let shared = Arc::<Shared>::default();
        let live = |caller: Caller| {
            let shared = Arc::clone(&shared);
            spawn(move || shared.live(&caller))
        };
        let clients = callers.into_iter().map(live).collect();
        Swarm { shared, clients }
    }

    /// Waits until all are inside.
    pub(super) fn await_everybody(&self) {
        eventually("everybody to be inside", || {
            self.shared.inside.load(Ordering::SeqCst) == self.clients.len()
        });
    }

    /// Waits until all have been thrown out so many times.
    pub(super) fn await_ends(&self, times: usize) {
        eventually("all to be thrown out", || {
            self.shared.ends.load(Ordering::SeqCst) >= times * self.clients.len()
        });
    }

    /// Sends everybody away; returns which codes were heard, and how often.
    pub(super) fn end(self) -> BTreeMap<u8, usize> {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.clients.into_iter().for_each(|client| client.join().expect("no panic"));
        self.shared.refusals.lock().expect("no panic").clone()
    }
}

impl Shared {
    fn live(&self, caller: &Caller) {
        while !self.is_over() {
            match caller.call() {
                Answer::Inside(stream) => {
                    self.inside.fetch_add(1, Ordering::SeqCst);
                    self.stay(stream);
                    self.inside.fetch_sub(1, Ordering::SeqCst);
                    self.ends.fetch_add(1, Ordering::SeqCst);
                }
                Answer::Refused(code) => {
                    *self.refusals.lock().expect("no panic").entry(code).or_default() += 1;
                }
                Answer::Closed => {}
            }
            sleep(PAUSE);
        }
    }

    /// Until it is thrown out, or all is over.
    fn stay(&self, mut stream: TcpStream) {
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("open");
        while !self.is_over() {
            match stream.read(&mut [0; 64]) {
                Ok(0) => return,
                Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return,
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }
}

/// Between two attempts: at once, and yet this machine has other things to do.
const PAUSE: Duration = Duration::from_millis(50);
