//! Nothing changes on its way through a file, and no bytes make a reader stumble.

use super::*;
use proptest::prelude::*;

fn texts() -> impl Strategy<Value = String> {
    let nasty = proptest::sample::select(vec![
        "",
        " ",
        ",",
        "\n",
        "\r\n",
        "\"",
        "\\",
        "#",
        "# ",
        "\u{feff}",
        "\u{2028}",
        "\u{7f}",
        "null",
        "infinity",
        "10.0.0.1",
        "::1",
        "10.0.0.0/8",
        "1.2",
        "undefined",
        "\u{1}",
        "é",
        "e\u{301}",
        "\u{10ffff}",
        "\u{202e}x",
    ]);
    let pieces = proptest::collection::vec(prop_oneof![nasty.prop_map(str::to_owned), any::<String>()], 0..4);
    pieces.prop_map(|pieces| pieces.concat())
}

fn bans() -> impl Strategy<Value = Ban> {
    let who = prop_oneof![
        texts(),
        any::<std::net::IpAddr>().prop_map(|addr| addr.to_string()),
        (any::<std::net::IpAddr>(), 0..=32).prop_map(|(addr, length)| format!("{addr}/{length}")),
        proptest::sample::select(vec!["^a+$", "a{1,3}", "(?!x)y", "x\ny", " z ", "[\"\\\\]"])
            .prop_map(str::to_owned),
    ];
    let moment = prop_oneof![any::<i64>(), -100_000_000_000_000..300_000_000_000_000_i64, -2000..2000_i64];
    let until = prop_oneof![Just(None), moment.clone().prop_map(Some)].prop_map(|millis| match millis {
        Some(millis) => Until::Moment(Timestamp::from_millis(millis)),
        None => Until::Infinity,
    });
    let kind = proptest::sample::select(As::ALL.to_vec());
    (kind, who, any::<bool>(), texts(), texts(), moment, until).prop_filter_map(
        "nobody has that name",
        |(kind, who, is_full, by, reason, at, until)| {
            let matching = kind.is_pattern().then_some(if is_full { Match::Full } else { Match::Search });
            let at = Timestamp::from_millis(at);
            let terms = Terms { by: by.into(), reason: reason.into(), at, until };
            Some(Ban { who: Who::new(kind, &who, matching).ok()?, terms })
        },
    )
}

/// Reads to the end and returns how many records and mistakes there were.
fn read_all(format: Format, file: &[u8], chunk: usize) -> (Vec<Ban>, Vec<RecordError>, Option<String>) {
    let (mut bans, mut mistakes, mut error) = (Vec::new(), Vec::new(), None);
    let from = BufReader::with_capacity(chunk, file);
    for item in read(format, from, ReadOptions { keep_expired: true, ..options() }) {
        assert!(error.is_none(), "something came after the end");
        match item {
            Ok(Ok(ban)) => bans.push(ban),
            Ok(Err(mistake)) => mistakes.push(mistake),
            Err(found) => error = Some(found.to_string()),
        }
    }
    (bans, mistakes, error)
}

fn nothing_is_wrong_with(format: Format, file: &[u8]) -> Result<(), TestCaseError> {
    let read = read_all(format, file, 8192);
    let lines = file.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() as u64 + 1;
    for mistake in &read.1 {
        prop_assert!((1..=lines).contains(&mistake.line), "{} of {} lines", mistake, lines);
        prop_assert!(!mistake.to_string().contains(char::is_control));
    }
    prop_assert!(read == read_all(format, file, 3), "borders depend on how the file comes");
    // What was read can be kept.
    let (again, _) = written(Format::JsonLines, &read.0);
    prop_assert_eq!(read_all(Format::JsonLines, again.as_bytes(), 8192).0, read.0);
    Ok(())
}

