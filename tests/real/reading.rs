//! An identity that the proxy and the broker read differently would be a way around every ban.

use crate::harness::{Broker, dial, packet, string};
use mqtt_bouncer::wire::mqtt::{Reading, connect};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::SocketAddr;

/// What a reader makes of a CONNECT: client identifier, user name, Keep Alive.
type Identity = (String, Option<String>, u16);

#[test]
fn our_reading_of_connect_is_the_brokers_reading() {
    let broker = Broker::start();
    let mut ours: HashMap<u16, Identity> = HashMap::new();
    let mut dice = Dice(7);
    while ours.len() < 1500 {
        let bytes = dice.connect();
        if let Ok(Reading::Complete(connect)) = connect::read(&bytes, 65_536)
            // To a client without a name, mosquitto gives one.
            && !connect.client_id.is_empty()
            && let Some(port) = let_in_at(broker.addr, &bytes)
        {
            let username = connect.username.map(str::to_owned);
            ours.insert(port, (connect.client_id.to_owned(), username, connect.keep_alive));
        }
    }
    let theirs: HashMap<_, _> = broker.kill().iter().filter_map(|line| told_in(line)).collect();
    for (port, identity) in &ours {
        assert_eq!(theirs.get(port), Some(identity));
    }
}

/// Sends this to the broker; the port that it was sent from, when the broker accepts it.
fn let_in_at(broker: SocketAddr, bytes: &[u8]) -> Option<u16> {
    let mut stream = dial(broker);
    stream.write_all(bytes).expect("connected");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).ok()?;
    (answer[0] == 0x20 && answer[3] == 0).then(|| stream.local_addr().expect("connected").port())
}

/// The identity in a line of mosquitto's log (a bridge is "New bridge"):
/// `New client connected from 127.0.0.1:43210 as dev-1 (p2, c1, k60, u'joe').`
fn told_in(line: &str) -> Option<(u16, Identity)> {
    let (port, rest) = line.split_once(" connected from 127.0.0.1:")?.1.split_once(" as ")?;
    let (client_id, rest) = rest.rsplit_once(" (p")?;
    let (keep_alive, rest) = rest.split_once(", k")?.1.split_once([',', ')'])?;
    let username = rest.split_once(" u'").and_then(|(_, rest)| Some(rest.rsplit_once("')")?.0.to_owned()));
    Some((port.parse().ok()?, (client_id.to_owned(), username, keep_alive.parse().ok()?)))
}

/// Chance that comes out the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }

    fn text(&mut self) -> Vec<u8> {
        let letters = ["a", "B", "7", "ä", "€", "😀", "/", "#", " ", "'", "\"", "p2", ", k9"];
        let text: String = (0..=self.roll(6)).map(|_| letters[self.roll(letters.len())]).collect();
        string(&text)
    }

    /// A CONNECT of any version with any of its parts, and often with a bit of damage.
    fn connect(&mut self) -> Vec<u8> {
        let (name, level) = [("MQIsdp", 3), ("MQTT", 4), ("MQTT", 5)][self.roll(3)];
        let v5 = level == 5;
        let properties: &[u8] = match (v5, self.roll(2)) {
            (false, _) => b"",
            (true, 0) => b"\x00",
            (true, _) => b"\x0c\x11\x00\x00\x00\x00\x26\x00\x01k\x00\x01v",
        };
        let (will, username, password) = (self.roll(2) == 1, self.roll(2) == 1, self.roll(3) == 1);
        let password = password && (username || v5);
        let flags = 0x02
            | if will { 0x04 | [0x00, 0x08, 0x10, 0x28][self.roll(4)] } else { 0 }
            | if username { 0x80 } else { 0 }
            | if password { 0x40 } else { 0 };
        let mut parts =
            vec![string(name), vec![level, flags, 0, 10 + u8::try_from(self.roll(100)).expect("small")]];
        parts.extend([properties.to_vec(), self.text()]);
        if will {
            parts.extend([
                if v5 { vec![0] } else { vec![] },
                b"\x00\x01t".to_vec(),
                b"\x00\x02\xffm".to_vec(),
            ]);
        }
        if username {
            parts.push(self.text());
        }
        if password {
            parts.push(b"\x00\x03\x00\xffp".to_vec());
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let mut bytes = packet(0x10, &parts);
        for _ in 0..self.roll(3) {
            let at = self.roll(bytes.len());
            bytes[at] ^= 1 << self.roll(8);
        }
        bytes
    }
}
