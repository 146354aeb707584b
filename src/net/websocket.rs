//! A WebSocket as a stream of bytes: frames are made and taken away, pings are answered, the close is said.
//!
//! Holds no payload: what is read is unmasked where it was read to, and what is written goes out behind its header.

use super::read_some;
use super::stream::Stream;
use crate::wire::Reading;
use crate::wire::websocket::frame::{self, Header, NORMAL, Opcode, Reader, Role};
use crate::wire::websocket::upgrade::{self, Refused, Rules, Upgrade};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

/// One end of a WebSocket.
#[derive(Debug)]
pub struct WebSocket {
    inner: Stream,
    role: Role,
    reader: Reader,
    /// What came behind the request, before it was answered. Never longer than a request may be.
    early: Vec<u8>,
    /// Control frames that are to be sent. Never longer than [`MAX_PENDING`].
    pending: Vec<u8>,
    /// The data frame that is being sent.
    frame: Outgoing,
    has_ended: bool,
    has_said_close: bool,
}

/// A data frame that is being sent.
#[derive(Debug)]
struct Outgoing {
    header: Header,
    /// How much of the header is sent.
    sent: usize,
    /// How much of the payload is.
    at: usize,
    /// How much of it is not.
    left: usize,
    mask: Option<[u8; 4]>,
}

/// Who asks faster for pongs than it takes them, gets fewer of them.
const MAX_PENDING: usize = 4 * (frame::MAX_CONTROL + 4);

/// So much is masked at a time: on its way, nothing else may see what we were given.
const MASKED: usize = 4096;

/// A connection that did not become a WebSocket.
#[derive(Debug, thiserror::Error)]
pub enum NoWebSocket {
    /// It closed before its first byte: a health check does that.
    #[error("closed without a byte")]
    Probe,
    /// It closed in the middle.
    #[error("closed after {0} bytes of an HTTP request")]
    ClosedEarly(usize),
    /// The connection broke.
    #[error("connection broke after {0} bytes of an HTTP request")]
    Broke(usize, #[source] io::Error),
    /// It took too long.
    #[error("no HTTP request in time; {0} bytes came")]
    TimedOut(usize),
    /// What it asks for is not to be had.
    #[error("refused upgrade")]
    Refused(#[from] Refused),
}

/// Reads a client's request and says yes to it. On failure, the stream may still be told why.
///
/// # Errors
/// There is no WebSocket.
pub async fn accept(
    mut stream: Stream,
    rules: &Rules,
    max_frame: u64,
    patience: Duration,
) -> Result<(WebSocket, Upgrade), (NoWebSocket, Stream)> {
    let mut bytes = Vec::new();
    let answered = timeout(patience, answer(&mut stream, &mut bytes, rules)).await;
    match answered.unwrap_or(Err(NoWebSocket::TimedOut(bytes.len()))) {
        Ok(upgrade) => {
            let early = bytes.split_off(upgrade.size.min(bytes.len()));
            Ok((WebSocket::new(Role::Server, stream, early, max_frame), upgrade))
        }
        Err(failure) => Err((failure, stream)),
    }
}

async fn answer(stream: &mut Stream, bytes: &mut Vec<u8>, rules: &Rules) -> Result<Upgrade, NoWebSocket> {
    let upgrade = loop {
        match read_some(stream, bytes, upgrade::MAX_REQUEST).await {
            Ok(0) | Err(_) if bytes.is_empty() => return Err(NoWebSocket::Probe),
            Ok(0) => return Err(NoWebSocket::ClosedEarly(bytes.len())),
            Ok(_) => {}
            Err(error) => return Err(NoWebSocket::Broke(bytes.len(), error)),
        }
        if let Reading::Complete(upgrade) = upgrade::read(bytes)? {
            break upgrade;
        }
    };
    rules.check(&upgrade)?;
    let broke = |error| NoWebSocket::Broke(upgrade.size, error);
    stream.write_all(&upgrade.response()).await.map_err(broke)?;
    stream.flush().await.map_err(broke)?;
    Ok(upgrade)
}

/// Asks a broker for a WebSocket. `host` is what it is called, with its port.
///
/// # Errors
/// The connection broke, or the broker has none for us.
pub async fn dial(mut stream: Stream, host: &str, path: &str) -> io::Result<WebSocket> {
    let key = upgrade::key(random()?);
    stream.write_all(&upgrade::request(host, path, &key)).await?;
    stream.flush().await?;
    let mut bytes = Vec::new();
    let size = loop {
        if read_some(&mut stream, &mut bytes, upgrade::MAX_REQUEST).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let answer = upgrade::read_answer(&bytes, &key);
        match answer.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
            Reading::Complete(size) => break size,
            Reading::NeedMore(_) => {}
        }
    };
    let early = bytes.split_off(size.min(bytes.len()));
    Ok(WebSocket::new(Role::Client, stream, early, u64::MAX))
}

fn random<const SIZE: usize>() -> io::Result<[u8; SIZE]> {
    let mut bytes = [0; SIZE];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("the system has no random numbers"))?;
    Ok(bytes)
}

