//! A broker that accepts whoever comes, as fast as it can, and then does what the client identifier asks for.

use super::client::server_config;
use super::site::Certificate;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What a client wants of the broker; the first letter of its identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To get back what it sends.
    Echo,
    /// To send messages of this size, and to be answered with a PINGRESP after each [`PORTION`].
    Sink(usize),
    /// To be sent about a [`PORTION`], in small messages or large ones, for each PINGREQ.
    Source(usize),
}

/// How much is sent, at least, before somebody waits for an answer: whole messages.
pub(crate) const PORTION: usize = 8 << 20;

impl Wish {
    pub(crate) fn letter(self) -> char {
        match self {
            Wish::Echo => 'e',
            Wish::Sink(SMALL) => 's',
            Wish::Sink(_) => 'S',
            Wish::Source(SMALL) => 'd',
            Wish::Source(_) => 'D',
        }
    }
}

/// The two sizes of messages in bulk, in bytes of their payload.
pub(crate) const SMALL: usize = 16 << 10;
pub(crate) const LARGE: usize = 1 << 20;

pub(crate) const PINGREQ: &[u8] = b"\xc0\0";
pub(crate) const PINGRESP: &[u8] = b"\xd0\0";

/// PUBLISH with QoS 0 and so much payload.
pub(crate) fn publish(payload: usize) -> Vec<u8> {
    const TOPIC: &[u8] = b"\0\x0dfleet/metrics";
    let mut length = TOPIC.len() + payload;
    let mut packet = vec![0x30];
    loop {
        let more = length >> 7;
        packet.push((length & 0x7f) as u8 | if more > 0 { 0x80 } else { 0 });
        length = more;
        if length == 0 {
            break;
        }
    }
    packet.extend_from_slice(TOPIC);
    packet.resize(packet.len() + payload, b'x');
    packet
}

/// How many messages of this payload make a portion.
pub(crate) fn portion(payload: usize) -> usize {
    PORTION.div_ceil(payload)
}

/// Where it listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Broker {
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
}

/// Starts it on a thread of its own.
pub(crate) fn start(certificate: &Certificate) -> Broker {
    let bind = || std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let (plain, tls) = (bind(), bind());
    let addr = |listener: &std::net::TcpListener| listener.local_addr().expect("bound");
    let broker = Broker { plain: addr(&plain), tls: addr(&tls) };
    let acceptor = TlsAcceptor::from(server_config(certificate));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        runtime.block_on(async { tokio::join!(accept(plain, None), accept(tls, Some(acceptor))) });
    });
    broker
}

async fn accept(listener: std::net::TcpListener, acceptor: Option<TlsAcceptor>) {
    listener.set_nonblocking(true).expect("a socket");
    // Thousands come at once.
    socket2::SockRef::from(&listener).listen(4096).expect("a socket");
    let listener = TcpListener::from_std(listener).expect("a socket");
    let acceptor = Arc::new(acceptor);
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let acceptor = Arc::clone(&acceptor);
        tokio::spawn(async move {
            client.set_nodelay(true)?;
            match &*acceptor {
                None => serve(client).await,
                Some(acceptor) => encrypted(acceptor, client).await,
            }
        });
    }
}

/// Writes, and has TLS hold nothing back.
pub(crate) async fn say(stream: &mut (impl AsyncWrite + Unpin + ?Sized), words: &[u8]) -> io::Result<()> {
    stream.write_all(words).await?;
    stream.flush().await
}

async fn encrypted(acceptor: &TlsAcceptor, client: TcpStream) -> io::Result<()> {
    serve(Box::new(acceptor.accept(client).await?)).await
}

async fn serve(mut client: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut packet = [0; 256];
    let mut length = client.read(&mut packet).await?;
    // The clients' CONNECTs have less than 128 bytes.
    while length > 0 && length < usize::from(packet[1]) + 2 {
        match client.read(&mut packet[length..]).await? {
            0 => return Ok(()),
            more => length += more,
        }
    }
    if length == 0 {
        return Ok(());
    }
    let is_5 = packet[8] == 5;
    say(&mut client, if is_5 { b"\x20\x03\0\0\0" } else { b"\x20\x02\0\0" }).await?;
    match packet[if is_5 { 15 } else { 14 }] {
        b's' => sink(client, SMALL).await,
        b'S' => sink(client, LARGE).await,
        b'd' => source(client, SMALL).await,
        b'D' => source(client, LARGE).await,
        _ => echo(client).await,
    }
}

/// Holds no more than the clients' messages need: thousands idle here.
async fn echo(mut client: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = [0; 2048];
    loop {
        match client.read(&mut buffer).await? {
            0 => return Ok(()),
            count => say(&mut client, &buffer[..count]).await?,
        }
    }
}

async fn sink(mut client: impl AsyncRead + AsyncWrite + Unpin, payload: usize) -> io::Result<()> {
    let size = portion(payload) * publish(payload).len();
    let mut buffer = vec![0; 256 << 10];
    let mut missing = size;
    loop {
        let room = missing.min(buffer.len());
        let count = client.read(&mut buffer[..room]).await?;
        if count == 0 {
            return Ok(());
        }
        missing -= count;
        if missing == 0 {
            say(&mut client, PINGRESP).await?;
            missing = size;
        }
    }
}

async fn source(mut client: impl AsyncRead + AsyncWrite + Unpin, payload: usize) -> io::Result<()> {
    let message = publish(payload);
    let mut request = [0; 2];
    loop {
        if client.read_exact(&mut request).await.is_err() {
            return Ok(());
        }
        for _ in 0..portion(payload) {
            client.write_all(&message).await?;
        }
        client.flush().await?;
    }
}
