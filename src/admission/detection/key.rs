//! Keys of everything that is counted: 64-bit hashes under a secret.
//!
//! Names are chosen by strangers, up to 64 KiB each. A keyed hash (SipHash-1-3) makes each of them eight bytes, and
//! nobody who does not know the secret can choose two names that fall together.

use std::net::IpAddr;

/// The secret that keys are hashed under. Made of 128 random bits at start, so it differs from process to process.
#[derive(Clone, Copy)]
pub struct Secret(u64, u64);

/// What a key stands for, so that one name never means two things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    ClientId,
    Username,
    Peer,
    Network,
    /// A TLS fingerprint.
    Ja4,
    Zone,
    Upstream,
    /// A window of one detector and policy.
    Window,
    /// Someone seen at a place.
    Seen,
    /// How often someone came to a place.
    Pace,
    /// A client that once stayed.
    Resident,
    /// Whose a client identifier is.
    Owner,
    /// Credentials that a broker accepted.
    Accepted,
    /// An account under siege.
    Siege,
    /// Where a client identifier was last.
    Origin,
    /// The sessions of a place.
    Population,
    /// Somebody whose ban would be running.
    WouldBe,
    /// A banned client at an address.
    Hammer,
    /// The jitter of a ban.
    Jitter,
}

impl Secret {
    /// The secret made of these bits.
    pub const fn new(bits: u128) -> Secret {
        #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
        Secret(bits as u64, (bits >> 64) as u64)
    }

    /// The keyed hash of a text: for callers that make fingerprints, too.
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let mut state = State::new(self);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            state.word(u64::from_le_bytes(*word));
        }
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        state.finish(tail(bytes, rest.len()) | length << 56)
    }

    /// The key made of these parts, which are keys themselves, or numbers that no stranger chooses: mixing them needs
    /// not be as strong as hashing names is. Never 0, which marks a free place in a table.
    pub(super) fn key(&self, kind: Kind, parts: &[u64]) -> u64 {
        let begin = self.0 ^ (kind as u64) << 8 ^ parts.len() as u64;
        // A factor that is 0 would forget the other one: no part is as large as this, or known together with the secret.
        let factor = self.1 ^ 0xE703_7ED1_A0B4_28DB;
        // One product mixes two numbers that are random to strangers; what there is more of, joins one of them first.
        let (first, second) = match parts {
            [] => (0, 0),
            [only] => (*only, 0),
            [first, .., last] => {
                let middle = parts.get(1..parts.len() - 1).unwrap_or_default();
                (middle.iter().fold(*first, |joined, part| joined.rotate_left(29) ^ part), *last)
            }
        };
        fold(begin ^ first, factor ^ second).max(1)
    }

    /// A key that belongs to the same part of a table as `home` does: what a visit asks for at once stands together.
    pub(super) fn key_of(&self, home: u64, kind: Kind, parts: &[u64]) -> u64 {
        beside(home, self.key(kind, parts))
    }

    /// A key that stands in the same bucket as `home`: for the few things that are asked for together.
    pub(super) fn key_at(&self, home: u64, kind: Kind, parts: &[u64]) -> u64 {
        let bucket = (1 << 24) - 1;
        (self.key_of(home, kind, parts) & !bucket | home & bucket).max(1)
    }

    /// A key that stands near `home`, in one of 32 buckets: as a rule in the same page of memory, and to find a page takes
    /// a processor as long as to read it.
    pub(super) fn key_near(&self, home: u64, kind: Kind, parts: &[u64]) -> u64 {
        let neighbourhood = (1 << 24) - (1 << 5);
        (self.key_of(home, kind, parts) & !neighbourhood | home & neighbourhood).max(1)
    }

    /// The keyed hash of an address or of a network, which strangers may choose.
    fn addr(&self, kind: Kind, prefix: u8, bits: u128, is_ipv4: bool) -> u64 {
        let mut state = State::new(self);
        let [low, high, _] = halves(bits, 0);
        let tag = (kind as u64) << 56 | u64::from(prefix) << 48 | u64::from(is_ipv4) << 47;
        if is_ipv4 {
            return state.finish(tag | low);
        }
        state.word(low);
        state.word(high);
        state.finish(tag)
    }

    /// The key of a name that the operator chose.
    pub(super) fn own_name(&self, kind: Kind, name: &str) -> u64 {
        let (words, rest) = name.as_bytes().as_chunks::<8>();
        let last = tail(name.as_bytes(), rest.len()) | (name.len() as u64) << 56;
        let words = words.iter().map(|word| u64::from_le_bytes(*word));
        let hash = words.fold(self.0, |hash, word| fold(hash ^ word, self.1 | 1).wrapping_add(self.0));
        self.key(kind, &[hash, last])
    }

    pub(super) fn name(&self, kind: Kind, name: &str) -> u64 {
        self.key(kind, &[self.hash(name.as_bytes())])
    }

    /// The key of those who have no address, all together. Nobody is counted by it.
    pub(super) fn nowhere(&self) -> u64 {
        self.key(Kind::Peer, &[0])
    }

    /// The key of an address, at its site.
    pub(super) fn peer(&self, site: u64, peer: IpAddr) -> u64 {
        beside(site, self.addr(Kind::Peer, 0, peer_bits(peer), peer.is_ipv4()))
    }

    /// The key of a network of this address, whose site this is.
    pub(super) fn network(&self, site: u64, peer: IpAddr, prefix: u8) -> u64 {
        let width = if peer.is_ipv4() { 32 } else { 128 };
        let free = u32::from(width - prefix.min(width));
        let network = peer_bits(peer).checked_shr(free).unwrap_or(0);
        let key = self.addr(Kind::Network, prefix, network, peer.is_ipv4());
        let is_in_a_site = prefix >= if peer.is_ipv4() { 24 } else { 64 };
        if is_in_a_site { beside(site, key) } else { key }
    }

    /// Where the keys of an address and of the networks around it stand: those of an IPv4 /24 or an IPv6 /64 together.
    /// Who has more addresses than that, has them spread out.
    pub(super) fn site(&self, peer: IpAddr) -> u64 {
        let bits = peer_bits(peer);
        self.key(Kind::Network, &halves(if peer.is_ipv4() { bits >> 8 } else { bits >> 64 }, 0))
    }
}