impl WebSocket {
    fn new(role: Role, inner: Stream, early: Vec<u8>, max_frame: u64) -> WebSocket {
        let header = Header::new(Opcode::Binary, 0, None);
        WebSocket {
            inner,
            role,
            reader: Reader::new(role, max_frame),
            early,
            pending: Vec::new(),
            frame: Outgoing { sent: header.as_bytes().len(), header, at: 0, left: 0, mask: None },
            has_ended: false,
            has_said_close: false,
        }
    }

    /// What it stands on.
    pub fn get_ref(&self) -> &Stream {
        &self.inner
    }

    /// As [`Stream::hold_back`].
    pub fn hold_back(&mut self) {
        self.inner.hold_back();
    }

    /// Fills `space` with what came, and says with how much: 0 when nothing more will come.
    fn poll_fill(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        if !self.early.is_empty() {
            let count = self.early.len().min(space.len());
            let rest = self.early.split_off(count);
            let early = std::mem::replace(&mut self.early, rest);
            space.get_mut(..count).unwrap_or_default().copy_from_slice(&early);
            return Poll::Ready(Ok(count));
        }
        let mut space = ReadBuf::new(space);
        Pin::new(&mut self.inner).poll_read(cx, &mut space).map_ok(|()| space.filled().len())
    }

    /// The mask of a new frame, where we are the one that masks. \[RFC 6455, section 5.3\]
    fn mask(&self) -> io::Result<Option<[u8; 4]>> {
        match self.role {
            Role::Server => Ok(None),
            Role::Client => random().map(Some),
        }
    }

    /// A control frame that is to be sent. Without random numbers there is none, and the next write fails.
    fn say(&mut self, kind: Opcode, payload: &[u8]) {
        if let Ok(mask) = self.mask() {
            self.pending.extend(frame::control(kind, payload, mask));
        }
    }

    fn say_close(&mut self, code: u16) {
        if !std::mem::replace(&mut self.has_said_close, true) {
            self.say(Opcode::Close, &code.to_be_bytes());
        }
    }

    /// Sends the control frames that wait, where no data frame is under way.
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() && self.frame.is_sent() {
            let sent = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.pending))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.pending.drain(..sent);
        }
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Sends control frames as far as they go at once; whatever is left goes with the next call.
    fn send_pending(&mut self, cx: &mut Context<'_>) {
        if !self.pending.is_empty() {
            // Who does not take a pong is found out by the next write.
            if self.poll_pending(cx).is_ready() {
                let _ = Pin::new(&mut self.inner).poll_flush(cx);
            }
        }
    }
}

impl Outgoing {
    fn is_sent(&self) -> bool {
        self.left == 0 && self.sent == self.header.as_bytes().len()
    }
}

impl AsyncRead for WebSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.send_pending(cx);
        while !this.has_ended && buffer.remaining() > 0 {
            let space = buffer.initialize_unfilled();
            let count = ready!(this.poll_fill(cx, space))?;
            if count == 0 {
                this.has_ended = true;
                break;
            }
            let taken = match this.reader.take(space.get_mut(..count).unwrap_or_default()) {
                Ok(taken) => taken,
                Err(violation) => {
                    this.has_ended = true;
                    this.say_close(violation.close_code());
                    this.send_pending(cx);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, violation)));
                }
            };
            if let Some(ping) = taken.ping.filter(|_| this.pending.len() < MAX_PENDING) {
                this.say(Opcode::Pong, &ping);
            }
            if let Some(code) = taken.close {
                this.has_ended = true;
                this.say_close(code.unwrap_or(NORMAL));
            }
            this.send_pending(cx);
            if taken.data > 0 {
                buffer.advance(taken.data);
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WebSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_pending(cx))?;
        if this.has_said_close {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if this.frame.is_sent() {
            let mask = this.mask()?;
            let header = Header::new(Opcode::Binary, bytes.len(), mask);
            this.frame = Outgoing { header, sent: 0, at: 0, left: bytes.len(), mask };
        }
        // Who was told to come again, and comes with less or something else, fills the frame all the same: its borders
        // mean nothing.
        let payload = bytes.get(..this.frame.left).unwrap_or(bytes);
        let mut copy = [0; MASKED];
        let payload = match this.frame.mask {
            None => payload,
            Some(mask) => {
                let count = payload.len().min(MASKED);
                let copy = copy.get_mut(..count).unwrap_or_default();
                copy.copy_from_slice(payload.get(..count).unwrap_or_default());
                frame::apply_mask(copy, mask, this.frame.at);
                copy
            }
        };
        loop {
            let header = this.frame.header.as_bytes().get(this.frame.sent..).unwrap_or_default();
            let inner = Pin::new(&mut this.inner);
            let sent = if header.is_empty() {
                ready!(inner.poll_write(cx, payload))?
            } else {
                ready!(inner.poll_write_vectored(cx, &[IoSlice::new(header), IoSlice::new(payload)]))?
            };
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_header = sent.min(header.len());
            this.frame.sent += of_header;
            let of_payload = sent - of_header;
            this.frame.at = this.frame.at.wrapping_add(of_payload);
            this.frame.left = this.frame.left.saturating_sub(of_payload);
            if of_payload > 0 {
                return Poll::Ready(Ok(of_payload));
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_pending(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    /// Says that it is over, and ends our half. Inside a frame there is nothing to be said.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.say_close(NORMAL);
        ready!(this.poll_pending(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
