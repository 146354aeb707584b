//! Reads the PROXY header off a connection, under a deadline, and not one byte of what follows it.
//!
//! Nobody is asked how long the header will be: the reader says how many bytes it lacks at least, and so many are read.

use super::{read_some, stream::Stream};
use crate::wire::Reading;
use crate::wire::proxy_protocol::{self, Header, HeaderError, Origin, Tls, Tlvs};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::time::timeout;

/// What a proxy says of the client whose connection it hands on. Small while it says little, since every session keeps
/// one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// Whom the connection is for.
    pub origin: Origin,
    said: Option<Box<Said>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    alpn: Option<Box<[u8]>>,
    authority: Option<Box<str>>,
    /// Without its names, which stand below.
    tls: Option<Tls<'static>>,
    version: Option<Box<str>>,
    common_name: Option<Box<str>>,
}

impl Announced {
    /// What it says beside the addresses.
    pub fn tlvs(&self) -> Tlvs<'_> {
        let Some(said) = &self.said else { return Tlvs::default() };
        let (version, common_name) = (said.version.as_deref(), said.common_name.as_deref());
        Tlvs {
            alpn: said.alpn.as_deref(),
            authority: said.authority.as_deref(),
            tls: said.tls.map(|tls| Tls { version, common_name, ..tls }),
        }
    }
}

impl From<Header<'_>> for Announced {
    fn from(header: Header<'_>) -> Announced {
        let Tlvs { alpn, authority, tls } = header.tlvs;
        let said = (header.tlvs != Tlvs::default()).then(|| {
            Box::new(Said {
                alpn: alpn.map(Box::from),
                authority: authority.map(Box::from),
                version: tls.and_then(|tls| tls.version).map(Box::from),
                common_name: tls.and_then(|tls| tls.common_name).map(Box::from),
                tls: tls.map(|tls| Tls {
                    certificate_now: tls.certificate_now,
                    certificate_in_session: tls.certificate_in_session,
                    verify: tls.verify,
                    version: None,
                    common_name: None,
                }),
            })
        });
        Announced { origin: header.origin, said }
    }
}

