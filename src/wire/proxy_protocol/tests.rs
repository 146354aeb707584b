use super::*;
use proptest::prelude::*;
use proxy_header::{ParseConfig, ProxyHeader};
use std::net::{IpAddr, SocketAddr};

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn whole(bytes: &[u8]) -> Header<'_> {
    match read(bytes) {
        Ok(Reading::Complete(header)) => header,
        other => panic!("{other:?}: {}", String::from_utf8_lossy(bytes)),
    }
}

fn client(source: &str, destination: &str) -> Origin {
    Origin::Client { source: addr(source), destination: addr(destination) }
}

#[test]
fn a_header_without_addresses_names_nobody() {
    for version in [Version::V1, Version::V2] {
        let header = header_without_addresses(version);
        let read = whole(&header);
        assert_eq!((read.origin, read.size, read.tlvs), (Origin::Unknown, header.len(), Tlvs::default()));
        assert!(ProxyHeader::parse(&header, ParseConfig::default()).is_ok());
    }
}

/// A header of version 2 with this command and family.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).expect("short");
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length.to_be_bytes(), block].concat()
}

const V4: &[u8] = b"\xC0\x00\x02\x01\xC6\x33\x64\x02\xDD\xDD\x07\x5B";

/// The one of [`V4`] with these extensions.
fn v2_with(extensions: &[&[u8]]) -> Vec<u8> {
    v2(0x21, 0x11, &[V4, &extensions.concat()].concat())
}

fn extension(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(value.len()).expect("short").to_be_bytes(), value].concat()
}

#[test]
fn lines_of_version_1_are_read() {
    for (line, origin) in [
        ("PROXY TCP4 192.0.2.1 198.51.100.2 56797 1883\r\n", client("192.0.2.1:56797", "198.51.100.2:1883")),
        ("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", client("0.0.0.0:0", "255.255.255.255:65535")),
        ("PROXY TCP6 :: 2001:DB8::1 1 2\r\n", client("[::]:1", "[2001:db8::1]:2")),
        ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", client("[::ffff:192.0.2.1]:1", "[::1]:2")),
        ("PROXY UNKNOWN\r\n", Origin::Unknown),
        ("PROXY UNKNOWN ffff::1 whatever there is\r\n", Origin::Unknown),
    ] {
        let header = whole(line.as_bytes());
        assert_eq!(
            (header.origin, header.size, header.tlvs),
            (origin, line.len(), Tlvs::default()),
            "{line}"
        );
    }
}

#[test]
fn the_longest_line_of_version_1_is_read_and_a_longer_one_is_not() {
    let line = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16));
    assert_eq!(whole(line(107).as_bytes()).size, 107);
    assert_eq!(read(line(108).as_bytes()), Err(HeaderError::Endless));
    assert_eq!(
        read("PROXY UNKNOWN ".repeat(8).get(..107).expect("long").as_bytes()),
        Err(HeaderError::Endless)
    );
}

#[test]
fn what_is_no_line_of_version_1_is_refused_in_words() {
    for (line, error) in [
        ("PRO ", HeaderError::Signature),
        ("PROXY\r\n", HeaderError::Signature),
        ("proxy TCP4", HeaderError::Signature),
        ("PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n", HeaderError::Transport),
        ("PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n", HeaderError::Transport),
        ("PROXY TCP5", HeaderError::Transport),
        ("PROXY UNKNOWNS\r\n", HeaderError::Transport),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n", HeaderError::LineEnd),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\rx", HeaderError::LineEnd),
        ("PROXY TCP4 1.1.1.1\n2.2.2.2 1 2\r\n", HeaderError::LineEnd),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", HeaderError::Words),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n", HeaderError::Words),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n", HeaderError::Words),
        ("PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n", HeaderError::Words),
        ("PROXY TCP4 1.1.1.\u{e4} 2.2.2.2 1 2\r\n", HeaderError::Address),
        ("PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n", HeaderError::Address),
        ("PROXY TCP4 1.1.1.256 2.2.2.2 1 2\r\n", HeaderError::Address),
        ("PROXY TCP4 ::1 ::2 1 2\r\n", HeaderError::Address),
        ("PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n", HeaderError::Address),
        ("PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n", HeaderError::Address),
        ("PROXY TCP6 1::2::3 ::2 1 2\r\n", HeaderError::Address),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n", HeaderError::Port),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n", HeaderError::Port),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n", HeaderError::Port),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 -2\r\n", HeaderError::Port),
    ] {
        assert_eq!(read(line.as_bytes()), Err(error), "{line}");
    }
}

