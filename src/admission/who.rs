//! Whom a ban names.

use super::networks::canonical;
use super::pattern::{Match, Pattern, PatternError};
use compact_str::CompactString;
use ipnet::IpNet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::str::FromStr;

/// What kind of name a ban holds: EMQX's `as`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum As {
    /// A client identifier, byte for byte.
    ClientId,
    /// A user name, byte for byte.
    Username,
    /// The common name of the client's certificate, byte for byte.
    CertCn,
    /// The SHA-256 of the client's certificate.
    CertSha256,
    /// The JA4 fingerprint of the client's TLS.
    TlsJa4,
    /// The address that the client comes from.
    PeerHost,
    /// A network that the client's address is in.
    PeerHostNet,
    /// A regular expression on the client identifier.
    ClientIdRe,
    /// A regular expression on the user name.
    UsernameRe,
    /// A regular expression on the canonical text of the address, as TBMQ has it.
    PeerHostRe,
}

impl As {
    /// Every kind, in the order of evaluation.
    pub const ALL: [As; 10] = [
        As::ClientId,
        As::Username,
        As::CertCn,
        As::CertSha256,
        As::TlsJa4,
        As::PeerHost,
        As::PeerHostNet,
        As::ClientIdRe,
        As::UsernameRe,
        As::PeerHostRe,
    ];

    /// The kind's name in the config file, the API, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            As::ClientId => "clientid",
            As::Username => "username",
            As::CertCn => "cert_cn",
            As::CertSha256 => "cert_sha256",
            As::TlsJa4 => "tls_ja4",
            As::PeerHost => "peerhost",
            As::PeerHostNet => "peerhost_net",
            As::ClientIdRe => "clientid_re",
            As::UsernameRe => "username_re",
            As::PeerHostRe => "peerhost_re",
        }
    }

    /// True for the kinds whose `who` is a regular expression.
    pub fn is_pattern(self) -> bool {
        matches!(self, As::ClientIdRe | As::UsernameRe | As::PeerHostRe)
    }
}

impl fmt::Display for As {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a kind of ban; expected one of clientid, username, cert_cn, cert_sha256, tls_ja4, peerhost, peerhost_net, clientid_re, username_re, peerhost_re"
)]
pub struct UnknownAs;

impl FromStr for As {
    type Err = UnknownAs;

    fn from_str(name: &str) -> Result<As, UnknownAs> {
        As::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or(UnknownAs)
    }
}

/// Whom a ban names. Kind and text together are its key in the list: two of them are equal when these are, whatever
/// part of a name a pattern has to match.
///
/// Exact bytes decide: no case folding, no Unicode normalisation, because the broker does neither when it tells its
/// clients apart.
#[derive(Debug, Clone)]
pub enum Who {
    /// A client identifier.
    ClientId(CompactString),
    /// A user name.
    Username(CompactString),
    /// The common name of a certificate.
    CertCn(CompactString),
    /// The SHA-256 of a certificate: 64 digits of hexadecimal, in lower case.
    CertSha256(CompactString),
    /// A JA4 fingerprint: `t13d1516h2_8daaf6152771_e5627efa2ab1`.
    TlsJa4(CompactString),
    /// An address in its canonical form: `::ffff:10.0.0.1` is `10.0.0.1`.
    PeerHost(IpAddr),
    /// A network in its canonical form: `192.168.0.77/24` is `192.168.0.0/24`.
    PeerHostNet(IpNet),
    /// A pattern for client identifiers.
    ClientIdRe(Pattern),
    /// A pattern for user names.
    UsernameRe(Pattern),
    /// A pattern for the canonical text of addresses.
    PeerHostRe(Pattern),
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
    /// It is no SHA-256.
    #[error("is no SHA-256; expected 64 digits of hexadecimal, with or without colons")]
    NoSha256,
    /// It is no JA4 fingerprint.
    #[error("is no JA4 fingerprint; expected e.g. \"t13d1516h2_8daaf6152771_e5627efa2ab1\"")]
    NoJa4,
    /// It is no IP address.
    #[error("is not an IP address; expected e.g. \"192.0.2.7\" or \"2001:db8::7\"")]
    NoAddress,
    /// It is no network.
    #[error("is not a network; expected e.g. \"192.0.2.0/24\" or \"2001:db8::/48\"")]
    NoNetwork,
    /// It is no regular expression that can be used.
    #[error("is not a usable pattern: {0}")]
    NoPattern(#[from] PatternError),
    /// Only patterns match a whole name or a part of it.
    #[error("has a \"match\", which only patterns have")]
    NoMatch,
}

impl Who {
    /// Names whom `who` stands for when it is read as `kind`. `matching` is for patterns; they match any part of a
    /// name unless it says otherwise.
    ///
    /// # Errors
    /// Nobody can have that name.
    pub fn new(kind: As, who: &str, matching: Option<Match>) -> Result<Who, WhoError> {
        if matching.is_some() && !kind.is_pattern() {
            return Err(WhoError::NoMatch);
        }
        let pattern = || match who {
            "" => Err(WhoError::Empty),
            _ => Ok(Pattern::parse(who, matching.unwrap_or_default())?),
        };
        match kind {
            As::ClientId => identifier(who).map(Who::ClientId),
            As::Username => identifier(who).map(Who::Username),
            As::CertCn => identifier(who).map(Who::CertCn),
            As::CertSha256 => sha256(who).map(Who::CertSha256),
            As::TlsJa4 => ja4(who).map(Who::TlsJa4),
            As::PeerHost => who
                .parse()
                .map(|addr: IpAddr| Who::PeerHost(addr.to_canonical()))
                .map_err(|_| WhoError::NoAddress),
            As::PeerHostNet => network(who).map(Who::PeerHostNet),
            As::ClientIdRe => pattern().map(Who::ClientIdRe),
            As::UsernameRe => pattern().map(Who::UsernameRe),
            As::PeerHostRe => pattern().map(Who::PeerHostRe),
        }
    }

