//! What those may do who were let in: never read, speak byte by byte, break off, stay half-closed, all leave at once.
//! It must cost little, and the others nothing.

use crate::harness::{
    Broker, Client, Pki, Process, Proxy, StubBroker, Version, await_close, config, connect, dial, eventually,
    packet,
};
use crate::suites::folder;
use crate::websocket::said_close;
use socket2::SockRef;
use std::env;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

/// How long a process is watched that has nothing to do, and how much of it, in hundredths of a second, may go on that.
const WATCHED: Duration = Duration::from_secs(1);
const IDLE: u64 = 20;

/// Nobody has anything to do: whoever looks again and again whether there is something to do, shows.
fn assert_idle(proxy: &Proxy) {
    let before = proxy.process().processor_time();
    sleep(WATCHED);
    let spent = proxy.process().processor_time() - before;
    assert!(spent < IDLE, "{spent} hundredths of a second of processor time in {WATCHED:?}");
}

/// A client that was let in, and its broker's end.
fn enter(proxy: &Proxy, broker: &StubBroker, client_id: &str) -> (TcpStream, TcpStream) {
    let mut client = dial(proxy.addr);
    client.write_all(&connect(Version::V311, client_id)).expect("connected");
    let inside = broker.accept();
    let mut connack = [0; 4];
    client.read_exact(&mut connack).expect("a CONNACK");
    (client, inside)
}

/// A session of somebody else, who is served.
struct Neighbour(TcpStream, TcpStream);

impl Neighbour {
    fn enter(proxy: &Proxy, broker: &StubBroker) -> Neighbour {
        let (client, inside) = enter(proxy, broker, "neighbour");
        Neighbour(client, inside)
    }

    fn is_served(&mut self) {
        let Neighbour(client, inside) = self;
        let mut heard = [0; 2];
        client.write_all(b"\xc0\x00").expect("connected");
        inside.read_exact(&mut heard).expect("relayed");
        assert_eq!(heard, *b"\xc0\x00");
        inside.write_all(b"\xd0\x00").expect("connected");
        client.read_exact(&mut heard).expect("relayed");
        assert_eq!(heard, *b"\xd0\x00");
    }
}

/// A PUBLISH of a size that divides no buffer.
fn publish() -> Vec<u8> {
    packet(0x30, &[b"\x00\x01t", &(0..40_001_u32).map(|n| n.to_le_bytes()[0]).collect::<Vec<_>>()])
}

/// A writer and how much it has written.
struct Filler<W> {
    stream: W,
    sent: usize,
}

impl<W: Write> Filler<W> {
    /// Writes what goes at once, the packet again and again, and says how much that was.
    fn push(&mut self, packet: &[u8]) -> usize {
        let before = self.sent;
        loop {
            match self.stream.write(&packet[self.sent % packet.len()..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.sent - before,
                Err(error) => panic!("still connected: {error}"),
            }
        }
    }
}

/// Writes to all until none takes any more. There is an end to it, or memory would have none.
fn fill<W: Write>(fillers: &mut [Filler<W>], packet: &[u8]) {
    let mut quiet = 0;
    while quiet < 20 {
        sleep(Duration::from_millis(10));
        let taken: usize = fillers.iter_mut().map(|filler| filler.push(packet)).sum();
        quiet = if taken == 0 { quiet + 1 } else { 0 };
        for filler in &*fillers {
            assert!(filler.sent < 100 << 20, "{} bytes went somewhere", filler.sent);
        }
    }
}

const DEAF: usize = 10;
/// What so many sessions may hold, in KiB: one read each, and what TLS has under way.
const MAX_HELD: u64 = 4096;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Deaf {
    Client,
    Broker,
}

#[test]
fn whoever_never_reads_slows_the_other_side_down_and_costs_one_read_of_memory() {
    let broker = StubBroker::start();
    let proxy = Proxy::start(&config(broker.addr(), "", ""));
    let packet = publish();
    for deaf in [Deaf::Client, Deaf::Broker] {
        let mut neighbour = Neighbour::enter(&proxy, &broker);
        let mut readers = Vec::new();
        let mut fillers: Vec<_> = (0..DEAF)
            .map(|number| {
                let (client, inside) = enter(&proxy, &broker, &format!("deaf-{number}"));
                let (reader, stream) = if deaf == Deaf::Client { (client, inside) } else { (inside, client) };
                readers.push(reader);
                stream.set_nonblocking(true).expect("open");
                Filler { stream, sent: 0 }
            })
            .collect();
        let before = proxy.process().resident_memory();
        fill(&mut fillers, &packet);
        let grown = proxy.process().resident_memory().saturating_sub(before);
        assert!(grown < MAX_HELD, "{deaf:?}: {grown} KiB more for {DEAF} sessions");
        assert_idle(&proxy);
        neighbour.is_served();
        // Who reads at last gets all of it.
        let mut got = vec![0; fillers[0].sent];
        readers[0].read_exact(&mut got).expect("relayed");
        let expected = packet.iter().copied().cycle().take(got.len());
        assert!(got.into_iter().eq(expected), "{deaf:?}");
    }
}

#[test]
fn whoever_never_reads_inside_tls_costs_as_little() {
    let (pki, broker) = (Pki::new(), StubBroker::start());
    let proxy = Proxy::start(&config(broker.addr(), &pki.listener(""), ""));
    let (mut clients, mut fillers) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        for number in 0..DEAF {
            let entering = scope.spawn({
                let (pki, addr) = (&pki, proxy.addr);
                move || pki.enter(addr, &format!("deaf-{number}"))
            });
            let stream = broker.accept();
            stream.set_nonblocking(true).expect("open");
            fillers.push(Filler { stream, sent: 0 });
            clients.push(entering.join().expect("a handshake"));
        }
    });
    let before = proxy.process().resident_memory();
    let packet = publish();
    fill(&mut fillers, &packet);
    let grown = proxy.process().resident_memory().saturating_sub(before);
    assert!(grown < MAX_HELD, "{grown} KiB more for {DEAF} sessions");
    assert_idle(&proxy);
    let mut got = vec![0; fillers[0].sent];
    clients[0].read_exact(&mut got).expect("relayed");
    assert!(got.into_iter().eq(packet.iter().copied().cycle().take(fillers[0].sent)));
}

