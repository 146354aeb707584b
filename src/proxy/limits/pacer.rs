//! Has clients that come too fast together wait their turn: after an outage all devices come back at once, and refusing
//! them has them come again at once.
//!
//! Whoever a broker has accepted before goes first; of five that are let through, one is a stranger all the same, where
//! any waits. Those who are known wait in the order in which they came; strangers wait by address, each address in turn,
//! so that nobody gets ahead by coming a thousand times.

use super::rate::Rate;
use super::{Excess, Ticks};
use governor::RateLimiter;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::oneshot::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep, timeout_at};

/// How those wait who come too fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pacing {
    /// How long a client may wait.
    pub max_wait: Duration,
    /// How many may wait.
    pub max_waiting: usize,
}

/// A gate that lets so many through in a second, and a queue in front of it.
#[derive(Debug, Clone)]
pub struct Pacer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limiter: RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Duration>>,
    pacing: Pacing,
    queue: Mutex<Queue>,
}

/// Whoever waits. Those who have given up are passed over when their turn comes.
#[derive(Debug, Default)]
struct Queue {
    known: VecDeque<Ticket>,
    strangers: HashMap<Option<IpAddr>, VecDeque<Ticket>>,
    /// The addresses of the strangers, in the order of their turns; each once.
    turns: VecDeque<Option<IpAddr>>,
    /// How many tickets there are, given up or not. Never more than twice as many as may wait.
    tickets: usize,
    /// How many have not given up.
    waiting: usize,
    /// How many known ones were let through since the last stranger.
    in_a_row: u32,
    /// Somebody is seeing to it that they are let through.
    is_served: bool,
}

/// Whoever drops it refuses; whoever sends lets through.
type Ticket = Sender<()>;

/// How many known clients go before a stranger.
const KNOWN_IN_A_ROW: u32 = 4;

impl Pacer {
    /// Lets so many through.
    pub fn new(rate: Rate, pacing: Pacing) -> Pacer {
        let limiter = RateLimiter::direct_with_clock(rate.quota(), Ticks::default());
        Pacer(Arc::new(Shared { limiter, pacing, queue: Mutex::default() }))
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.0.lock().waiting
    }

    /// A client has come: its place in the queue, or `None` where it need not wait. `is_known` says whether a broker has
    /// accepted it before.
    ///
    /// # Errors
    /// Too many wait already.
    pub fn enter(&self, peer: impl Into<Option<IpAddr>>, is_known: bool) -> Result<Option<Turn<'_>>, Excess> {
        let turn = self.0.enter(peer.into(), is_known)?;
        Ok(turn.map(|turn| Turn { shared: &self.0, turn }))
    }

    /// How long a client may wait.
    pub fn max_wait(&self) -> Duration {
        self.0.pacing.max_wait
    }
}

/// Somebody who waits. Whoever is let through or refused is counted out by whoever does it, under the lock; whoever gives
/// up, or goes away, is counted out here.
#[derive(Debug)]
pub struct Turn<'p> {
    shared: &'p Shared,
    turn: Receiver<()>,
}

impl Turn<'_> {
    /// Waits until it comes, at most until `deadline`.
    ///
    /// # Errors
    /// It has not come in time, or a client that is known has taken the place.
    pub async fn wait(mut self, deadline: Instant) -> Result<(), Excess> {
        match timeout_at(deadline, &mut self.turn).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Excess::Crowded),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        if let Err(TryRecvError::Empty) = self.turn.try_recv() {
            queue.waiting = queue.waiting.saturating_sub(1);
            self.turn.close();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing to wait for, or what to wait for.
    fn enter(self: &Arc<Self>, peer: Option<IpAddr>, is_known: bool) -> Result<Option<Receiver<()>>, Excess> {
        let mut queue = self.lock();
        if queue.waiting == 0 && self.limiter.check().is_ok() {
            return Ok(None);
        }
        let max = self.pacing.max_waiting;
        if queue.waiting >= max && !(is_known && queue.refuse_a_stranger()) {
            return Err(Excess::Crowded);
        }
        if queue.tickets >= max.saturating_mul(2) {
            queue.tidy();
        }
        let (ticket, turn) = channel();
        queue.push(ticket, peer, is_known);
        if !queue.is_served {
            queue.is_served = true;
            tokio::spawn(Arc::clone(self).serve());
        }
        Ok(Some(turn))
    }

    /// Lets them through, one by one, until nobody waits.
    async fn serve(self: Arc<Self>) {
        loop {
            {
                let mut queue = self.lock();
                if queue.waiting == 0 {
                    queue.is_served = false;
                    queue.tidy();
                    return;
                }
            }
            while let Err(early) = self.limiter.check() {
                sleep(early.wait_time_from(self.limiter.clock().now())).await;
            }
            let mut queue = self.lock();
            while let Some(ticket) = queue.pop() {
                if ticket.send(()).is_ok() {
                    queue.waiting = queue.waiting.saturating_sub(1);
                    break;
                }
            }
        }
    }
}

