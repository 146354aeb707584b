//! The upgrade of an HTTP/1.1 request to WebSocket \[RFC 6455, section 4\], with MQTT as its subprotocol
//! \[MQTT-6.0.0-3\]: as it comes from clients, and as we send it to brokers.

use crate::wire::Reading;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use httparse::{EMPTY_HEADER, Header, Request, Response, Status};

/// The longest request, in bytes.
pub const MAX_REQUEST: usize = 8 << 10;
const MAX_HEADERS: usize = 64;

/// A request that is to become a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// How many bytes it took.
    pub size: usize,
    /// What it asks for, without the query.
    pub path: String,
    /// Whom it believes to have reached, without the port, in lower case.
    pub host: String,
    /// The page that it comes from, where a browser says so.
    pub origin: Option<String>,
    /// For whom it comes, as proxies in front of us say: all `X-Forwarded-For` together.
    pub forwarded_for: Option<String>,
    /// The subprotocol: of those that it offers, the first that we speak.
    protocol: &'static str,
    key: String,
}

/// The subprotocols that we speak: that of MQTT 3.1.1 and 5, and that of 3.1.
pub const PROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// Why a request does not become a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not even HTTP.
    #[error("not an HTTP request; this listener expects a WebSocket")]
    NotHttp,
    /// More than [`MAX_REQUEST`] bytes, or too many headers.
    #[error("HTTP request with too large a header")]
    TooLarge,
    /// Another method than GET.
    #[error("HTTP method is not GET")]
    Method,
    /// HTTP/1.0 knows no upgrade.
    #[error("HTTP version is not 1.1")]
    HttpVersion,
    /// A header that may stand once stands there twice, or is missing, or is malformed.
    #[error("HTTP header {0} is missing, malformed or there twice")]
    Header(&'static str),
    /// A line ends with LF alone. Proxies in front of us may take that for a part of the line, and so have passed on headers
    /// that they have not seen. \[RFC 9112, section 2.2\]
    #[error("HTTP line that does not end with CR LF")]
    LineEnd,
    /// It does not ask for a WebSocket.
    #[error("HTTP request that asks for no WebSocket")]
    NoUpgrade,
    /// It has a body, which an upgrade never has.
    #[error("HTTP upgrade with a body")]
    Body,
    /// Only version 13 is spoken.
    #[error("WebSocket version is not 13")]
    Version,
    /// \[MQTT-6.0.0-3\]
    #[error("WebSocket offers no subprotocol of MQTT")]
    Protocol,
    /// Nothing is served there.
    #[error("WebSocket for another path")]
    Path,
    /// The listener is not called that.
    #[error("WebSocket for another host")]
    Host,
    /// Pages of that origin may not connect.
    #[error("WebSocket of an origin that is not allowed")]
    Origin,
}

impl Refused {
    /// The answer; empty for a peer that does not speak HTTP.
    pub fn response(self) -> Vec<u8> {
        let (status, header) = match self {
            Refused::NotHttp => return Vec::new(),
            Refused::TooLarge => ("431 Request Header Fields Too Large", ""),
            Refused::Method => ("405 Method Not Allowed", "Allow: GET\r\n"),
            Refused::HttpVersion => ("505 HTTP Version Not Supported", ""),
            Refused::Header(_) | Refused::LineEnd | Refused::Body | Refused::Protocol => {
                ("400 Bad Request", "")
            }
            Refused::NoUpgrade => ("426 Upgrade Required", "Upgrade: websocket\r\n"),
            Refused::Version => ("426 Upgrade Required", "Sec-WebSocket-Version: 13\r\n"),
            Refused::Path => ("404 Not Found", ""),
            Refused::Host => ("421 Misdirected Request", ""),
            Refused::Origin => ("403 Forbidden", ""),
        };
        let body = format!("{self}\n");
        format!(
            "HTTP/1.1 {status}\r\n{header}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}

/// What a listener asks of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The path.
    pub path: String,
    /// The names by which it may be called, in lower case; any, where there are none.
    pub hosts: Vec<String>,
    /// The origins whose pages may connect; any, where there are none. Who is no browser sends none, and is let in.
    pub origins: Vec<String>,
}

impl Rules {
    /// Whether this request may become a WebSocket here.
    ///
    /// # Errors
    /// It may not.
    pub fn check(&self, upgrade: &Upgrade) -> Result<(), Refused> {
        if upgrade.path != self.path {
            return Err(Refused::Path);
        }
        if !self.hosts.is_empty() && !self.hosts.contains(&upgrade.host) {
            return Err(Refused::Host);
        }
        let allows =
            |origin: &String| self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin));
        if self.origins.is_empty() || upgrade.origin.as_ref().is_none_or(allows) {
            Ok(())
        } else {
            Err(Refused::Origin)
        }
    }
}

