//! However a stream is cut, it has the same packets in it, the same facts, and the same second CONNECT.
//!
//! An input is a script: how to cut, and what to send (see [`Script`]). What comes out is held to a splitter that has
//! the whole stream before it and so needs no state.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mqtt_bouncer::wire::mqtt::connack;
use mqtt_bouncer::wire::mqtt::frame::Frames;
use mqtt_bouncer::wire::mqtt::session::{Facts, Session};
use mqtt_bouncer::wire::mqtt::{PacketType, Version};

fuzz_target!(|data: &[u8]| {
    let Some(script) = Script::read(data) else { return };
    let split = Split::of(&script.stream);
    // A large stream byte by byte takes too long.
    let smallest = if script.stream.len() <= 4096 { 1 } else { 61 };
    for cuts in [&[][..], &[smallest], &script.cuts] {
        pieces_are_those_of(&split, &script.stream, cuts);
        client_side_is_that_of(&split, &script, cuts);
        broker_side_is_that_of(&split, &script, cuts);
    }
});

/// The Keep Alive of the client.
const KEEP_ALIVE: u16 = 60;

/// The most of one packet that a session looks at, and may hold.
const MAX_CAPTURE: usize = 4096;

/// What a session may allocate: a buffer that grows by doubling is, for a moment, held beside the one before it; and
/// the assigned client identifier.
const MAX_HELD: u64 = 4 * MAX_CAPTURE as u64;

/// What the fuzzer wants to be sent.
///
/// Byte 0: the version (bits 0 and 1), the form of the stream (bit 2) and the number of cuts (the upper four bits).
/// Then the cuts, one byte each: the sizes of the chunks, over and over, 0 being 256. Then the stream: as it is; or, in
/// the other form, as packets, each of them a first byte, a size, one byte of how much of the body is given, and that
/// much of it. The rest of the body is zeroes: up to the size; or, where that is 240 or more, as many times 2 KB as it
/// is above 239. So a few bytes make a large packet.
struct Script {
    version: Version,
    cuts: Vec<usize>,
    stream: Vec<u8>,
}

impl Script {
    fn read(data: &[u8]) -> Option<Script> {
        let (&head, data) = data.split_first()?;
        let (cuts, data) = data.split_at_checked(usize::from(head >> 4))?;
        let cuts = cuts.iter().map(|&cut| if cut == 0 { 256 } else { usize::from(cut) }).collect();
        let version = Version::ALL[usize::from(head & 0x03).min(2)];
        let stream = if head & 0x04 == 0 { data.to_vec() } else { packets(data) };
        Some(Script { version, cuts, stream })
    }

    fn session(&self) -> Session {
        Session::new(self.version, KEEP_ALIVE)
    }
}

fn packets(mut data: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    while let [first_byte, size, given, rest @ ..] = data {
        let (body, rest) = rest.split_at(rest.len().min(usize::from(*given)));
        let zeroes = match size.checked_sub(239) {
            Some(times @ 1..) => usize::from(times) * 2048,
            _ => usize::from(*size).saturating_sub(body.len()),
        };
        let length = body.len() + zeroes;
        stream.push(*first_byte);
        let mut left = length;
        loop {
            let more = left > 0x7F;
            stream.push((left & 0x7F) as u8 | if more { 0x80 } else { 0 });
            left >>= 7;
            if !more {
                break;
            }
        }
        stream.extend(body);
        stream.resize(stream.len() + zeroes, 0);
        data = rest;
        // Enough is enough.
        if stream.len() > 1 << 15 {
            break;
        }
    }
    stream.extend(data);
    stream
}

