//! TLS that holds no buffer while it idles.
//!
//! Records are read into a buffer of the thread and decrypted there, and encrypted there to be written: a read brings
//! many of them, as from a socket with nothing around it. A connection keeps only what is no whole record yet, what
//! whoever reads had no room for, and what the socket would not take. This is rustls' unbuffered interface; how much is
//! kept is bounded by what one call reads or writes.

use crate::net::scratch;
use crate::net::stream::Stream;
use bytes::{Buf, BytesMut};
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use tokio_rustls::rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use tokio_rustls::rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use tokio_rustls::rustls::{CommonState, Error};

/// A server's or a client's end, as rustls has it.
pub trait End: Unpin {
    /// What is particular to it.
    type Data;

    /// Goes on with what came, up to where the caller has to do something.
    fn process<'c, 'i>(&'c mut self, came: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;

    /// What both ends have.
    fn state(&self) -> &CommonState;
}

impl End for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, came: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ServerConnectionData> {
        self.process_tls_records(came)
    }

    fn state(&self) -> &CommonState {
        self
    }
}

impl End for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, came: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ClientConnectionData> {
        self.process_tls_records(came)
    }

    fn state(&self) -> &CommonState {
        self
    }
}

/// One end of TLS over a stream.
pub struct TlsStream<E> {
    inner: Stream,
    end: E,
    /// What came and is no whole record yet, or no whole message.
    unread: Vec<u8>,
    /// What was decrypted and is not read yet.
    plain: BytesMut,
    /// What was encrypted and is not sent yet.
    unsent: BytesMut,
    /// What is written waits for a flush or the end, or for so much that it is worth a call.
    holds_back: bool,
    peer: Peer,
    has_said_close: bool,
    /// What went wrong after something came that is read first.
    failure: Option<io::Error>,
}

/// What is to be expected of the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    Speaks,
    /// Nothing more will come.
    HasEnded,
    /// Nothing more will come, and rustls is not to be asked any more: it has found an error.
    HasErred,
}

/// No record is longer: header, text, and what encryption adds. \[RFC 5246, section 6.2.3\]
const MAX_RECORD: usize = 5 + 16_384 + 2048;
/// How much of what came may be no whole message: certificates may be as long as rustls takes them.
const MAX_UNREAD: usize = scratch::RECORDS - MAX_RECORD;
/// How much is encrypted at a time.
const MAX_WRITE: usize = 4 * 16_384;
/// More than this goes out before more is encrypted.
const MAX_HELD: usize = 16_384;
/// Room for what encryption adds to [`MAX_WRITE`], and for a word of rustls' own.
const OVERHEAD: usize = 1024;

const _: () = assert!(MAX_HELD + MAX_WRITE + OVERHEAD <= scratch::RECORDS);

impl<E: End> TlsStream<E> {
    /// A handshake that has not begun, but for these bytes that came.
    pub(in crate::net) fn new(inner: Stream, end: E, unread: Vec<u8>) -> TlsStream<E> {
        TlsStream {
            inner,
            end,
            unread,
            plain: BytesMut::new(),
            unsent: BytesMut::new(),
            holds_back: false,
            peer: Peer::Speaks,
            has_said_close: false,
            failure: None,
        }
    }

    /// What it stands on.
    pub fn get_ref(&self) -> &Stream {
        &self.inner
    }

    /// What it stands on, without TLS.
    pub(super) fn into_inner(self) -> Stream {
        self.inner
    }

    /// What rustls knows.
    pub fn state(&self) -> &CommonState {
        self.end.state()
    }

    /// From now on, what is written waits for a flush or the end, so that it goes in one piece.
    pub fn hold_back(&mut self) {
        self.holds_back = true;
    }

    /// Goes on with the handshake as far as that is possible with what came.
    ///
    /// # Errors
    /// It has failed; an alert is to be flushed.
    pub(in crate::net) fn advance(&mut self) -> Result<(), Error> {
        let mut came = std::mem::take(&mut self.unread);
        let (done, outcome) = self.take(&mut came, None);
        self.unread = came.get(done..).unwrap_or_default().to_vec();
        outcome
    }

    /// Sends all that was encrypted.
    ///
    /// # Errors
    /// The connection broke.
    pub(in crate::net) async fn send(&mut self) -> io::Result<()> {
        if !self.unsent.is_empty() {
            self.inner.write_all(&self.unsent).await?;
            self.unsent = BytesMut::new();
        }
        Ok(())
    }

