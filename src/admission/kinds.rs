//! Some of the kinds of bans.

use super::who::As;

/// A set of kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kinds(u16);

impl Kinds {
    /// True when this kind is one of them.
    pub fn contains(self, kind: As) -> bool {
        self.0 & bit(kind) != 0
    }

    /// True when there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set as a number, for those who keep it in an atomic.
    pub const fn to_bits(self) -> u16 {
        self.0
    }

    /// The set that was such a number.
    pub const fn from_bits(bits: u16) -> Kinds {
        Kinds(bits)
    }
}

impl FromIterator<As> for Kinds {
    fn from_iter<I: IntoIterator<Item = As>>(kinds: I) -> Kinds {
        Kinds(kinds.into_iter().fold(0, |bits, kind| bits | bit(kind)))
    }
}

/// There are ten kinds.
fn bit(kind: As) -> u16 {
    1 << (kind as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_told_from_every_other() {
        for kind in As::ALL {
            let alone = Kinds::from_bits(Kinds::from_iter([kind]).to_bits());
            assert_eq!(As::ALL.into_iter().filter(|kind| alone.contains(*kind)).collect::<Vec<_>>(), [kind]);
        }
        assert!(Kinds::default().is_empty() && !Kinds::from_iter(As::ALL).is_empty());
    }
}
