//! What clients do to a proxy, or to the broker itself, and what they see of it.

use super::broker::{PINGREQ, PINGRESP, Wish, portion, publish, say};
use super::client::{ACCEPTED, BANNED, Clients, Stream, Way, connect_packet, name};
use super::site::{self, banned_name};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// What they do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    /// Connect, CONNECT, CONNACK, close, again and again.
    Come(Way),
    /// The same by banned clients.
    Knock(Way),
    /// Messages of this size that the broker sends back, each connection one after the other.
    RoundTrips { way: Way, connections: usize, payload: usize },
    /// The same at a fixed rate, and so many banned clients a second beside them.
    Flooded { connections: usize, messages: u64, banned: u64 },
    /// Messages of this size to the broker, as many as it takes.
    Up { way: Way, payload: usize },
    /// Messages of this size from the broker.
    Down { way: Way, payload: usize },
}

impl Load {
    pub(crate) fn way(self) -> Way {
        match self {
            Load::Come(way)
            | Load::Knock(way)
            | Load::RoundTrips { way, .. }
            | Load::Up { way, .. }
            | Load::Down { way, .. } => way,
            Load::Flooded { .. } => Way::Plain,
        }
    }

    /// What is counted: connections and messages, or millions of bytes.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Load::Come(_) | Load::Knock(_) => "connections",
            Load::RoundTrips { .. } | Load::Flooded { .. } => "messages",
            Load::Up { .. } | Load::Down { .. } => "MB",
        }
    }
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Operations that were done, in the unit of the load.
    pub(crate) done: f64,
    /// How long each took, in seconds.
    pub(crate) delays: Vec<f32>,
    /// Banned clients that were told so, of a flood.
    pub(crate) turned_away: u64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
}

impl Seen {
    fn add(&mut self, other: Seen) {
        self.done += other.done;
        self.delays.extend(other.delays);
        self.turned_away += other.turned_away;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }

    fn failed(&mut self, error: &io::Error) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| error.to_string());
    }
}

/// One run of a load.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) seen: Seen,
    pub(crate) seconds: f64,
    /// What `price` said before, and after all was done.
    pub(crate) prices: (f64, f64),
}

/// Threads that clients are shared out to.
const THREADS: usize = 2;
/// Clients at once that come and go, each thread's.
const COMING: usize = 8;
/// Connections that move bulk, each thread's.
const STREAMS: usize = 2;
/// How long a single operation may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long after the last answer a proxy is given to close and free what the clients have left.
const SETTLING: Duration = Duration::from_millis(300);

/// Has clients put `load` on whoever listens there for so long. Clients that stay are inside before that begins.
pub(crate) fn put(load: Load, addr: SocketAddr, time: Duration, price: impl Fn() -> f64) -> Run {
    let gate = Barrier::new(THREADS + 1);
    let total = Mutex::new(Seen::default());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (gate, total) = (&gate, &total);
            scope.spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                let seen = runtime.block_on(part(load, addr, time, thread, gate));
                total.lock().expect("no panic").add(seen);
                // Those who stayed leave.
                drop(runtime);
                gate.wait();
            });
        }
        gate.wait();
        let (before, began) = (price(), Instant::now());
        gate.wait();
        let seconds = began.elapsed().as_secs_f64();
        if matches!(load, Load::Come(_) | Load::Knock(_)) {
            std::thread::sleep(SETTLING);
        }
        let after = price();
        gate.wait();
        std::thread::sleep(SETTLING);
        let seen = std::mem::take(&mut *total.lock().expect("no panic"));
        Run { seen, seconds, prices: (before, after) }
    })
}

