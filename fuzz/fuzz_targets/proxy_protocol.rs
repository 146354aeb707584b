//! A PROXY header is read the same however it comes, never past its end, and as others read it.

#![no_main]

use allocation_counter::measure;
use libfuzzer_sys::fuzz_target;
use mqtt_bouncer::wire::Reading;
use mqtt_bouncer::wire::proxy_protocol::{self, Announcement, Header, MAX_SIZE, Origin, Version};
use proxy_header::{ParseConfig, ProxyHeader};

fuzz_target!(|stream: &[u8]| {
    let mut read = None;
    let allocated = measure(|| read = Some(proxy_protocol::read(stream)));
    assert_eq!(allocated.count_total, 0, "the reader allocated");
    let Some(read) = read else { return };
    match read {
        Ok(Reading::Complete(header)) => {
            assert!(header.size <= stream.len().min(MAX_SIZE));
            assert_eq!(exactly(stream), Some(header.size), "an exact read takes something else");
            assert_eq!(proxy_protocol::read(&stream[..header.size]), Ok(Reading::Complete(header)));
            others_agree(stream, &header);
            is_passed_on(&header);
        }
        Ok(Reading::NeedMore(missing)) => {
            assert!(missing > 0 && stream.len() + missing <= MAX_SIZE);
            assert_eq!(exactly(stream), None);
        }
        // What is hopeless stays so.
        Err(error) => assert_eq!(proxy_protocol::read(&[stream, b"\r\n more"].concat()), Err(error)),
    }
});

/// Reads as a socket is read; `None` where it wants more than there is.
fn exactly(stream: &[u8]) -> Option<usize> {
    let mut have = 0;
    loop {
        match proxy_protocol::read(stream.get(..have)?) {
            Ok(Reading::Complete(header)) => {
                assert_eq!(header.size, have);
                return Some(have);
            }
            Ok(Reading::NeedMore(missing)) => have += missing,
            Err(error) => panic!("refused in pieces: {error}"),
        }
    }
}

fn others_agree(stream: &[u8], header: &Header<'_>) {
    // The crate looks at the family of what it is to ignore.
    if header.origin == Origin::Local {
        return;
    }
    let (theirs, size) = ProxyHeader::parse(stream, ParseConfig::default()).expect("they are more lenient");
    let theirs = theirs.proxied_address().map(|both| (both.source, both.destination));
    let ours = match header.origin {
        Origin::Client { source, destination } => Some((source, destination)),
        Origin::Local | Origin::Unknown => None,
    };
    assert_eq!((ours, header.size), (theirs, size));
}

/// What is told a broker is what was heard, as far as there is room.
fn is_passed_on(header: &Header<'_>) {
    let Origin::Client { source, destination } = header.origin else { return };
    let announcement = Announcement { source, destination, tlvs: header.tlvs };
    for version in [Version::V1, Version::V2] {
        let written = proxy_protocol::header(version, &announcement);
        let Ok(Reading::Complete(read)) = proxy_protocol::read(&written) else { panic!("{written:02x?}") };
        assert_eq!(read.size, written.len());
        assert!(read.size <= 516);
        let Origin::Client { source: from, destination: to } = read.origin else { panic!("{read:?}") };
        assert_eq!((from.ip().to_canonical(), from.port()), (source.ip().to_canonical(), source.port()));
        assert_eq!((to.ip().to_canonical(), to.port()), (destination.ip().to_canonical(), destination.port()));
    }
}
