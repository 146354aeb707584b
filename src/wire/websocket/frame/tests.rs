use super::*;
use proptest::prelude::*;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn frame(kind: Opcode, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut bytes = Header::new(kind, payload.len(), mask).as_bytes().to_vec();
    let begin = bytes.len();
    bytes.extend_from_slice(payload);
    apply_mask(&mut bytes[begin..], mask.unwrap_or_default(), 0);
    bytes
}

fn server() -> Reader {
    Reader::new(Role::Server, 1 << 20)
}

/// The data of these bytes, read in pieces of so many.
fn read(reader: &mut Reader, bytes: &[u8], piece: usize) -> Result<(Vec<u8>, Taken), Violation> {
    let (mut data, mut all) = (Vec::new(), Taken::default());
    for piece in bytes.chunks(piece) {
        let mut piece = piece.to_vec();
        let taken = reader.take(&mut piece)?;
        data.extend_from_slice(&piece[..taken.data]);
        all = Taken { data: 0, ping: taken.ping.or(all.ping), close: taken.close.or(all.close) };
    }
    Ok((data, all))
}

/// The examples of RFC 6455, section 5.7, as binary frames.
#[test]
fn the_examples_of_the_specification_are_read() {
    let masked = [0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(read(&mut server(), &masked, 3).expect("a frame").0, b"Hello");
    assert_eq!(frame(Opcode::Binary, b"Hello", Some(MASK)), masked);
    let unmasked = [0x82, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    let mut client = Reader::new(Role::Client, 100);
    assert_eq!(read(&mut client, &unmasked, 7).expect("a frame").0, b"Hello");
    let pieces = [0x02, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f];
    assert_eq!(read(&mut client, &pieces, 2).expect("two frames").0, b"Hello");
    assert_eq!(Header::new(Opcode::Binary, 256, None).as_bytes(), [0x82, 0x7E, 0x01, 0x00]);
    assert_eq!(Header::new(Opcode::Binary, 65_536, None).as_bytes(), [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn a_ping_inside_a_message_is_told_and_the_message_goes_on() {
    let mut bytes = frame(Opcode::Binary, b"ab", Some(MASK));
    bytes[0] = 0x02;
    bytes.extend(frame(Opcode::Ping, b"there?", Some(MASK)));
    bytes.extend(frame(Opcode::Continuation, b"cd", Some(MASK)));
    for piece in 1..=bytes.len() {
        let (data, taken) = read(&mut server(), &bytes, piece).expect("well formed");
        assert_eq!((&*data, taken.ping.as_deref()), (&b"abcd"[..], Some(&b"there?"[..])));
    }
}

#[test]
fn nothing_counts_after_a_close() {
    let mut bytes = frame(Opcode::Close, &NORMAL.to_be_bytes(), Some(MASK));
    bytes.extend_from_slice(b"\xff\xff whatever");
    let taken = server().take(&mut bytes).expect("closed");
    assert_eq!(taken, Taken { data: 0, ping: None, close: Some(Some(1000)) });
    let mut bytes = frame(Opcode::Close, b"", Some(MASK));
    assert_eq!(server().take(&mut bytes).expect("closed").close, Some(None));
}

#[test]
fn each_rule_that_is_broken_has_its_name_and_its_code() {
    let masked = |kind, payload: &[u8]| frame(kind, payload, Some(MASK));
    let with = |mut bytes: Vec<u8>, at: usize, byte: u8| {
        bytes[at] = byte;
        bytes
    };
    let long = Reader::new(Role::Server, 4);
    let cases = [
        (frame(Opcode::Binary, b"a", None), Violation::Unmasked),
        (with(masked(Opcode::Binary, b"a"), 0, 0xC2), Violation::Reserved),
        (with(masked(Opcode::Binary, b"a"), 0, 0x92), Violation::Reserved),
        (with(masked(Opcode::Binary, b"a"), 0, 0x81), Violation::Text),
        (with(masked(Opcode::Binary, b"a"), 0, 0x83), Violation::Unknown(3)),
        (with(masked(Opcode::Binary, b"a"), 0, 0x8F), Violation::Unknown(15)),
        (with(masked(Opcode::Ping, b"a"), 0, 0x09), Violation::ControlInPieces),
        (with(masked(Opcode::Ping, b"a"), 1, 0x80 | LENGTH_OF_2), Violation::LongControl),
        (masked(Opcode::Continuation, b"a"), Violation::NoMessage),
        (
            [with(masked(Opcode::Binary, b"a"), 0, 0x02), masked(Opcode::Binary, b"b")].concat(),
            Violation::InsideMessage,
        ),
        (vec![0x82, 0x80 | LENGTH_OF_2, 0, 125, 0, 0, 0, 0], Violation::Length),
        (vec![0x82, 0x80 | LENGTH_OF_8, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0], Violation::Length),
        (vec![0x82, 0x80 | LENGTH_OF_8, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Violation::Length),
        (masked(Opcode::Close, b"\x03"), Violation::CloseCode),
        (masked(Opcode::Close, &1005_u16.to_be_bytes()), Violation::CloseCode),
        (masked(Opcode::Close, b"\x03\xe8\xff"), Violation::CloseCode),
    ];
    for (bytes, violation) in cases {
        for piece in [1, 2, bytes.len()] {
            assert_eq!(read(&mut server(), &bytes, piece), Err(violation), "{bytes:x?}");
        }
        assert_eq!(violation.close_code(), if violation == Violation::Text { 1003 } else { 1002 });
    }
    let mut long = long;
    assert_eq!(read(&mut long, &masked(Opcode::Binary, b"12345"), 9), Err(Violation::TooLarge));
    let mut client = Reader::new(Role::Client, 100);
    assert_eq!(read(&mut client, &masked(Opcode::Binary, b"a"), 9), Err(Violation::Masked));
}

proptest! {
    /// Whatever the frames and wherever they are cut, what comes out is what went in.
    #[test]
    fn payloads_come_out_as_they_went_in(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
        mask in any::<[u8; 4]>(),
        piece in 1..400_usize,
    ) {
        let bytes: Vec<u8> = payloads.iter().flat_map(|payload| frame(Opcode::Binary, payload, Some(mask))).collect();
        let (data, _) = read(&mut server(), &bytes, piece).expect("well formed");
        prop_assert_eq!(data, payloads.concat());
    }

    #[test]
    fn no_bytes_make_it_panic_or_keep_more_than_a_control_frame(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        piece in 1..50_usize,
    ) {
        let mut reader = server();
        let _ = read(&mut reader, &bytes, piece);
        prop_assert!(reader.control.len() <= MAX_CONTROL);
    }
}