impl Queue {
    fn push(&mut self, ticket: Ticket, peer: Option<IpAddr>, is_known: bool) {
        self.tickets += 1;
        self.waiting += 1;
        if is_known {
            self.known.push_back(ticket);
            return;
        }
        let line = self.strangers.entry(peer).or_default();
        if line.is_empty() {
            self.turns.push_back(peer);
        }
        line.push_back(ticket);
    }

    /// Whoever is next.
    fn pop(&mut self) -> Option<Ticket> {
        let is_strangers_turn = self.known.is_empty() || self.in_a_row >= KNOWN_IN_A_ROW;
        let ticket = if is_strangers_turn { self.pop_stranger() } else { None };
        if ticket.is_some() {
            self.in_a_row = 0;
            return ticket;
        }
        let ticket = self.known.pop_front()?;
        self.tickets = self.tickets.saturating_sub(1);
        self.in_a_row = self.in_a_row.saturating_add(1);
        Some(ticket)
    }

    fn pop_stranger(&mut self) -> Option<Ticket> {
        let peer = self.turns.pop_front()?;
        let line = self.strangers.get_mut(&peer)?;
        let ticket = line.pop_front();
        if line.is_empty() {
            self.strangers.remove(&peer);
        } else {
            self.turns.push_back(peer);
        }
        self.tickets = self.tickets.saturating_sub(1);
        ticket
    }

    /// Makes room for a known client: whoever came last of the address whose turn is furthest away is refused. False when
    /// no stranger waits.
    fn refuse_a_stranger(&mut self) -> bool {
        while let Some(peer) = self.turns.back().copied() {
            let line = self.strangers.get_mut(&peer);
            let last = line.and_then(|line| {
                let last = line.pop_back();
                Some((last?, line.is_empty()))
            });
            let Some((ticket, was_only)) = last else { return false };
            if was_only {
                self.strangers.remove(&peer);
                self.turns.pop_back();
            }
            self.tickets = self.tickets.saturating_sub(1);
            if !ticket.is_closed() {
                self.waiting = self.waiting.saturating_sub(1);
                return true;
            }
        }
        false
    }

