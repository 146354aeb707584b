//! Version 1: one line of text. Section 2.1.

use super::{Header, HeaderError, Origin, Reading, Tlvs};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) const FIRST_BYTE: u8 = b'P';

/// The shortest line, `PROXY UNKNOWN` and its end, in bytes.
pub(super) const MIN_SIZE: usize = 15;
/// The longest line, its end included, in bytes.
pub(super) const MAX_SIZE: usize = 107;

/// How a line begins.
const WORD: &[u8] = b"PROXY ";

/// What stands behind that.
const TRANSPORTS: [(&[u8], Transport); 3] =
    [(b"TCP4 ", Transport::Tcp4), (b"TCP6 ", Transport::Tcp6), (b"UNKNOWN", Transport::Unknown)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tcp4,
    Tcp6,
    Unknown,
}

pub(super) fn read(bytes: &[u8]) -> Result<Reading<Header<'_>>, HeaderError> {
    let too_few = Ok(Reading::NeedMore(MIN_SIZE.saturating_sub(bytes.len())));
    let rest = match behind(WORD, bytes) {
        Start::Whole(rest) => rest,
        Start::Partial => return too_few,
        Start::Other => return Err(HeaderError::Signature),
    };
    let Some((transport, rest)) = transport(rest)? else { return too_few };
    let Some(end) = end_of_line(bytes)? else {
        return Ok(Reading::NeedMore(missing(transport, rest)));
    };
    let words = rest.get(..rest.len().saturating_sub(bytes.len() - end)).unwrap_or_default();
    let origin = match transport {
        // "The receiver must ignore anything presented before the CRLF."
        Transport::Unknown if words.is_empty() || words.starts_with(b" ") => Origin::Unknown,
        Transport::Unknown => return Err(HeaderError::Transport),
        Transport::Tcp4 | Transport::Tcp6 => client(transport, words)?,
    };
    Ok(Reading::Complete(Header { origin, tlvs: Tlvs::default(), size: end + 2 }))
}

/// How bytes compare with what they are expected to begin with.
enum Start<'a> {
    /// They begin so, and this follows.
    Whole(&'a [u8]),
    /// They end in the middle of it.
    Partial,
    /// They are something else.
    Other,
}

fn behind<'a>(prefix: &[u8], bytes: &'a [u8]) -> Start<'a> {
    match bytes.strip_prefix(prefix) {
        Some(rest) => Start::Whole(rest),
        None if prefix.starts_with(bytes) => Start::Partial,
        None => Start::Other,
    }
}

fn transport(rest: &[u8]) -> Result<Option<(Transport, &[u8])>, HeaderError> {
    let mut may_come = false;
    for (name, transport) in TRANSPORTS {
        match behind(name, rest) {
            Start::Whole(words) => return Ok(Some((transport, words))),
            Start::Partial => may_come = true,
            Start::Other => {}
        }
    }
    if may_come { Ok(None) } else { Err(HeaderError::Transport) }
}

/// Where the line ends; `None` while it does not.
fn end_of_line(bytes: &[u8]) -> Result<Option<usize>, HeaderError> {
    let line = bytes.get(..MAX_SIZE).unwrap_or(bytes);
    let Some(end) = line.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return if bytes.len() < MAX_SIZE { Ok(None) } else { Err(HeaderError::Endless) };
    };
    match line.get(end..) {
        Some([b'\r', b'\n', ..]) => Ok(Some(end)),
        Some([b'\r']) if bytes.len() < MAX_SIZE => Ok(None),
        Some([b'\r']) => Err(HeaderError::Endless),
        _ => Err(HeaderError::LineEnd),
    }
}

/// How many bytes are missing at least when the words behind the transport are these. The word that came last may be
/// whole; the shortest addresses are `0.0.0.0` and `::`.
fn missing(transport: Transport, words: &[u8]) -> usize {
    if words.last() == Some(&b'\r') {
        return 1;
    }
    let address = match transport {
        Transport::Tcp4 => 7,
        Transport::Tcp6 => 2,
        Transport::Unknown => return 2,
    };
    match words.split(|byte| *byte == b' ').count() {
        0 | 1 => 1 + address + 2 + 2 + 2,
        2 => 2 + 2 + 2,
        3 => 2 + 2,
        _ => 2,
    }
}

fn client(transport: Transport, words: &[u8]) -> Result<Origin, HeaderError> {
    let words = std::str::from_utf8(words).map_err(|_| HeaderError::Words)?;
    let mut words = words.split(' ');
    let (source, destination) = (words.next(), words.next());
    let (source_port, destination_port) = (words.next(), words.next());
    let (None, Some(source), Some(destination), Some(source_port), Some(destination_port)) =
        (words.next(), source, destination, source_port, destination_port)
    else {
        return Err(HeaderError::Words);
    };
    let source = SocketAddr::new(address(transport, source)?, port(source_port)?);
    let destination = SocketAddr::new(address(transport, destination)?, port(destination_port)?);
    Ok(Origin::Client { source, destination })
}

fn address(transport: Transport, word: &str) -> Result<IpAddr, HeaderError> {
    let addr = match transport {
        Transport::Tcp4 => word.parse::<Ipv4Addr>().map(IpAddr::V4),
        Transport::Tcp6 | Transport::Unknown => word.parse::<Ipv6Addr>().map(IpAddr::V6),
    };
    addr.map_err(|_| HeaderError::Address)
}

/// Rust reads `+1` and `007` as numbers, too.
fn port(word: &str) -> Result<u16, HeaderError> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| is_plain).ok_or(HeaderError::Port)
}
