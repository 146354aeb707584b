//! Whom a ban names.

use compact_str::CompactString;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// What kind of name a ban holds: EMQX's `as`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum As {
    /// A client identifier, byte for byte.
    ClientId,
    /// A user name, byte for byte.
    Username,
    /// The address that the client comes from.
    PeerHost,
}

impl As {
    /// Every kind, in the order of evaluation.
    pub const ALL: [As; 3] = [As::ClientId, As::Username, As::PeerHost];

    /// The kind's name in the config file, the API, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            As::ClientId => "clientid",
            As::Username => "username",
            As::PeerHost => "peerhost",
        }
    }
}

impl fmt::Display for As {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a kind of ban; expected one of clientid, username, peerhost")]
pub struct UnknownAs;

impl FromStr for As {
    type Err = UnknownAs;

    fn from_str(name: &str) -> Result<As, UnknownAs> {
        As::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or(UnknownAs)
    }
}

/// Whom a ban names: its key in the list. Exact bytes decide: no case folding, no Unicode normalisation, because the
/// broker does neither when it tells its clients apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    /// A client identifier.
    ClientId(CompactString),
    /// A user name.
    Username(CompactString),
    /// An address in its canonical form: `::ffff:10.0.0.1` is `10.0.0.1`.
    PeerHost(IpAddr),
}

/// The longest client identifier or user name, in bytes: what MQTT's two-byte length allows.
pub const MAX_WHO: usize = 65_535;

/// A text that names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhoError {
    /// It is empty.
    #[error("is empty; expected 1 to {MAX_WHO} bytes")]
    Empty,
    /// It is longer than any identifier can be.
    #[error("has {0} bytes; expected 1 to {MAX_WHO}")]
    TooLong(usize),
    /// It holds U+0000, which no client can send.
    #[error("holds U+0000, which no client can send")]
    Nul,
    /// It is no IP address.
    #[error("is not an IP address; expected e.g. \"192.0.2.7\" or \"2001:db8::7\"")]
    NoAddress,
}

impl Who {
    /// Names whom `who` stands for when it is read as `kind`.
    ///
    /// # Errors
    /// Nobody can have that name.
    pub fn new(kind: As, who: &str) -> Result<Who, WhoError> {
        match kind {
            As::ClientId => identifier(who).map(Who::ClientId),
            As::Username => identifier(who).map(Who::Username),
            As::PeerHost => who
                .parse()
                .map(|addr: IpAddr| Who::PeerHost(addr.to_canonical()))
                .map_err(|_| WhoError::NoAddress),
        }
    }

    /// What kind of name this is.
    pub fn kind(&self) -> As {
        match self {
            Who::ClientId(_) => As::ClientId,
            Who::Username(_) => As::Username,
            Who::PeerHost(_) => As::PeerHost,
        }
    }
}

fn identifier(text: &str) -> Result<CompactString, WhoError> {
    match text.len() {
        0 => Err(WhoError::Empty),
        len if len > MAX_WHO => Err(WhoError::TooLong(len)),
        _ if text.contains('\0') => Err(WhoError::Nul),
        _ => Ok(CompactString::from(text)),
    }
}

/// The name alone, without its kind: EMQX's `who`.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::ClientId(name) | Who::Username(name) => f.write_str(name),
            Who::PeerHost(addr) => addr.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_canonical() {
        let plain = Who::new(As::PeerHost, "10.0.0.1");
        assert_eq!(Who::new(As::PeerHost, "::ffff:10.0.0.1"), plain);
        assert_eq!(Who::new(As::PeerHost, "::FFFF:0a00:1"), plain);
        let v6 = Who::new(As::PeerHost, "2001:0DB8:0:0::7").expect("an address");
        assert_eq!(v6.to_string(), "2001:db8::7");
    }

    #[test]
    fn bytes_decide_and_not_looks() {
        let name = |text| Who::new(As::ClientId, text).expect("a name");
        assert_ne!(name("Bot"), name("bot"));
        assert_ne!(name("\u{e9}"), name("e\u{301}"));
        assert_ne!(name("bot"), name("b\u{43e}t"));
        assert_ne!(name("bot"), name("bot "));
    }

    #[test]
    fn names_that_nobody_can_have_are_refused() {
        assert_eq!(Who::new(As::ClientId, ""), Err(WhoError::Empty));
        assert_eq!(Who::new(As::Username, "a\0b"), Err(WhoError::Nul));
        assert_eq!(Who::new(As::Username, &"x".repeat(65_536)), Err(WhoError::TooLong(65_536)));
        assert!(Who::new(As::Username, &"x".repeat(65_535)).is_ok());
        for text in ["", "localhost", "1.2.3", "1.2.3.4/32", "1.2.3.4:80", "::1%lo"] {
            assert_eq!(Who::new(As::PeerHost, text), Err(WhoError::NoAddress), "{text}");
        }
    }

    #[test]
    fn kinds_have_one_name() {
        for kind in As::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert_eq!("ip_address".parse::<As>(), Err(UnknownAs));
    }
}
