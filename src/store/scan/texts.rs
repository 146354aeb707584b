//! The texts of all rows in one piece, so that one search goes through all of them.

use super::bits::Bits;
use memchr::memmem::Finder;
use std::ops::Range;

/// The texts of rows, in the order of the rows, each followed by U+0000, which no text has: what is found in the piece
/// is in one of them.
#[derive(Debug, Default)]
pub(super) struct Texts {
    piece: Vec<u8>,
    /// The same with A to Z as a to z, where that makes a difference.
    lower: Option<Vec<u8>>,
    /// Where each text begins, and where the next one would.
    starts: Vec<u32>,
}

impl Texts {
    pub(super) fn bytes(&self, row: usize) -> &[u8] {
        self.piece.get(self.range(row)).unwrap_or_default()
    }

    pub(super) fn get(&self, row: usize) -> &str {
        str::from_utf8(self.bytes(row)).unwrap_or_default()
    }

    fn range(&self, row: usize) -> Range<usize> {
        let end = self.start(row + 1);
        self.start(row)..end.saturating_sub(1)
    }

    fn start(&self, row: usize) -> usize {
        self.starts.get(row).map_or(self.piece.len(), |start| *start as usize)
    }

    /// The row with this text among these, which are in order; or which one it would be.
    pub(super) fn search(&self, rows: Range<usize>, text: &str) -> Result<usize, usize> {
        let (mut low, mut high) = (rows.start, rows.end);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.bytes(middle) < text.as_bytes() { low = middle + 1 } else { high = middle }
        }
        if low < rows.end && self.bytes(low) == text.as_bytes() { Ok(low) } else { Err(low) }
    }

    /// The rows whose text has more bytes than this.
    pub(super) fn longer_than(&self, bytes: usize) -> Bits {
        let mut found = Bits::none(self.starts.len());
        for row in (0..self.starts.len()).filter(|row| self.range(*row).len() > bytes) {
            found.set(row);
        }
        found
    }

    /// The rows among these whose text, with A to Z as a to z, contains this.
    pub(super) fn containing(&self, needle: &[u8], rows: Range<usize>, found: &mut Bits) {
        if needle.contains(&0) {
            return;
        }
        let piece = self.lower.as_deref().unwrap_or(&self.piece);
        let finder = Finder::new(needle);
        let end = self.start(rows.end);
        let mut row = rows.start;
        let mut from = self.start(row);
        while let Some(at) = piece.get(from..end).and_then(|rest| finder.find(rest)) {
            let at = from + at;
            while self.start(row + 1) <= at {
                row += 1;
            }
            found.set(row);
            row += 1;
            from = self.start(row);
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct TextsBuilder {
    piece: Vec<u8>,
    starts: Vec<u32>,
    has_upper: bool,
}

impl TextsBuilder {
    /// The next text. None where it is none, or there is no room.
    pub(super) fn push(&mut self, text: &str) -> Option<()> {
        let bytes = text.as_bytes();
        if bytes.contains(&0) || self.piece.len() + bytes.len() > MAX_BYTES {
            return None;
        }
        self.has_upper |= bytes.iter().any(u8::is_ascii_uppercase);
        self.starts.push(u32::try_from(self.piece.len()).ok()?);
        self.piece.extend_from_slice(bytes);
        self.piece.push(0);
        Some(())
    }

    pub(super) fn finish(self) -> Texts {
        let TextsBuilder { mut piece, mut starts, has_upper } = self;
        piece.shrink_to_fit();
        starts.shrink_to_fit();
        let lower = has_upper.then(|| piece.to_ascii_lowercase());
        Texts { piece, lower, starts }
    }
}

/// The most that all texts may have together.
const MAX_BYTES: usize = 256 << 20;