#[test]
fn a_session_in_which_nothing_moves_is_idle_however_much_is_waiting() {
    let broker = StubBroker::start();
    let proxy = Proxy::start(&config(broker.addr(), "idle_timeout = \"1s\"", ""));
    let (mut client, stream) = enter(&proxy, &broker, "deaf");
    stream.set_nonblocking(true).expect("open");
    let mut fillers = [Filler { stream, sent: 0 }];
    let packet = publish();
    while fillers[0].push(&packet) > 0 {
        sleep(Duration::from_millis(50));
    }
    proxy.log().wait_for(0, &["session ended", "client_id=deaf ", "cause=\"idle_timeout\""]);
    // What the kernel had of it is still to be had.
    await_close(&mut client);
}

#[test]
fn whoever_speaks_byte_by_byte_at_full_speed_keeps_nobody_waiting() {
    let broker = StubBroker::start();
    let proxy = Proxy::start(&config(broker.addr(), "", ""));
    let mut neighbour = Neighbour::enter(&proxy, &broker);
    let sessions: Vec<_> = (0..2).map(|number| enter(&proxy, &broker, &format!("fast-{number}"))).collect();
    let before = proxy.process().resident_memory();
    let is_over = AtomicBool::new(false);
    // PINGREQ and PINGRESP, a segment for each byte.
    let speak = |mut stream: TcpStream, first_byte: u8| {
        let mut count = 0_usize;
        while !is_over.load(Ordering::Relaxed) {
            for byte in [first_byte, 0] {
                stream.write_all(&[byte]).expect("connected");
            }
            count += 2;
        }
        stream.shutdown(Shutdown::Write).expect("connected");
        count
    };
    let listen = |mut stream: TcpStream, first_byte: u8| {
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).expect("relayed");
        assert!(heard.chunks(2).all(|packet| packet == [first_byte, 0]), "{first_byte:#04x}");
        heard.len()
    };
    let ends = |stream: &TcpStream| (stream.try_clone().expect("open"), stream.try_clone().expect("open"));
    thread::scope(|scope| {
        let mut counts = Vec::new();
        for (client, inside) in &sessions {
            let ((client_reads, client_writes), (reads, writes)) = (ends(client), ends(inside));
            counts.push((scope.spawn(|| speak(client_writes, 0xC0)), scope.spawn(|| listen(reads, 0xC0))));
            counts.push((scope.spawn(|| speak(writes, 0xD0)), scope.spawn(|| listen(client_reads, 0xD0))));
        }
        (0..500).for_each(|_| neighbour.is_served());
        is_over.store(true, Ordering::Relaxed);
        for (said, heard) in counts {
            let said = said.join().expect("no panic");
            assert!(said > 0 && heard.join().expect("no panic") == said);
        }
    });
    let grown = proxy.process().resident_memory().saturating_sub(before);
    assert!(grown < MAX_HELD, "{grown} KiB more");
    assert_idle(&proxy);
}

