//! Every MUST of the specifications that concerns CONNECT, as a table; then what no table can hold, as properties.

use super::Version::{V5, V311};
use super::*;
use crate::wire::mqtt::property::Value;
use proptest::prelude::*;

const MAX: usize = 65_536;

/// A CONNECT put together from parts, so that a test can get one of them wrong.
#[derive(Debug, Clone)]
struct Parts {
    first_byte: u8,
    protocol: Vec<u8>,
    flags: u8,
    keep_alive: u16,
    properties: Option<Vec<u8>>,
    payload: Vec<Vec<u8>>,
}

fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    let length = u16::try_from(text.len()).expect("short text");
    [&length.to_be_bytes()[..], text].concat()
}

/// A block of properties with its length in front (one byte: keep it short).
fn block(properties: &[u8]) -> Vec<u8> {
    [&[u8::try_from(properties.len()).expect("short block")][..], properties].concat()
}

fn frame(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first_byte];
    let mut length = body.len();
    while length > 0x7F {
        packet.push(u8::try_from(length & 0x7F).expect("seven bits") | 0x80);
        length >>= 7;
    }
    packet.push(u8::try_from(length).expect("seven bits"));
    packet.extend_from_slice(body);
    packet
}

impl Parts {
    fn new(version: Version) -> Parts {
        let (protocol, properties) = match version {
            Version::V31 => (&b"\x00\x06MQIsdp\x03"[..], None),
            V311 => (&b"\x00\x04MQTT\x04"[..], None),
            V5 => (&b"\x00\x04MQTT\x05"[..], Some(vec![0])),
        };
        Parts {
            first_byte: 0x10,
            protocol: protocol.to_vec(),
            flags: 0x02,
            keep_alive: 60,
            properties,
            payload: vec![text("dev-1")],
        }
    }

    fn v311() -> Parts {
        Parts::new(V311)
    }

    fn v5() -> Parts {
        Parts::new(V5)
    }

    fn flags(mut self, flags: u8) -> Parts {
        self.flags = flags;
        self
    }

    fn protocol(mut self, protocol: &[u8]) -> Parts {
        self.protocol = protocol.to_vec();
        self
    }

    fn properties(mut self, properties: &[u8]) -> Parts {
        self.properties = Some(block(properties));
        self
    }

    fn payload(mut self, payload: &[&[u8]]) -> Parts {
        self.payload = payload.iter().map(|field| field.to_vec()).collect();
        self
    }

    /// A will with these properties, QoS 1, and nothing else in the payload.
    fn will(self, properties: &[u8]) -> Parts {
        self.flags(0x0E).payload(&[&text("dev-1"), &block(properties), &text("t"), &text("m")])
    }

    fn body(&self) -> Vec<u8> {
        let keep_alive = self.keep_alive.to_be_bytes();
        let head =
            [&self.protocol[..], &[self.flags], &keep_alive, self.properties.as_deref().unwrap_or_default()];
        [&head.concat()[..], &self.payload.concat()].concat()
    }

    fn bytes(&self) -> Vec<u8> {
        frame(self.first_byte, &self.body())
    }
}

fn complete(bytes: &[u8]) -> Connect<'_> {
    match read(bytes, MAX) {
        Ok(Reading::Complete(connect)) => connect,
        other => panic!("{other:?} of {bytes:02x?}"),
    }
}

fn violation(bytes: &[u8]) -> (Violation, Option<Version>) {
    match read(bytes, MAX) {
        Err(error) => (error.violation, error.version),
        Ok(reading) => panic!("accepted: {reading:?} of {bytes:02x?}"),
    }
}

#[track_caller]
fn assert_breaks(parts: &Parts, expected: Violation, statement: Option<&str>) {
    let (violation, version) = violation(&parts.bytes());
    assert_eq!(violation, expected);
    assert_eq!(violation.statement(version), statement, "{violation}");
}

