//! The reader of ClientHellos: never panics, says the same of the bytes however they are split, never asks for more
//! than there can be, and puts records together as a second, simpler reader does.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mqtt_bouncer::wire::mqtt::Reading;
use mqtt_bouncer::wire::tls::{Hello, MAX_HELLO, read};

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes);
    match &whole {
        Ok(Reading::Complete(message)) => {
            assert!(message.len() <= MAX_HELLO);
            assert_eq!(message[..], together(bytes)[..message.len()]);
            if let Ok(hello) = Hello::parse(message) {
                check(&hello);
            }
        }
        Ok(Reading::NeedMore(missing)) => assert!(*missing > 0 && *missing <= 1 << 15),
        Err(_) => {}
    }
    // What a part of the bytes has decided, the rest does not change.
    let part = bytes.get(..bytes.len() / 2).unwrap_or_default();
    match read(part) {
        Ok(Reading::Complete(message)) => {
            assert_eq!(whole, Ok(Reading::Complete(message)));
        }
        Err(error) => assert_eq!(whole, Err(error)),
        Ok(Reading::NeedMore(_)) => {}
    }
});

fn check(hello: &Hello<'_>) {
    let ja4 = hello.ja4().to_string();
    assert_eq!((ja4.len(), ja4.is_ascii()), (36, true));
    assert_eq!(ja4, hello.ja4().to_string());
    assert!(hello.server_name().is_none_or(str::is_ascii));
    let extensions: usize = hello.extensions().map(|(_, content)| 4 + content.len()).sum();
    assert!(extensions <= MAX_HELLO && hello.alpn().map(<[u8]>::len).sum::<usize>() <= extensions);
    assert!(hello.versions().count() + hello.signature_algorithms().count() <= extensions);
}

/// What all whole records carry, behind the header of the first message.
fn together(mut bytes: &[u8]) -> Vec<u8> {
    let mut carried = Vec::new();
    while let [_, _, _, high, low, rest @ ..] = bytes {
        let Some((fragment, rest)) = rest.split_at_checked(usize::from(*high) << 8 | usize::from(*low)) else { break };
        carried.extend_from_slice(fragment);
        bytes = rest;
    }
    carried.split_off(4)
}