    /// Waits for more of the handshake; false where there will be none.
    ///
    /// # Errors
    /// The connection broke, or a message is too long.
    pub(in crate::net) async fn read_more(&mut self) -> io::Result<bool> {
        let room = MAX_UNREAD.saturating_sub(self.unread.len());
        if room == 0 {
            return Err(too_long());
        }
        Ok(scratch::read_some(&mut self.inner, &mut self.unread, room.min(MAX_RECORD)).await? > 0)
    }

    /// Lets rustls have what came. What is decrypted goes to `buffer` as far as there is room. Returns how much of what
    /// came is no longer needed.
    fn take(&mut self, came: &mut [u8], mut buffer: Option<&mut ReadBuf<'_>>) -> (usize, Result<(), Error>) {
        let mut done = 0;
        loop {
            let rest = came.get_mut(done..).unwrap_or_default();
            let UnbufferedStatus { mut discard, state } = self.end.process(rest);
            let is_over = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = match record {
                            Ok(record) => record,
                            Err(error) => {
                                self.peer = Peer::HasErred;
                                return (came.len(), Err(error));
                            }
                        };
                        discard += record.discard;
                        let room = buffer.as_ref().map_or(0, |buffer| buffer.remaining());
                        let (now, later) = record.payload.split_at(room.min(record.payload.len()));
                        if let Some(buffer) = &mut buffer {
                            buffer.put_slice(now);
                        }
                        self.plain.extend_from_slice(later);
                    }
                    false
                }
                Ok(ConnectionState::EncodeTlsData(message)) => {
                    encode(message, &mut self.unsent);
                    false
                }
                Ok(ConnectionState::TransmitTlsData(sent)) => {
                    // It goes before all that is encrypted from now on.
                    sent.done();
                    false
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.peer = Peer::HasEnded;
                    false
                }
                // Waits for more, or has had all.
                Ok(_) => true,
                Err(error) => {
                    done += discard;
                    self.take_alert(came.get_mut(done..).unwrap_or_default());
                    return (came.len(), Err(error));
                }
            };
            done += discard;
            if is_over {
                return (if self.peer == Peer::Speaks { done } else { came.len() }, Ok(()));
            }
        }
    }

    /// What rustls has to say after an error: one message, since it would take what came for new after that.
    fn take_alert(&mut self, came: &mut [u8]) {
        self.peer = Peer::HasErred;
        if let Ok(ConnectionState::EncodeTlsData(message)) = self.end.process(came).state {
            encode(message, &mut self.unsent);
        }
    }

    /// Reads records once, and decrypts them; nothing where it was no whole one.
    fn poll_records(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        scratch::with_records(|space| {
            let kept = self.unread.len();
            if kept >= MAX_UNREAD {
                return Poll::Ready(Err(too_long()));
            }
            let wanted = kept + buffer.remaining().max(MAX_RECORD);
            let end = wanted.min(space.len());
            let mut read = ReadBuf::new(space.get_mut(kept..end).unwrap_or_default());
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut read))?;
            let came = read.filled().len();
            if came == 0 {
                // Many clients and brokers close without saying so in TLS. MQTT has its own borders and its own last
                // word, so nobody gains by cutting a stream off.
                self.peer = Peer::HasEnded;
                self.unread = Vec::new();
                return Poll::Ready(Ok(()));
            }
            let (before, unsent) = (std::mem::take(&mut self.unread), self.unsent.len());
            space.get_mut(..kept).unwrap_or_default().copy_from_slice(&before);
            let all = space.get_mut(..kept + came).unwrap_or_default();
            let (done, outcome) = self.take(all, Some(buffer));
            self.unread = all.get(done..).unwrap_or_default().to_vec();
            if self.unsent.len() > unsent {
                // Who does not take it is found out by the next write.
                let _ = self.poll_send(cx);
            }
            Poll::Ready(outcome.map_err(broken))
        })
    }

    /// Sends all that was encrypted.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let sent = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.unsent))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(sent);
        }
        self.unsent = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    /// Encrypts, and sends what the socket takes.
    fn poll_encrypted(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<()>> {
        scratch::with_records(|space| {
            let before = self.unsent.split();
            let (held, rest) = space.split_at_mut(before.len());
            held.copy_from_slice(&before);
            let encrypted = self.encrypt(bytes, rest)?;
            let all = space.get(..before.len() + encrypted).unwrap_or_default();
            let sent = if self.holds_back {
                0
            } else {
                match Pin::new(&mut self.inner).poll_write(cx, all) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(sent) => sent?,
                    Poll::Pending => 0,
                }
            };
            self.unsent = BytesMut::from(all.get(sent..).unwrap_or_default());
            Poll::Ready(Ok(()))
        })
    }

    /// Encrypts `bytes` to where there is room for them, and says how much that is.
    fn encrypt(&mut self, bytes: &[u8], room: &mut [u8]) -> io::Result<usize> {
        if self.peer == Peer::HasErred {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut written = 0;
        loop {
            // rustls remembers where in these a message has begun.
            let UnbufferedStatus { discard, state } = self.end.process(&mut self.unread);
            let is_done = match state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let room = room.get_mut(written..).unwrap_or_default();
                    written += traffic.encrypt(bytes, room).map_err(not_encrypted)?;
                    true
                }
                Ok(ConnectionState::EncodeTlsData(mut message)) => {
                    let room = room.get_mut(written..).unwrap_or_default();
                    written += message.encode(room).map_err(io::Error::other)?;
                    false
                }
                Ok(ConnectionState::TransmitTlsData(sent)) => {
                    sent.done();
                    false
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.peer = Peer::HasEnded;
                    false
                }
                Ok(_) => return Err(io::ErrorKind::BrokenPipe.into()),
                Err(error) => {
                    self.peer = Peer::HasErred;
                    return Err(broken(error));
                }
            };
            self.forget(discard);
            if is_done {
                return Ok(written);
            }
        }
    }

    /// The last word in TLS; where none can be said, the end of the stream is it.
    fn say_close(&mut self) {
        if std::mem::replace(&mut self.has_said_close, true) || self.peer == Peer::HasErred {
            return;
        }
        let UnbufferedStatus { discard, state } = self.end.process(&mut self.unread);
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = state {
            let mut room = [0; CLOSE];
            let written = traffic.queue_close_notify(&mut room).unwrap_or(0);
            self.unsent.extend_from_slice(room.get(..written).unwrap_or_default());
        }
        self.forget(discard);
    }

    /// rustls is done with so many of the bytes that are kept for it.
    fn forget(&mut self, discard: usize) {
        if discard > 0 {
            self.unread = self.unread.get(discard..).unwrap_or_default().to_vec();
        }
    }
}

