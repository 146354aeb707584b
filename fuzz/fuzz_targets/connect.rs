//! No bytes make the CONNECT reader panic, contradict itself, or read an identity that another reader reads otherwise.
//!
//! An input is a mode, a limit, and the rest; the mode says how the rest becomes a packet, so that the fuzzer need not
//! find a protocol name and a length that fits before it gets anywhere. `seeds.sh` shows the format at work.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mqtt_bouncer::wire::mqtt::connect::{self, Connect, ConnectError, Violation};
use mqtt_bouncer::wire::mqtt::property::{PropertyId, Value};
use mqtt_bouncer::wire::mqtt::{Reading, Version};

fuzz_target!(|data: &[u8]| {
    let [mode, limit, rest @ ..] = data else { return };
    let bytes = packet(*mode, rest);
    let bytes = bytes.as_slice();
    let outcome = connect::read(bytes, MAX);

    let first = prefixes_agree(bytes);
    if let Some(first) = first {
        assert_eq!(outcome.map_err(|error| error.violation), first, "the prefixes end elsewhere");
    }
    limit_holds(bytes, usize::from(*limit));
    what_follows_does_not_matter(bytes);
    if let Ok(Reading::Complete(connect)) = outcome {
        limit_holds(bytes, connect.size - 1);
        limit_holds(bytes, connect.size);
        every_part_is_of_the_packet(&connect, bytes);
        mqttbytes_agrees(&connect, bytes);
    }
});

/// Larger than any input.
const MAX: usize = 1 << 20;

/// The smallest CONNECT; the reader may ask for this much before it knows how long the packet is.
const MIN_SIZE: usize = 14;

fn packet(mode: u8, rest: &[u8]) -> Vec<u8> {
    match mode % 8 {
        0 => rest.to_vec(),
        1 => frame(rest),
        2 => frame(&[b"\x00\x06MQIsdp\x03", rest].concat()),
        3 => frame(&[b"\x00\x04MQTT\x04", rest].concat()),
        4 => frame(&[b"\x00\x04MQTT\x05", rest].concat()),
        5 => frame(&from_fields(b"\x00\x04MQTT\x04", false, rest)),
        6 => frame(&from_fields(b"\x00\x04MQTT\x05", true, rest)),
        // A padded remaining length.
        _ => {
            let mut packet = frame(rest);
            let end = packet.len() - rest.len();
            if end < 5 {
                packet[end - 1] |= 0x80;
                packet.insert(end, 0x00);
            }
            packet
        }
    }
}

fn frame(body: &[u8]) -> Vec<u8> {
    [b"\x10", &var_int(body.len())[..], body].concat()
}

fn var_int(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let more = value > 0x7F;
        bytes.push((value & 0x7F) as u8 | if more { 0x80 } else { 0 });
        value >>= 7;
        if !more {
            return bytes;
        }
    }
}

/// A body whose inner lengths are right: `rest` is the flags and then fields, each with one byte of length in front. In
/// MQTT 5 the first field, and with a will the third, is a block of properties.
fn from_fields(protocol: &[u8], is_v5: bool, rest: &[u8]) -> Vec<u8> {
    let Some((&flags, mut rest)) = rest.split_first() else { return protocol.to_vec() };
    let mut body = [protocol, &[flags, 0, 60]].concat();
    let has_will = flags & 0x04 != 0;
    let mut index = 0;
    while let Some((&length, more)) = rest.split_first() {
        let (field, more) = more.split_at(more.len().min(usize::from(length)));
        rest = more;
        if is_v5 && (index == 0 || (index == 2 && has_will)) {
            body.extend(var_int(field.len()));
        } else {
            body.extend([0, field.len() as u8]);
        }
        body.extend(field);
        index += 1;
    }
    body
}

/// The size that the fixed header announces, read another way.
fn announced_size(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(1..)?;
    let width = 1 + length.iter().take(4).position(|byte| byte & 0x80 == 0)?;
    let value = length[..width].iter().rev().fold(0, |value, byte| (value << 7) | usize::from(byte & 0x7F));
    Some(1 + width + value)
}

type Outcome<'a> = Result<Reading<Connect<'a>>, Violation>;

/// Reads one byte more each time, as from the slowest peer. The first answer must stand, and must not come from less
/// than the packet when it is yes. Returns that answer.
fn prefixes_agree(bytes: &[u8]) -> Option<Outcome<'_>> {
    let size = announced_size(bytes);
    let mut first: Option<Outcome<'_>> = None;
    for length in 0..=bytes.len() {
        let outcome = connect::read(&bytes[..length], MAX).map_err(|error| error.violation);
        match (&outcome, &first) {
            (_, Some(first)) => {
                assert_eq!(&outcome, first, "another answer at {length} bytes");
                break;
            }
            (Ok(Reading::NeedMore(count)), None) => {
                assert!(*count > 0, "nothing is needed at {length} bytes");
                let most = size.unwrap_or(usize::MAX).max(MIN_SIZE);
                assert!(length + count <= most, "{count} bytes more at {length} of {size:?}");
            }
            (Ok(Reading::Complete(connect)), None) => {
                assert_eq!((connect.size, size), (length, Some(length)), "accepted at {length} bytes");
                first = Some(outcome);
            }
            (Err(_), None) => first = Some(outcome),
        }
    }
    first
}

