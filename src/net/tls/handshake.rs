//! The handshake: the first message by our own reader, the rest by rustls, in turns.

use super::error::{Ended, Refused};
use super::facts::TlsFacts;
use super::server::TlsServer;
use super::settings::MinVersion;
use super::stream::TlsStream;
use crate::net::scratch::read_some;
use crate::net::stream::Stream;
use crate::wire::Reading;
use crate::wire::tls::{self, Hello, Ja4, NotHello};
use compact_str::CompactString;
use std::io;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::rustls::ProtocolVersion;
use tokio_rustls::rustls::server::UnbufferedServerConnection;

/// A client that has said the first word.
#[derive(Debug)]
pub struct Knock {
    stream: Stream,
    bytes: Vec<u8>,
    deadline: Instant,
    heard: Heard,
}

/// What a client's first message says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The name of the server that it asks for.
    pub server_name: Option<CompactString>,
    /// What the message looks like.
    pub ja4: Ja4,
}

impl Knock {
    /// What the first message looks like.
    pub fn ja4(&self) -> Ja4 {
        self.heard.ja4
    }

    /// The socket, for whoever does not go on.
    pub fn into_stream(self) -> Stream {
        self.stream
    }
}

/// A stream on which the last words have been said, if it is still there.
pub(super) type Failure = (Ended, Option<Stream>);

/// Reads a client's first message. Nothing is computed yet. What it says is `heard`, be it refused or not.
///
/// # Errors
/// How the connection ended; the stream, where the client may still read an alert.
pub async fn listen(
    server: &TlsServer,
    mut stream: Stream,
    heard: &mut Option<Box<Heard>>,
) -> Result<Knock, Failure> {
    let deadline = Instant::now() + server.settings.handshake_timeout;
    let mut bytes = Vec::new();
    let reading = timeout_at(deadline, read_hello(server, &mut stream, &mut bytes, heard));
    match reading.await.unwrap_or(Err(Ended::TimedOut)) {
        Ok(heard) => Ok(Knock { stream, bytes, deadline, heard }),
        Err(Ended::Refused(refused)) => {
            if let Some(alert) = alert(&refused) {
                // Whoever has gone needs none.
                let _ = timeout_at(deadline, stream.write_all(&[21, 3, 3, 0, 2, 2, alert])).await;
            }
            Err((Ended::Refused(refused), Some(stream)))
        }
        Err(ended) => Err((ended, None)),
    }
}

async fn read_hello(
    server: &TlsServer,
    stream: &mut Stream,
    bytes: &mut Vec<u8>,
    heard: &mut Option<Box<Heard>>,
) -> Result<Heard, Ended> {
    loop {
        let missing = match tls::read(bytes).map_err(not_hello)? {
            Reading::Complete(message) => {
                let hello = Hello::parse(&message).map_err(not_hello)?;
                let server_name = hello.server_name().map(Into::into);
                let said = Heard { server_name, ja4: hello.ja4() };
                *heard = Some(Box::new(said.clone()));
                check(server, &hello).map_err(Ended::Refused)?;
                return Ok(said);
            }
            Reading::NeedMore(missing) => missing,
        };
        match read_some(stream, bytes, missing.max(READ_AHEAD)).await {
            // A health check ends with FIN or with RST.
            Ok(0) | Err(_) if bytes.is_empty() => return Err(Ended::Probe),
            Ok(0) => return Err(Ended::ClosedEarly(bytes.len())),
            Ok(_) => {}
            Err(error) => return Err(Ended::Broke(error)),
        }
    }
}

/// Room for most first messages.
const READ_AHEAD: usize = 2048;

fn not_hello(error: NotHello) -> Ended {
    Ended::Refused(Refused::NotHello(error))
}