/// One thread's part. It waits at the gate before and after the time that counts.
async fn part(load: Load, addr: SocketAddr, time: Duration, thread: usize, gate: &Barrier) -> Seen {
    let mut seen = Seen::default();
    let clients = Clients::new(addr, load.way());
    let share = |count: usize| count / THREADS + usize::from(thread < count % THREADS);
    let mut tasks = JoinSet::new();
    match load {
        Load::Come(way) | Load::Knock(way) => {
            let mut ready = Vec::new();
            for _ in 0..COMING {
                // Each has a memory of its own: it resumes what it was given itself.
                let clients = Clients::new(addr, way);
                clients.prepare().await.unwrap_or_else(|error| seen.failed(&error));
                ready.push(clients);
            }
            gate.wait();
            let until = Instant::now() + time;
            for clients in ready {
                tasks.spawn(come_and_go(clients, matches!(load, Load::Knock(_)), until));
            }
        }
        Load::RoundTrips { connections, payload, .. } => {
            let inside = enter(&clients, Wish::Echo, share(connections), &mut seen).await;
            gate.wait();
            let until = Instant::now() + time;
            for client in inside {
                tasks.spawn(round_trips(client, payload, until, None));
            }
        }
        Load::Flooded { connections, messages, banned } => {
            // One thread has those who are flooded, the other those who flood.
            let count = if thread == 0 { connections } else { 0 };
            let inside = enter(&clients, Wish::Echo, count, &mut seen).await;
            gate.wait();
            let until = Instant::now() + time;
            let every = Duration::from_nanos(1_000_000_000 * connections as u64 / messages);
            for client in inside {
                tasks.spawn(round_trips(client, 64, until, Some(every)));
            }
            if thread == 1 {
                flood(&clients, banned, until, &mut seen).await;
            }
        }
        Load::Up { payload, .. } => {
            let inside = enter(&clients, Wish::Sink(payload), STREAMS, &mut seen).await;
            gate.wait();
            let until = Instant::now() + time;
            for client in inside {
                tasks.spawn(up(client, payload, until));
            }
        }
        Load::Down { payload, .. } => {
            let inside = enter(&clients, Wish::Source(payload), STREAMS, &mut seen).await;
            gate.wait();
            let until = Instant::now() + time;
            for client in inside {
                tasks.spawn(down(client, payload, until));
            }
        }
    }
    let mut stayed = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let (one, client) = done.expect("no panic");
        seen.add(one);
        stayed.extend(client);
    }
    gate.wait();
    seen
}

type Done = (Seen, Option<Stream>);

/// So many clients, once they are inside.
async fn enter(clients: &Clients, wish: Wish, count: usize, seen: &mut Seen) -> Vec<Stream> {
    let mut inside = Vec::with_capacity(count);
    for _ in 0..count {
        let packet = connect_packet(&name(wish), 4);
        match patiently(clients.enter(&packet, ACCEPTED)).await {
            Ok(client) => inside.push(client),
            Err(error) => seen.failed(&error),
        }
    }
    inside
}

async fn patiently<T>(doing: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, doing).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn come_and_go(clients: Clients, is_banned: bool, until: Instant) -> Done {
    let mut seen = Seen::default();
    while Instant::now() < until {
        let began = Instant::now();
        let visit = async {
            let client = if is_banned { knock(&clients).await? } else { come(&clients).await? };
            let took = began.elapsed().as_secs_f32();
            client.leave().await?;
            Ok(took)
        };
        match patiently(visit).await {
            Ok(took) => {
                seen.delays.push(took);
                seen.done += 1.0;
            }
            Err(error) => seen.failed(&error),
        }
    }
    (seen, None)
}

async fn come(clients: &Clients) -> io::Result<Stream> {
    clients.enter(&connect_packet(&name(Wish::Echo), 4), ACCEPTED).await
}

async fn knock(clients: &Clients) -> io::Result<Stream> {
    let name = banned_name(fastrand::usize(..site::BANNED));
    clients.enter(&connect_packet(&name, 5), BANNED).await
}

