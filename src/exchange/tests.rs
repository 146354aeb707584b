//! Files as operators have them, what is wrong with some, and that nothing changes on its way through a file.

use super::*;
use crate::admission::{MAX_WHO, Match, Terms, Until, Who};
use std::io::{BufReader, Read};

mod properties;
mod writing;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn options() -> ReadOptions {
    ReadOptions { now: NOW, by: "reader".into(), kind: None, keep_expired: false }
}

/// What a file says, a line of text for each record: `as who [match] by "reason" at until`, or the mistake; and last
/// what is wrong with the file.
fn told(format: Format, file: &str) -> Vec<String> {
    told_with(format, file, options())
}

fn told_with(format: Format, file: &str, options: ReadOptions) -> Vec<String> {
    let from = BufReader::with_capacity(7, file.as_bytes());
    let tell = |item: Result<Result<Ban, RecordError>, FileError>| match item {
        Ok(Ok(ban)) => {
            let Ban { who, terms } = &ban;
            let matching = who.matching().map_or(String::new(), |matching| format!(" {matching:?}"));
            let at = if terms.at == NOW { "now".to_owned() } else { terms.at.as_millis().to_string() };
            let until = match terms.until {
                Until::Infinity => "infinity".to_owned(),
                Until::Moment(end) => end.as_millis().to_string(),
            };
            format!("{} {who}{matching} {} {:?} {at} {until}", who.kind(), terms.by, &*terms.reason)
        }
        Ok(Err(mistake)) => mistake.to_string(),
        Err(error) => error.to_string(),
    };
    read(format, from, options).map(tell).collect()
}

fn ban(kind: As, who: &str) -> Ban {
    let matching = kind.is_pattern().then_some(Match::Search);
    let terms = Terms { by: "me".into(), reason: "".into(), at: NOW, until: Until::Infinity };
    Ban { who: Who::new(kind, who, matching).expect("a name"), terms }
}

/// The file of what can be written, and why the rest cannot.
fn written(format: Format, bans: &[Ban]) -> (String, Vec<String>) {
    let mut writer = Writer::new(format, Vec::new());
    let mut unwritten = Vec::new();
    for ban in bans {
        if let Err(error) = writer.write(ban) {
            unwritten.push(error.to_string());
        }
    }
    (String::from_utf8(writer.finish().expect("a file")).expect("text"), unwritten)
}

#[test]
fn json_lines_say_everything() {
    let file = concat!(
        "\u{feff}",
        r#"{"as":"clientid","who":"a\"\u00e9\n","by":"ops","reason":"r, s","at":"2027-01-01T00:00:00.250Z","until":"infinity"}"#,
        "\r\n\n  \n",
        r#" { "who": "^x$" , "match": "full", "as": "username_re", "until": 1900000000, "at": null } "#,
        "\n",
        r#"{"as":"peerhost_re","who":"^10","match":"search"}"#,
    );
    assert_eq!(
        told(Format::JsonLines, file),
        [
            "clientid a\"é\n ops \"r, s\" 1798761600250 infinity",
            "username_re ^x$ Full reader \"\" now 1900000000000",
            "peerhost_re ^10 Search reader \"\" now infinity",
        ]
    );
}

