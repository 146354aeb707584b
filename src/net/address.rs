//! How the place where a listener listens is written.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// `IP:PORT`; port 0 takes any free port.
    Tcp(SocketAddr),
    /// `unix:/PATH`: a Unix socket, for programs of this machine.
    Unix(Arc<Path>),
    /// `systemd:NAME`: the sockets of this name that systemd hands over when it starts the process.
    Systemd(Arc<str>),
}

/// A text that is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is none at all.
    #[error(
        "is not an address; expected IP:PORT, e.g. \"0.0.0.0:1883\" or \"[::]:1883\", unix:/PATH or systemd:NAME"
    )]
    Unknown,
    /// A Unix socket cannot have this path.
    #[error("is no path of a Unix socket; expected unix: and 1 to 107 bytes that begin with \"/\"")]
    Path,
    /// systemd cannot call a socket like this.
    #[error(
        "is no name of a socket; expected systemd: and 1 to 255 letters, digits and signs but \":\", as in FileDescriptorName="
    )]
    Name,
}

/// How the address of a Unix socket begins.
pub(super) const UNIX: &str = "unix:";
const SYSTEMD: &str = "systemd:";

impl Address {
    /// True when nothing else can have the same one: with port 0 each has a port of its own.
    pub fn is_fixed(&self) -> bool {
        self.tcp().is_none_or(|addr| addr.port() != 0)
    }

    /// The address, where it is one of a network.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Address::Tcp(addr) => Some(*addr),
            Address::Unix(_) | Address::Systemd(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Address {
        Address::Tcp(addr)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        if let Some(path) = text.strip_prefix(UNIX) {
            let path = Some(path).filter(|path| is_socket_path(path)).ok_or(AddressError::Path)?;
            return Ok(Address::Unix(Path::new(path).into()));
        }
        if let Some(name) = text.strip_prefix(SYSTEMD) {
            let is_name = (1..=255).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
            return if is_name { Ok(Address::Systemd(name.into())) } else { Err(AddressError::Name) };
        }
        text.parse().map(Address::Tcp).map_err(|_| AddressError::Unknown)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(addr) => addr.fmt(f),
            Address::Unix(path) => write!(f, "{UNIX}{}", path.display()),
            Address::Systemd(name) => write!(f, "{SYSTEMD}{name}"),
        }
    }
}

/// True for a path that a Unix socket can have: from the root on, since a process has one folder and its config file
/// another, and no longer than the system takes.
pub(super) fn is_socket_path(path: &str) -> bool {
    path.starts_with('/') && !path.ends_with('/') && path.len() <= 107 && !path.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for text in
            ["0.0.0.0:1883", "[::]:1883", "unix:/run/mqtt.sock", "systemd:mqtt.socket", "systemd:a-b_c"]
        {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()).as_deref(), Ok(text));
        }
        let long = format!("unix:/{}", "x".repeat(107));
        for (text, error) in [
            ("", AddressError::Unknown),
            ("0.0.0.0", AddressError::Unknown),
            ("localhost:1883", AddressError::Unknown),
            ("/run/mqtt.sock", AddressError::Unknown),
            ("unix:", AddressError::Path),
            ("unix:mqtt.sock", AddressError::Path),
            ("unix:/run/", AddressError::Path),
            ("unix:/run/a\nb", AddressError::Path),
            (&long, AddressError::Path),
            ("systemd:", AddressError::Name),
            ("systemd:a:b", AddressError::Name),
            ("systemd:ä", AddressError::Name),
        ] {
            assert_eq!(text.parse::<Address>(), Err(error), "{text}");
        }
    }

    #[test]
    fn any_free_port_is_no_fixed_address() {
        let is_fixed = |text: &str| text.parse::<Address>().map(|address| address.is_fixed());
        assert_eq!(is_fixed("127.0.0.1:0"), Ok(false));
        assert_eq!((is_fixed("127.0.0.1:1"), is_fixed("unix:/a")), (Ok(true), Ok(true)));
    }
}