#[test]
fn a_full_connect_of_each_version_is_read() {
    for version in Version::ALL {
        let v5 = version == V5;
        let parts = Parts::new(version).flags(0xEE).payload(&[
            &text("dev-1"),
            if v5 { b"\x05\x18\x00\x00\x00\x05" } else { b"" },
            &text("will/topic"),
            &text(b"\xff\x00will"),
            &text("user"),
            &text(b"\x00\xffpass"),
        ]);
        let bytes = [parts.bytes(), b"\xc0\x00".to_vec()].concat();
        let connect = complete(&bytes);
        assert_eq!(connect.version, version);
        assert_eq!((connect.bridge, connect.clean_start, connect.keep_alive), (false, true, 60));
        assert_eq!((connect.client_id, connect.username), ("dev-1", Some("user")));
        assert_eq!(connect.password, Some(&b"\x00\xffpass"[..]));
        assert_eq!(connect.size, bytes.len() - 2);
        let will = connect.will.expect("a will");
        assert_eq!(
            (will.topic, will.message, will.qos, will.retain),
            ("will/topic", &b"\xff\x00will"[..], 1, true)
        );
        assert_eq!(will.properties.get(PropertyId::WILL_DELAY_INTERVAL), v5.then_some(Value::FourBytes(5)));
    }
}

#[test]
fn every_connect_and_will_property_is_read() {
    let of_connect = b"\x11\x00\x00\x00\x0a\x21\x00\x14\x27\x00\x00\x10\x00\x22\x00\x05\x19\x01\x17\x00\
        \x26\x00\x01k\x00\x01v\x26\x00\x01k\x00\x01w\x15\x00\x05SCRAM\x16\x00\x02\x00\xff";
    let of_will =
        b"\x18\x00\x00\x00\x05\x01\x01\x02\x00\x00\x00\x3c\x03\x00\x01c\x08\x00\x01r\x09\x00\x01\xfe\
        \x26\x00\x01k\x00\x01v";
    let bytes = Parts::v5().will(of_will).properties(of_connect).bytes();
    let connect = complete(&bytes);
    let values: Vec<_> = connect.properties.iter().map(|property| property.value).collect();
    let expected = [
        Value::FourBytes(10),
        Value::TwoBytes(20),
        Value::FourBytes(4096),
        Value::TwoBytes(5),
        Value::Byte(1),
        Value::Byte(0),
        Value::Pair("k", "v"),
        Value::Pair("k", "w"),
        Value::Text("SCRAM"),
        Value::Binary(b"\x00\xff"),
    ];
    assert_eq!(values, expected);
    let will: Vec<_> =
        connect.will.expect("a will").properties.iter().map(|property| property.value).collect();
    let expected = [
        Value::FourBytes(5),
        Value::Byte(1),
        Value::FourBytes(60),
        Value::Text("c"),
        Value::Text("r"),
        Value::Binary(b"\xfe"),
        Value::Pair("k", "v"),
    ];
    assert_eq!(will, expected);
}

#[test]
fn bridges_are_understood() {
    for (version, protocol) in
        [(Version::V31, &b"\x00\x06MQIsdp\x83"[..]), (V311, b"\x00\x04MQTT\x84"), (V5, b"\x00\x04MQTT\x85")]
    {
        let bytes = Parts::new(version).protocol(protocol).bytes();
        let connect = complete(&bytes);
        assert_eq!((connect.version, connect.bridge), (version, true));
    }
}

#[test]
fn what_is_the_brokers_to_refuse_is_passed_on() {
    for version in Version::ALL {
        // An empty client identifier without Clean Session [MQTT-3.1.3-8].
        let bytes = Parts::new(version).flags(0x00).payload(&[b"\x00\x00"]).bytes();
        assert_eq!(complete(&bytes).client_id, "");
        // More than 23 characters [MQTT-3.1.3-5], and characters outside 0-9a-zA-Z.
        let long = text("ß/$+# ".repeat(20));
        let bytes = Parts::new(version).payload(&[&long]).bytes();
        assert_eq!(complete(&bytes).client_id.chars().count(), 120);
    }
    // A will topic with a wildcard in it.
    let bytes = Parts::v311().flags(0x06).payload(&[&text("a"), &text("#"), &text("")]).bytes();
    assert_eq!(complete(&bytes).will.map(|will| will.topic), Some("#"));
}

