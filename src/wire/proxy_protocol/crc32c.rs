//! CRC-32C (Castagnoli), as RFC 9260 appendix A has it. A header is short and read once a connection: a table of 256
//! entries is fast enough.

/// The polynomial 0x1EDC6F41, its bits turned round.
const POLYNOMIAL: u32 = 0x82F6_3B78;

const TABLE: [u32; 256] = table();

/// The checksum of a header, with its own four bytes, which begin at `at`, taken as zeros. Section 2.2.4.
pub(super) fn of_header(header: &[u8], at: usize) -> u32 {
    let bytes = header.iter().enumerate();
    of(bytes.map(|(index, byte)| if (at..at + 4).contains(&index) { 0 } else { *byte }))
}

fn of(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(u32::MAX, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        #[expect(clippy::indexing_slicing, reason = "a byte is less than 256")]
        let entry = TABLE[usize::from(low ^ byte)];
        entry ^ (crc >> 8)
    })
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index: u32 = 0;
    while index < 256 {
        let mut entry = index;
        let mut bit = 0;
        while bit < 8 {
            entry = if entry & 1 == 1 { (entry >> 1) ^ POLYNOMIAL } else { entry >> 1 };
            bit += 1;
        }
        #[expect(clippy::indexing_slicing, reason = "the loop ends before 256")]
        {
            table[index as usize] = entry;
        }
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, appendix B.4.
    #[test]
    fn the_published_examples_come_out() {
        assert_eq!(of([0; 32].into_iter()), 0x8A91_36AA);
        assert_eq!(of([0xFF; 32].into_iter()), 0x62A8_AB43);
        assert_eq!(of(0..32), 0x46DD_794E);
        assert_eq!(of(b"123456789".iter().copied()), 0xE306_9283);
    }
}
