//! Watches the packets of an admitted connection pass by, and remembers the few facts that say how it went.
//!
//! It changes nothing and holds nothing back, with one exception: a second CONNECT, which could name somebody else.

use super::connack::{self, Connack};
use super::connect::Violation;
use super::cursor::{VarInt, decode_var_int};
use super::frame::{Frames, Piece};
use super::{PacketType, Version};
use compact_str::CompactString;

/// The packets of one connection after its CONNECT, both ways.
#[derive(Debug)]
pub struct Session {
    version: Version,
    keep_alive: u16,
    client: Frames,
    broker: Frames,
    facts: Facts,
    /// A CONNACK or DISCONNECT that came in pieces, up to [`MAX_CAPTURE`] bytes of it. Empty otherwise.
    partial: Partial,
}

/// What is known of a session so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The code of the broker's CONNACK, 0 for success; `None` before there was one.
    pub connack: Option<u8>,
    /// The client identifier that the broker assigned.
    pub assigned_client_id: Option<CompactString>,
    /// The reason code of the client's DISCONNECT; 0 where it has none (always in 3.x).
    pub client_disconnect: Option<u8>,
    /// The reason code of the broker's DISCONNECT (5).
    pub broker_disconnect: Option<u8>,
}

/// Whether a packet of ours can be put into one direction of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It can: the last packet has passed whole.
    Now,
    /// It can be once the packet that is under way has passed whole.
    Later,
    /// It cannot be any more, or not at all.
    Never,
}

impl Room {
    fn between(frames: Frames) -> Room {
        match frames.is_at_border() {
            true => Room::Now,
            false if frames.is_lost() => Room::Never,
            false => Room::Later,
        }
    }
}

/// What becomes of the will of a client whose session is ended from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Will {
    /// The broker forgets it.
    Discard,
    /// The broker publishes it.
    Publish,
}

impl Will {
    /// What a client of this version would say to have it so; `None` where it would close without a word. An end without
    /// a reason is a normal one, which discards the will \[MQTT-3.14.4-3, in 3.1.1 and 5\]; 0x04 publishes it.
    pub fn disconnect(self, version: Version) -> Option<&'static [u8]> {
        match (self, version) {
            (Will::Discard, _) => Some(b"\xe0\x00"),
            (Will::Publish, Version::V5) => Some(b"\xe0\x02\x04\x00"),
            (Will::Publish, _) => None,
        }
    }
}

/// The most that is held of one packet which came in pieces, in bytes. A larger CONNACK passes unread.
const MAX_CAPTURE: usize = 4096;

#[derive(Debug, Default)]
struct Partial {
    from_client: Vec<u8>,
    from_broker: Vec<u8>,
}

impl Session {
    /// A session of a client whose CONNECT named this version and Keep Alive (in seconds).
    pub fn new(version: Version, keep_alive: u16) -> Session {
        Session {
            version,
            keep_alive,
            client: Frames::default(),
            broker: Frames::default(),
            facts: Facts::default(),
            partial: Partial::default(),
        }
    }

    /// Watches bytes from the client, which follow its CONNECT.
    ///
    /// # Errors
    /// A second CONNECT begins in these bytes \[MQTT-3.1.0-2\], or nobody can say any more where a packet begins, and
    /// one might follow unseen: they must not be passed on.
    pub fn from_client(&mut self, mut chunk: &[u8]) -> Result<(), Violation> {
        while let Some(piece) = self.client.next(&mut chunk) {
            match PacketType::of(piece.first_byte) {
                PacketType::CONNECT if piece.begins => return Err(Violation::SecondConnect),
                PacketType::DISCONNECT => {
                    if let Some(packet) = assemble(&mut self.partial.from_client, piece) {
                        self.facts.client_disconnect = Some(disconnect_reason(packet, self.version));
                        self.partial.from_client = Vec::new();
                    }
                }
                _ => {}
            }
        }
        if self.client.is_lost() { Err(Violation::RemainingLengthOverlong) } else { Ok(()) }
    }

    /// Watches bytes from the broker.
    pub fn from_broker(&mut self, mut chunk: &[u8]) {
        while let Some(piece) = self.broker.next(&mut chunk) {
            let packet_type = PacketType::of(piece.first_byte);
            let first_connack = packet_type == PacketType::CONNACK && self.facts.connack.is_none();
            if !first_connack && packet_type != PacketType::DISCONNECT {
                continue;
            }
            let Some(packet) = assemble(&mut self.partial.from_broker, piece) else { continue };
            if first_connack {
                if let Some(Connack { code, assigned_client_id, server_keep_alive, .. }) =
                    connack::read(packet, self.version)
                {
                    self.facts.connack = Some(code);
                    self.facts.assigned_client_id = assigned_client_id.map(CompactString::from);
                    self.keep_alive = server_keep_alive.unwrap_or(self.keep_alive);
                }
            } else {
                self.facts.broker_disconnect = Some(disconnect_reason(packet, self.version));
            }
            self.partial.from_broker = Vec::new();
        }
    }

