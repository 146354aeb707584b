//! Somebody who comes from an address of its own, with names of its own, and makes no fuss when it is turned away.

use crate::harness::{PATIENCE, Version, await_close, packet, string};
use socket2::{Domain, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

/// Who comes to which door.
#[derive(Clone)]
pub(super) struct Caller {
    door: SocketAddr,
    from: IpAddr,
    version: Version,
    client_id: String,
    account: Option<(String, String)>,
}

/// How the door answers.
pub(super) enum Answer {
    Inside(TcpStream),
    /// With the code of the CONNACK.
    Refused(u8),
    /// There was no CONNACK, or not even a door.
    Closed,
}

impl Caller {
    /// One that speaks MQTT 5 and comes from the address of the door.
    pub(super) fn new(door: SocketAddr, client_id: &str) -> Caller {
        Caller { door, from: door.ip(), version: Version::V5, client_id: client_id.to_owned(), account: None }
    }

    /// Comes from 127.0.0.`last`.
    pub(super) fn from(self, last: u8) -> Caller {
        Caller { from: Ipv4Addr::new(127, 0, 0, last).into(), ..self }
    }

    pub(super) fn speaking(self, version: Version) -> Caller {
        Caller { version, ..self }
    }

    pub(super) fn with(self, username: &str, password: &str) -> Caller {
        Caller { account: Some((username.to_owned(), password.to_owned())), ..self }
    }

    /// Only a connection.
    pub(super) fn dial(&self) -> TcpStream {
        self.connect().expect("somebody listens")
    }

    pub(super) fn call(&self) -> Answer {
        self.try_call().unwrap_or(Answer::Closed)
    }

    pub(super) fn enter(&self) -> TcpStream {
        match self.call() {
            Answer::Inside(stream) => stream,
            Answer::Refused(code) => panic!("{} refused with {code:#04x}", self.client_id),
            Answer::Closed => panic!("{} closed without a word", self.client_id),
        }
    }

    /// The code with which it is turned away.
    pub(super) fn refusal(&self) -> Option<u8> {
        match self.call() {
            Answer::Inside(_) => panic!("{} was let in", self.client_id),
            Answer::Refused(code) => Some(code),
            Answer::Closed => None,
        }
    }

    /// Calls, and says whether it is told that it is banned.
    pub(super) fn is_banned(&self) -> bool {
        matches!(
            (self.call(), self.version),
            (Answer::Refused(0x8a), Version::V5) | (Answer::Refused(5), Version::V311)
        )
    }

    /// Comes in, and says good-bye.
    pub(super) fn leave(&self) {
        let mut stream = self.enter();
        stream.write_all(b"\xe0\x00").expect("connected");
        assert_eq!(await_close(&mut stream), b"");
    }

    /// Sends this, and waits to be closed; returns the answer.
    pub(super) fn say(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.dial();
        stream.write_all(bytes).expect("connected");
        await_close(&mut stream)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(self.door), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(self.from, 0).into())?;
        socket.connect(&self.door.into())?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn try_call(&self) -> io::Result<Answer> {
        let mut stream = self.connect()?;
        stream.write_all(&self.packet())?;
        let mut header = [0; 2];
        stream.read_exact(&mut header)?;
        assert_eq!(header[0], 0x20, "the first packet to {}", self.client_id);
        let mut body = vec![0; header[1].into()];
        stream.read_exact(&mut body)?;
        Ok(if body[1] == 0 { Answer::Inside(stream) } else { Answer::Refused(body[1]) })
    }

    fn packet(&self) -> Vec<u8> {
        let flags = if self.account.is_some() { 0xc2 } else { 0x02 };
        let level = [self.version as u8, flags, 0, 0];
        let mut parts = vec![string("MQTT"), level.to_vec(), self.version.no_properties().to_vec()];
        parts.push(string(&self.client_id));
        if let Some((username, password)) = &self.account {
            parts.extend([string(username), string(password)]);
        }
        packet(0x10, &parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }
}
