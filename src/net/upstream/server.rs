//! How a broker's address is written.

use crate::net::address::{UNIX, is_socket_path};
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// A broker's address: `IP:PORT`, `NAME:PORT` that is looked up, or the path of a Unix socket, `unix:/PATH`. Clones share
/// the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    text: Arc<str>,
    addr: Option<SocketAddr>,
}

/// A text that is no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a server; expected IP:PORT, NAME:PORT or unix:/PATH, e.g. \"127.0.0.1:1884\"")]
pub struct ServerError;

impl Server {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path of its socket, where it listens on a Unix socket.
    pub fn path(&self) -> Option<&Path> {
        self.text.strip_prefix(UNIX).map(Path::new)
    }

    /// True when its name has to be looked up.
    pub fn is_name(&self) -> bool {
        self.addr.is_none() && self.path().is_none()
    }

    /// Its address, unless it is a name or a path.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// What it is called in HTTP: host and port.
    pub fn authority(&self) -> &str {
        if self.path().is_some() { self.host() } else { &self.text }
    }

    /// The address or the name, without the port; who listens on a Unix socket is on this machine.
    pub fn host(&self) -> &str {
        if self.path().is_some() {
            return "localhost";
        }
        let host = self.text.rsplit_once(':').map_or(&*self.text, |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Server, ServerError> {
        if let Some(path) = text.strip_prefix(UNIX) {
            return if is_socket_path(path) {
                Ok(Server { text: text.into(), addr: None })
            } else {
                Err(ServerError)
            };
        }
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return if addr.port() == 0 {
                Err(ServerError)
            } else {
                Ok(Server { text: text.into(), addr: Some(addr) })
            };
        }
        let (name, port) = text.rsplit_once(':').ok_or(ServerError)?;
        let is_name = !name.is_empty()
            && name.len() <= 253
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
            // An IPv4 address that does not parse is a mistake, not a name.
            && !name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let port: u16 = port.parse().map_err(|_| ServerError)?;
        if is_name && port != 0 { Ok(Server { text: text.into(), addr: None }) } else { Err(ServerError) }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_addresses_or_names_with_a_port() {
        for (good, host) in [
            ("127.0.0.1:1883", "127.0.0.1"),
            ("[::1]:1883", "::1"),
            ("broker:1883", "broker"),
            ("a.b-c.example:8883", "a.b-c.example"),
            ("localhost:1", "localhost"),
            ("unix:/run/broker.sock", "localhost"),
        ] {
            let server: Server = good.parse().expect(good);
            assert_eq!((server.to_string().as_str(), server.host()), (good, host));
        }
        for bad in [
            "",
            "broker",
            "broker:",
            ":1883",
            "broker:0",
            "127.0.0.1:0",
            "300.0.0.1:1883",
            "::1:1883",
            "mqtt://broker:1883",
            "broker:99999",
            "a b:1",
            "unix:",
            "unix:broker.sock",
        ] {
            assert_eq!(bad.parse::<Server>(), Err(ServerError), "{bad}");
        }
    }
}
