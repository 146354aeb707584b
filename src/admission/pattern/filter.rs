//! Says in a nanosecond that no rule is kept under a key, so that most identifiers never reach the map.
//!
//! A rule is kept under a piece of text that every identifier it matches must contain: the beginning of an
//! anchored rule, or a *gram*, up to eight bytes from the longest literal of a floating one. A check hashes each
//! beginning of the identifier once, and slides a window of eight bytes over it; this filter says for the last
//! two bytes of the window which gram widths are worth a look at all, and for a key whether it may exist.
//!
//! All text is folded to lower case here: `(?i)` rules need no index of their own, and the rule's own literal is
//! compared afterwards. Bits are only ever set; compaction builds a new filter when too many are stale.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What rules are kept under: folded text that an identifier must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// The identifier begins with `len` bytes of this hash. Two beginnings of one hash share a key, which costs
    /// a comparison and no more.
    Prefix { len: u8, hash: u64 },
    /// The identifier contains these `width` bytes, the last one lowest.
    Gram { width: u8, bytes: u64 },
}

impl Key {
    /// The key of the text as a beginning, the longest there is: it tells most rules apart.
    pub(super) fn of_prefix(text: &[u8]) -> Option<Key> {
        Prefixes::of(text).last()
    }

    /// The key of a whole gram of 2 to 8 bytes.
    pub(super) fn of_gram(text: &[u8]) -> Option<Key> {
        let width = u8::try_from(text.len()).ok().filter(|width| GRAM_WIDTHS.contains(width))?;
        Some(Key::gram(width, text.iter().fold(0, |window, byte| slide(window, *byte))))
    }

    /// The last `width` bytes of a window.
    pub(super) fn gram(width: u8, window: u64) -> Key {
        let bits = 8 * u32::from(width.clamp(1, 8));
        Key::Gram { width, bytes: window & (u64::MAX >> (64 - bits)) }
    }

    fn spread(self) -> u64 {
        match self {
            Key::Prefix { len, hash } => mix(hash ^ u64::from(len), SPREAD),
            Key::Gram { width, bytes } => mix(bytes ^ SEED, SPREAD ^ u64::from(width)),
        }
    }
}

/// The keys of a text's beginnings, shortest first.
pub(super) struct Prefixes<'a> {
    text: std::slice::Iter<'a, u8>,
    len: u8,
    hash: u64,
}

impl<'a> Prefixes<'a> {
    pub(super) fn of(text: &'a [u8]) -> Prefixes<'a> {
        Prefixes { text: text.iter(), len: 0, hash: SEED }
    }
}

impl Iterator for Prefixes<'_> {
    type Item = Key;

    fn next(&mut self) -> Option<Key> {
        if self.len == PREFIX_LEN_MAX {
            return None;
        }
        let byte = self.text.next()?.to_ascii_lowercase();
        self.len += 1;
        self.hash = (self.hash.rotate_left(5) ^ u64::from(byte)).wrapping_mul(SPREAD);
        Some(Key::Prefix { len: self.len, hash: self.hash })
    }
}

/// Moves a window of eight folded bytes on by one.
pub(super) fn slide(window: u64, byte: u8) -> u64 {
    window << 8 | u64::from(byte.to_ascii_lowercase())
}

/// The filter: may say "perhaps" of a key that is not there, never "no" of one that is.
pub(super) struct Filter {
    /// For each pair of folded bytes, which gram widths end in it: bit `width - 1`.
    pairs: Box<[AtomicU8]>,
    /// One bit per key. The length is a power of two.
    keys: Box<[AtomicU64]>,
    /// Which lengths of beginnings exist: bit `len`.
    prefix_lens: AtomicU64,
}

impl Filter {
    /// A filter that stays sharp up to `keys` keys.
    pub(super) fn with_room_for(keys: usize) -> Filter {
        let words = keys.max(KEYS_MIN).next_power_of_two();
        Filter {
            pairs: (0..PAIRS).map(|_| AtomicU8::new(0)).collect(),
            keys: (0..words).map(|_| AtomicU64::new(0)).collect(),
            prefix_lens: AtomicU64::new(0),
        }
    }

    /// How many keys it was made for: a word of bits for each.
    pub(super) fn room(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn add(&self, key: Key) {
        if let Some((word, bit)) = self.bit(key) {
            word.fetch_or(bit, Ordering::Release);
        }
        match key {
            Key::Prefix { len, .. } => {
                self.prefix_lens.fetch_or(1 << (len & PREFIX_LEN_MAX), Ordering::Release);
            }
            Key::Gram { width, bytes } => {
                if let Some(widths) = self.pairs.get(pair(bytes)) {
                    widths.fetch_or(1 << (width - 1), Ordering::Release);
                }
            }
        }
    }

    pub(super) fn may_hold(&self, key: Key) -> bool {
        self.bit(key).is_some_and(|(word, bit)| word.load(Ordering::Acquire) & bit != 0)
    }

    /// The longest beginning that any rule asks for, 0 for none.
    pub(super) fn longest_prefix(&self) -> usize {
        let lens = self.prefix_lens.load(Ordering::Acquire);
        lens.checked_ilog2().map_or(0, |len| len as usize)
    }

    /// The widths of the grams that end in the window's last two bytes.
    pub(super) fn widths(&self, window: u64) -> impl Iterator<Item = u8> + use<> {
        let mut left = self.pairs.get(pair(window)).map_or(0, |widths| widths.load(Ordering::Acquire));
        std::iter::from_fn(move || {
            let lowest = left.checked_ilog2()?;
            left ^= 1 << lowest;
            u8::try_from(lowest + 1).ok()
        })
    }

    fn bit(&self, key: Key) -> Option<(&AtomicU64, u64)> {
        let spread = key.spread();
        let word = usize::try_from(spread >> 6).unwrap_or(usize::MAX) & (self.keys.len() - 1);
        Some((self.keys.get(word)?, 1 << (spread & 63)))
    }
}

fn pair(window: u64) -> usize {
    usize::from(u16::try_from(window & 0xffff).unwrap_or(0))
}

#[expect(clippy::cast_possible_truncation, reason = "both halves of the product are folded into one")]
fn mix(left: u64, right: u64) -> u64 {
    let wide = u128::from(left) * u128::from(right);
    (wide >> 64) as u64 ^ wide as u64
}

/// Widths of grams. One byte would be found in every identifier.
pub(super) const GRAM_WIDTHS: std::ops::RangeInclusive<u8> = 2..=8;

/// Beginnings are told apart by this many bytes; fits the bits of `prefix_lens`.
const PREFIX_LEN_MAX: u8 = 63;

const PAIRS: usize = 1 << 16;
const KEYS_MIN: usize = 1024;
const SEED: u64 = 0x243f_6a88_85a3_08d3;
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