#[test]
fn an_empty_username_is_a_username() {
    let bytes = Parts::v311().flags(0x82).payload(&[&text("a"), &text("")]).bytes();
    assert_eq!(complete(&bytes).username, Some(""));
}

#[test]
fn a_password_without_a_username_is_legal_in_5_only() {
    let parts = |version| Parts::new(version).flags(0x42).payload(&[&text("a"), &text("secret")]);
    assert_eq!(complete(&parts(V5).bytes()).password, Some(&b"secret"[..]));
    for version in [Version::V31, V311] {
        assert_breaks(&parts(version), Violation::PasswordWithoutUsername, Some("MQTT-3.1.2-22"));
    }
}

#[test]
fn a_flag_without_its_string_is_legal_in_3_1_only() {
    let parts = |version| Parts::new(version).flags(0xC2).payload(&[&text("a")]);
    let bytes = parts(Version::V31).bytes();
    assert_eq!((complete(&bytes).username, complete(&bytes).password), (None, None));
    let truncated = Violation::Truncated { field: Field::Username };
    assert_breaks(&parts(V311), truncated, Some("MQTT-3.1.2-19"));
    assert_breaks(&parts(V5), truncated, Some("MQTT-3.1.2-17"));
}

#[test]
fn only_a_connect_is_read() {
    for first_byte in (0..=u8::MAX).filter(|byte| byte >> 4 != 1) {
        assert_eq!(violation(&[first_byte]), (Violation::NotConnect { first_byte }, None));
    }
    assert_eq!(Violation::NotConnect { first_byte: 0 }.statement(None), Some("MQTT-3.1.0-1"));
    for flags in 1..16 {
        let parts = Parts { first_byte: 0x10 | flags, ..Parts::v311() };
        assert_breaks(&parts, Violation::FixedHeaderFlags { flags }, Some("MQTT-2.2.2-2"));
    }
}

#[test]
fn protocols_other_than_mqtt_are_refused() {
    for name in [
        &b"\x00\x04MQTS\x04"[..],
        b"\x00\x04mqtt\x04",
        b"\x00\x06MQIsdx\x03",
        b"\x00\x00\x04",
        b"\x01\x04MQTT\x04",
    ] {
        assert_breaks(&Parts::v311().protocol(name), Violation::ProtocolName, Some("MQTT-3.1.2-1"));
    }
}

#[test]
fn unknown_levels_are_refused_in_a_form_that_the_client_reads() {
    for (protocol, level, answer) in [
        (&b"\x00\x04MQTT\x06"[..], 6, V5),
        (b"\x00\x04MQTT\x7f", 0x7F, V5),
        (b"\x00\x04MQTT\x03", 3, V311),
        (b"\x00\x04MQTT\x00", 0, V311),
        (b"\x00\x06MQIsdp\x04", 4, V311),
    ] {
        let expected = (Violation::ProtocolLevel { level }, Some(answer));
        assert_eq!(violation(&Parts::v311().protocol(protocol).bytes()), expected);
        assert_eq!(expected.0.statement(expected.1), Some("MQTT-3.1.2-2"));
    }
}

#[test]
fn connect_flags_are_held_to_each_other() {
    let bad = |flags| Parts::v311().flags(flags);
    let bad_v5 = |flags| Parts::v5().flags(flags);
    assert_breaks(&bad(0x03), Violation::ReservedConnectFlag, Some("MQTT-3.1.2-3"));
    assert_breaks(&bad_v5(0x03), Violation::ReservedConnectFlag, Some("MQTT-3.1.2-3"));
    assert_breaks(&bad(0x1E), Violation::WillQos, Some("MQTT-3.1.2-14"));
    assert_breaks(&bad_v5(0x1E), Violation::WillQos, Some("MQTT-3.1.2-12"));
    assert_breaks(&bad(0x0A), Violation::WillQosWithoutWill, Some("MQTT-3.1.2-13"));
    assert_breaks(&bad_v5(0x12), Violation::WillQosWithoutWill, Some("MQTT-3.1.2-11"));
    assert_breaks(&bad(0x22), Violation::WillRetainWithoutWill, Some("MQTT-3.1.2-15"));
    assert_breaks(&bad_v5(0x22), Violation::WillRetainWithoutWill, Some("MQTT-3.1.2-13"));
    assert_eq!(complete(&Parts::new(Version::V31).flags(0x03).bytes()).client_id, "dev-1");
}