/// Nothing beyond the limit is accepted or asked for, and the limit changes nothing below it.
fn limit_holds(bytes: &[u8], limit: usize) {
    let limited = connect::read(bytes, limit);
    match limited {
        Ok(Reading::Complete(connect)) => assert!(connect.size <= limit),
        Ok(Reading::NeedMore(count)) => assert!(bytes.len() + count <= limit.max(MIN_SIZE)),
        Err(ConnectError { violation: Violation::TooLarge { size, limit: told }, .. }) => {
            assert_eq!((Some(size), told), (announced_size(bytes), limit));
            assert!(size > limit);
            return;
        }
        Err(_) => {}
    }
    assert_eq!(limited, connect::read(bytes, MAX), "limit {limit} changes the answer");
}

/// What stands behind the packet is not looked at.
fn what_follows_does_not_matter(bytes: &[u8]) {
    let Some(packet) = announced_size(bytes).and_then(|size| bytes.get(..size)) else { return };
    let alone = connect::read(packet, MAX);
    assert!(!matches!(alone, Ok(Reading::NeedMore(_))), "more of a whole packet is needed");
    for tail in [&b"\x00"[..], b"\xc0\x00", b"\xff\xff\xff\xff\xff\xff\xff\xff", packet] {
        assert_eq!(connect::read(&[packet, tail].concat(), MAX), alone, "{tail:02x?} behind it matters");
    }
    assert_eq!(connect::read(bytes, MAX), alone);
}

fn every_part_is_of_the_packet(connect: &Connect<'_>, bytes: &[u8]) {
    let packet = bytes[..connect.size].as_ptr_range();
    let inside = |part: &[u8]| {
        let part = part.as_ptr_range();
        assert!(packet.start <= part.start && part.end <= packet.end);
    };
    for text in [Some(connect.client_id), connect.username, connect.will.map(|will| will.topic)] {
        let text = text.unwrap_or_default();
        assert!(!text.contains('\0'));
        if !text.is_empty() {
            inside(text.as_bytes());
        }
    }
    connect.password.into_iter().for_each(inside);
    connect.will.into_iter().for_each(|will| inside(will.message));
    if connect.version != Version::V5 {
        assert!(connect.properties.is_empty());
    }
    assert_eq!(connect.properties.is_empty(), connect.properties.iter().next().is_none());
}

/// Who a client is and what it wants, as far as mqttbytes can tell.
#[derive(Debug, PartialEq)]
struct Identity {
    client_id: String,
    username: String,
    password: String,
    keep_alive: u16,
    clean_start: bool,
    will: Option<(String, Vec<u8>, u8, bool)>,
    max_packet_size: Option<u32>,
    user_properties: Vec<(String, String)>,
}

fn by_us(connect: &Connect<'_>) -> Option<Identity> {
    let max_packet_size = match connect.properties.get(PropertyId::MAXIMUM_PACKET_SIZE) {
        Some(Value::FourBytes(size)) => Some(size),
        _ => None,
    };
    let user_properties = connect.properties.iter().filter_map(|property| match property.value {
        Value::Pair(name, value) => Some((name.to_owned(), value.to_owned())),
        _ => None,
    });
    Some(Identity {
        client_id: connect.client_id.to_owned(),
        username: connect.username.unwrap_or_default().to_owned(),
        // mqttbytes takes a password for text, and refuses the others.
        password: std::str::from_utf8(connect.password.unwrap_or_default()).ok()?.to_owned(),
        keep_alive: connect.keep_alive,
        clean_start: connect.clean_start,
        will: connect.will.map(|will| (will.topic.to_owned(), will.message.to_vec(), will.qos, will.retain)),
        max_packet_size,
        user_properties: user_properties.collect(),
    })
}

/// Reads a packet by mqttbytes, whose module the caller must choose by the level: each misreads the other's packets.
fn by_mqttbytes(packet: &[u8], version: Version) -> Result<Identity, mqttbytes::Error> {
    let header = mqttbytes::check(packet.iter(), MAX)?;
    let packet = bytes::Bytes::copy_from_slice(packet);
    if version == Version::V5 {
        let connect = mqttbytes::v5::Connect::read(header, packet)?;
        let login = connect.login.map(|login| (login.username, login.password)).unwrap_or_default();
        let properties = connect.properties.map(|all| (all.max_packet_size, all.user_properties));
        let (max_packet_size, user_properties) = properties.unwrap_or_default();
        Ok(Identity {
            client_id: connect.client_id,
            username: login.0,
            password: login.1,
            keep_alive: connect.keep_alive,
            clean_start: connect.clean_session,
            will: connect
                .last_will
                .map(|will| (will.topic, will.message.to_vec(), will.qos as u8, will.retain)),
            max_packet_size,
            user_properties,
        })
    } else {
        let connect = mqttbytes::v4::Connect::read(header, packet)?;
        let login = connect.login.map(|login| (login.username, login.password)).unwrap_or_default();
        Ok(Identity {
            client_id: connect.client_id,
            username: login.0,
            password: login.1,
            keep_alive: connect.keep_alive,
            clean_start: connect.clean_session,
            will: connect
                .last_will
                .map(|will| (will.topic, will.message.to_vec(), will.qos as u8, will.retain)),
            max_packet_size: None,
            user_properties: Vec::new(),
        })
    }
}

/// mqttbytes is the more lenient of the two: it must accept what we accept, and must read it alike. What it cannot read
/// is a bridge, MQTT 3.1, and a password that is no text.
fn mqttbytes_agrees(connect: &Connect<'_>, bytes: &[u8]) {
    if connect.version == Version::V31 || connect.bridge {
        return;
    }
    let Some(ours) = by_us(connect) else { return };
    let theirs = by_mqttbytes(&bytes[..connect.size], connect.version);
    assert_eq!(theirs, Ok(ours), "mqttbytes reads {connect:?} otherwise");
}