#[test]
fn blocks_of_version_2_are_read() {
    let v6 = [
        &b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"[..],
        b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x00\x01\x00\x02",
    ]
    .concat();
    let unix = [b'/'; 216];
    for (bytes, origin) in [
        (v2(0x21, 0x11, V4), client("192.0.2.1:56797", "198.51.100.2:1883")),
        (v2(0x21, 0x21, &v6), client("[2001:db8::1]:1", "[2001:db8::2]:2")),
        (v2(0x21, 0x31, &unix), Origin::Unknown),
        (v2(0x21, 0x00, b"anything"), Origin::Unknown),
        (v2(0x20, 0x00, b""), Origin::Local),
        // "... discard the protocol block including the family which is ignored."
        (v2(0x20, 0x11, b"no address"), Origin::Local),
        (LOCAL.to_vec(), Origin::Local),
    ] {
        let header = whole(&bytes);
        assert_eq!((header.origin, header.size), (origin, bytes.len()));
    }
}

#[test]
fn what_is_no_block_of_version_2_is_refused_in_words() {
    for (bytes, error) in [
        (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), HeaderError::Signature),
        (b"\r\nQ".to_vec(), HeaderError::Signature),
        (v2(0x11, 0x11, V4), HeaderError::Version(1)),
        (v2(0x31, 0x11, V4), HeaderError::Version(3)),
        (v2(0x22, 0x11, V4), HeaderError::Command(2)),
        (v2(0x21, 0x12, V4), HeaderError::Family(0x12)),
        (v2(0x21, 0x41, V4), HeaderError::Family(0x41)),
        (v2(0x21, 0x10, V4), HeaderError::Family(0x10)),
        (v2(0x21, 0x11, b"\x01\x02"), HeaderError::Short { found: 2, expected: 12 }),
        (v2(0x21, 0x21, V4), HeaderError::Short { found: 12, expected: 36 }),
        (v2(0x21, 0x31, V4), HeaderError::Short { found: 12, expected: 216 }),
        (v2_with(&[b"\x02"]), HeaderError::Truncated(2)),
        (v2_with(&[b"\x02\x00\x05abcd"]), HeaderError::Truncated(2)),
        (v2_with(&[b"\x20\x00\x05\x01\0\0\0"]), HeaderError::Truncated(0x20)),
        (v2_with(&[&extension(0x02, b"a"), &extension(0x02, b"b")]), HeaderError::Twice(2)),
        (v2_with(&[&extension(0x01, b"mqtt"), &extension(0x01, b"mqtt")]), HeaderError::Twice(1)),
        (v2_with(&[&extension(0x20, &[0; 5]), &extension(0x20, &[0; 5])]), HeaderError::Twice(0x20)),
        (v2_with(&[&extension(0x03, &[0; 4]), &extension(0x03, &[0; 4])]), HeaderError::Twice(3)),
        (v2_with(&[&extension(0x02, b"a\0b")]), HeaderError::Text(2)),
        (v2_with(&[&extension(0x02, b"\xFF")]), HeaderError::Text(2)),
        (v2_with(&[&extension(0x05, &[7; 129])]), HeaderError::Size(5)),
        (v2_with(&[&extension(0x03, &[7; 3])]), HeaderError::Size(3)),
        (v2_with(&[&extension(0x20, &[1; 4])]), HeaderError::Size(0x20)),
        (v2_with(&[&extension(0x20, b"\x01\0\0\0\0\x22\0\x01a\x22\0\x01b")]), HeaderError::Twice(0x22)),
        (v2_with(&[&extension(0x20, b"\x01\0\0\0\0\x22\0\x02a")]), HeaderError::Truncated(0x22)),
        (v2_with(&[&extension(0x20, b"\x01\0\0\0\0\x22\0\x02a\n")]), HeaderError::Text(0x22)),
        (v2_with(&[&extension(0x03, &[7; 4])]), HeaderError::Checksum),
    ] {
        assert_eq!(read(&bytes), Err(error), "{bytes:02x?}");
    }
}

#[test]
fn a_block_that_is_too_large_is_refused_at_its_length_and_not_waited_for() {
    let head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xFF\xFF";
    assert_eq!(read(head), Err(HeaderError::TooLarge { found: 65_551 }));
    let largest = v2_with(&[&extension(0xE0, &vec![0; MAX_SIZE - 16 - 12 - 3])]);
    assert_eq!(whole(&largest).size, MAX_SIZE);
}

#[test]
fn the_first_byte_tells_a_header_from_mqtt_and_tls() {
    for (byte, is_header) in [(b'P', true), (b'\r', true), (0x10, false), (0x16, false), (b'G', false)] {
        assert_eq!(begins_with(byte), is_header, "{byte}");
        assert_eq!(read(&[byte]).is_ok(), is_header, "{byte}");
    }
}