    /// Throws away what those have left who have given up.
    fn tidy(&mut self) {
        self.known.retain(|ticket| !ticket.is_closed());
        self.strangers.retain(|_, line| {
            line.retain(|ticket| !ticket.is_closed());
            !line.is_empty()
        });
        let strangers = &self.strangers;
        self.turns.retain(|peer| strangers.contains_key(peer));
        self.tickets = self.known.len() + self.strangers.values().map(VecDeque::len).sum::<usize>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const PACING: Pacing = Pacing { max_wait: Duration::from_secs(10), max_waiting: 100 };

    impl Pacer {
        async fn pass(&self, peer: IpAddr, is_known: bool, deadline: Instant) -> Result<(), Excess> {
            match self.enter(peer, is_known)? {
                None => Ok(()),
                Some(turn) => turn.wait(deadline).await,
            }
        }
    }

    fn pacer(rate: &str, pacing: Pacing) -> Pacer {
        Pacer::new(rate.parse().expect("a rate"), pacing)
    }

    fn peer(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn deadline() -> Instant {
        Instant::now() + PACING.max_wait
    }

    /// Clients that queue in this order; who they are is told when they are through.
    async fn order(pacer: &Pacer, clients: &[(u8, bool)]) -> Vec<(u8, bool)> {
        let (told, hears) = mpsc::channel();
        let mut tasks = Vec::new();
        for client in clients {
            let (pacer, told, (last, is_known)) = (pacer.clone(), told.clone(), *client);
            tasks.push(tokio::spawn(async move {
                if pacer.pass(peer(last), is_known, deadline()).await.is_ok() {
                    told.send((last, is_known)).expect("heard");
                }
            }));
            tokio::task::yield_now().await;
        }
        for task in tasks {
            task.await.expect("no panic");
        }
        drop(told);
        hears.iter().collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_is_let_through_at_the_rate_and_nobody_is_refused() {
        let pacer = pacer("10/s, burst 5", PACING);
        let began = Instant::now();
        let storm: Vec<_> = (0..55).map(|last| (last, false)).collect();
        assert_eq!(order(&pacer, &storm).await.len(), 55);
        let took = began.elapsed().as_millis();
        assert!((4_900..5_200).contains(&took), "{took}");
        assert_eq!(pacer.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn known_clients_go_first_and_strangers_do_not_starve() {
        let pacer = pacer("1/s, burst 1", PACING);
        pacer.pass(peer(0), false, deadline()).await.expect("the first");
        let strangers = (1..=2).map(|last| (last, false));
        let clients: Vec<_> = strangers.chain((11..=16).map(|last| (last, true))).collect();
        let order: Vec<_> = order(&pacer, &clients).await.into_iter().map(|(last, _)| last).collect();
        assert_eq!(order, [11, 12, 13, 14, 1, 15, 16, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_comes_often_gets_no_more_turns_than_others() {
        let pacer = pacer("1/s, burst 1", PACING);
        pacer.pass(peer(0), false, deadline()).await.expect("the first");
        let clients = [7, 7, 7, 7, 1, 2].map(|last| (last, false));
        let order: Vec<_> = order(&pacer, &clients).await.into_iter().map(|(last, _)| last).collect();
        assert_eq!(order, [7, 1, 2, 7, 7, 7]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_refused_and_takes_no_turn() {
        let pacer = pacer("1/s, burst 1", Pacing { max_wait: Duration::from_secs(3), ..PACING });
        let began = Instant::now();
        let mut tasks = Vec::new();
        for last in 0..10 {
            let pacer = pacer.clone();
            let until = began + pacer.max_wait() + Duration::from_millis(100);
            tasks.push(tokio::spawn(async move { pacer.pass(peer(last), true, until).await }));
        }
        let mut passed = 0;
        for task in tasks {
            passed += usize::from(task.await.expect("no panic").is_ok());
        }
        assert_eq!((passed, pacer.waiting()), (4, 0));
        sleep(Duration::from_secs(5)).await;
        let queue = pacer.0.lock();
        assert_eq!((queue.tickets, queue.is_served), (0, false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_strangers_and_a_known_client_takes_the_place_of_one() {
        let pacer = pacer("1/s, burst 1", Pacing { max_waiting: 2, ..PACING });
        pacer.pass(peer(0), false, deadline()).await.expect("the first");
        let clients = [(1, false), (2, false), (3, false), (4, true), (5, true), (6, true)];
        assert_eq!(order(&pacer, &clients).await, [(4, true), (5, true)]);
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_give_up_leave_nothing_behind() {
        let pacer = pacer("1/h, burst 1", Pacing { max_waiting: 10, ..PACING });
        pacer.pass(peer(0), false, deadline()).await.expect("the first");
        for last in 0..200 {
            let until = Instant::now() + Duration::from_millis(1);
            let refused = pacer.pass(peer(last), last % 2 == 0, until).await;
            assert_eq!(refused, Err(Excess::Crowded));
        }
        let queue = pacer.0.lock();
        assert!(queue.tickets <= 20 && queue.turns.len() <= 20, "{queue:?}");
        assert_eq!(queue.waiting, 0);
    }
}