#[test]
fn a_field_that_a_flag_announces_must_be_there() {
    let cut = |field| Violation::Truncated { field };
    let dev: &[u8] = &text("dev-1");
    let parts = |version, flags, payload: &[&[u8]]| Parts::new(version).flags(flags).payload(payload);
    assert_breaks(&parts(V311, 0x02, &[]), cut(Field::ClientId), Some("MQTT-3.1.3-3"));
    assert_breaks(&parts(V311, 0x02, &[b"\x00\x09abc"]), cut(Field::ClientId), Some("MQTT-3.1.3-3"));
    assert_breaks(&parts(V311, 0x06, &[dev]), cut(Field::WillTopic), Some("MQTT-3.1.2-9"));
    assert_breaks(&parts(V311, 0x06, &[dev, &text("t")]), cut(Field::WillMessage), Some("MQTT-3.1.2-9"));
    assert_breaks(&parts(V5, 0x06, &[dev]), cut(Field::WillProperties), Some("MQTT-3.1.2-9"));
    assert_breaks(&parts(V311, 0xC2, &[dev, &text("u")]), cut(Field::Password), Some("MQTT-3.1.2-21"));
    assert_breaks(&parts(V5, 0x42, &[dev]), cut(Field::Password), Some("MQTT-3.1.2-19"));
    let mut headless = Parts::v311();
    headless.payload.clear();
    let body = headless.body();
    for (length, field) in
        [(0, Field::Protocol), (6, Field::Protocol), (7, Field::ConnectFlags), (9, Field::KeepAlive)]
    {
        assert_eq!(violation(&frame(0x10, &body[..length])).0, cut(field), "{length} bytes");
    }
}

#[test]
fn what_no_flag_announces_must_not_be_there() {
    let username_without_flag = Parts::v311().payload(&[&text("dev-1"), &text("user")]);
    assert_breaks(&username_without_flag, Violation::TrailingBytes { count: 6 }, Some("MQTT-3.1.3-1"));
    for version in Version::ALL {
        let parts = Parts::new(version).payload(&[&text("dev-1"), b"x"]);
        assert_breaks(&parts, Violation::TrailingBytes { count: 1 }, Some("MQTT-3.1.3-1"));
    }
}

#[test]
fn strings_are_well_formed_utf8_without_nul() {
    let ill_formed: [&[u8]; 6] = [
        b"\xff",             // not UTF-8 at all
        b"\xed\xa0\x80",     // the surrogate U+D800
        b"\xed\xbf\xbf",     // the surrogate U+DFFF
        b"\xc0\x80",         // U+0000 in an overlong form
        b"\xf4\x90\x80\x80", // beyond U+10FFFF
        b"a\xe2\x82",        // cut inside a character
    ];
    let at = |version: Version, field, bad: &[u8]| {
        let (good, bad, none) = (text("x"), text(bad), if version == V5 { &b"\x00"[..] } else { b"" });
        let payload: Vec<&[u8]> = match field {
            Field::ClientId => vec![&bad, none, &good, &good, &good],
            Field::WillTopic => vec![&good, none, &bad, &good, &good],
            _ => vec![&good, none, &good, &good, &bad],
        };
        Parts::new(version).flags(0x86).payload(&payload)
    };
    for field in [Field::ClientId, Field::WillTopic, Field::Username] {
        for bad in ill_formed {
            assert_breaks(&at(V311, field, bad), Violation::IllFormedUtf8 { field }, Some("MQTT-1.5.3-1"));
            assert_breaks(&at(V5, field, bad), Violation::IllFormedUtf8 { field }, Some("MQTT-1.5.4-1"));
        }
        let nul = Violation::NulCharacter { field };
        assert_breaks(&at(V311, field, b"a\0b"), nul, Some("MQTT-1.5.3-2"));
        assert_breaks(&at(V5, field, b"\0"), nul, Some("MQTT-1.5.4-2"));
    }
    // Characters that are only discouraged pass: controls, noncharacters, a byte order mark [MQTT-1.5.4-3].
    let odd = text("\u{1}\u{7f}\u{fffe}\u{feff}\u{10ffff}");
    assert_eq!(complete(&Parts::v5().payload(&[&odd]).bytes()).client_id.chars().count(), 5);
}

