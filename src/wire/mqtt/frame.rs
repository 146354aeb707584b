//! Finds the borders between packets in a stream of bytes, at the price of a header each and without a buffer.

/// Where a stream stands between two chunks. Four words of state would be too many for a connection that idles: this
/// is eight bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Frames {
    /// Bytes of the current packet's body that are still to come; while the remaining length is being read, its value
    /// so far.
    left: u32,
    first_byte: u8,
    place: Place,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Border,
    /// Inside the remaining length, of which so many bytes were read (0 to 3).
    Length(u8),
    Body,
    /// A remaining length ran on past its fourth byte: from here on nobody can say where a packet begins.
    Lost,
}

/// The part of one packet that one chunk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The packet's first byte: its type and flags.
    pub first_byte: u8,
    /// The bytes of the packet that are in this chunk, header included.
    pub bytes: &'a [u8],
    /// The packet begins in this chunk.
    pub begins: bool,
    /// The packet ends in this chunk.
    pub ends: bool,
}

impl Frames {
    /// Takes the next packet, or what there is of it, off the front of `chunk`. `None` when the chunk is used up, or
    /// when the stream has lost its borders; then the rest of the chunk is dropped.
    pub fn next<'a>(&mut self, chunk: &mut &'a [u8]) -> Option<Piece<'a>> {
        let bytes = *chunk;
        let begins = self.place == Place::Border;
        let mut used = 0;
        loop {
            let left_in_chunk = bytes.get(used..).unwrap_or_default();
            let Some(&byte) = left_in_chunk.first() else { break };
            match self.place {
                Place::Border => {
                    self.first_byte = byte;
                    self.left = 0;
                    self.place = Place::Length(0);
                    used += 1;
                }
                Place::Length(index) => {
                    used += 1;
                    self.left |= u32::from(byte & 0x7F) << (7 * index);
                    self.place = match (byte & 0x80 != 0, index) {
                        (false, _) if self.left == 0 => Place::Border,
                        (false, _) => Place::Body,
                        (true, 3) => Place::Lost,
                        (true, _) => Place::Length(index + 1),
                    };
                }
                Place::Body => {
                    let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(left_in_chunk.len());
                    used += here;
                    self.left -= u32::try_from(here).unwrap_or(self.left);
                    if self.left == 0 {
                        self.place = Place::Border;
                    }
                }
                Place::Lost => {
                    *chunk = &[];
                    return None;
                }
            }
            // The bytes that lost the borders are the last piece: whoever watches for a packet's beginning must see it.
            if matches!(self.place, Place::Border | Place::Lost) {
                break;
            }
        }
        let (bytes, rest) = bytes.split_at_checked(used)?;
        *chunk = rest;
        let piece = Piece { first_byte: self.first_byte, bytes, begins, ends: self.is_at_border() };
        (used > 0).then_some(piece)
    }

    /// True when the last packet is complete: another one could be put in here.
    pub fn is_at_border(&self) -> bool {
        self.place == Place::Border
    }

    /// The first byte of the packet that has passed in part, where one has.
    pub fn under_way(&self) -> Option<u8> {
        matches!(self.place, Place::Length(_) | Place::Body).then_some(self.first_byte)
    }

    /// How many of these bytes, which come next, still belong to the packet that has passed in part.
    pub fn still_under_way(&self, bytes: &[u8]) -> usize {
        let (mut frames, mut chunk) = (*self, bytes);
        let piece = self.under_way().and_then(|_| frames.next(&mut chunk));
        piece.map_or(0, |piece| piece.bytes.len())
    }

    /// True when the stream is no MQTT any more.
    pub fn is_lost(&self) -> bool {
        self.place == Place::Lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The packets of a stream that came in these chunks, put together again.
    fn packets<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Frames) {
        let (mut frames, mut packets) = (Frames::default(), Vec::new());
        let mut packet = Vec::new();
        for mut chunk in chunks {
            while let Some(piece) = frames.next(&mut chunk) {
                assert_eq!(piece.begins, packet.is_empty());
                packet.extend_from_slice(piece.bytes);
                if piece.ends {
                    packets.push(std::mem::take(&mut packet));
                }
            }
        }
        (packets, frames)
    }

    #[test]
    fn state_is_eight_bytes() {
        assert_eq!(size_of::<Frames>(), 8);
    }

    #[test]
    fn packets_of_one_chunk_are_told_apart() {
        let (packets, frames) = packets([&b"\x10\x02ab\xc0\x00\x30\x01c\xe0"[..]]);
        assert_eq!(packets, [&b"\x10\x02ab"[..], b"\xc0\x00", b"\x30\x01c"]);
        assert!(!frames.is_at_border());
    }

    #[test]
    fn an_overlong_length_loses_the_borders_for_good() {
        let (packets, frames) = packets([&b"\xc0\x00\x30\xff\xff\xff\xff"[..], b"\x01\xc0\x00"]);
        assert_eq!(packets, [b"\xc0\x00"]);
        assert!(frames.is_lost() && !frames.is_at_border());
    }

    #[test]
    fn what_still_belongs_to_the_packet_under_way_is_counted_and_not_taken() {
        let stream = b"\x30\x85\x00abcde\xc0\x00";
        for passed in 0..8 {
            let (before, rest) = stream.split_at(passed);
            let (_, frames) = packets([before]);
            let is_inside = passed > 0;
            assert_eq!(
                frames.still_under_way(rest),
                if is_inside { 8 - passed } else { 0 },
                "after {passed}"
            );
            assert_eq!(frames.still_under_way(&rest[..1]), usize::from(is_inside));
            assert_eq!(frames.under_way(), is_inside.then_some(0x30));
        }
        let (_, lost) = packets([&b"\x30\xff\xff\xff\xff"[..]]);
        assert_eq!((lost.under_way(), lost.still_under_way(b"abc")), (None, 0));
    }

    #[test]
    fn the_packet_that_loses_the_borders_is_seen_to_begin() {
        let (mut frames, mut chunk) = (Frames::default(), &b"\x10\xff\xff\xff\xff\x01"[..]);
        let piece = frames.next(&mut chunk).expect("its header");
        assert!(piece.begins && !piece.ends && piece.first_byte == 0x10);
        assert_eq!(frames.next(&mut chunk), None);
    }

    #[test]
    fn the_largest_packet_is_counted_to_its_end() {
        let mut frames = Frames::default();
        let header = b"\x30\xff\xff\xff\x7f";
        assert!(frames.next(&mut &header[..]).is_some_and(|piece| piece.begins && !piece.ends));
        let body = vec![0; 1 << 20];
        for _ in 0..255 {
            assert!(frames.next(&mut &body[..]).is_some_and(|piece| !piece.ends));
        }
        let mut last = &body[..];
        assert!(frames.next(&mut last).is_some_and(|piece| piece.ends));
        assert_eq!(last.len(), 1, "268,435,455 is 256 MiB less one byte");
    }

    fn packet() -> impl Strategy<Value = Vec<u8>> {
        (any::<u8>(), prop::collection::vec(any::<u8>(), 0..400)).prop_map(|(first_byte, body)| {
            let mut packet = vec![first_byte];
            let mut length = body.len();
            loop {
                let more = length > 0x7F;
                packet.push(u8::try_from(length & 0x7F).unwrap() | if more { 0x80 } else { 0 });
                length >>= 7;
                if !more {
                    break;
                }
            }
            packet.extend(body);
            packet
        })
    }

    proptest! {
        #[test]
        fn borders_do_not_depend_on_the_chunks(
            sent in prop::collection::vec(packet(), 0..20),
            chunk in 1_usize..50,
        ) {
            let stream = sent.concat();
            let (received, frames) = packets(stream.chunks(chunk));
            prop_assert_eq!(received, sent);
            prop_assert!(frames.is_at_border());
        }

        #[test]
        fn no_stream_is_misread_or_panics(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
        ) {
            let (whole, _) = packets([&chunks.concat()[..]]);
            let (split, _) = packets(chunks.iter().map(Vec::as_slice));
            prop_assert_eq!(whole, split);
        }
    }
}