const SAMPLES: [(Format, &str); 5] = [
    (
        Format::JsonLines,
        "{\"as\":\"clientid_re\",\"who\":\"a\\u00e9\",\"match\":\"full\",\"at\":5}\n{\"as\":\"peerhost\",\"who\":\"::1\",\"until\":\"infinity\"}\n",
    ),
    (Format::EmqxCsv, "as,who,by,until\r\nclientid,x,me,\r\npeerhost_net,10.0.0.0/8,,2030-01-01T00:00:00Z\n"),
    (
        Format::EmqxJson,
        "{\"meta\":{\"page\":1},\"data\":[{\"as\":\"clientid\",\"who\":\"x\"},\n{\"as\":\"username\",\"who\":\"\\\"\",\"until\":null}]}",
    ),
    (
        Format::TbmqJson,
        "[{\"type\":\"REGEX\",\"value\":\"a.*\",\"regexMatchTarget\":\"BY_USERNAME\",\"expirationTime\":0},\n{\"type\":\"IP_ADDRESS\",\"ipAddress\":\"1.2.3.4\"}]",
    ),
    (Format::Plain, "# x\nbot\n10.0.0.0/8\r\n::1\n"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 20_000 }))]

    #[test]
    fn nothing_changes_on_its_way_through_a_file(bans in proptest::collection::vec(bans(), 0..6)) {
        for format in Format::ALL {
            let mut writer = Writer::new(format, Vec::new());
            let mut kept = Vec::new();
            for ban in &bans {
                match writer.write(ban) {
                    Ok(()) => kept.push(ban.clone()),
                    Err(WriteError::Unwritable { .. }) if format != Format::JsonLines => {}
                    Err(WriteError::Unwritable { why, .. }) => prop_assert_eq!(why, moment::NO_MOMENT),
                    Err(WriteError::Io(error)) => panic!("{error}"),
                }
            }
            let file = writer.finish().expect("a file");
            let (read, mistakes, error) = read_all(format, &file, 8192);
            prop_assert!(mistakes.is_empty() && error.is_none(), "{}: {:?} {:?}", format, mistakes, error);
            prop_assert_eq!(read.len(), kept.len());
            for (ban, mut read) in kept.iter().zip(read) {
                prop_assert_eq!(read.who.matching(), ban.who.matching());
                // What the format has no place for, and what decides about nobody.
                if matches!(format, Format::TbmqJson | Format::Plain) {
                    read.terms.by = Arc::clone(&ban.terms.by);
                    read.terms.at = ban.terms.at;
                }
                if format == Format::Plain {
                    read.terms.reason = Arc::clone(&ban.terms.reason);
                }
                prop_assert_eq!(&read, ban, "{}", format);
            }
        }
    }

    #[test]
    fn no_bytes_make_a_reader_stumble(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for format in Format::ALL {
            nothing_is_wrong_with(format, &bytes)?;
        }
        let _ = Format::guess("x.json", &bytes);
    }

    #[test]
    fn no_damage_makes_a_reader_stumble(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), 0..3, any::<u8>()), 1..5)
    ) {
        for (format, sample) in SAMPLES {
            let mut file = sample.as_bytes().to_vec();
            for (place, how, byte) in &damage {
                let place = place.index(file.len());
                match how {
                    0 => file[place] = *byte,
                    1 => file.insert(place, b"\"[]{},:\\\r\n"[usize::from(*byte) % 10]),
                    _ => drop(file.remove(place)),
                }
            }
            nothing_is_wrong_with(format, &file)?;
        }
    }

    #[test]
    fn names_of_json_lists_are_read_wherever_chunks_end(chunk in 1..50_usize) {
        for (format, sample) in SAMPLES {
            let (bans, mistakes, error) = read_all(format, sample.as_bytes(), chunk);
            let expected = if format == Format::Plain { 3 } else { 2 };
            prop_assert_eq!((bans.len(), mistakes.len(), error), (expected, 0, None), "{}", format);
        }
    }
}