    /// The Keep Alive that holds, in seconds: the broker's where it sent one \[MQTT-3.1.2-21\], else the client's.
    /// 0 means that there is none.
    pub fn keep_alive(&self) -> u16 {
        self.keep_alive
    }

    /// Whether a DISCONNECT of ours can be put into what the broker says. MQTT 5 alone has one from the server, after
    /// the CONNACK that let the client in and before its own end. \[section 3.14, MQTT-3.14.0-1\]
    pub fn room_to_client(&self) -> Room {
        let is_let_in = match self.facts.connack {
            Some(code) => code == 0,
            // What it says is not known before all of it has passed.
            None => self.broker.under_way().is_some_and(|byte| PacketType::of(byte) == PacketType::CONNACK),
        };
        if self.version != Version::V5 || !is_let_in || self.facts.broker_disconnect.is_some() {
            return Room::Never;
        }
        Room::between(self.broker)
    }

    /// Whether a DISCONNECT of ours can be put into what the client says. It may come before the CONNACK, in the middle
    /// of an authentication, too \[section 3.1.4, MQTT-3.1.2-30\]; not after the broker has turned the client away, and not
    /// after a DISCONNECT of either side \[MQTT-3.14.4-1\].
    pub fn room_to_broker(&self) -> Room {
        let Facts { connack, client_disconnect, broker_disconnect, .. } = self.facts;
        if connack.is_some_and(|code| code != 0) || client_disconnect.or(broker_disconnect).is_some() {
            return Room::Never;
        }
        Room::between(self.client)
    }

    /// How many of these bytes, which come next from the client, belong to its packet that has passed in part.
    pub fn still_from_client(&self, bytes: &[u8]) -> usize {
        self.client.still_under_way(bytes)
    }

    /// How many of these bytes, which come next from the broker, belong to its packet that has passed in part.
    pub fn still_from_broker(&self, bytes: &[u8]) -> usize {
        self.broker.still_under_way(bytes)
    }

    /// The DISCONNECT that tells the client this reason, where there is room for it now.
    pub fn disconnect_to_client(&self, reason: u8) -> Option<[u8; 4]> {
        (self.room_to_client() == Room::Now).then_some([0xE0, 2, reason, 0])
    }

    /// The DISCONNECT that tells the broker what becomes of the client's will, where there is one and room for it now.
    pub fn disconnect_to_broker(&self, will: Will) -> Option<&'static [u8]> {
        will.disconnect(self.version).filter(|_| self.room_to_broker() == Room::Now)
    }

    /// What is known so far.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}

/// The whole packet that this piece ends, from the piece alone where it can be, else from what was held before.
fn assemble<'a>(held: &'a mut Vec<u8>, piece: Piece<'a>) -> Option<&'a [u8]> {
    if piece.begins && piece.ends {
        return Some(piece.bytes.get(..MAX_CAPTURE).unwrap_or(piece.bytes));
    }
    if piece.begins {
        held.clear();
    }
    let room = MAX_CAPTURE - held.len().min(MAX_CAPTURE);
    held.extend_from_slice(piece.bytes.get(..room).unwrap_or(piece.bytes));
    piece.ends.then_some(held.as_slice())
}