/// A connection without a header that could be used.
#[derive(Debug, thiserror::Error)]
pub enum NoHeader {
    /// It closed before its first byte: a health check does that.
    #[error("closed without a byte")]
    Probe,
    /// It closed in the middle.
    #[error("closed after {0} bytes of a PROXY header")]
    ClosedEarly(usize),
    /// The connection broke.
    #[error("connection broke after {0} bytes of a PROXY header")]
    Broke(usize, #[source] io::Error),
    /// It took too long.
    #[error("no PROXY header in time; {0} bytes came")]
    TimedOut(usize),
    /// What came is none.
    #[error("bad PROXY header")]
    Bad(#[from] HeaderError),
}

/// Reads a header that must come, and whole, before `patience` is over.
pub async fn read<S>(stream: &mut S, patience: Duration) -> Result<Announced, NoHeader>
where
    S: AsyncRead + Unpin,
{
    let mut bytes = Vec::new();
    let read = timeout(patience, read_all(stream, &mut bytes)).await;
    read.unwrap_or(Err(NoHeader::TimedOut(bytes.len())))
}

async fn read_all<S>(stream: &mut S, bytes: &mut Vec<u8>) -> Result<Announced, NoHeader>
where
    S: AsyncRead + Unpin,
{
    loop {
        let missing = match proxy_protocol::read(bytes)? {
            Reading::Complete(header) => return Ok(header.into()),
            Reading::NeedMore(missing) => missing,
        };
        match read_some(stream, bytes, missing).await {
            Ok(0) | Err(_) if bytes.is_empty() => return Err(NoHeader::Probe),
            Ok(0) => return Err(NoHeader::ClosedEarly(bytes.len())),
            Ok(_) => {}
            Err(error) => return Err(NoHeader::Broke(bytes.len(), error)),
        }
    }
}

/// Whether a connection that need not have a header begins with one. Takes no byte off it.
pub async fn is_ahead(stream: &Stream, patience: Duration) -> Result<bool, NoHeader> {
    let mut first = [0];
    match timeout(patience, stream.peek(&mut first)).await {
        Ok(Ok(0) | Err(_)) => Err(NoHeader::Probe),
        Ok(Ok(_)) => Ok(first.iter().any(|byte| proxy_protocol::begins_with(*byte))),
        Err(_) => Err(NoHeader::TimedOut(0)),
    }
}

/// Where the peer of a header that names nobody had connected to: this end of its connection.
pub fn local_addr(stream: &Stream) -> Option<SocketAddr> {
    stream.socket().local_addr().ok()?.as_socket()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::proxy_protocol::Announcement;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio_test::io::Builder;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn headers() -> [Vec<u8>; 3] {
        let secured = Tls { version: Some("TLSv1.3"), common_name: Some("dev-17"), ..Tls::default() };
        let tlvs = Tlvs { alpn: Some(b"mqtt"), authority: Some("broker.example"), tls: Some(secured) };
        let announcement =
            Announcement { source: addr("192.0.2.7:4711"), destination: addr("[::1]:1883"), tlvs };
        [announcement.v1(), announcement.v2(usize::MAX), announcement.v2_with_checksum(usize::MAX)]
    }

    fn origin() -> Origin {
        Origin::Client { source: addr("[::ffff:192.0.2.7]:4711"), destination: addr("[::1]:1883") }
    }

    #[tokio::test]
    async fn what_follows_the_header_stays_where_it_is() {
        for header in headers() {
            let (mut client, mut server) = duplex(1024);
            client.write_all(&[&header[..], b"\x10\x16 and so on"].concat()).await.expect("room");
            drop(client);
            let announced = read(&mut server, PATIENCE).await.expect("a header");
            assert_eq!(announced.origin, origin());
            let mut rest = Vec::new();
            server.read_to_end(&mut rest).await.expect("open");
            assert_eq!(rest, b"\x10\x16 and so on");
        }
    }

    #[tokio::test]
    async fn what_a_header_says_is_kept() {
        let [v1, v2, _] = headers();
        let announced = read(&mut &v2[..], PATIENCE).await.expect("a header");
        let tlvs = announced.tlvs();
        assert_eq!((tlvs.alpn, tlvs.authority), (Some(&b"mqtt"[..]), Some("broker.example")));
        let names = tlvs.tls.map(|tls| (tls.version, tls.common_name));
        assert_eq!(names, Some((Some("TLSv1.3"), Some("dev-17"))));
        assert_eq!(read(&mut &v1[..], PATIENCE).await.expect("a header").tlvs(), Tlvs::default());
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_drips_is_read_until_its_deadline_and_no_longer() {
        for (pause, is_in_time) in [(Duration::from_millis(10), true), (Duration::from_secs(1), false)] {
            for header in headers() {
                let (mut client, mut server) = duplex(64);
                let dripping = tokio::spawn(async move {
                    for byte in header {
                        tokio::time::sleep(pause).await;
                        if client.write_all(&[byte]).await.is_err() {
                            break;
                        }
                    }
                    client
                });
                match read(&mut server, PATIENCE).await {
                    Ok(announced) => assert!(is_in_time && announced.origin == origin()),
                    Err(NoHeader::TimedOut(4 | 5)) => assert!(!is_in_time),
                    Err(other) => panic!("{other}"),
                }
                dripping.abort();
            }
        }
    }

    #[tokio::test]
    async fn connections_without_a_whole_header_are_told_apart() {
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        let mut probe = Builder::new().build();
        assert!(matches!(read(&mut probe, PATIENCE).await, Err(NoHeader::Probe)));
        let mut reset_probe = Builder::new().read_error(reset()).build();
        assert!(matches!(read(&mut reset_probe, PATIENCE).await, Err(NoHeader::Probe)));
        let half = read(&mut &b"PROXY TC"[..], PATIENCE).await;
        assert!(matches!(half, Err(NoHeader::ClosedEarly(8))));
        let mut reset_half = Builder::new().read(b"\r\n").read_error(reset()).build();
        assert!(matches!(read(&mut reset_half, PATIENCE).await, Err(NoHeader::Broke(2, _))));
    }

    /// The script panics when more is read than it has.
    #[tokio::test]
    async fn hopeless_input_is_refused_at_the_byte_that_shows_it() {
        for (input, error) in [
            (&b"\x10"[..], HeaderError::Signature),
            (b"PU", HeaderError::Signature),
            (b"\r\n\r\n\0\r\nQUIT\n\x31", HeaderError::Version(3)),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xFF\xFF", HeaderError::TooLarge { found: 65_551 }),
        ] {
            let refused = read(&mut Builder::new().read(input).build(), PATIENCE).await;
            assert!(matches!(refused, Err(NoHeader::Bad(found)) if found == error), "{refused:?}");
        }
    }
}