/// mosquitto lets a 3.1 client in as nobody when its user name holds one of these.
#[test]
fn a_username_that_brokers_read_differently_is_refused() {
    for odd in ["a\u{1}", "\u{c}", "\u{7f}", "\u{9f}", "\u{fdd0}", "\u{fffe}", "\u{10ffff}"] {
        let parts = |version| Parts::new(version).flags(0x82).payload(&[&text("dev"), &text(odd)]);
        let expected = Violation::DiscouragedCharacter { field: Field::Username };
        assert_breaks(&parts(Version::V31), expected, None);
        assert_eq!(complete(&parts(V311).bytes()).username, Some(odd));
    }
}

#[test]
fn properties_that_are_wrong_are_refused() {
    use Field::{Properties, WillProperties};
    let connect = |properties: &[u8]| Parts::v5().properties(properties);
    let will = |properties: &[u8]| Parts::v5().will(properties);
    let id = PropertyId;
    let duplicate = |n, field| Violation::DuplicateProperty { id: id(n), field };
    let misplaced = |n, field| Violation::MisplacedProperty { id: id(n), field };
    let range = |n| Violation::PropertyOutOfRange { id: id(n) };
    for (parts, expected) in [
        (connect(b"\x11\0\0\0\x01\x11\0\0\0\x01"), duplicate(0x11, Properties)),
        (connect(b"\x21\0\x01\x21\0\x01"), duplicate(0x21, Properties)),
        (connect(b"\x15\0\x01a\x15\0\x01a"), duplicate(0x15, Properties)),
        (will(b"\x18\0\0\0\x01\x18\0\0\0\x01"), duplicate(0x18, WillProperties)),
        (connect(b"\x18\0\0\0\x01"), misplaced(0x18, Properties)),
        (connect(b"\x12\0\x01a"), misplaced(0x12, Properties)),
        (connect(b"\x0b\x01"), misplaced(0x0B, Properties)),
        (will(b"\x11\0\0\0\x01"), misplaced(0x11, WillProperties)),
        (connect(b"\x00"), Violation::UnknownProperty { id: 0 }),
        (connect(b"\x2b\x00"), Violation::UnknownProperty { id: 0x2B }),
        (connect(b"\x7f"), Violation::UnknownProperty { id: 0x7F }),
        (connect(b"\x80\x02"), Violation::UnknownProperty { id: 256 }),
        (connect(b"\x91\x00\0\0\0\x01"), Violation::VariableByteInteger { field: Properties }),
        (connect(b"\x21\0\0"), range(0x21)),
        (connect(b"\x27\0\0\0\0"), range(0x27)),
        (connect(b"\x19\x02"), range(0x19)),
        (connect(b"\x17\xff"), range(0x17)),
        (will(b"\x01\x02"), range(0x01)),
        (connect(b"\x16\0\x01a"), Violation::AuthenticationDataWithoutMethod),
        (connect(b"\x11\0\0"), Violation::Truncated { field: Properties }),
        (connect(b"\x26\0\x01a\0\x01\xff"), Violation::IllFormedUtf8 { field: Properties }),
        (will(b"\x03\0\x02a\0"), Violation::NulCharacter { field: WillProperties }),
    ] {
        assert_eq!(violation(&parts.bytes()), (expected, Some(V5)), "{expected}");
    }
}

#[test]
fn a_property_length_that_lies_is_refused() {
    let with = |properties: &[u8]| Parts { properties: Some(properties.to_vec()), ..Parts::v5() };
    let field = Field::Properties;
    assert_breaks(&with(b"\x7f"), Violation::Truncated { field }, None);
    assert_breaks(&with(b"\x80\x00"), Violation::VariableByteInteger { field }, Some("MQTT-1.5.5-1"));
    assert_breaks(
        &with(b"\xff\xff\xff\xff\x01"),
        Violation::VariableByteInteger { field },
        Some("MQTT-1.5.5-1"),
    );
    // One byte short: the last property's last byte is read as the client identifier's first.
    assert_breaks(&with(b"\x04\x11\0\0\0\x01"), Violation::Truncated { field }, None);
}

