//! The API waits while clients are served: on a machine that is busy with connections, calls are answered one after the
//! other, with a pause after each that is as long as it takes for the call to have been a fiftieth of all processors.
//!
//! A low priority alone does not do that. Connections wait for the network in between, in moments of microseconds, and
//! whoever has the lowest priority works in these, and costs whoever comes next a switch and a cold cache.

use std::fmt;
use std::num::NonZero;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until, timeout};

/// Who is served when. Clones share it.
#[derive(Clone)]
pub struct Turns(Arc<Shared>);

struct Shared {
    gauge: Box<dyn Gauge>,
    lines: [tokio::sync::Mutex<()>; 3],
    /// Where the first of each line stand, in the order in which they came there.
    door: tokio::sync::Mutex<()>,
    book: Mutex<Book>,
}

/// Where a caller stands in line: nobody waits for more than one of each other line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// Of the socket.
    Owner,
    /// Of the network, known by name.
    Known,
    /// Anybody else, as who logs in.
    Stranger,
}

/// What is known of how busy everybody is. All are sums since the start.
trait Gauge: Send + Sync {
    /// How many threads serve connections.
    fn servants(&self) -> u32;
    /// How long they have been at work, all together.
    fn at_work(&self) -> Duration;
    /// The processor time that the API has used; `None` where nobody knows.
    fn used(&self) -> Option<Duration>;
}

/// What this process and its system know.
#[derive(Debug)]
struct System(Handle);

impl Gauge for System {
    fn servants(&self) -> u32 {
        u32::try_from(self.0.metrics().num_workers()).unwrap_or(u32::MAX)
    }

    fn at_work(&self) -> Duration {
        let metrics = self.0.metrics();
        (0..metrics.num_workers()).map(|worker| metrics.worker_total_busy_duration(worker)).sum()
    }

    fn used(&self) -> Option<Duration> {
        crate::process::background_time()
    }
}

/// What is remembered from call to call.
#[derive(Debug)]
struct Book {
    looked_at: Instant,
    at_work: Duration,
    is_busy: bool,
    /// What the API had used when that was last looked at, while it was busy.
    used: Option<Duration>,
    /// When the next call may begin.
    next: Instant,
    processors: u32,
}

/// How often it is looked whether it is busy.
const LOOK: Duration = Duration::from_millis(50);
/// From which part of their time on those who serve connections are busy.
const BUSY: u32 = 10;
/// The API then has this part of the time of all processors.
const SHARE: u32 = 50;
/// No pause is longer, whatever a call has used.
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// A call that takes longer keeps nobody waiting any more; what it uses is paid for by those who come next.
const LONG: Duration = Duration::from_millis(50);

impl Turns {
    /// Turns beside the connections that this runtime serves.
    pub fn beside(connections: Handle) -> Turns {
        let processors = available_parallelism().map_or(1, NonZero::get);
        Turns::new(System(connections), u32::try_from(processors).unwrap_or(u32::MAX))
    }

    fn new(gauge: impl Gauge + 'static, processors: u32) -> Turns {
        let now = Instant::now();
        let book = Book {
            looked_at: now,
            at_work: gauge.at_work(),
            is_busy: false,
            used: None,
            next: now,
            processors,
        };
        Turns(Arc::new(Shared {
            gauge: Box::new(gauge),
            lines: Default::default(),
            door: tokio::sync::Mutex::default(),
            book: Mutex::new(book),
        }))
    }

    /// Answers a call when it is its turn: at once, unless it is busy.
    pub(super) async fn take<T>(&self, line: Line, call: impl Future<Output = T>) -> T {
        if !self.is_busy() {
            return call.await;
        }
        let [owners, known, strangers] = &self.0.lines;
        let line = match line {
            Line::Owner => owners,
            Line::Known => known,
            Line::Stranger => strangers,
        };
        let turn = (line.lock().await, self.0.door.lock().await);
        // It may be quiet again by now, or get so.
        while self.is_busy() {
            let next = self.book(|book| book.next);
            if next <= Instant::now() {
                break;
            }
            sleep_until(next.min(Instant::now() + LOOK)).await;
        }
        let mut call = pin!(call);
        self.begin();
        let answer = timeout(LONG, call.as_mut()).await;
        self.pay();
        drop(turn);
        match answer {
            Ok(answer) => answer,
            Err(_) => call.await,
        }
    }

    fn is_busy(&self) -> bool {
        let now = Instant::now();
        self.book(|book| {
            if now >= book.looked_at + LOOK {
                book.look(now, self.0.gauge.at_work(), self.0.gauge.servants());
            }
            book.is_busy
        })
    }

    /// What was used in quiet times is not paid for.
    fn begin(&self) {
        if self.book(|book| book.used.is_none()) {
            let used = self.0.gauge.used();
            self.book(|book| book.used = used);
        }
    }

    fn pay(&self) {
        let (now, used) = (Instant::now(), self.0.gauge.used());
        self.book(|book| book.pay(now, used));
    }

    fn book<T>(&self, with: impl FnOnce(&mut Book) -> T) -> T {
        with(&mut self.0.book.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Book {
    fn look(&mut self, now: Instant, at_work: Duration, servants: u32) {
        let (passed, worked) = (now - self.looked_at, at_work.saturating_sub(self.at_work));
        self.is_busy = worked.saturating_mul(BUSY) >= passed.saturating_mul(servants);
        (self.looked_at, self.at_work) = (now, at_work);
        if !self.is_busy {
            self.used = None;
        }
    }

    fn pay(&mut self, now: Instant, used: Option<Duration>) {
        let price = match (self.used, used) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            // Nobody knows: as much as it is likely to be.
            _ => GUESS,
        };
        self.used = used;
        self.next = self.next.max(now) + (price * SHARE / self.processors).min(MAX_PAUSE);
    }
}

/// What a call costs where the system does not tell.
const GUESS: Duration = Duration::from_micros(300);

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turns").field("book", &self.0.book).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