#[test]
fn names_and_tls_are_read_from_the_extensions_and_strange_ones_are_passed_over() {
    let ssl = b"\x07\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x06dev-17\x23\0\x03AES\x29\0\0";
    let bytes = v2_with(&[
        &extension(0x04, &[0; 9]),
        &extension(0x01, b"mqtt"),
        &extension(0x02, "käfer.example".as_bytes()),
        &extension(0x20, ssl),
        &extension(0x05, &[1; 128]),
        &extension(0x30, b"netns"),
        &extension(0xEE, b"\0\n\xFF"),
    ]);
    let secured = Tls {
        certificate_now: true,
        certificate_in_session: true,
        verify: 0,
        version: Some("TLSv1.3"),
        common_name: Some("dev-17"),
    };
    assert!(secured.is_verified());
    let tlvs = Tlvs { alpn: Some(b"mqtt"), authority: Some("käfer.example"), tls: Some(secured) };
    assert_eq!(whole(&bytes).tlvs, tlvs);
    let plain = v2_with(&[&extension(0x20, &[0; 5])]);
    assert_eq!(whole(&plain).tlvs, Tlvs::default());
}

#[test]
fn a_certificate_that_was_not_found_good_verifies_nobody() {
    let secured = Tls { certificate_in_session: true, verify: 10, ..Tls::default() };
    assert!(!secured.is_verified() && !Tls::default().is_verified());
    assert!(Tls { verify: 0, ..secured }.is_verified());
}

/// The limit is Mosquitto 2.1's.
#[test]
fn what_finds_no_place_is_left_out_whole() {
    let name = "n".repeat(300);
    let secured = Tls { common_name: Some(&name), version: Some("TLSv1.3"), ..Tls::default() };
    let tlvs = Tlvs { alpn: Some(b"mqtt"), authority: Some(&name), tls: Some(secured) };
    let announcement = Announcement { source: addr("192.0.2.1:1"), destination: addr("192.0.2.2:2"), tlvs };
    let bytes = announcement.v2(500);
    assert!(bytes.len() <= 516);
    assert_eq!(whole(&bytes).tlvs, Tlvs { authority: None, ..tlvs });

    let long = "n".repeat(600);
    let secured = Tls { common_name: Some(&long), ..secured };
    let tlvs = Tlvs { tls: Some(secured), ..tlvs };
    let bytes = Announcement { tlvs, ..announcement }.v2(500);
    let nameless = Tls { common_name: None, ..secured };
    assert_eq!(whole(&bytes).tlvs, Tlvs { tls: Some(nameless), ..tlvs });
}

#[test]
fn addresses_of_two_families_are_written_as_two_of_one() {
    let announcement = Announcement {
        source: addr("192.0.2.1:1"),
        destination: addr("[2001:db8::1]:2"),
        tlvs: Tlvs::default(),
    };
    let both = client("[::ffff:192.0.2.1]:1", "[2001:db8::1]:2");
    assert_eq!(whole(&announcement.v1()).origin, both);
    assert_eq!(whole(&announcement.v2(500)).origin, both);
    let mapped = Announcement {
        source: addr("[::ffff:192.0.2.1]:1"),
        destination: addr("192.0.2.2:2"),
        tlvs: Tlvs::default(),
    };
    assert_eq!(mapped.v1(), b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
}

fn any_addr() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn name() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("[a-zA-Z0-9.ä -]{0,70}")
}

#[derive(Debug, Clone)]
struct Said {
    alpn: Option<Vec<u8>>,
    authority: Option<String>,
    has_tls: bool,
    flags: (bool, bool, u32),
    version: Option<String>,
    common_name: Option<String>,
}

impl Said {
    fn tlvs(&self) -> Tlvs<'_> {
        let (certificate_now, certificate_in_session, verify) = self.flags;
        let secured = Tls {
            certificate_now,
            certificate_in_session,
            verify,
            version: self.version.as_deref(),
            common_name: self.common_name.as_deref(),
        };
        Tlvs {
            alpn: self.alpn.as_deref(),
            authority: self.authority.as_deref(),
            tls: self.has_tls.then_some(secured),
        }
    }
}

fn said() -> impl Strategy<Value = Said> {
    let alpn = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20));
    (alpn, name(), any::<bool>(), any::<(bool, bool, u32)>(), name(), name()).prop_map(
        |(alpn, authority, has_tls, flags, version, common_name)| Said {
            alpn,
            authority,
            has_tls,
            flags,
            version,
            common_name,
        },
    )
}