/// The chunks of these sizes, over and over; without sizes, all in one.
fn chunks<'a>(mut stream: &'a [u8], cuts: &[usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut sizes = cuts.iter().copied().cycle();
    std::iter::from_fn(move || {
        let size = sizes.next().unwrap_or(usize::MAX).min(stream.len());
        let (chunk, rest) = stream.split_at(size);
        stream = rest;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// A whole stream, taken apart.
struct Split<'a> {
    whole: Vec<Packet<'a>>,
    /// The packet that has begun and not ended.
    partial: Option<&'a [u8]>,
    /// Where the borders are lost: behind the fourth byte of a remaining length that has more.
    lost: Option<usize>,
}

struct Packet<'a> {
    bytes: &'a [u8],
    header: usize,
}

impl<'a> Split<'a> {
    fn of(stream: &'a [u8]) -> Split<'a> {
        let mut split = Split { whole: Vec::new(), partial: None, lost: None };
        let mut start = 0;
        while start < stream.len() {
            let packet = &stream[start..];
            let length: Vec<u8> = packet[1..].iter().copied().take(4).collect();
            let Some(last) = length.iter().position(|byte| byte & 0x80 == 0) else {
                split.partial = Some(packet);
                split.lost = (length.len() == 4).then_some(start + 5);
                break;
            };
            let value =
                length[..=last].iter().rev().fold(0, |value, byte| value * 128 + (byte & 0x7F) as usize);
            let header = 2 + last;
            let Some(bytes) = packet.get(..header + value) else {
                split.partial = Some(packet);
                break;
            };
            split.whole.push(Packet { bytes, header });
            start += bytes.len();
        }
        split
    }

    /// The packets up to the first CONNECT, and whether there is one.
    fn before_connect(&self) -> (&[Packet<'a>], bool) {
        let is_connect = |bytes: &[u8]| PacketType::of(bytes[0]) == PacketType::CONNECT;
        let index = self.whole.iter().position(|packet| is_connect(packet.bytes));
        let whole = &self.whole[..index.unwrap_or(self.whole.len())];
        (whole, index.is_some() || self.partial.is_some_and(is_connect))
    }
}

impl Packet<'_> {
    fn is(&self, packet_type: PacketType) -> bool {
        PacketType::of(self.bytes[0]) == packet_type
    }

    /// The reason code of a DISCONNECT; there are none before MQTT 5.
    fn reason(&self, version: Version) -> u8 {
        let reason = self.bytes.get(self.header).copied().filter(|_| version == Version::V5);
        reason.unwrap_or(0)
    }
}

fn pieces_are_those_of(split: &Split<'_>, stream: &[u8], cuts: &[usize]) {
    let mut frames = Frames::default();
    let (mut passed, mut packet, mut packets) = (0, Vec::new(), Vec::new());
    for mut chunk in chunks(stream, cuts) {
        while let Some(piece) = frames.next(&mut chunk) {
            assert!(!piece.bytes.is_empty());
            assert_eq!(piece.begins, packet.is_empty());
            assert_eq!(piece.bytes, &stream[passed..passed + piece.bytes.len()]);
            passed += piece.bytes.len();
            packet.extend_from_slice(piece.bytes);
            assert_eq!(piece.first_byte, packet[0]);
            assert_eq!(piece.ends, frames.is_at_border());
            if piece.ends {
                packets.push(std::mem::take(&mut packet));
            }
        }
        assert!(chunk.is_empty(), "a rest of {} bytes", chunk.len());
    }
    assert!(packets.iter().eq(split.whole.iter().map(|packet| packet.bytes)), "other packets");
    assert_eq!(passed, split.lost.unwrap_or(stream.len()), "not every byte was in a piece");
    assert_eq!(frames.is_lost(), split.lost.is_some());
    assert_eq!(frames.is_at_border(), split.partial.is_none());
}

fn client_side_is_that_of(split: &Split<'_>, script: &Script, cuts: &[usize]) {
    let (packets, connects_again) = split.before_connect();
    let mut session = script.session();
    let mut verdict = Ok(());
    let memory = allocation_counter::measure(|| {
        verdict = chunks(&script.stream, cuts).try_for_each(|chunk| session.from_client(chunk));
    });
    assert!(memory.bytes_max <= MAX_HELD, "{} bytes held", memory.bytes_max);
    let stops = connects_again || split.lost.is_some();
    assert_eq!(verdict.is_err(), stops, "a second CONNECT: {connects_again}, cut by {cuts:?}");

    let disconnect = packets.iter().rfind(|packet| packet.is(PacketType::DISCONNECT));
    let facts = Facts {
        client_disconnect: disconnect.map(|packet| packet.reason(script.version)),
        ..Facts::default()
    };
    assert_eq!(session.facts(), &facts, "cut by {cuts:?}");
    assert_eq!(session.keep_alive(), KEEP_ALIVE);
}

fn broker_side_is_that_of(split: &Split<'_>, script: &Script, cuts: &[usize]) {
    let mut session = script.session();
    let memory = allocation_counter::measure(|| {
        chunks(&script.stream, cuts).for_each(|chunk| session.from_broker(chunk));
    });
    assert!(memory.bytes_max <= MAX_HELD, "{} bytes held", memory.bytes_max);

    let (mut facts, mut keep_alive) = (Facts::default(), KEEP_ALIVE);
    for packet in &split.whole {
        if packet.is(PacketType::CONNACK) && facts.connack.is_none() {
            let seen = packet.bytes.get(..MAX_CAPTURE).unwrap_or(packet.bytes);
            let Some(connack) = connack::read(seen, script.version) else { continue };
            facts.connack = Some(connack.code);
            facts.assigned_client_id = connack.assigned_client_id.map(Into::into);
            keep_alive = connack.server_keep_alive.unwrap_or(keep_alive);
        } else if packet.is(PacketType::DISCONNECT) {
            facts.broker_disconnect = Some(packet.reason(script.version));
        }
    }
    assert_eq!((session.facts(), session.keep_alive()), (&facts, keep_alive), "cut by {cuts:?}");
}