#[test]
fn a_padded_remaining_length_is_legal_before_5() {
    let pad = |parts: &Parts| {
        let body = parts.body();
        [&[0x10, u8::try_from(body.len()).unwrap() | 0x80, 0x00][..], &body].concat()
    };
    assert_eq!(complete(&pad(&Parts::v311())).client_id, "dev-1");
    let (violation, version) = violation(&pad(&Parts::v5()));
    assert_eq!((violation, version), (Violation::RemainingLengthPadded, Some(V5)));
    assert_eq!(violation.statement(version), Some("MQTT-1.5.5-1"));
}

#[test]
fn an_overlong_remaining_length_is_refused_at_its_fourth_byte() {
    assert_eq!(violation(b"\x10\xff\xff\xff\xff"), (Violation::RemainingLengthOverlong, None));
    assert_eq!(read(b"\x10\xff\xff\xff", MAX), Ok(Reading::NeedMore(10)));
}

#[test]
fn a_connect_over_the_limit_is_refused_at_its_header() {
    let size = 5 + 268_435_455;
    let too_large = Violation::TooLarge { size, limit: MAX };
    assert_eq!(violation(b"\x10\xff\xff\xff\x7f"), (too_large, None));
    assert_eq!(violation(b"\x10\xff\xff\xff\x7f\x00\x04MQTT\x05"), (too_large, Some(V5)));
    assert_eq!(violation(b"\x10\xff\xff\xff\x7f\x00\x06MQIsdp\x03"), (too_large, Some(Version::V31)));
    assert_eq!(violation(b"\x10\xff\xff\xff\x7fGET / HTTP"), (too_large, None));
}

#[test]
fn the_limit_itself_is_allowed() {
    let bytes = Parts::v311().bytes();
    assert!(matches!(read(&bytes, bytes.len()), Ok(Reading::Complete(_))));
    assert!(read(&bytes, bytes.len() - 1).is_err());
}

#[test]
fn a_stranger_is_recognised_before_the_packet_is_complete() {
    assert_eq!(violation(b"\x16\x03\x01").0, Violation::FixedHeaderFlags { flags: 6 });
    assert_eq!(violation(b"GET / HTTP/1.1").0, Violation::NotConnect { first_byte: b'G' });
    assert_eq!(violation(b"\x10\x7f\x00\x04HTTP").0, Violation::ProtocolName);
    assert_eq!(violation(b"\x10\x7f\x01").0, Violation::ProtocolName);
    assert_eq!(violation(b"\x10\x7f\x00\x04MQTT\x09").0, Violation::ProtocolLevel { level: 9 });
}

#[test]
fn errors_read_as_sentences() {
    let error = read(b"\x16\x03\x01", MAX).expect_err("TLS");
    assert_eq!(error.to_string(), "fixed header flags are 0x6; expected 0x0 (a TLS ClientHello?)");
    let error = read(&Parts::v5().properties(b"\x21\0\x01\x21\0\x01").bytes(), MAX).expect_err("duplicate");
    assert_eq!(error.to_string(), "property 0x21 stands twice in properties");
    assert!(error.violation.is_protocol_error());
}