#[test]
fn peers_that_reset_in_the_middle_of_a_packet_leave_nothing_behind() {
    const PEERS: usize = 100;
    let broker = StubBroker::start();
    let proxy = Proxy::start(&config(broker.addr(), "half_close_timeout = \"1h\"", ""));
    let mut neighbour = Neighbour::enter(&proxy, &broker);
    let packet = publish();
    for (side, cause) in [(Deaf::Client, "client_failed"), (Deaf::Broker, "broker_failed")] {
        let mut others: Vec<_> = (0..PEERS)
            .map(|number| {
                let (client, inside) = enter(&proxy, &broker, &format!("{side:?}-{number}"));
                let (mut breaks, stays) =
                    if side == Deaf::Client { (client, inside) } else { (inside, client) };
                breaks.write_all(&packet[..packet.len() / 2]).expect("connected");
                SockRef::from(&breaks).set_linger(Some(Duration::ZERO)).expect("open");
                drop(breaks);
                stays
            })
            .collect();
        for stays in &mut others {
            // All that it gets before it is told that it is over is what had come.
            let got = await_close(stays);
            assert!(packet.starts_with(&got));
        }
        drop(others);
        let ended = || proxy.log().lines_with(&["session ended", &format!("cause=\"{cause}\"")]).len();
        eventually("a line for each", || ended() == PEERS);
        neighbour.is_served();
    }
    assert_idle(&proxy);
}

/// Whoever has ended its half stays while the other side is silent.
#[test]
fn sessions_that_are_half_closed_and_silent_cost_no_time() {
    const EACH: usize = 20;
    let (pki, broker) = (Pki::new(), StubBroker::start());
    let options = "half_close_timeout = \"1h\"";
    let sections = [
        crate::harness::listener("tls", 0)
            .replace("127.0.0.1:0\"", &format!("127.0.0.1:0\"\n{options}\n{}", pki.listener(""))),
        crate::harness::listener("ws", 0)
            .replace("127.0.0.1:0\"", &format!("127.0.0.1:0\"\n{options}\ntype = \"ws\"")),
    ];
    let proxy = Proxy::start(&config(broker.addr(), options, &sections.concat()));
    let (tls, ws) = (proxy.listening_since(0, "tls"), proxy.listening_since(0, "ws"));
    let mut kept = Vec::new();
    for number in 0..EACH {
        let (client, mut inside) = enter(&proxy, &broker, &format!("client-{number}"));
        client.shutdown(Shutdown::Write).expect("connected");
        assert_eq!(await_close(&mut inside), b"");
        kept.extend([client, inside]);
        let (mut client, inside) = enter(&proxy, &broker, &format!("broker-{number}"));
        inside.shutdown(Shutdown::Write).expect("connected");
        assert_eq!(await_close(&mut client), b"");
        kept.extend([client, inside]);
        let (client, mut inside) = said_close(ws, &broker, &format!("ws-{number}"));
        assert_eq!(await_close(&mut inside), b"");
        kept.extend([client, inside]);
    }
    let mut inside_tls = Vec::new();
    for number in 0..EACH {
        let (mut client, mut inside) = thread::scope(|scope| {
            let entering = scope.spawn(|| pki.enter(tls, &format!("tls-{number}")));
            let inside = broker.accept();
            (entering.join().expect("a handshake"), inside)
        });
        client.conn.send_close_notify();
        client.flush().expect("connected");
        assert_eq!(await_close(&mut inside), b"");
        inside_tls.push((client, inside));
    }
    assert_eq!(proxy.log().count("session ended"), 0);
    assert_idle(&proxy);
    drop((kept, inside_tls));
    eventually("all to have left", || proxy.log().count("session ended") == 4 * EACH);
}

#[test]
fn eight_thousand_who_leave_in_one_moment_are_gone_soon_and_nobody_else_notices() {
    const CROWD: usize = 8000;
    let broker = Broker::start();
    // Each takes two files, as the log and the others do.
    let proxy = Proxy::start_with_open_files(20_000, &config(broker.addr, "", ""));
    let mut neighbour = Client::enter(proxy.addr, Version::V5, "neighbour");
    let python = env::var_os("PYTHON").map_or_else(|| folder().join(".venv/bin/python"), Into::into);
    let (port, count) = (proxy.addr.port().to_string(), CROWD.to_string());
    let script = folder().join("crowd.py");
    let words = [
        python.as_os_str(),
        script.as_os_str(),
        "--port".as_ref(),
        port.as_ref(),
        "--count".as_ref(),
        count.as_ref(),
    ];
    let mut crowd = Process::start(20_000, words);
    crowd.log.wait_for(0, &["inside"]);
    neighbour.assert_alive();
    crowd.kill();
    let ended = || proxy.log().count("session ended");
    eventually("all of them to have left", || {
        neighbour.assert_alive();
        ended() == CROWD
    });
    neighbour.assert_alive();
    assert_idle(&proxy);
    assert_eq!(proxy.log().count(" ERROR "), 0);
    drop(neighbour);
    // Of those who left, none is still inside the broker.
    eventually("the broker to know", || broker.log().count("crowd-") >= 2 * CROWD);
}