/// Reads a request off the front of `bytes`.
///
/// # Errors
/// It cannot become a WebSocket, whatever follows.
pub fn read(bytes: &[u8]) -> Result<Reading<Upgrade>, Refused> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    let size = match request.parse(bytes.get(..MAX_REQUEST).unwrap_or(bytes)) {
        Ok(Status::Complete(size)) => size,
        Ok(Status::Partial) if bytes.len() >= MAX_REQUEST => return Err(Refused::TooLarge),
        Ok(Status::Partial) => return Ok(Reading::NeedMore(1)),
        Err(httparse::Error::TooManyHeaders) => return Err(Refused::TooLarge),
        Err(httparse::Error::Version) => return Err(Refused::HttpVersion),
        Err(httparse::Error::HeaderName | httparse::Error::HeaderValue | httparse::Error::NewLine) => {
            return Err(Refused::Header("line"));
        }
        Err(httparse::Error::Token | httparse::Error::Status) => return Err(Refused::NotHttp),
    };
    let Request { method, path, version, headers } = request;
    let head = bytes.get(..size).unwrap_or_default();
    let is_bare = |pair: &[u8]| matches!(pair, [before, b'\n'] if *before != b'\r');
    if head.starts_with(b"\n") || head.windows(2).any(is_bare) {
        return Err(Refused::LineEnd);
    }
    if method != Some("GET") {
        return Err(Refused::Method);
    }
    if version != Some(1) {
        return Err(Refused::HttpVersion);
    }
    upgrade(size, path.unwrap_or_default(), &Fields(headers)).map(Reading::Complete)
}

fn upgrade(size: usize, target: &str, fields: &Fields<'_>) -> Result<Upgrade, Refused> {
    let has_body = |value: &str| value.trim() != "0";
    if fields.one("Transfer-Encoding")?.is_some() || fields.one("Content-Length")?.is_some_and(has_body) {
        return Err(Refused::Body);
    }
    if !fields.lists("Upgrade", "websocket")? || !fields.lists("Connection", "upgrade")? {
        return Err(Refused::NoUpgrade);
    }
    if fields.one("Sec-WebSocket-Version")? != Some("13") {
        return Err(Refused::Version);
    }
    let key =
        fields.one("Sec-WebSocket-Key")?.filter(|key| STANDARD.decode(key).is_ok_and(|key| key.len() == 16));
    let key = key.ok_or(Refused::Header("Sec-WebSocket-Key"))?.to_owned();
    let host = fields.one("Host")?.ok_or(Refused::Header("Host"))?;
    let offered = fields.all("Sec-WebSocket-Protocol")?;
    let spoken = |offer: &str| PROTOCOLS.into_iter().find(|protocol| offer.trim() == *protocol);
    let protocol = offered.as_deref().and_then(|offered| offered.split(',').find_map(spoken));
    Ok(Upgrade {
        size,
        path: target.split(['?', '#']).next().unwrap_or_default().to_owned(),
        host: without_port(host).to_ascii_lowercase(),
        origin: fields.one("Origin")?.map(str::to_owned),
        forwarded_for: fields.all("X-Forwarded-For")?,
        protocol: protocol.ok_or(Refused::Protocol)?,
        key,
    })
}

