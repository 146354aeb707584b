//! Moves bytes both ways between a client and its broker until somebody ends it.
//!
//! A connection that idles holds no buffer: bytes are read into a scratch buffer of the thread and written on at once;
//! only what the other side would not take yet is kept, and nothing more is read until that is gone. So a slow side
//! slows the other down, and a connection never holds more than one read in each direction.
//!
//! A session that is ended from here takes its leave: packets that have passed in part are let pass whole for a while, so
//! that whoever ends it can say something after them.

mod parting;

pub use parting::Parting;

use super::kick::Kick;
use super::scratch;
use super::stop::{Lookout, Order, Stop};
use crate::wire::mqtt::connect::Violation;
use crate::wire::mqtt::session::Session;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};

/// When a silent session is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleTimeout {
    /// Never.
    Off,
    /// When no byte has passed for this long, either way.
    After(Duration),
    /// When the client has been silent for one and a half times the Keep Alive that holds \[MQTT-3.1.2-22\]
    /// (3.1.1: \[MQTT-3.1.2-24\]). A client without Keep Alive is never given up.
    KeepAlive,
}

/// The limits of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// When a silent session is given up.
    pub idle: IdleTimeout,
    /// How long the other side may stay silent when one side has ended its half.
    pub half_close: Duration,
}

/// How a session ended.
#[derive(Debug)]
pub struct End {
    /// What ended it.
    pub cause: Cause,
    /// Bytes that were passed on from the client to the broker.
    pub to_broker: u64,
    /// Bytes that were passed on from the broker to the client.
    pub to_client: u64,
    /// Something can be said to the client now: all that was seen for it was passed on, and ends with a packet.
    pub client_hears: bool,
    /// Likewise to the broker.
    pub broker_hears: bool,
}

/// What ended a session: the first thing that happened.
#[derive(Debug)]
pub enum Cause {
    /// The client closed its half first.
    ClientClosed,
    /// The broker closed its half first.
    BrokerClosed,
    /// The connection to the client broke.
    ClientFailed(io::Error),
    /// The connection to the broker broke.
    BrokerFailed(io::Error),
    /// Nobody said anything for too long.
    Idle,
    /// The client broke a rule that the door keeps for the broker.
    Violation(Violation),
    /// The door was told to end its sessions.
    Stopped,
    /// The door was told to end this one.
    Kicked,
}

/// Sees every byte of a session before it is passed on.
pub trait Watch {
    /// Looks at bytes from the client.
    ///
    /// # Errors
    /// They must not be passed on.
    fn see_client(&mut self, bytes: &[u8]) -> Result<(), Violation>;

    /// Looks at bytes from the broker.
    fn see_broker(&mut self, bytes: &[u8]);

    /// What was seen so far.
    fn session(&self) -> &Session;

    /// How the session takes its leave, when this ends it.
    fn parting(&self, cause: &Cause) -> Parting;

    /// True where a client learns from its stream being dropped that it was closed, as from a socket with nothing
    /// around it. It is not shut down then when it has ended its own half: what follows at once does the same.
    fn is_client_told_by_drop(&self) -> bool {
        false
    }
}

