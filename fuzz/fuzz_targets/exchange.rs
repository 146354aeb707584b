//! No file makes a reader of lists panic, the borders of its records do not depend on how it comes, and what was read
//! comes through a file of our own unchanged. The input is the format (0 to 4), how many bytes come at a time, and the
//! file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mqtt_bouncer::admission::{Ban, Timestamp};
use mqtt_bouncer::exchange::{Format, ReadOptions, WriteError, Writer, read};
use std::io::BufReader;

fuzz_target!(|input: &[u8]| {
    let [format, chunk, file @ ..] = input else { return };
    let Some(format) = Format::ALL.get(usize::from(*format)).copied() else { return };
    let _ = Format::guess("fuzz.json", file);

    let whole = read_all(format, file, 1 << 20);
    let lines = 1 + file.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
    for (line, told) in &whole.mistakes {
        assert!((1..=lines as u64).contains(line), "{told}");
        assert!(!told.contains(char::is_control), "{told:?}");
    }
    assert_eq!(whole, read_all(format, file, usize::from(*chunk).max(1)), "read otherwise in pieces");

    for to in Format::ALL {
        comes_through(to, &whole.bans);
    }
});

/// What a file says.
#[derive(Debug, PartialEq)]
struct Told {
    bans: Vec<Ban>,
    mistakes: Vec<(u64, String)>,
    error: Option<String>,
}

fn read_all(format: Format, file: &[u8], chunk: usize) -> Told {
    let mut told = Told { bans: Vec::new(), mistakes: Vec::new(), error: None };
    let now = Timestamp::from_millis(1_800_000_000_000);
    let options = ReadOptions { now, by: "fuzz".into(), kind: None, keep_expired: true };
    for item in read(format, BufReader::with_capacity(chunk, file), options) {
        assert!(told.error.is_none(), "something came after the end");
        match item {
            Ok(Ok(ban)) => told.bans.push(ban),
            Ok(Err(mistake)) => told.mistakes.push((mistake.line, mistake.to_string())),
            Err(error) => told.error = Some(error.to_string()),
        }
    }
    told
}

fn comes_through(format: Format, bans: &[Ban]) {
    let mut writer = Writer::new(format, Vec::new());
    let mut kept = Vec::new();
    for ban in bans {
        match writer.write(ban) {
            Ok(()) => kept.push(ban),
            Err(WriteError::Unwritable { .. }) => {}
            Err(WriteError::Io(error)) => panic!("{error}"),
        }
    }
    let file = writer.finish().expect("memory");
    let again = read_all(format, &file, 4096);
    assert!(again.mistakes.is_empty() && again.error.is_none(), "{format}: {again:?}");
    assert_eq!(again.bans.len(), kept.len(), "{format}");
    for (ban, again) in kept.into_iter().zip(&again.bans) {
        assert_eq!((&again.who, again.who.matching()), (&ban.who, ban.who.matching()), "{format}");
        assert_eq!(again.terms.until, ban.terms.until, "{format}");
        assert!(format != Format::JsonLines || again == ban, "{again:?} was {ban:?}");
    }
}
