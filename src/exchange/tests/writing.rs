//! What is written, and what cannot be.

use super::*;

#[test]
fn each_format_is_written_as_it_is_documented() {
    let mut bans =
        [ban(As::ClientId, "a\u{7}"), ban(As::PeerHost, "::1"), ban(As::PeerHostNet, "10.0.0.0/8")];
    bans[1].terms.until = Until::Moment(Timestamp::from_millis(1_900_000_000_250));
    let (file, unwritten) = written(Format::JsonLines, &bans);
    let lines: Vec<_> = file.lines().collect();
    assert_eq!(
        lines[..2],
        [
            r#"{"as":"clientid","who":"a\u0007","by":"me","reason":"","at":"2027-01-15T08:00:00+00:00","until":"infinity"}"#,
            r#"{"as":"peerhost","who":"::1","by":"me","reason":"","at":"2027-01-15T08:00:00+00:00","until":"2030-03-17T17:46:40.250+00:00"}"#,
        ]
    );
    assert!(lines.len() == 3 && unwritten.is_empty() && file.ends_with("}\n"));
    let (file, _) = written(Format::EmqxCsv, &bans[2..]);
    assert_eq!(
        file,
        "as,who,by,reason,at,until\npeerhost_net,10.0.0.0/8,me,,2027-01-15T08:00:00+00:00,infinity\n"
    );
    let (file, unwritten) = written(Format::TbmqJson, &bans);
    assert_eq!(
        file,
        concat!(
            "[\n",
            r#"{"type":"CLIENT_ID","clientId":"a\u0007","expirationTime":0,"description":""},"#,
            "\n",
            r#"{"type":"IP_ADDRESS","ipAddress":"0:0:0:0:0:0:0:1","expirationTime":1900000000250,"description":""}"#,
            "\n]\n"
        )
    );
    assert_eq!(
        unwritten,
        ["peerhost_net \"10.0.0.0/8\" cannot be written as tbmq-json: TBMQ has no networks"]
    );
    let (file, unwritten) = written(Format::Plain, &bans);
    assert_eq!((file.as_str(), unwritten.len()), ("a\u{7}\n10.0.0.0/8\n", 1));
}

#[test]
fn an_empty_list_is_a_list() {
    for format in Format::ALL {
        let (file, _) = written(format, &[]);
        assert!(told(format, &file).is_empty(), "{format}: {file}");
    }
}

#[test]
fn what_a_format_cannot_say_is_not_written() {
    let full =
        |kind, who| Ban { who: Who::new(kind, who, Some(Match::Full)).expect("a name"), ..ban(kind, who) };
    let ending = |end| {
        let mut ban = ban(As::ClientId, "x");
        ban.terms.until = Until::Moment(Timestamp::from_millis(end));
        ban
    };
    let by = |by: &str| {
        let mut ban = ban(As::ClientId, "x");
        ban.terms.by = by.into();
        ban
    };
    let why = |why: &str| {
        let mut ban = ban(As::ClientId, "x");
        ban.terms.reason = why.into();
        ban
    };
    for (format, ban) in [
        (Format::JsonLines, ending(i64::MAX)),
        (Format::JsonLines, why(&"\u{1}".repeat(MAX_RECORD / 6))),
        (Format::EmqxJson, full(As::ClientIdRe, "x")),
        (Format::EmqxJson, ban(As::PeerHostRe, "x")),
        (Format::EmqxJson, ban(As::CertCn, "x")),
        (Format::TbmqJson, ban(As::CertCn, "x")),
        (Format::Plain, ban(As::CertCn, "x")),
        (Format::EmqxJson, ending(i64::MIN)),
        (Format::EmqxCsv, full(As::ClientIdRe, "x")),
        (Format::EmqxCsv, ban(As::PeerHostRe, "x")),
        (Format::EmqxCsv, ban(As::UsernameRe, "x{1,2}")),
        (Format::EmqxCsv, ban(As::ClientId, "x\ny")),
        (Format::EmqxCsv, ban(As::ClientId, " x")),
        (Format::EmqxCsv, ban(As::ClientId, "x\u{2028}")),
        (Format::EmqxCsv, why("a, b")),
        (Format::EmqxCsv, by("")),
        (Format::TbmqJson, ban(As::ClientIdRe, "x")),
        (Format::TbmqJson, ban(As::PeerHostNet, "10.0.0.0/8")),
        (Format::TbmqJson, ending(0)),
        (Format::Plain, ban(As::Username, "x")),
        (Format::Plain, ban(As::ClientIdRe, "x")),
        (Format::Plain, ban(As::ClientId, "10.0.0.1")),
        (Format::Plain, ban(As::ClientId, "10.0.0/8")),
        (Format::Plain, ban(As::ClientId, "# x")),
        (Format::Plain, ban(As::ClientId, "x\r")),
        (Format::Plain, ban(As::ClientId, "x\ny")),
        (Format::Plain, ending(1_900_000_000_000)),
    ] {
        let mut writer = Writer::new(format, Vec::new());
        let result = writer.write(&ban);
        assert!(
            matches!(result, Err(WriteError::Unwritable { .. })),
            "{format}: {ban:?} was written: {result:?}"
        );
    }
}