/// Relays until both directions have ended, the session idles for too long, or `stop` or `kick` is raised and packets
/// that were under way then have had their time. Streams that are lent are still open then, for a last word.
pub async fn relay<C, B>(
    mut client: C,
    mut broker: B,
    watch: &mut impl Watch,
    limits: Limits,
    stop: &Stop,
    kick: &Kick,
) -> End
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut up, mut down) = (Direction::default(), Direction::default());
    let mut patience = Patience::new(limits);
    let mut notified = pin!(stop.notified());
    let mut lookout = Lookout::default();
    let mut first_end: Option<Cause> = None;

    let cause = poll_fn(|cx| {
        match lookout.poll(cx, stop, notified.as_mut(), kick) {
            Poll::Ready(Order::Stop) => return Poll::Ready(Cause::Stopped),
            Poll::Ready(Order::Kick) => return Poll::Ready(Cause::Kicked),
            Poll::Pending => {}
        }
        let before = (up.passed, down.passed);
        let upward = up.poll(cx, &mut client, &mut broker, |bytes| watch.see_client(bytes));
        if let Poll::Ready(ended) = upward {
            if let Ended::Violation(violation) = ended {
                return Poll::Ready(Cause::Violation(violation));
            }
            first_end.get_or_insert(cause_of(ended, Side::Client, Side::Broker));
        }
        down.is_writer_told = up.has_read_all && watch.is_client_told_by_drop();
        let downward = down.poll(cx, &mut broker, &mut client, |bytes| {
            watch.see_broker(bytes);
            Ok(())
        });
        if let Poll::Ready(ended) = downward {
            first_end.get_or_insert(cause_of(ended, Side::Broker, Side::Client));
        }
        if !(up.has_ended() && down.has_ended()) {
            let heard = Heard { client: up.passed != before.0, broker: down.passed != before.1 };
            ready!(patience.poll(cx, heard, watch.session().keep_alive(), first_end.is_some()));
        }
        Poll::Ready(first_end.take().unwrap_or(Cause::Idle))
    })
    .await;
    if matches!(cause, Cause::Stopped | Cause::Kicked) {
        let parting = watch.parting(&cause);
        // It is rare and large; sessions that live have no room for it.
        Box::pin(parting::finish(&mut up, &mut down, &mut client, &mut broker, watch, parting)).await;
    }
    let client_hears = down.has_room(watch.session(), Side::Client);
    let broker_hears = up.has_room(watch.session(), Side::Broker);
    End { cause, to_broker: up.passed, to_client: down.passed, client_hears, broker_hears }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Broker,
}

fn cause_of(ended: Ended, reader: Side, writer: Side) -> Cause {
    let (side, error) = match (ended, reader) {
        (Ended::Violation(violation), _) => return Cause::Violation(violation),
        (Ended::Closed, Side::Client) => return Cause::ClientClosed,
        (Ended::Closed, Side::Broker) => return Cause::BrokerClosed,
        (Ended::ReadFailed(error), _) => (reader, error),
        (Ended::WriteFailed(error), _) => (writer, error),
    };
    match side {
        Side::Client => Cause::ClientFailed(error),
        Side::Broker => Cause::BrokerFailed(error),
    }
}

/// One direction of a session.
#[derive(Debug, Default)]
struct Direction {
    /// What was read and could not be written yet; without a buffer while there is nothing. Never longer than one
    /// read.
    rest: Vec<u8>,
    /// How much of `rest` is written.
    written: usize,
    /// Bytes that the writer took.
    passed: u64,
    state: State,
    /// Bytes went to the writer that it may still hold back.
    unflushed: bool,
    /// The reader has said that there is no more.
    has_read_all: bool,
    /// The writer need not be told of the end.
    is_writer_told: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Open,
    /// The reader has ended, well or with an error; the writer is still to be told.
    Ending(Option<io::Error>),
    Ended,
}

/// How a direction ended.
#[derive(Debug)]
enum Ended {
    Closed,
    ReadFailed(io::Error),
    WriteFailed(io::Error),
    Violation(Violation),
}

/// Reads per turn; more would keep the other direction, and other sessions, waiting.
const BUDGET: usize = 8;