/// Says nothing of the secret.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// The last bytes of a text, fewer than eight, as a number.
fn tail(bytes: &[u8], count: usize) -> u64 {
    match bytes.last_chunk::<8>() {
        // Read with what comes before them, which is shifted out.
        Some(last) if count > 0 => u64::from_le_bytes(*last) >> (64 - 8 * count.min(8)),
        Some(_) => 0,
        None => bytes.iter().rev().fold(0, |last, byte| last << 8 | u64::from(*byte)),
    }
}

/// A key in the same part of a table as `home`.
fn beside(home: u64, key: u64) -> u64 {
    let part = u64::MAX << 58;
    (home & part | key & !part).max(1)
}

/// Both halves of a product, so that high bits reach the low ones.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    let folded = product as u64 ^ (product >> 64) as u64;
    folded
}

fn peer_bits(peer: IpAddr) -> u128 {
    match peer {
        IpAddr::V4(addr) => addr.to_bits().into(),
        IpAddr::V6(addr) => addr.to_bits(),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves")]
fn halves(bits: u128, tag: u64) -> [u64; 3] {
    [bits as u64, (bits >> 64) as u64, tag]
}

/// SipHash-1-3 by Aumasson and Bernstein.
struct State {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl State {
    fn new(secret: &Secret) -> State {
        State {
            v0: secret.0 ^ 0x736f_6d65_7073_6575,
            v1: secret.1 ^ 0x646f_7261_6e64_6f6d,
            v2: secret.0 ^ 0x6c79_6765_6e65_7261,
            v3: secret.1 ^ 0x7465_6462_7974_6573,
        }
    }

    fn word(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.v0 ^= word;
    }

    fn finish(mut self, last: u64) -> u64 {
        self.word(last);
        self.v2 ^= 0xff;
        for _ in 0..3 {
            self.round();
        }
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }

    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v2 = self.v2.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{DefaultHasher, Hasher};

    /// The standard library's default hasher is SipHash-1-3 under the secret 0.
    #[test]
    fn hashes_are_those_of_siphash() {
        let secret = Secret::new(0);
        let text: Vec<u8> = (0..70_000_u32).map(|i| i.to_le_bytes()[0]).collect();
        for length in (0..100).chain([65_535, 70_000]) {
            let mut theirs = DefaultHasher::new();
            theirs.write(&text[..length]);
            assert_eq!(secret.hash(&text[..length]), theirs.finish(), "{length}");
        }
    }

    #[test]
    fn keys_depend_on_secret_kind_and_each_part() {
        let secret = Secret::new(7);
        let key = secret.key(Kind::Window, &[1, 2]);
        assert_ne!(key, Secret::new(8).key(Kind::Window, &[1, 2]));
        assert_ne!(key, secret.key(Kind::Seen, &[1, 2]));
        assert_ne!(key, secret.key(Kind::Window, &[2, 1]));
        assert_ne!(key, secret.key(Kind::Window, &[1, 2, 0]));
    }

    #[test]
    fn neighbours_share_their_network_and_nothing_else() {
        let secret = Secret::new(7);
        let [a, b, c, d] = ["192.0.2.1", "192.0.2.77", "192.0.3.1", "2001:db8::1"]
            .map(|text| text.parse::<IpAddr>().expect("an address"));
        let peer = |addr| secret.peer(secret.site(addr), addr);
        let network = |addr, prefix| secret.network(secret.site(addr), addr, prefix);
        assert_eq!(network(a, 24), network(b, 24));
        assert_ne!(network(a, 24), network(c, 24));
        assert_ne!(peer(a), peer(b));
        assert_ne!(network(a, 24), network(a, 23));
        assert_ne!(network(a, 32), peer(a));
        assert_ne!(peer(d), network(d, 64));
        // Prefixes that cannot be are the nearest that can.
        assert_eq!(network(a, 0), network(c, 0));
        let _ = (network(a, 255), network(d, 0));
    }
}