/// A host as it is called, of a name, an IPv4 address, or an IPv6 address in brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The headers of a request.
struct Fields<'h>(&'h [Header<'h>]);

impl<'h> Fields<'h> {
    fn named(&self, name: &'static str) -> impl Iterator<Item = Result<&'h str, Refused>> {
        let named = self.0.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(move |header| {
            std::str::from_utf8(header.value).map(str::trim).map_err(|_| Refused::Header(name))
        })
    }

    /// What stands in a header that may stand there once.
    fn one(&self, name: &'static str) -> Result<Option<&'h str>, Refused> {
        let mut named = self.named(name);
        match (named.next().transpose()?, named.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(Refused::Header(name)),
        }
    }

    /// What stands in all headers of a name, which are one list. \[RFC 9110, section 5.3\]
    fn all(&self, name: &'static str) -> Result<Option<String>, Refused> {
        let values = self.named(name).collect::<Result<Vec<_>, _>>()?;
        Ok((!values.is_empty()).then(|| values.join(", ")))
    }

    /// Whether a word stands in a list.
    fn lists(&self, name: &'static str, word: &str) -> Result<bool, Refused> {
        let list = self.all(name)?.unwrap_or_default();
        Ok(list.split(',').any(|item| item.trim().eq_ignore_ascii_case(word)))
    }
}

impl Upgrade {
    /// The answer that makes it a WebSocket.
    pub fn response(&self) -> Vec<u8> {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {}\r\n\r\n",
            accept(&self.key),
            self.protocol
        )
        .into_bytes()
    }
}

/// The request of a client: ours, for a broker.
pub fn request(host: &str, path: &str, key: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {}\r\nSec-WebSocket-Version: 13\r\n\r\n",
        PROTOCOLS[0]
    )
    .into_bytes()
}

/// The key of a request, of 16 random bytes.
pub fn key(random: [u8; 16]) -> String {
    STANDARD.encode(random)
}

/// Why a server's answer makes no WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotUpgraded {
    /// Not even HTTP.
    #[error("the answer is not HTTP")]
    NotHttp,
    /// More than [`MAX_REQUEST`] bytes, or too many headers.
    #[error("the answer has too large a header")]
    TooLarge,
    /// Another status than 101.
    #[error("the answer is HTTP {0}; expected 101 Switching Protocols")]
    Status(u16),
    /// A header is missing, there twice, or says something else.
    #[error("the answer's header {0} is missing or says something else")]
    Header(&'static str),
}

/// Reads the answer to a request with this key off the front of `bytes`; returns how many it took.
///
/// # Errors
/// There is no WebSocket.
pub fn read_answer(bytes: &[u8], key: &str) -> Result<Reading<usize>, NotUpgraded> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut response = Response::new(&mut headers);
    let size = match response.parse(bytes.get(..MAX_REQUEST).unwrap_or(bytes)) {
        Ok(Status::Complete(size)) => size,
        Ok(Status::Partial) if bytes.len() >= MAX_REQUEST => return Err(NotUpgraded::TooLarge),
        Ok(Status::Partial) => return Ok(Reading::NeedMore(1)),
        Err(httparse::Error::TooManyHeaders) => return Err(NotUpgraded::TooLarge),
        Err(_) => return Err(NotUpgraded::NotHttp),
    };
    match response.code {
        Some(101) => {}
        code => return Err(NotUpgraded::Status(code.unwrap_or(0))),
    }
    let fields = Fields(response.headers);
    let says = |name, value: &str, exactly: bool| {
        let is_it = match fields.one(name) {
            Ok(Some(found)) if exactly => found == value,
            Ok(Some(found)) => found.split(',').any(|item| item.trim().eq_ignore_ascii_case(value)),
            _ => false,
        };
        if is_it { Ok(()) } else { Err(NotUpgraded::Header(name)) }
    };
    says("Upgrade", "websocket", false)?;
    says("Connection", "upgrade", false)?;
    says("Sec-WebSocket-Accept", &accept(key), true)?;
    says("Sec-WebSocket-Protocol", PROTOCOLS[0], true)?;
    Ok(Reading::Complete(size))
}

/// What proves that a server has read a key. \[RFC 6455, section 4.2.2\]
fn accept(key: &str) -> String {
    let proof =
        digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
    STANDARD.encode(proof)
}

#[cfg(test)]
mod tests;