impl Direction {
    fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Moves what can be moved. Ready once, when this direction ends; pending ever after.
    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
        mut look: impl FnMut(&[u8]) -> Result<(), Violation>,
    ) -> Poll<Ended>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        for _ in 0..BUDGET {
            if self.has_ended() {
                return Poll::Pending;
            }
            if let Err(error) = ready!(self.poll_write_rest(cx, writer)) {
                return self.end(Ended::WriteFailed(error));
            }
            if let State::Ending(failure) = &mut self.state {
                if !self.is_writer_told {
                    // That a writer cannot be told that it is over means that it knows.
                    let _ = ready!(Pin::new(&mut *writer).poll_shutdown(cx));
                }
                let ended = failure.take().map_or(Ended::Closed, Ended::ReadFailed);
                return self.end(ended);
            }
            let read = scratch::poll_read(Pin::new(&mut *reader), cx, usize::MAX, |cx, bytes| {
                look(bytes).map_err(Ended::Violation)?;
                if bytes.is_empty() {
                    self.has_read_all = true;
                    self.state = State::Ending(None);
                    return Ok(());
                }
                self.write(cx, writer, bytes).map_err(Ended::WriteFailed)
            });
            match read {
                Poll::Ready(Ok(Ok(()))) => {}
                Poll::Ready(Ok(Err(ended))) => return self.end(ended),
                Poll::Ready(Err(error)) => self.state = State::Ending(Some(error)),
                Poll::Pending => {
                    self.flush(cx, writer);
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Has the writer hold nothing back while nothing more comes.
    fn flush<W>(&mut self, cx: &mut Context<'_>, writer: &mut W)
    where
        W: AsyncWrite + Unpin,
    {
        if self.unflushed && Pin::new(writer).poll_flush(cx).is_ready() {
            self.unflushed = false;
        }
    }

    /// Writes what the writer takes at once, and keeps the rest. There is no rest from before.
    fn write<W>(&mut self, cx: &mut Context<'_>, writer: &mut W, bytes: &[u8]) -> io::Result<()>
    where
        W: AsyncWrite + Unpin,
    {
        let written = match Pin::new(writer).poll_write(cx, bytes) {
            Poll::Pending => 0,
            Poll::Ready(result) => not_zero(result)?,
        };
        self.took(written);
        self.written = 0;
        self.rest = bytes.get(written..).unwrap_or_default().to_vec();
        Ok(())
    }

    fn poll_write_rest<W>(&mut self, cx: &mut Context<'_>, writer: &mut W) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        while let Some(rest) = self.rest.get(self.written..).filter(|rest| !rest.is_empty()) {
            let written = not_zero(ready!(Pin::new(&mut *writer).poll_write(cx, rest)))?;
            self.written += written;
            self.took(written);
        }
        self.rest = Vec::new();
        Poll::Ready(Ok(()))
    }

    fn took(&mut self, count: usize) {
        self.passed += count as u64;
        self.unflushed = true;
    }

    fn end(&mut self, ended: Ended) -> Poll<Ended> {
        self.state = State::Ended;
        self.rest = Vec::new();
        Poll::Ready(ended)
    }
}

/// A writer that takes nothing will never take anything.
fn not_zero(result: io::Result<usize>) -> io::Result<usize> {
    result.and_then(|count| if count == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(count) })
}

/// Whose bytes passed in one turn.
#[derive(Debug, Clone, Copy)]
struct Heard {
    client: bool,
    broker: bool,
}

/// Watches for silence. The timer is not moved when a byte passes: it goes off, finds that it is too early, and is set
/// anew.
struct Patience {
    limits: Limits,
    /// When the silence began.
    since: Instant,
    half_closed: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    fn new(limits: Limits) -> Patience {
        Patience { limits, since: Instant::now(), half_closed: false, timer: None }
    }

    /// Ready when the silence has lasted too long.
    fn poll(&mut self, cx: &mut Context<'_>, heard: Heard, keep_alive: u16, half_closed: bool) -> Poll<()> {
        let Some(limit) = self.limit(keep_alive, half_closed) else { return Poll::Pending };
        let just_half_closed = half_closed && !std::mem::replace(&mut self.half_closed, half_closed);
        let only_client_counts = self.limits.idle == IdleTimeout::KeepAlive && !half_closed;
        if heard.client || (heard.broker && !only_client_counts) || just_half_closed {
            self.since = Instant::now();
        }
        let deadline = self.since + limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }

    fn limit(&self, keep_alive: u16, half_closed: bool) -> Option<Duration> {
        let idle = match self.limits.idle {
            IdleTimeout::Off => None,
            IdleTimeout::After(limit) => Some(limit),
            IdleTimeout::KeepAlive => {
                (keep_alive > 0).then(|| Duration::from_millis(u64::from(keep_alive) * 1500))
            }
        };
        let half_close = half_closed.then_some(self.limits.half_close);
        idle.into_iter().chain(half_close).min()
    }
}

#[cfg(test)]
mod tests;
