//! A request is read the same however it comes; frames give the same bytes wherever they are cut, and hold next to
//! nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mqtt_bouncer::wire::Reading;
use mqtt_bouncer::wire::websocket::frame::{Reader, Role, Violation};
use mqtt_bouncer::wire::websocket::upgrade::{self, MAX_REQUEST, Upgrade};

fuzz_target!(|stream: &[u8]| {
    let frames = match upgrade::read(stream) {
        Ok(Reading::Complete(upgrade)) => {
            assert!(upgrade.size <= stream.len().min(MAX_REQUEST));
            is_whole(stream, &upgrade);
            stream.get(upgrade.size..).unwrap_or_default()
        }
        Ok(Reading::NeedMore(_)) => stream,
        Err(refused) => {
            let response = refused.response();
            assert!(response.is_empty() || response.starts_with(b"HTTP/1.1 4") || response.starts_with(b"HTTP/1.1 5"));
            stream
        }
    };
    for role in [Role::Server, Role::Client] {
        let whole = data(role, frames, frames.len().max(1));
        for piece in [1, 2, 7] {
            assert_eq!(data(role, frames, piece), whole, "cut into pieces of {piece}");
        }
    }
});

/// Nothing less is a request, and what follows changes nothing.
fn is_whole(stream: &[u8], upgrade: &Upgrade) {
    let shorter = stream.get(..upgrade.size - 1).unwrap_or_default();
    assert!(matches!(upgrade::read(shorter), Ok(Reading::NeedMore(_))));
    let exact = stream.get(..upgrade.size).unwrap_or_default();
    assert_eq!(upgrade::read(exact), Ok(Reading::Complete(upgrade.clone())));
    assert!(upgrade.response().is_ascii());
}

/// What frames carry, up to their end or the first rule that is broken.
fn data(role: Role, frames: &[u8], piece: usize) -> (Vec<u8>, Result<Option<Option<u16>>, Violation>) {
    let (mut reader, mut data) = (Reader::new(role, 1 << 16), Vec::new());
    for piece in frames.chunks(piece) {
        let mut piece = piece.to_vec();
        match reader.take(&mut piece) {
            Ok(taken) => {
                assert!(taken.data <= piece.len());
                data.extend_from_slice(piece.get(..taken.data).unwrap_or_default());
                if taken.close.is_some() {
                    return (data, Ok(taken.close));
                }
            }
            // What came along with it goes down with it.
            Err(violation) => return (Vec::new(), Err(violation)),
        }
    }
    (data, Ok(None))
}
