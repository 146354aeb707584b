//! The last moment of a session that is ended from here: packets that have passed in part are let pass whole, and
//! nothing that comes after them.

use super::{BUDGET, Direction, Side, State, Watch};
use crate::net::scratch;
use crate::wire::mqtt::session::{Room, Session};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

/// How a session that is ended from here takes its leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parting {
    /// How long packets that are under way may take to pass.
    pub wait: Duration,
    /// Something is to be said to the client.
    pub to_client: bool,
    /// Something is to be said to the broker.
    pub to_broker: bool,
}

/// Lets the packets that are under way pass whole, where something is to be said after them, for as long as they have.
pub(super) async fn finish<C, B>(
    up: &mut Direction,
    down: &mut Direction,
    client: &mut C,
    broker: &mut B,
    watch: &mut impl Watch,
    parting: Parting,
) where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let finishing = poll_fn(|cx| {
        let upward = !parting.to_broker || up.poll_finish(cx, client, broker, watch, Side::Broker).is_ready();
        let downward =
            !parting.to_client || down.poll_finish(cx, broker, client, watch, Side::Client).is_ready();
        if upward && downward { Poll::Ready(()) } else { Poll::Pending }
    });
    // What is not whole by now is cut off; whoever has a word to say finds no room for it.
    let _ = timeout(parting.wait, finishing).await;
}

impl Direction {
    /// True when something can be said to `side`, which this direction writes to.
    pub(super) fn has_room(&self, session: &Session, side: Side) -> bool {
        matches!(self.state, State::Open) && self.rest.is_empty() && room(session, side) == Room::Now
    }

    /// Moves the rest of the packet that is under way to `side`. Ready when that is done or cannot be done any more.
    fn poll_finish<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
        watch: &mut impl Watch,
        side: Side,
    ) -> Poll<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        for _ in 0..BUDGET {
            if !matches!(self.state, State::Open) || room(watch.session(), side) == Room::Never {
                return Poll::Ready(());
            }
            if ready!(self.poll_write_rest(cx, writer)).is_err() {
                return self.give_up();
            }
            if room(watch.session(), side) == Room::Now {
                return Poll::Ready(());
            }
            let read = scratch::poll_read(Pin::new(&mut *reader), cx, usize::MAX, |cx, bytes| {
                // A reader that ends here has ended in the middle of a packet.
                let packet = see(watch, side, bytes).filter(|packet| !packet.is_empty());
                packet.is_some_and(|packet| self.write(cx, writer, packet).is_ok())
            });
            match read {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(_) => return self.give_up(),
                Poll::Pending => {
                    self.flush(cx, writer);
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn give_up(&mut self) -> Poll<()> {
        self.state = State::Ended;
        Poll::Ready(())
    }
}

fn room(session: &Session, side: Side) -> Room {
    match side {
        Side::Client => session.room_to_client(),
        Side::Broker => session.room_to_broker(),
    }
}

/// Shows the part of these bytes, which are for `side`, that belongs to the packet under way; `None` when it must not
/// be passed on.
fn see<'b>(watch: &mut impl Watch, side: Side, bytes: &'b [u8]) -> Option<&'b [u8]> {
    let count = match side {
        Side::Client => watch.session().still_from_broker(bytes),
        Side::Broker => watch.session().still_from_client(bytes),
    };
    let packet = bytes.get(..count)?;
    match side {
        Side::Client => watch.see_broker(packet),
        Side::Broker => watch.see_client(packet).ok()?,
    }
    Some(packet)
}

#[cfg(test)]
mod tests;