impl Peer {
    fn after_failure(self) -> Peer {
        if self == Peer::Speaks { Peer::HasEnded } else { self }
    }
}

/// Room for a close_notify.
const CLOSE: usize = 256;

fn encode<D>(mut message: EncodeTlsData<'_, D>, unsent: &mut BytesMut) {
    let start = unsent.len();
    loop {
        match message.encode(unsent.get_mut(start..).unwrap_or_default()) {
            Ok(written) => return unsent.truncate(start + written),
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
                unsent.resize(start + required_size, 0);
            }
            Err(EncodeError::AlreadyEncoded) => return,
        }
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a TLS message is too long")
}

fn broken(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn not_encrypted(error: EncryptError) -> io::Error {
    io::Error::other(error)
}

impl<E: End> AsyncRead for TlsStream<E> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        if !this.plain.is_empty() {
            let count = this.plain.len().min(buffer.remaining());
            buffer.put_slice(&this.plain.split_to(count));
            if this.plain.is_empty() {
                this.plain = BytesMut::new();
            }
        }
        while buffer.filled().len() == before && buffer.remaining() > 0 && this.peer == Peer::Speaks {
            if let Err(error) = ready!(this.poll_records(cx, buffer)) {
                this.peer = this.peer.after_failure();
                this.failure = Some(error);
            }
        }
        if buffer.filled().len() == before
            && let Some(failure) = this.failure.take()
        {
            return Poll::Ready(Err(failure));
        }
        Poll::Ready(Ok(()))
    }
}

impl<E: End> AsyncWrite for TlsStream<E> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if this.unsent.len() > MAX_HELD {
            ready!(this.poll_send(cx))?;
        }
        let bytes = bytes.get(..MAX_WRITE).unwrap_or(bytes);
        this.poll_encrypted(cx, bytes).map_ok(|()| bytes.len())
    }

    /// Short pieces go in one record.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut all = Vec::new();
        for piece in pieces {
            let room = MAX_GATHERED - all.len();
            all.extend_from_slice(piece.get(..room).unwrap_or(piece));
        }
        self.poll_write(cx, &all)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.say_close();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

/// How much of several pieces is written at a time.
const MAX_GATHERED: usize = 16_384;

impl<E: End> fmt::Debug for TlsStream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