    /// What kind of name this is.
    pub fn kind(&self) -> As {
        match self {
            Who::ClientId(_) => As::ClientId,
            Who::Username(_) => As::Username,
            Who::CertCn(_) => As::CertCn,
            Who::CertSha256(_) => As::CertSha256,
            Who::TlsJa4(_) => As::TlsJa4,
            Who::PeerHost(_) => As::PeerHost,
            Who::PeerHostNet(_) => As::PeerHostNet,
            Who::ClientIdRe(_) => As::ClientIdRe,
            Who::UsernameRe(_) => As::UsernameRe,
            Who::PeerHostRe(_) => As::PeerHostRe,
        }
    }

    /// The pattern, where it is one.
    pub fn pattern(&self) -> Option<&Pattern> {
        match self {
            Who::ClientIdRe(pattern) | Who::UsernameRe(pattern) | Who::PeerHostRe(pattern) => Some(pattern),
            Who::ClientId(_)
            | Who::Username(_)
            | Who::CertCn(_)
            | Who::CertSha256(_)
            | Who::TlsJa4(_)
            | Who::PeerHost(_)
            | Who::PeerHostNet(_) => None,
        }
    }

    /// How much of a name a pattern has to match; `None` for other kinds.
    pub fn matching(&self) -> Option<Match> {
        self.pattern().map(Pattern::mode)
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

/// Reads a digest, as openssl writes it, too: in upper case, with colons.
fn sha256(text: &str) -> Result<CompactString, WhoError> {
    let digits: CompactString =
        text.chars().filter(|digit| *digit != ':').map(|digit| digit.to_ascii_lowercase()).collect();
    let is_plain = digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_plain.then_some(digits).ok_or(WhoError::NoSha256)
}

/// Reads a fingerprint: ten characters that can be read, and two hashes of twelve digits.
fn ja4(text: &str) -> Result<CompactString, WhoError> {
    let is_hash =
        |part: &str| part.len() == 12 && part.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let is_read = |part: &str| part.len() == 10 && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match text.split('_').collect::<Vec<_>>()[..] {
        [read, ciphers, extensions] if is_read(read) && is_hash(ciphers) && is_hash(extensions) => {
            Ok(text.into())
        }
        _ => Err(WhoError::NoJa4),
    }
}

/// Reads a network; an address alone is the network of itself, as EMQX has it.
fn network(text: &str) -> Result<IpNet, WhoError> {
    let net = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    net.map(canonical).ok_or(WhoError::NoNetwork)
}

impl PartialEq for Who {
    fn eq(&self, other: &Who) -> bool {
        match (self, other) {
            (Who::ClientId(a), Who::ClientId(b))
            | (Who::Username(a), Who::Username(b))
            | (Who::CertCn(a), Who::CertCn(b))
            | (Who::CertSha256(a), Who::CertSha256(b))
            | (Who::TlsJa4(a), Who::TlsJa4(b)) => a == b,
            (Who::PeerHost(a), Who::PeerHost(b)) => a == b,
            (Who::PeerHostNet(a), Who::PeerHostNet(b)) => a == b,
            _ => {
                let (a, b) = (self.pattern().map(Pattern::source), other.pattern().map(Pattern::source));
                self.kind() == other.kind() && a == b
            }
        }
    }
}

impl Eq for Who {}

impl Hash for Who {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind().hash(state);
        match self {
            Who::ClientId(name)
            | Who::Username(name)
            | Who::CertCn(name)
            | Who::CertSha256(name)
            | Who::TlsJa4(name) => name.hash(state),
            Who::PeerHost(addr) => addr.hash(state),
            Who::PeerHostNet(net) => net.hash(state),
            Who::ClientIdRe(pattern) | Who::UsernameRe(pattern) | Who::PeerHostRe(pattern) => {
                pattern.source().hash(state);
            }
        }
    }
}

/// The name alone, without its kind: EMQX's `who`.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::ClientId(name)
            | Who::Username(name)
            | Who::CertCn(name)
            | Who::CertSha256(name)
            | Who::TlsJa4(name) => f.write_str(name),
            Who::PeerHost(addr) => addr.fmt(f),
            Who::PeerHostNet(net) => net.fmt(f),
            Who::ClientIdRe(pattern) | Who::UsernameRe(pattern) | Who::PeerHostRe(pattern) => {
                f.write_str(pattern.source())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(kind: As, text: &str) -> Result<Who, WhoError> {
        Who::new(kind, text, None)
    }

    #[test]
    fn addresses_are_canonical() {
        let plain = who(As::PeerHost, "10.0.0.1");
        assert_eq!(who(As::PeerHost, "::ffff:10.0.0.1"), plain);
        assert_eq!(who(As::PeerHost, "::FFFF:0a00:1"), plain);
        let v6 = who(As::PeerHost, "2001:0DB8:0:0::7").expect("an address");
        assert_eq!(v6.to_string(), "2001:db8::7");
    }

    #[test]
    fn networks_are_canonical() {
        for (text, canonical) in [
            ("192.168.0.77/24", "192.168.0.0/24"),
            ("192.168.0.77", "192.168.0.77/32"),
            ("::ffff:10.1.2.3/112", "10.1.0.0/16"),
            ("2001:DB8:1:2::7/48", "2001:db8:1::/48"),
            ("::1", "::1/128"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(who(As::PeerHostNet, text).map(|who| who.to_string()), Ok(canonical.to_owned()));
        }
        for text in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "x/8", "10.0.0.1-10.0.0.9"] {
            assert_eq!(who(As::PeerHostNet, text), Err(WhoError::NoNetwork), "{text}");
        }
    }

    #[test]
    fn bytes_decide_and_not_looks() {
        let name = |text| who(As::ClientId, text).expect("a name");
        assert_ne!(name("Bot"), name("bot"));
        assert_ne!(name("\u{e9}"), name("e\u{301}"));
        assert_ne!(name("bot"), name("b\u{43e}t"));
        assert_ne!(name("bot"), name("bot "));
    }

    #[test]
    fn names_that_nobody_can_have_are_refused() {
        assert_eq!(who(As::ClientId, ""), Err(WhoError::Empty));
        assert_eq!(who(As::Username, "a\0b"), Err(WhoError::Nul));
        assert_eq!(who(As::Username, &"x".repeat(65_536)), Err(WhoError::TooLong(65_536)));
        assert!(who(As::Username, &"x".repeat(65_535)).is_ok());
        for text in ["", "localhost", "1.2.3", "1.2.3.4/32", "1.2.3.4:80", "::1%lo"] {
            assert_eq!(who(As::PeerHost, text), Err(WhoError::NoAddress), "{text}");
        }
    }

    #[test]
    fn certificates_and_fingerprints_have_one_form() {
        let digest = "0123456789abcdef".repeat(4);
        let colons = digest
            .to_uppercase()
            .as_bytes()
            .chunks(2)
            .map(|pair| String::from_utf8_lossy(pair).into_owned())
            .collect::<Vec<_>>()
            .join(":");
        assert_eq!(who(As::CertSha256, &colons), who(As::CertSha256, &digest));
        for bad in ["", "0123", &digest[1..], &format!("{digest}0"), &digest.replace('f', "g")] {
            assert_eq!(who(As::CertSha256, bad), Err(WhoError::NoSha256), "{bad}");
        }
        assert!(who(As::TlsJa4, "t13d1516h2_8daaf6152771_e5627efa2ab1").is_ok());
        for bad in [
            "",
            "t13d1516h2",
            "t13d1516h2_8daaf6152771",
            "t13d1516h2_8DAAF6152771_e5627efa2ab1",
            "t13d1516h2_8daaf6152771_e5627efa2ab1_x",
        ] {
            assert_eq!(who(As::TlsJa4, bad), Err(WhoError::NoJa4), "{bad}");
        }
    }

    #[test]
    fn patterns_say_where_they_are_wrong() {
        assert_eq!(who(As::ClientIdRe, ""), Err(WhoError::Empty));
        let error = who(As::ClientIdRe, "bot-[0-9").expect_err("an open class").to_string();
        assert!(error.starts_with("is not a usable pattern: the pattern is wrong at byte 4"), "{error}");
        let error = who(As::UsernameRe, r"(a{1000}){1000}").expect_err("huge").to_string();
        assert!(error.contains("needs more than"), "{error}");
    }

    #[test]
    fn kind_and_text_are_the_key() {
        let search = Who::new(As::ClientIdRe, "^bot", Some(Match::Search));
        let full = Who::new(As::ClientIdRe, "^bot", Some(Match::Full));
        assert_eq!(search, full);
        assert_ne!(search, Who::new(As::UsernameRe, "^bot", None));
        assert_ne!(search, Who::new(As::ClientId, "^bot", None));
        assert_eq!(Who::new(As::ClientId, "bot", Some(Match::Full)), Err(WhoError::NoMatch));
    }

    #[test]
    fn kinds_have_one_name() {
        for kind in As::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert_eq!("ip_address".parse::<As>(), Err(UnknownAs));
    }
}
