//! One end of a connection, whatever it is wrapped in.
//!
//! The way of a connection, the relay and the lingering close name this type and no socket. A plain connection costs a
//! look at the variant and nothing else; whatever has a state of its own is boxed, so that plain ones stay small. A
//! wrapping holds a `Stream` itself: WebSocket over TLS over TCP is three of them.

use super::tls::TlsStream;
use super::websocket::WebSocket;
use rustix::net::RecvFlags;
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::rustls::client::UnbufferedClientConnection;
use tokio_rustls::rustls::server::UnbufferedServerConnection;

/// A stream of bytes to a peer.
#[derive(Debug)]
pub enum Stream {
    /// The socket itself.
    Tcp(TcpStream),
    /// The socket itself, where both ends are on this machine.
    Unix(UnixStream),
    /// A client's end of TLS.
    TlsToClient(Box<TlsStream<UnbufferedServerConnection>>),
    /// A broker's end of TLS.
    TlsToBroker(Box<TlsStream<UnbufferedClientConnection>>),
    /// A WebSocket, on either side.
    WebSocket(Box<WebSocket>),
}

impl Stream {
    /// The socket at the bottom.
    pub fn socket(&self) -> SockRef<'_> {
        match self {
            Stream::Tcp(socket) => SockRef::from(socket),
            Stream::Unix(socket) => SockRef::from(socket),
            Stream::TlsToClient(tls) => tls.get_ref().socket(),
            Stream::TlsToBroker(tls) => tls.get_ref().socket(),
            Stream::WebSocket(ws) => ws.get_ref().socket(),
        }
    }

    /// Waits for bytes and looks at them without taking them; 0 is the end of the stream. For a connection that nothing
    /// is wrapped around yet.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(socket) => socket.peek(buffer).await,
            Stream::Unix(socket) => {
                let mut peek = || rustix::net::recv(socket, &mut *buffer, RecvFlags::PEEK);
                let peeked = socket.async_io(Interest::READABLE, || Ok(peek()?)).await?;
                Ok(peeked.0)
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// From now on, has what is written wait for a flush or the end where that saves a packet: for whoever says its last
    /// words.
    pub fn hold_back(&mut self) {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => {}
            Stream::TlsToClient(tls) => tls.hold_back(),
            Stream::TlsToBroker(tls) => tls.hold_back(),
            Stream::WebSocket(ws) => ws.hold_back(),
        }
    }

    /// Has the connection reset, and not closed, when it is dropped. A Unix socket knows no reset and is closed.
    ///
    /// # Errors
    /// The peer has reset it already.
    pub fn reset_on_drop(&self) -> io::Result<()> {
        self.socket().set_linger(Some(Duration::ZERO))
    }
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Stream {
        Stream::Tcp(socket)
    }
}

impl From<UnixStream> for Stream {
    fn from(socket: UnixStream) -> Stream {
        Stream::Unix(socket)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(socket) => Pin::new(socket).poll_read(cx, buffer),
            Stream::Unix(socket) => Pin::new(socket).poll_read(cx, buffer),
            Stream::TlsToClient(tls) => Pin::new(tls).poll_read(cx, buffer),
            Stream::TlsToBroker(tls) => Pin::new(tls).poll_read(cx, buffer),
            Stream::WebSocket(ws) => Pin::new(ws).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Stream::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
            Stream::TlsToClient(tls) => Pin::new(tls).poll_write(cx, bytes),
            Stream::TlsToBroker(tls) => Pin::new(tls).poll_write(cx, bytes),
            Stream::WebSocket(ws) => Pin::new(ws).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Stream::Unix(socket) => Pin::new(socket).poll_flush(cx),
            Stream::TlsToClient(tls) => Pin::new(tls).poll_flush(cx),
            Stream::TlsToBroker(tls) => Pin::new(tls).poll_flush(cx),
            Stream::WebSocket(ws) => Pin::new(ws).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Stream::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            Stream::TlsToClient(tls) => Pin::new(tls).poll_shutdown(cx),
            Stream::TlsToBroker(tls) => Pin::new(tls).poll_shutdown(cx),
            Stream::WebSocket(ws) => Pin::new(ws).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
            Stream::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
            Stream::TlsToClient(tls) => Pin::new(tls).poll_write_vectored(cx, pieces),
            Stream::TlsToBroker(tls) => Pin::new(tls).poll_write_vectored(cx, pieces),
            Stream::WebSocket(ws) => Pin::new(ws).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Tcp(socket) => socket.is_write_vectored(),
            Stream::Unix(socket) => socket.is_write_vectored(),
            Stream::TlsToClient(tls) => tls.is_write_vectored(),
            Stream::TlsToBroker(tls) => tls.is_write_vectored(),
            Stream::WebSocket(ws) => ws.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, Stream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("listening");
        (client, listener.accept().await.expect("connected").0.into())
    }

    #[test]
    fn a_plain_stream_is_no_larger_than_its_socket_and_a_word() {
        assert!(size_of::<Stream>() <= size_of::<TcpStream>() + size_of::<usize>());
    }

    #[tokio::test]
    async fn a_plain_stream_passes_bytes_and_the_end_both_ways() {
        let (mut client, mut stream) = pair().await;
        stream.write_all(b"there").await.expect("connected");
        stream.shutdown().await.expect("connected");
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.expect("connected");
        assert_eq!(got, b"there");
        client.write_all(b"back").await.expect("connected");
        drop(client);
        got.clear();
        stream.read_to_end(&mut got).await.expect("connected");
        assert_eq!(got, b"back");
    }

    #[tokio::test]
    async fn a_stream_that_is_to_be_reset_is() {
        let (mut client, stream) = pair().await;
        stream.reset_on_drop().expect("connected");
        drop(stream);
        let error = client.read(&mut [0]).await.expect_err("reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