/// Reads as a socket is read: as many bytes as are said to be missing, until it is whole.
fn drip(stream: &[u8]) -> Result<usize, HeaderError> {
    let mut have = 0;
    loop {
        match read(stream.get(..have).expect("no byte behind the header was asked for"))? {
            Reading::Complete(header) => {
                assert_eq!(header.size, have);
                return Ok(have);
            }
            Reading::NeedMore(missing) => {
                assert!(missing > 0);
                have += missing;
            }
        }
    }
}

/// What the crate reads: the addresses, and how long the header is.
fn oracle(bytes: &[u8]) -> Option<(Option<(SocketAddr, SocketAddr)>, usize)> {
    let (header, size) = ProxyHeader::parse(bytes, ParseConfig::default()).ok()?;
    Some((header.proxied_address().map(|both| (both.source, both.destination)), size))
}

proptest! {
    #[test]
    fn what_is_written_is_read(source in any_addr(), destination in any_addr(), said in said(), tail in any::<[u8; 20]>()) {
        let announcement = Announcement { source, destination, tlvs: said.tlvs() };
        let (v1, v2, v2_checked) =
            (announcement.v1(), announcement.v2(usize::MAX), announcement.v2_with_checksum(usize::MAX));
        for (header, tlvs) in [(v1, Tlvs::default()), (v2, said.tlvs()), (v2_checked, said.tlvs())] {
            let stream = [&header[..], &tail].concat();
            let read = whole(&stream);
            let Origin::Client { source: from, destination: to } = read.origin else { panic!("{read:?}") };
            prop_assert_eq!((from.ip().to_canonical(), from.port()), (source.ip().to_canonical(), source.port()));
            prop_assert_eq!((to.ip().to_canonical(), to.port()), (destination.ip().to_canonical(), destination.port()));
            prop_assert_eq!((read.tlvs, read.size), (tlvs, header.len()));
            prop_assert_eq!(drip(&stream), Ok(header.len()));
            prop_assert_eq!(oracle(&stream), Some((Some((from, to)), header.len())));
        }
    }

    #[test]
    fn the_oracle_reads_the_names_that_we_write(source in any_addr(), destination in any_addr(), said in said()) {
        let tlvs = said.tlvs();
        let bytes = Announcement { source, destination, tlvs }.v2(usize::MAX);
        let (header, _) = ProxyHeader::parse(&bytes, ParseConfig::default()).expect("a header");
        prop_assert_eq!((header.alpn(), header.authority()), (tlvs.alpn, tlvs.authority));
        let ssl = header.ssl();
        prop_assert_eq!(ssl.is_some(), tlvs.tls.is_some());
        if let Some((ssl, tls)) = ssl.as_ref().zip(tlvs.tls) {
            prop_assert!(ssl.client_ssl());
            prop_assert_eq!((ssl.client_cert_conn(), ssl.client_cert_sess()), (tls.certificate_now, tls.certificate_in_session));
            prop_assert_eq!((ssl.verify(), ssl.version(), ssl.cn()), (tls.verify, tls.version, tls.common_name));
        }
    }

    /// The crate is more lenient. What both read, they read alike; what we read, it reads.
    #[test]
    fn a_header_that_was_changed_is_read_as_the_oracle_reads_it_or_refused(
        source in any_addr(), destination in any_addr(), said in said(), version in 0..3, at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let announcement = Announcement { source, destination, tlvs: said.tlvs() };
        let mut bytes = match version {
            0 => announcement.v1(),
            1 => announcement.v2(500),
            _ => announcement.v2_with_checksum(500),
        };
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(Reading::Complete(header)) = read(&bytes) {
            let ours = match header.origin {
                Origin::Client { source, destination } => Some((source, destination)),
                Origin::Local | Origin::Unknown => None,
            };
            prop_assert_eq!(oracle(&bytes), Some((ours, header.size)));
        }
    }

    #[test]
    fn a_flipped_bit_breaks_the_checksum(source in any_addr(), destination in any_addr(), said in said(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = Announcement { source, destination, tlvs: said.tlvs() }.v2_with_checksum(500);
        // Further ahead it is another header; further back, one without the extension.
        let at = 16 + at.index(12);
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(read(&bytes), Err(HeaderError::Checksum));
    }

    #[test]
    fn bytes_of_any_kind_are_no_panic_and_no_endless_wait(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for start in [&b""[..], b"PROXY ", b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0", b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0"] {
            let stream = [start, &bytes].concat();
            if let Ok(Reading::NeedMore(missing)) = read(&stream) {
                prop_assert!(missing > 0 && stream.len() + missing <= MAX_SIZE);
            }
        }
    }
}