/// One message after the other; with a pace, one each time.
async fn round_trips(mut client: Stream, payload: usize, until: Instant, pace: Option<Duration>) -> Done {
    let mut seen = Seen::default();
    let packet = publish(payload);
    let mut answer = vec![0; packet.len()];
    let mut ticks = pace.map(|every| {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    if let Some(every) = pace {
        // Not all at once.
        tokio::time::sleep(every.mul_f64(fastrand::f64())).await;
    }
    while Instant::now() < until {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let began = Instant::now();
        let io = client.io();
        let trip = async {
            say(io, &packet).await?;
            io.read_exact(&mut answer).await
        };
        match patiently(trip).await {
            Ok(_) if answer == packet => {
                seen.delays.push(began.elapsed().as_secs_f32());
                seen.done += 1.0;
            }
            Ok(_) => {
                seen.failed(&io::Error::other("another message came back"));
                break;
            }
            Err(error) => {
                seen.failed(&error);
                break;
            }
        }
    }
    (seen, Some(client))
}

/// Banned clients, so many a second, however long each takes.
async fn flood(clients: &Clients, banned: u64, until: Instant, seen: &mut Seen) {
    let mut ticks = interval(Duration::from_millis(1));
    let counts = Rc::new(std::cell::RefCell::new(Seen::default()));
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let began = Instant::now();
            let mut sent = 0;
            while Instant::now() < until {
                ticks.tick().await;
                let due = (began.elapsed().as_secs_f64() * banned as f64) as u64;
                for _ in sent..due {
                    let (clients, counts) = (clients.clone(), Rc::clone(&counts));
                    tokio::task::spawn_local(async move {
                        match patiently(knock(&clients)).await {
                            Ok(_) => counts.borrow_mut().turned_away += 1,
                            Err(error) => counts.borrow_mut().failed(&error),
                        }
                    });
                }
                sent = due.max(sent);
            }
        })
        .await;
    seen.add(counts.take());
}

async fn up(mut client: Stream, payload: usize, until: Instant) -> Done {
    let mut seen = Seen::default();
    let packet = publish(payload);
    while Instant::now() < until {
        let io = client.io();
        let sending = async {
            for _ in 0..portion(payload) {
                io.write_all(&packet).await?;
            }
            io.flush().await?;
            let mut answer = [0; 2];
            io.read_exact(&mut answer).await?;
            Ok(answer)
        };
        match patiently(sending).await {
            Ok(answer) if answer == PINGRESP => seen.done += megabytes(portion(payload) * packet.len()),
            Ok(answer) => {
                seen.failed(&io::Error::other(format!("answered {answer:02x?}")));
                break;
            }
            Err(error) => {
                seen.failed(&error);
                break;
            }
        }
    }
    (seen, Some(client))
}

async fn down(mut client: Stream, payload: usize, until: Instant) -> Done {
    let mut seen = Seen::default();
    let size = portion(payload) * publish(payload).len();
    let mut buffer = vec![0; 256 << 10];
    while Instant::now() < until {
        let io = client.io();
        let receiving = async {
            say(io, PINGREQ).await?;
            let mut missing = size;
            while missing > 0 {
                let room = missing.min(buffer.len());
                match io.read(&mut buffer[..room]).await? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => missing -= count,
                }
            }
            Ok(())
        };
        if let Err(error) = patiently(receiving).await {
            seen.failed(&error);
            break;
        }
        seen.done += megabytes(size);
    }
    (seen, Some(client))
}

fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

/// Has so many clients come in and say nothing more. Returns what `price` says before and then.
pub(crate) fn idle(way: Way, addr: SocketAddr, count: usize, price: impl Fn() -> f64) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let clients = Clients::new(addr, way);
    runtime.block_on(async {
        let mut seen = Seen::default();
        // What every proxy needs once is no price of a connection's.
        drop(enter(&clients, Wish::Echo, 160, &mut seen).await);
        tokio::time::sleep(SETTLING).await;
        let (before, began) = (price(), Instant::now());
        let inside = enter(&clients, Wish::Echo, count, &mut seen).await;
        tokio::time::sleep(SETTLING).await;
        seen.done = inside.len() as f64;
        let seconds = began.elapsed().as_secs_f64();
        Run { seen, seconds, prices: (before, price()) }
    })
}
