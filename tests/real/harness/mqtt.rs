//! Just enough MQTT to speak it by hand.

use super::{PATIENCE, eventually};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V311 = 4,
    V5 = 5,
}

impl Version {
    pub(crate) const BOTH: [Version; 2] = [Version::V311, Version::V5];

    pub(crate) fn no_properties(self) -> &'static [u8] {
        if self == Version::V5 { b"\0" } else { b"" }
    }
}

/// A connection that does not wait for ever.
pub(crate) fn dial(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("somebody listens");
    set_patience(&stream);
    stream
}

pub(super) fn set_patience(stream: &TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).expect("open");
    stream.set_write_timeout(Some(PATIENCE)).expect("open");
    stream.set_nodelay(true).expect("open");
}

/// All that comes until the other side closes, with FIN or RST.
pub(crate) fn await_close(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("not closed: {error}"),
    }
    answer
}

/// Waits until nobody listens there any more.
pub(crate) fn await_closed_door(addr: SocketAddr) {
    eventually("a listener to close", || match TcpStream::connect(addr) {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            true
        }
    });
}

pub(crate) fn packet(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let (mut packet, mut length) = (vec![kind], body.len());
    loop {
        let byte = u8::try_from(length & 0x7F).expect("seven bits");
        length >>= 7;
        packet.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    [packet, body].concat()
}

pub(crate) fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// The CONNECT of a clean session with no Keep Alive.
pub(crate) fn connect(version: Version, client_id: &str) -> Vec<u8> {
    let level = [version as u8, 0x02, 0, 0];
    packet(0x10, &[&string("MQTT"), &level, version.no_properties(), &string(client_id)])
}

/// A client that was let in, and hears what is published to the topic of its name.
pub(crate) struct Client {
    stream: TcpStream,
    version: Version,
    name: String,
    said: usize,
}

impl Client {
    pub(crate) fn enter(addr: SocketAddr, version: Version, name: &str) -> Client {
        Client::knock(addr, version, name).unwrap_or_else(|code| panic!("{name} refused with {code:#04x}"))
    }

    /// As [`enter`](Client::enter), or the code of the CONNACK that refuses it, after which the server closes.
    pub(crate) fn knock(addr: SocketAddr, version: Version, name: &str) -> Result<Client, u8> {
        let mut client = Client { stream: dial(addr), version, name: name.to_owned(), said: 0 };
        client.send(&connect(version, name));
        let code = client.answer(0x20)[1];
        if code != 0 {
            assert_eq!(await_close(&mut client.stream), b"", "after the refusal");
            return Err(code);
        }
        let topic = string(name);
        client.send(&packet(0x82, &[b"\0\x01", version.no_properties(), &topic, b"\0"]));
        client.answer(0x90);
        Ok(client)
    }

    pub(crate) fn publish(&mut self, topic: &str, payload: &str) {
        let no_properties = self.version.no_properties();
        self.send(&packet(0x30, &[&string(topic), no_properties, payload.as_bytes()]));
    }

    /// The payload of the next message.
    pub(crate) fn hear(&mut self) -> String {
        let body = self.answer(0x30);
        let payload = &body[string(&self.name).len() + self.version.no_properties().len()..];
        String::from_utf8(payload.to_vec()).expect("text")
    }

    /// Publishes to itself: its session lives, and has lost nothing since the last time.
    pub(crate) fn assert_alive(&mut self) {
        self.said += 1;
        let words = format!("{} says {}", self.name, self.said);
        self.publish(&self.name.clone(), &words);
        assert_eq!(self.hear(), words);
    }

    /// Waits for the server to end the session, with no message before.
    pub(crate) fn await_end(self) {
        self.await_end_after(b"");
    }

    /// Waits for the server to end the session with these last words.
    pub(crate) fn await_end_after(mut self, last_words: &[u8]) {
        assert_eq!(await_close(&mut self.stream), last_words, "before the end of {}", self.name);
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("connected");
    }

    /// The body of the next packet, which must be of this kind.
    fn answer(&mut self, kind: u8) -> Vec<u8> {
        let mut header = [0; 2];
        self.stream.read_exact(&mut header).expect("a packet");
        assert_eq!(header[0], kind, "packet to {}", self.name);
        assert!(header[1] < 128, "packet to {} is longer than any that it should get", self.name);
        let mut body = vec![0; header[1].into()];
        self.stream.read_exact(&mut body).expect("the packet's body");
        body
    }
}