/// What rustls would refuse, too, and could not say so well.
fn check(server: &TlsServer, hello: &Hello<'_>) -> Result<(), Refused> {
    if server.by_name.refuses(hello.server_name()) {
        let name = hello.server_name().unwrap_or_default();
        return Err(Refused::UnknownName(name.chars().take(MAX_SHOWN).collect()));
    }
    let (newest, oldest) = (hello.newest_version(), server.settings.min_version);
    let is_known = newest == Some(TLS13) || (newest == Some(TLS12) && oldest == MinVersion::V12);
    if !is_known {
        return Err(Refused::NoVersion(tls::version_name(newest)));
    }
    let suites = &server.config.crypto_provider().cipher_suites;
    if !hello.ciphers().any(|offered| suites.iter().any(|own| u16::from(own.suite()) == offered)) {
        return Err(Refused::NoCipher);
    }
    let ours = &server.settings.alpn;
    let is_common = |name: &[u8]| ours.iter().any(|own| own.as_bytes() == name);
    // A client that offers nothing speaks what it always spoke. [RFC 7301, section 3.2]
    if !ours.is_empty() && hello.alpn().next().is_some() && !hello.alpn().any(is_common) {
        let offered =
            hello.alpn().take(4).map(|name| name.escape_ascii().to_string()).collect::<Vec<_>>().join(", ");
        return Err(Refused::NoProtocol(offered.chars().take(MAX_SHOWN).collect()));
    }
    Ok(())
}

const TLS12: u16 = 0x0303;
const TLS13: u16 = 0x0304;
/// How much of what a stranger sent is shown, in characters.
const MAX_SHOWN: usize = 100;

/// What we tell a client of what we have found out before rustls. \[RFC 8446, section 6.2\]
fn alert(refused: &Refused) -> Option<u8> {
    match refused {
        Refused::NotHello(NotHello::Malformed(_) | NotHello::TooLarge { .. }) => Some(50),
        Refused::NotHello(NotHello::BadRecord { .. }) => Some(22),
        Refused::NotHello(NotHello::OtherMessage(_)) => Some(10),
        // Whoever speaks no TLS reads no alerts.
        Refused::NotHello(NotHello::NotTls(_) | NotHello::Alert) | Refused::Tls(_) => None,
        Refused::NoCipher => Some(40),
        Refused::NoVersion(_) => Some(70),
        Refused::UnknownName(_) => Some(112),
        Refused::NoProtocol(_) => Some(120),
    }
}

/// Brings the handshake to its end, in turns with others.
///
/// # Errors
/// How the connection ended; the stream, where the client may still read an alert.
pub async fn accept(server: &TlsServer, knock: Knock) -> Result<(Stream, TlsFacts), Failure> {
    let deadline = knock.deadline;
    match timeout_at(deadline, shake(server, knock)).await {
        Ok(outcome) => outcome,
        Err(_) => Err((Ended::TimedOut, None)),
    }
}

async fn shake(server: &TlsServer, knock: Knock) -> Result<(Stream, TlsFacts), Failure> {
    let Knock { stream, bytes, heard: Heard { server_name, ja4 }, .. } = knock;
    let end = match UnbufferedServerConnection::new(Arc::clone(&server.config)) {
        Ok(end) => end,
        Err(error) => return Err((Ended::Refused(Refused::Tls(error)), Some(stream))),
    };
    let mut stream = TlsStream::new(stream, end, bytes);
    loop {
        // Whoever waits for bytes waits without a turn.
        let Ok(turn) = server.turns.acquire().await else { return Err((Ended::TimedOut, None)) };
        let advanced = stream.advance();
        drop(turn);
        if let Err(error) = advanced {
            // Whoever has gone needs no alert.
            let _ = stream.send().await;
            return Err((Ended::Refused(Refused::Tls(error)), Some(stream.into_inner())));
        }
        if !stream.state().is_handshaking() {
            break;
        }
        let came = match stream.send().await {
            Ok(()) => stream.read_more().await,
            Err(error) => Err(error),
        };
        match came {
            Ok(true) => {}
            Ok(false) => {
                let closed = io::Error::other("the client closed after our first answer");
                return Err((Ended::Broke(closed), None));
            }
            Err(error) => return Err((Ended::Broke(error), None)),
        }
    }
    // Nobody waits for what is left in TLS 1.3, which is a ticket: it goes with the first answer.
    if stream.state().protocol_version() != Some(ProtocolVersion::TLSv1_3)
        && let Err(error) = stream.send().await
    {
        return Err((Ended::Broke(error), None));
    }
    let facts = TlsFacts::new(stream.state(), ja4, server_name);
    let refused = stream
        .state()
        .peer_certificates()
        .filter(|_| facts.is_resumed)
        .and_then(|chain| server.believes(chain).err());
    let stream = Stream::TlsToClient(Box::new(stream));
    match refused {
        Some(error) => Err((Ended::Refused(Refused::Tls(error)), Some(stream))),
        None => Ok((stream, facts)),
    }
}