/// Well-formed packets of every version, with every optional part present or not.
fn well_formed() -> impl Strategy<Value = Parts> {
    let string = || {
        prop::collection::vec(prop_oneof![any::<char>(), Just('a')], 0..40).prop_map(|characters| {
            characters.into_iter().filter(|&character| character != '\0').collect::<String>()
        })
    };
    let version = prop::sample::select(&Version::ALL[..]);
    let will =
        prop::option::of((string(), prop::collection::vec(any::<u8>(), 0..40), 0_u8..3, any::<bool>()));
    let username = string().prop_map(|name| name.replace(is_discouraged, ""));
    let login = prop::option::of((username, prop::option::of(prop::collection::vec(any::<u8>(), 0..40))));
    (version, string(), will, login, any::<bool>(), any::<u16>(), any::<bool>()).prop_map(
        |(version, client_id, will, login, clean_start, keep_alive, with_properties)| {
            let mut parts = Parts { keep_alive, ..Parts::new(version) };
            let mut flags = u8::from(clean_start) << 1;
            let mut payload = vec![text(client_id)];
            if let Some((topic, message, qos, retain)) = will {
                flags |= 0x04 | qos << 3 | u8::from(retain) << 5;
                if version == V5 {
                    payload.push(block(if with_properties { b"\x18\x00\x00\x00\x05" } else { b"" }));
                }
                payload.extend([text(topic), text(message)]);
            }
            if let Some((username, password)) = login {
                flags |= 0x80;
                payload.push(text(username));
                if let Some(password) = password {
                    flags |= 0x40;
                    payload.push(text(password));
                }
            }
            if version == V5 && with_properties {
                parts.properties = Some(block(b"\x11\x00\x00\x00\x0a\x21\x00\x14"));
            }
            Parts { flags, payload, ..parts }
        },
    )
}

/// What mqttbytes makes of the same bytes: client identifier, user name, password, Keep Alive.
type Oracle = (String, String, String, u16);

fn by_mqttbytes(bytes: &[u8], version: Version) -> Result<Oracle, mqttbytes::Error> {
    let header = mqttbytes::check(bytes.iter(), MAX)?;
    let packet = bytes::Bytes::copy_from_slice(&bytes[..header.frame_length()]);
    let login = |login: Option<(String, String)>| login.unwrap_or_default();
    if version == V5 {
        let connect = mqttbytes::v5::Connect::read(header, packet)?;
        let (username, password) = login(connect.login.map(|login| (login.username, login.password)));
        Ok((connect.client_id, username, password, connect.keep_alive))
    } else {
        let connect = mqttbytes::v4::Connect::read(header, packet)?;
        let (username, password) = login(connect.login.map(|login| (login.username, login.password)));
        Ok((connect.client_id, username, password, connect.keep_alive))
    }
}

fn by_us(connect: &Connect<'_>) -> Oracle {
    (
        connect.client_id.to_owned(),
        connect.username.unwrap_or_default().to_owned(),
        connect.password.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default(),
        connect.keep_alive,
    )
}

proptest! {
    #[test]
    fn a_well_formed_connect_is_read_as_mqttbytes_reads_it(parts in well_formed()) {
        let bytes = parts.bytes();
        let connect = complete(&bytes);
        prop_assert_eq!(connect.size, bytes.len());
        // mqttbytes knows no 3.1, no binary password, and loses an empty user name.
        let readable = connect.version != Version::V31
            && connect.password.is_none_or(|password| std::str::from_utf8(password).is_ok());
        if readable {
            prop_assert_eq!(by_us(&connect), by_mqttbytes(&bytes, connect.version).expect("mqttbytes reads it"));
        }
    }

    #[test]
    fn whatever_both_accept_both_read_alike(
        parts in well_formed(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 1..4),
    ) {
        let mut bytes = parts.bytes();
        for (index, bit) in flips {
            let index = index.index(bytes.len());
            bytes[index] ^= 1 << bit;
        }
        if let Ok(Reading::Complete(connect)) = read(&bytes, MAX)
            && let Ok(oracle) = by_mqttbytes(&bytes, connect.version)
        {
            prop_assert_eq!(by_us(&connect), oracle);
        }
    }

    #[test]
    fn a_prefix_asks_for_no_more_than_the_packet_has(parts in well_formed()) {
        let bytes = parts.bytes();
        for length in 0..bytes.len() {
            match read(&bytes[..length], MAX) {
                Ok(Reading::NeedMore(count)) => {
                    prop_assert!(count > 0 && length + count <= bytes.len().max(MIN_SIZE), "{} at {}", count, length);
                }
                other => prop_assert!(false, "{:?} at {}", other, length),
            }
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes, MAX);
        let _ = read(&frame(0x10, &bytes), MAX);
        let _ = read(&frame(0x10, &[b"\x00\x04MQTT\x05", &bytes[..]].concat()), MAX);
    }
}
