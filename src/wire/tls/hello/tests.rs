use super::*;
use proptest::prelude::*;

/// What a ClientHello is made of.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) version: u16,
    pub(crate) ciphers: Vec<u16>,
    pub(crate) extensions: Vec<(u16, Vec<u8>)>,
}

impl Draft {
    /// The message without its header.
    pub(crate) fn message(&self) -> Vec<u8> {
        let ciphers: Vec<u8> = self.ciphers.iter().flat_map(|cipher| cipher.to_be_bytes()).collect();
        let extension =
            |(number, content): &(u16, Vec<u8>)| [&number.to_be_bytes()[..], &piece16(content)].concat();
        let extensions: Vec<u8> = self.extensions.iter().flat_map(extension).collect();
        [&self.version.to_be_bytes()[..], &[7; 32], &[0], &piece16(&ciphers), &[1, 0], &piece16(&extensions)]
            .concat()
    }

    /// The message in records of so many bytes each.
    pub(crate) fn records(&self, size: usize) -> Vec<u8> {
        records(1, &self.message(), size)
    }
}

pub(crate) fn piece16(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("short enough");
    [&length.to_be_bytes()[..], bytes].concat()
}

/// A list of numbers with its length before it.
pub(crate) fn list16(numbers: &[u16]) -> Vec<u8> {
    piece16(&numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<_>>())
}

fn records(kind: u8, body: &[u8], size: usize) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("short enough").to_be_bytes();
    let message = [&[kind][..], &length[1..], body].concat();
    message.chunks(size).flat_map(|chunk| [&[22, 3, 1][..], &piece16(chunk)].concat()).collect()
}

fn draft() -> Draft {
    let name = [&piece16(&[&[0][..], &piece16(b"broker.example")].concat())[..]].concat();
    Draft {
        version: 0x0303,
        ciphers: vec![0x1A1A, 0x1301, 0xC02B],
        extensions: vec![
            (0x0000, name),
            (0x0010, piece16(b"\x04mqtt\x08http/1.1")),
            (0x000D, list16(&[0x0403, 0x0804])),
            (0x002B, vec![4, 0x03, 0x04, 0x03, 0x03]),
            (0x2A2A, vec![0]),
        ],
    }
}

#[test]
fn what_a_client_offers_is_read() {
    let message = draft().message();
    let hello = Hello::parse(&message).expect("whole");
    assert_eq!(hello.server_name(), Some("broker.example"));
    assert_eq!(hello.alpn().collect::<Vec<_>>(), [&b"mqtt"[..], b"http/1.1"]);
    assert_eq!(hello.ciphers().collect::<Vec<_>>(), [0x1A1A, 0x1301, 0xC02B]);
    assert_eq!(hello.versions().collect::<Vec<_>>(), [0x0304, 0x0303]);
    assert_eq!(hello.signature_algorithms().collect::<Vec<_>>(), [0x0403, 0x0804]);
    assert_eq!(
        hello.extensions().map(|(number, _)| number).collect::<Vec<_>>(),
        [0, 0x10, 0x0D, 0x2B, 0x2A2A]
    );
}

#[test]
fn a_hello_split_over_records_of_any_size_is_the_same() {
    let message = draft().message();
    for size in 1..message.len() + 8 {
        let bytes = draft().records(size);
        assert_eq!(read(&bytes), Ok(Reading::Complete(Cow::Borrowed(&message[..]))), "{size}");
        for end in 0..bytes.len() {
            let Ok(Reading::NeedMore(missing)) = read(&bytes[..end]) else { panic!("{size}, {end}") };
            assert!(missing > 0 && end + missing <= bytes.len(), "{size}, {end}: {missing}");
        }
    }
}

#[test]
fn what_follows_the_hello_is_left() {
    let bytes = [draft().records(500), vec![23, 3, 3, 0, 1, 0]].concat();
    assert!(matches!(read(&bytes), Ok(Reading::Complete(_))));
}

#[test]
fn what_is_no_tls_is_named_at_its_first_byte() {
    for (bytes, words) in [
        (&b"\x10\x16"[..], "plain MQTT on a TLS listener"),
        (b"GET / HTTP/1.1", "plain HTTP on a TLS listener"),
        (b"PROXY TCP4", "plain HTTP, or a PROXY header, on a TLS listener"),
        (b"\r\n\r\n", "a PROXY header where TLS was expected"),
        (b"\x80\x2e\x01", "no TLS, or SSL 2.0, on a TLS listener"),
        (b"\x00", "no TLS: begins with byte 0x00"),
        (b"\x15\x03\x01", "a TLS alert where a ClientHello was expected"),
        (b"\x16\x03\x01\x00\x00", "a TLS record of 0 bytes where a ClientHello was expected"),
        (b"\x16\x03\x01\x40\x01", "a TLS record of 16385 bytes where a ClientHello was expected"),
        (b"\x16\x03\x01\x00\x05\x02\0\0\0\0", "TLS handshake message 2 where a ClientHello was expected"),
        (b"\x16\x03\x01\x00\x04\x01\xff\xff\xff", "ClientHello of 16777215 bytes; expected at most 16384"),
    ] {
        assert_eq!(read(bytes).map_err(|error| error.to_string()), Err(words.to_owned()));
    }
    assert_eq!(read(b"\x16\x02"), Err(NotHello::NotTls(22)));
}

#[test]
fn a_hello_in_crumbs_is_given_up() {
    let bytes = records(1, &vec![0; MAX_HELLO], 1);
    assert_eq!(read(&bytes[..2 * MAX_HELLO + 6]), Err(NotHello::TooLarge { size: 2 * MAX_HELLO + 6 }));
}

#[test]
fn a_hello_that_is_cut_anywhere_is_malformed() {
    let message = draft().message();
    for end in 0..message.len() {
        let cut = Hello::parse(&message[..end]);
        // Up to 1.2, extensions may be missing.
        let is_whole = end == before_extensions(&message);
        assert_eq!(matches!(cut, Err(NotHello::Malformed(_))), !is_whole, "{end}: {cut:?}");
    }
    assert_eq!(Hello::parse(&[&message[..], b"x"].concat()), Err(NotHello::Malformed("end")));
}

fn before_extensions(message: &[u8]) -> usize {
    let extensions: usize = draft().extensions.iter().map(|(_, content)| 4 + content.len()).sum();
    message.len() - 2 - extensions
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), size in 1_usize..50) {
        let _ = read(&bytes);
        if let Ok(Reading::Complete(message)) = read(&records(1, &bytes, size)) {
            prop_assert_eq!(&message[..], &bytes[..]);
            if let Ok(hello) = Hello::parse(&message) {
                let _ = (hello.server_name(), hello.alpn().count(), hello.versions().count());
                prop_assert_eq!(hello.ja4().to_string().len(), 36);
            }
        }
    }
}