/// The reason code of a DISCONNECT, which has none before MQTT 5 and leaves it out when it is 0. \[section 3.14.2.1\]
fn disconnect_reason(packet: &[u8], version: Version) -> u8 {
    match decode_var_int(packet.get(1..).unwrap_or_default()) {
        VarInt::Value { width, .. } if version == Version::V5 => packet.get(1 + width).copied().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNACK: &[u8] = b"\x20\x0c\x01\x00\x09\x12\x00\x03abc\x13\x00\x1e";

    fn session() -> Session {
        Session::new(Version::V5, 60)
    }

    #[test]
    fn facts_of_a_whole_session_are_kept() {
        let mut session = session();
        session.from_broker(CONNACK);
        session.from_client(b"\xc0\x00\x30\x03\x00\x01a\xe0\x01\x04").expect("no second CONNECT");
        session.from_broker(b"\xd0\x00\xe0\x02\x8b\x00");
        let expected = Facts {
            connack: Some(0),
            assigned_client_id: Some("abc".into()),
            client_disconnect: Some(4),
            broker_disconnect: Some(0x8B),
        };
        assert_eq!(session.facts(), &expected);
        assert_eq!(session.keep_alive(), 30);
    }

    #[test]
    fn facts_do_not_depend_on_how_the_bytes_are_cut() {
        let mut session = session();
        for byte in [CONNACK, b"\xe0\x02\x8e\x00"].concat() {
            session.from_broker(&[byte]);
        }
        for byte in b"\xe0\x01\x04" {
            session.from_client(&[*byte]).expect("no second CONNECT");
        }
        assert_eq!(session.facts().assigned_client_id.as_deref(), Some("abc"));
        assert_eq!(session.facts().broker_disconnect, Some(0x8E));
        assert_eq!(session.facts().client_disconnect, Some(4));
        assert_eq!(session.partial.from_broker.capacity() + session.partial.from_client.capacity(), 0);
    }

    #[test]
    fn a_disconnect_without_a_reason_is_normal() {
        let mut session = session();
        session.from_client(b"\xe0\x00").expect("no second CONNECT");
        assert_eq!(session.facts().client_disconnect, Some(0));
    }

    fn let_in(version: Version) -> Session {
        let mut session = Session::new(version, 60);
        session.from_broker(if version == Version::V5 {
            b"\x20\x03\x00\x00\x00"
        } else {
            b"\x20\x02\x00\x00"
        });
        session
    }

    #[test]
    fn a_client_is_told_of_the_end_between_two_packets_alone() {
        let told = Some([0xE0, 2, 0x98, 0]);
        let mut session = session();
        assert_eq!(session.room_to_client(), Room::Never, "no CONNACK yet");
        for byte in CONNACK {
            assert_eq!(session.disconnect_to_client(0x98), None, "not before the CONNACK is whole");
            session.from_broker(&[*byte]);
            let is_whole = session.facts().connack.is_some();
            assert_eq!(session.room_to_client(), if is_whole { Room::Now } else { Room::Later });
        }
        assert_eq!(session.disconnect_to_client(0x98), told);
        for byte in b"\x30\x04\x00\x01a" {
            session.from_broker(&[*byte]);
            assert_eq!(session.room_to_client(), Room::Later, "in the middle of a PUBLISH");
            assert_eq!(session.disconnect_to_client(0x98), None);
        }
        assert_eq!(session.still_from_broker(b"b\xd0\x00"), 1);
        session.from_broker(b"b");
        assert_eq!(session.disconnect_to_client(0x98), told);
    }

    #[test]
    fn a_client_whose_version_or_broker_has_no_word_for_it_is_not_told_of_the_end() {
        for old in [Version::V31, Version::V311] {
            assert_eq!(let_in(old).room_to_client(), Room::Never, "{old} has none from the server");
        }
        let mut refused = session();
        refused.from_broker(b"\x20\x03\x00\x87\x00");
        assert_eq!(refused.room_to_client(), Room::Never, "it was not let in");
        let mut challenged = session();
        challenged.from_broker(b"\xf0\x02\x18");
        assert_eq!(challenged.room_to_client(), Room::Never, "its authentication goes on");
        let mut ended = let_in(Version::V5);
        ended.from_broker(b"\xe0\x02\x8b");
        assert_eq!(ended.room_to_client(), Room::Later, "in the middle of the last word");
        ended.from_broker(b"\x00");
        assert_eq!(ended.room_to_client(), Room::Never, "the last word was said");
        let mut lost = let_in(Version::V5);
        lost.from_broker(b"\x30\xff\xff\xff\xff");
        assert_eq!(lost.room_to_client(), Room::Never, "nobody knows where a packet begins");
    }

    #[test]
    fn a_broker_is_told_of_the_end_between_two_packets_alone() {
        for version in Version::ALL {
            for mut session in [Session::new(version, 60), let_in(version)] {
                assert_eq!(session.disconnect_to_broker(Will::Discard), Some(&b"\xe0\x00"[..]), "{version}");
                for byte in b"\x32\x05\x00\x01a\x00" {
                    session.from_client(&[*byte]).expect("no second CONNECT");
                    assert_eq!(session.room_to_broker(), Room::Later, "in the middle of a PUBLISH");
                    assert_eq!(session.disconnect_to_broker(Will::Discard), None);
                }
                assert_eq!(session.still_from_client(b"\x07\xc0"), 1);
                session.from_client(b"\x07").expect("no second CONNECT");
                assert_eq!(session.room_to_broker(), Room::Now);
            }
        }
    }

    #[test]
    fn a_broker_is_told_to_publish_the_will_where_the_version_has_a_word_for_it() {
        assert_eq!(let_in(Version::V5).disconnect_to_broker(Will::Publish), Some(&b"\xe0\x02\x04\x00"[..]));
        assert_eq!(let_in(Version::V311).disconnect_to_broker(Will::Publish), None);
    }

    #[test]
    fn a_broker_that_knows_of_the_end_is_not_told_of_it() {
        let mut left = let_in(Version::V311);
        left.from_client(b"\xe0").expect("no second CONNECT");
        assert_eq!(left.room_to_broker(), Room::Later);
        left.from_client(b"\x00").expect("no second CONNECT");
        assert_eq!(left.room_to_broker(), Room::Never, "the client has said it");
        let mut ended = let_in(Version::V5);
        ended.from_broker(b"\xe0\x02\x8e\x00");
        assert_eq!(ended.room_to_broker(), Room::Never, "the broker has said it");
        let mut refused = Session::new(Version::V311, 60);
        refused.from_broker(b"\x20\x02\x00\x05");
        assert_eq!(refused.room_to_broker(), Room::Never, "it was not let in");
        let mut lost = let_in(Version::V5);
        assert!(lost.from_client(b"\x30\xff\xff\xff\xff").is_err());
        assert_eq!(lost.room_to_broker(), Room::Never, "nobody knows where a packet begins");
    }

    #[test]
    fn an_auth_exchange_may_come_before_the_connack() {
        let mut session = session();
        session.from_broker(b"\xf0\x02\x18\x00");
        assert_eq!(session.facts().connack, None);
        session.from_broker(b"\x20\x03\x00\x87\x00");
        assert_eq!(session.facts().connack, Some(0x87));
    }

    #[test]
    fn a_second_connect_is_caught_at_its_first_byte() {
        let mut session = session();
        assert_eq!(session.from_client(b"\xc0\x00\x10"), Err(Violation::SecondConnect));
    }

    #[test]
    fn a_byte_that_looks_like_a_connect_inside_a_packet_is_not_one() {
        let mut session = session();
        assert_eq!(session.from_client(b"\x30\x04\x00\x01"), Ok(()));
        assert_eq!(session.from_client(b"\x10\x10\xc0\x00"), Ok(()));
    }

    /// The reason was read from a fixed place, which in a long DISCONNECT is the second byte of its length.
    #[test]
    fn the_reason_of_a_long_disconnect_is_found() {
        let mut long = session();
        let text = "x".repeat(200);
        let body = [&b"\x8b\xcb\x01\x1f\x00\xc8"[..], text.as_bytes()].concat();
        long.from_broker(&[&b"\xe0\xce\x01"[..], &body].concat());
        assert_eq!(long.facts().broker_disconnect, Some(0x8B));
        let mut old = Session::new(Version::V311, 60);
        old.from_client(b"\xe0\x01\x04").expect("no second CONNECT");
        assert_eq!(old.facts().client_disconnect, Some(0), "3.1.1 has no reasons");
    }

    /// A CONNECT whose length ran over was dropped unseen when its header came in one piece.
    #[test]
    fn a_client_that_loses_the_borders_is_stopped_and_a_connect_among_them_is_seen() {
        assert_eq!(session().from_client(b"\xc0\x00\x10\xff\xff\xff\xff\x01"), Err(Violation::SecondConnect));
        let overlong = Err(Violation::RemainingLengthOverlong);
        assert_eq!(session().from_client(b"\x30\xff\xff\xff\xff\x01\x10\x00"), overlong);
        let mut session = session();
        assert_eq!(session.from_client(b"\x30\xff\xff\xff"), Ok(()));
        assert_eq!(session.from_client(b"\xff"), overlong);
    }

    #[test]
    fn a_long_connack_is_read_alike_whole_and_in_pieces() {
        let text = "x".repeat(5000);
        let properties = [&b"\x1f\x13\x88"[..], text.as_bytes()].concat();
        let packet = [&b"\x20\x8f\x27\x00\x87\x8b\x27"[..], &properties].concat();
        let (mut whole, mut pieces) = (session(), session());
        whole.from_broker(&packet);
        packet.chunks(1000).for_each(|chunk| pieces.from_broker(chunk));
        assert_eq!(whole.facts(), pieces.facts());
    }

    #[test]
    fn a_huge_connack_is_not_held() {
        let mut session = session();
        session.from_broker(b"\x20\xff\xff\xff\x7f");
        for _ in 0..100 {
            session.from_broker(&[0; 1000]);
        }
        assert_eq!(session.partial.from_broker.len(), MAX_CAPTURE);
    }
}