#[test]
fn mistakes_in_json_lines_are_named() {
    for (line, mistake) in [
        (r#"{"as":"clientid"}"#, "who: is missing"),
        (r#"{"who":"x","as":null}"#, "as: is missing"),
        (
            r#"{"as":"clientid","whom":"x"}"#,
            "whom: is not a field; expected as, who, match, by, reason, at or until",
        ),
        (r#"{"as":"clientid","who":"x","who":"y"}"#, "who: is there twice"),
        (r#"{"as":"clientid","who":7}"#, "who: is a number; expected a string"),
        (r#"{"as":"clientid","who":{"a":[1]}}"#, "who: is an object; expected a string"),
        (
            r#"{"as":"peerhost_net","who":"10.0.0/8"}"#,
            r#"who: "10.0.0/8" is not a network; expected e.g. "192.0.2.0/24" or "2001:db8::/48""#,
        ),
        (
            r#"{"as":"clientid","who":"x","match":"full"}"#,
            "match: does not go with an \"as\" that is no pattern",
        ),
        (
            r#"{"as":"clientid_re","who":"x","match":"most"}"#,
            r#"match: "most" is unknown; expected search or full"#,
        ),
        (
            r#"{"as":"clientid","who":"x","until":"1800000000"}"#,
            "until: the ban has ended already, on 2027-01-15T08:00:00+00:00",
        ),
        (
            r#"{"as":"clientid","who":"x","at":1.5}"#,
            "at: is a number with a fraction, or a huge one; expected RFC 3339 or epoch seconds",
        ),
        (
            r#"{"as":"clientid","who":"x","until":-1}"#,
            "until: \"-1\" is not an end; expected \"infinity\", RFC 3339, e.g. \"2030-01-01T00:00:00+00:00\", \
             or epoch seconds",
        ),
        (r#"{"as":"clientid","who":"x"} {}"#, "is not a JSON object: trailing characters"),
        (r#"["x"]"#, "is not a JSON object: invalid type: sequence, expected an object"),
        (
            "{\"as\":\"clientid\",\"who\":\"a\tb\"}",
            "is not a JSON object: control character (\\u0000-\\u001F)",
        ),
    ] {
        let told = told(Format::JsonLines, &format!("\n{line}\n"));
        assert!(told.len() == 1 && told[0].starts_with(&format!("line 2: {mistake}")), "{line}: {told:?}");
    }
    let many: Vec<_> = (0..100).map(|number| format!("\"{number}\":1")).collect();
    assert_eq!(
        told(Format::JsonLines, &format!("{{{}}}", many.join(","))),
        ["line 1: has more than 32 fields"]
    );
}

#[test]
fn one_bad_line_in_the_middle_costs_one_ban() {
    let samples = [
        (Format::JsonLines, "", "{\"as\":\"clientid\",\"who\":\"x\"}\n", "{\"as\":\"clientid\"}\n", ""),
        (Format::EmqxCsv, "as,who\n", "clientid,x\n", "peerhost,x\n", ""),
        (
            Format::EmqxJson,
            "[\n",
            "{\"as\":\"clientid\",\"who\":\"x\"},\n",
            "{\"as\":\"clientid\"},\n",
            "{}]",
        ),
        (
            Format::TbmqJson,
            "[\n",
            "{\"type\":\"USERNAME\",\"value\":\"x\"},\n",
            "{\"type\":\"USERNAME\"},\n",
            "{}]",
        ),
        (Format::Plain, "", "x\n", "10.0.0.256\n", ""),
    ];
    for (format, begin, good, bad, end) in samples {
        let file = [begin, &good.repeat(1000), bad, &good.repeat(1000), end].concat();
        let read: Vec<_> =
            read(format, file.as_bytes(), options()).map(|item| item.expect("a file")).collect();
        let mistakes: Vec<_> = read.iter().filter_map(|record| record.as_ref().err()).collect();
        let line = 1001 + u64::from(!begin.is_empty());
        assert_eq!(mistakes[0].line, line, "{format}");
        assert_eq!(mistakes.len(), 1 + usize::from(!end.is_empty()), "{format}");
        assert_eq!(read.iter().filter(|record| record.is_ok()).count(), 2000, "{format}");
    }
}

#[test]
fn emqx_bootstrap_files_are_read_as_emqx_reads_them() {
    let file = "\r\n until , who,as,reason,by,at\r\n\
                infinity,c1,clientid,,,\r\r\
                , ^bot-\\d+ , username_re , \"scan\" , ops , 1700000000\n\
                2030-11-11T10:24:00+08:00,192.168.0.77/24,peerhost_net,,,\n\
                ,10.0.0.1,peerhost_net,,,\n";
    assert_eq!(
        told(Format::EmqxCsv, file),
        [
            "clientid c1 reader \"\" now infinity",
            "username_re ^bot-\\d+ Search ops \"\\\"scan\\\"\" 1700000000000 infinity",
            "peerhost_net 192.168.0.0/24 reader \"\" now 1920594240000",
            "peerhost_net 10.0.0.1/32 reader \"\" now infinity",
        ]
    );
}

#[test]
fn mistakes_in_rows_are_named_and_skipped() {
    let file =
        "as,who,until\nip,x,\nclientid,,\npeerhost,127.1,\nclientid_re,(,\nclientid,x,soon\nclientid,x,5\n";
    let told = told(Format::EmqxCsv, file);
    for (told, expected) in told.iter().zip([
        r#"line 2: as: "ip" is not a kind of ban"#,
        "line 3: who: is missing",
        r#"line 4: who: "127.1" is not an IP address"#,
        r#"line 5: who: "(" is not a usable pattern"#,
        r#"line 6: until: "soon" is not an end"#,
        "line 7: until: the ban has ended already, on 1970-01-01T00:00:05+00:00",
    ]) {
        assert!(told.starts_with(expected), "{told}");
    }
    assert_eq!(told.len(), 6);
}

#[test]
fn a_csv_file_of_another_shape_is_not_read() {
    for (file, problem) in [
        ("", "line 1: the file is empty"),
        ("\n\nclientid,x\n", "line 3: \"clientid\" is not a column"),
        ("as,by\n", "line 1: the column who is missing"),
        ("as,who,as\n", "line 1: the column as is there twice"),
        ("as;who\n", "line 1: \"as;who\" is not a column"),
    ] {
        let expected =
            format!("{problem}; expected a header of the columns as, who and perhaps by, reason, at, until");
        assert_eq!(told(Format::EmqxCsv, file), [expected]);
    }
    let told = told(Format::EmqxCsv, "as,who\nclientid,x\nclientid,\"a,b\"\nclientid,y\n");
    let expected = "line 3: the row has 3 columns; expected 2, as the header has; no value can hold a comma";
    assert_eq!(told[1..], [expected], "and nothing is read after it");
}

#[test]
fn emqx_lists_and_pages_are_read() {
    let list = r#"[{"as":"clientid","who":"a","by":"mgmt_api","reason":"x]}","at":"2026-04-22T08:16:31+00:00","until":"infinity"},
        {"as":"peerhost","who":"::ffff:10.0.0.1","until":null}]"#;
    let v5 = format!(r#"{{"meta":{{"page":1,"data":[1]}}, "data" :{list},"x":null}}  "#);
    let v4 = format!("{{\"code\":0,\n\"data\":{list}}}");
    for file in [list, v5.as_str(), v4.as_str()] {
        assert_eq!(
            told(Format::EmqxJson, file),
            [
                "clientid a mgmt_api \"x]}\" 1776845791000 infinity",
                "peerhost 10.0.0.1 reader \"\" now infinity"
            ]
        );
    }
    for file in ["[]", " [ ] ", r#"{"data":[]}"#, r#"{"data":[],"meta":{"hasnext":false}}"#] {
        assert!(told(Format::EmqxJson, file).is_empty(), "{file}");
    }
}

#[test]
fn lines_in_a_json_list_are_counted() {
    let file = "[\n {\"as\":\"clientid\",\n \"who\":\"a\"\n},\n{\n\"as\":\n7},\n\n{\"as\":\"clientid\",\n\"who\" \"b\"},3\n]";
    let told = told(Format::EmqxJson, file);
    assert_eq!(told[1], "line 5: as: is a number; expected a string");
    assert_eq!(told[2], "line 10: is not a JSON object: expected `:`");
    assert_eq!(told[3], "line 10: is not a JSON object: invalid type: integer `3`, expected an object");
    assert_eq!(told.len(), 4);
}

#[test]
fn what_is_no_json_list_is_not_read_on() {
    let good = r#"{"as":"clientid","who":"a"}"#;
    let deep = "[".repeat(100);
    for (file, expected) in [
        (String::new(), "line 1: the file ends too early; expected a list"),
        ("as,who".to_owned(), "line 1: is not a JSON list here; expected a list"),
        (good.to_owned(), "line 1: the object has no \"data\"; expected a list"),
        ("{}".to_owned(), "line 1: the object has no \"data\"; expected a list"),
        ("{\"data\":null}".to_owned(), "line 1: is not a JSON list here; expected a list under \"data\""),
        (format!("[\n{good}\n"), "line 3: the file ends too early; expected a comma"),
        (format!("[{good},\n"), "line 2: the file ends too early; expected the rest of a value"),
        (
            format!("[{good},\n{{\"as\":\"cli"),
            "line 2: the file ends too early; expected the rest of a value",
        ),
        (format!("[{good}\n{good}]"), "line 2: is not a JSON list here; expected a comma"),
        (format!("[{good},\n]"), "line 2: a bracket closes what is not open"),
        (format!("[{good},\n{{\"as\":[}}]"), "line 2: a bracket closes what is not open"),
        (format!("[{good},,{good}]"), "line 1: a value is missing"),
        (format!("[{good}]\n]"), "line 2: is not a JSON list here; expected nothing behind the list"),
        (format!("{{\"data\":[{good}],\"data\":[]}}"), "line 1: \"data\" is there twice"),
        (deep, "line 1: a record nests too deep"),
    ] {
        let told = told(Format::EmqxJson, &file);
        assert!(told.last().is_some_and(|told| told.starts_with(expected)), "{file}: {told:?}");
    }
}

#[test]
fn tbmq_lists_are_read_in_both_shapes() {
    let requests = r#"[
        {"type":"CLIENT_ID","clientId":"a","expirationTime":0,"description":"why"},
        {"type":"USERNAME","username":"u","expirationTime":1900000000007},
        {"type":"IP_ADDRESS","ipAddress":"0:0:0:0:0:0:0:1","expirationTime":-5},
        {"type":"REGEX","pattern":"^x.*","regexMatchTarget":"BY_IP_ADDRESS"}]"#;
    let responses = r#"{"data":[
        {"type":"CLIENT_ID","value":"a","expirationTime":0,"description":"why","regexMatchTarget":null,"status":"ACTIVE"},
        {"type":"USERNAME","value":"u","expirationTime":1900000000007,"description":null,"status":"ACTIVE"},
        {"type":"IP_ADDRESS","value":"0:0:0:0:0:0:0:1","expirationTime":-5,"status":"ACTIVE"},
        {"type":"REGEX","value":"^x.*","regexMatchTarget":"BY_IP_ADDRESS","expirationTime":null}],
        "totalPages":1,"totalElements":4,"hasNext":false}"#;
    for file in [requests, responses] {
        assert_eq!(
            told(Format::TbmqJson, file),
            [
                "clientid a reader \"why\" now infinity",
                "username u reader \"\" now 1900000000007",
                "peerhost ::1 reader \"\" now infinity",
                "peerhost_re ^x.* Full reader \"\" now infinity",
            ]
        );
    }
}

#[test]
fn mistakes_in_tbmq_lists_are_named() {
    for (record, mistake) in [
        (r#""type":"IP","value":"a""#, "type: \"IP\" is unknown; expected CLIENT_ID, USERNAME"),
        (r#""value":"a""#, "type: is missing"),
        (r#""type":"CLIENT_ID""#, "clientId: is missing"),
        (r#""type":"CLIENT_ID","username":"a""#, "username: does not go with this \"type\""),
        (r#""type":"CLIENT_ID","clientId":"a","value":"a""#, "value: does not go with clientId"),
        (r#""type":"IP_ADDRESS","value":"localhost""#, "value: \"localhost\" is not an IP address"),
        (r#""type":"IP_ADDRESS","ipAddress":"10.*""#, "ipAddress: \"10.*\" is not an IP address"),
        (r#""type":"REGEX","value":"a""#, "regexMatchTarget: is missing"),
        (r#""type":"REGEX","value":"a","regexMatchTarget":"X""#, "regexMatchTarget: \"X\" is unknown"),
        (
            r#""type":"USERNAME","value":"a","regexMatchTarget":"BY_USERNAME""#,
            "regexMatchTarget: does not go with a \"type\" other than REGEX",
        ),
        (
            r#""type":"USERNAME","value":"a","expirationTime":"5""#,
            "expirationTime: is a string; expected a whole",
        ),
        (r#""type":"USERNAME","value":"a","expirationTime":1"#, "expirationTime: the ban has ended already"),
        (r#""type":"USERNAME","value":"a","id":1"#, "id: is not a field; expected type, value,"),
    ] {
        let told = told(Format::TbmqJson, &format!("[{{{record}}}]"));
        assert!(told.len() == 1 && told[0].starts_with(&format!("line 1: {mistake}")), "{record}: {told:?}");
    }
}

#[test]
fn plain_lists_tell_addresses_from_names() {
    let file = "# bots\r\n#\n\nbot-1\r\n#bot\n192.0.2.7\n2001:db8::/32\n198.51.100.0/24\na b\n17\n";
    assert_eq!(
        told(Format::Plain, file),
        [
            "clientid bot-1 reader \"\" now infinity",
            "clientid #bot reader \"\" now infinity",
            "peerhost 192.0.2.7 reader \"\" now infinity",
            "peerhost_net 2001:db8::/32 reader \"\" now infinity",
            "peerhost_net 198.51.100.0/24 reader \"\" now infinity",
            "clientid a b reader \"\" now infinity",
            "clientid 17 reader \"\" now infinity",
        ]
    );
    let as_names = ReadOptions { kind: Some(As::Username), ..options() };
    assert_eq!(
        told_with(Format::Plain, "192.0.2.7\n10.0/8", as_names),
        ["username 192.0.2.7 reader \"\" now infinity", "username 10.0/8 reader \"\" now infinity"]
    );
}

#[test]
fn doubtful_lines_of_plain_lists_are_no_names() {
    for line in [
        " bot",
        "bot ",
        "bot\t\r",
        "10.0.0.0/33",
        "300.1.2.3",
        "10.0.0/8",
        "192.0.2.7 # scanner",
        "192.0.2.0/24 ; SBL1",
        "192.0.2.7,x",
    ] {
        let told = told(Format::Plain, &format!("x\n{line}\n"));
        assert!(told.len() == 2 && told[1].starts_with("line 2: who: \""), "{told:?}");
    }
    let as_addresses = ReadOptions { kind: Some(As::PeerHost), ..options() };
    assert!(told_with(Format::Plain, "bot", as_addresses)[0].contains("\"bot\" is not an IP address"));
}

#[test]
fn text_that_is_not_utf_8_is_told() {
    let files: [(Format, &[u8], u64); 4] = [
        (
            Format::JsonLines,
            b"{\"as\":\"clientid\",\"who\":\"\xff\"}\n{\"as\":\"clientid\",\"who\":\"x\"}",
            1,
        ),
        (Format::EmqxCsv, b"as,who\nclientid,\xff\nclientid,x", 2),
        (
            Format::EmqxJson,
            b"[{\"as\":\"clientid\",\"who\":\"\xff\"},{\"as\":\"clientid\",\"who\":\"x\"}]",
            1,
        ),
        (Format::Plain, b"\xff\nx", 1),
    ];
    for (format, file, line) in files {
        let read: Vec<_> = read(format, file, options()).map(|item| item.expect("a file")).collect();
        assert_eq!(read[0].as_ref().map_err(|mistake| mistake.line).expect_err("no text"), line, "{format}");
        assert!(read[1].is_ok(), "{format}");
    }
}

#[test]
fn records_without_end_are_not_kept() {
    for format in Format::ALL {
        let begin: &[u8] = match format {
            Format::EmqxCsv => b"as,who\n",
            Format::EmqxJson | Format::TbmqJson => b"[\"",
            Format::JsonLines | Format::Plain => b"",
        };
        let file = BufReader::new(begin.chain(std::io::repeat(b'x')));
        let mut bans = read(format, file, options());
        assert!(matches!(bans.next(), Some(Err(FileError::TooLong { .. }))), "{format}");
        assert!(bans.next().is_none(), "{format}");
    }
    // What lies around the list is not kept at all.
    let page = (&b"{\"meta\":\""[..]).chain(std::io::repeat(b'x').take(3 * MAX_RECORD as u64));
    let page = page.chain(&b"\",\"data\":[]}"[..]);
    assert!(read(Format::EmqxJson, BufReader::new(page), options()).next().is_none());
}

#[test]
fn a_reader_that_fails_ends_the_list() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    for format in Format::ALL {
        let mut bans = read(format, BufReader::new(Failing), options());
        let error = bans.next().expect("an error").expect_err("an error");
        assert_eq!(error.to_string(), "line 1: cannot read on", "{format}");
        assert!(std::error::Error::source(&error).is_some() && bans.next().is_none());
    }
}

#[test]
fn bans_that_have_ended_are_read_if_somebody_wants_them() {
    let file = "{\"as\":\"clientid\",\"who\":\"x\",\"until\":5}";
    let keep = ReadOptions { keep_expired: true, ..options() };
    assert_eq!(told_with(Format::JsonLines, file, keep), ["clientid x reader \"\" now 5000"]);
}

#[test]
fn the_longest_names_come_through() {
    for who in ["\u{1}".repeat(MAX_WHO), "é".repeat(MAX_WHO / 2)] {
        let ban = ban(As::Username, &who);
        let (file, _) = written(Format::JsonLines, std::slice::from_ref(&ban));
        let again = read(Format::JsonLines, file.as_bytes(), options()).next();
        assert_eq!(again.expect("a record").expect("a file"), Ok(ban));
    }
}

#[test]
fn neighbours_share_their_texts() {
    let file = "as,who,reason\nclientid,a,flood\nclientid,b,flood\n";
    let bans: Vec<_> = read(Format::EmqxCsv, file.as_bytes(), options()).flatten().flatten().collect();
    assert!(Arc::ptr_eq(&bans[0].terms.reason, &bans[1].terms.reason));
    assert!(Arc::ptr_eq(&bans[0].terms.by, &bans[1].terms.by));
}

#[test]
fn formats_have_one_name() {
    for format in Format::ALL {
        assert_eq!(format.as_str().parse(), Ok(format));
    }
    assert_eq!("json".parse::<Format>(), Err(UnknownFormat));
}
