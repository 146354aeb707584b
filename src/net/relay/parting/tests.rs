use super::super::tests::{Pair, relayed_until};
use super::super::{Cause, End, IdleTimeout};
use super::*;
use crate::wire::mqtt::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::yield_now;
use tokio::time::Instant;

const WAIT: Duration = Duration::from_secs(2);
const CONNACK_V5: &[u8] = b"\x20\x03\x00\x00\x00";
const CONNACK: &[u8] = b"\x20\x02\x00\x00";
/// PUBLISH packets, one with a length of three bytes.
const PACKETS: [&[u8]; 2] = [b"\x30\x05\x00\x01abc", b"\x32\x86\x80\x00\x00\x01a\x00\x07b"];
/// What comes behind them.
const NEXT: &[u8] = b"\x30\x03\x00\x01d";

/// Something is to be said to both sides.
const PARTING: Parting = Parting { wait: WAIT, to_client: true, to_broker: true };

/// A session that the broker has let in.
async fn inside(version: Version) -> Pair {
    let mut session = Session::new(version, 0);
    session.from_broker(if version == Version::V5 { CONNACK_V5 } else { CONNACK });
    going_on(session, PARTING).await
}

async fn going_on(session: Session, parting: Parting) -> Pair {
    let pair = relayed_until(64, IdleTimeout::Off, session, parting);
    settle().await;
    pair
}

/// Lets the relay do all that it can do.
async fn settle() {
    for _ in 0..50 {
        yield_now().await;
    }
}

async fn send(stream: &mut DuplexStream, bytes: &[u8]) {
    stream.write_all(bytes).await.expect("open");
    settle().await;
}

async fn rest(mut stream: DuplexStream) -> Vec<u8> {
    let mut got = Vec::new();
    stream.read_to_end(&mut got).await.expect("closed");
    got
}

impl Pair {
    fn kicked(self) -> Leaving {
        assert!(self.kick.raise());
        let Pair { client, broker, relay, .. } = self;
        Leaving { client, broker, relay, began: Instant::now() }
    }
}

/// A session that was kicked.
struct Leaving {
    client: DuplexStream,
    broker: DuplexStream,
    relay: tokio::task::JoinHandle<(End, Session)>,
    began: Instant,
}

/// How it took its leave.
struct Left {
    client_hears: bool,
    broker_hears: bool,
    took: Duration,
    at_client: Vec<u8>,
    at_broker: Vec<u8>,
    end: End,
}

impl Leaving {
    async fn left(self) -> Left {
        let (end, _) = self.relay.await.expect("no panic");
        assert!(matches!(end.cause, Cause::Kicked), "{end:?}");
        Left {
            client_hears: end.client_hears,
            broker_hears: end.broker_hears,
            took: self.began.elapsed(),
            at_client: rest(self.client).await,
            at_broker: rest(self.broker).await,
            end,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn between_two_packets_both_sides_hear_at_once() {
    for wait in [WAIT, Duration::ZERO] {
        let mut session = Session::new(Version::V5, 0);
        session.from_broker(CONNACK_V5);
        let left = going_on(session, Parting { wait, ..PARTING }).await.kicked().left().await;
        assert_eq!((left.client_hears, left.broker_hears, left.took), (true, true, Duration::ZERO));
    }
}

#[tokio::test(start_paused = true)]
async fn a_packet_of_the_client_that_has_passed_in_part_passes_whole_and_nothing_after_it() {
    for packet in PACKETS {
        for cut in 1..packet.len() {
            let mut pair = inside(Version::V311).await;
            send(&mut pair.client, &packet[..cut]).await;
            let mut leaving = pair.kicked();
            settle().await;
            send(&mut leaving.client, &[&packet[cut..], NEXT].concat()).await;
            let left = leaving.left().await;
            assert_eq!((left.broker_hears, left.took), (true, Duration::ZERO), "cut after {cut}");
            assert_eq!(
                (&left.at_broker[..], left.end.to_broker),
                (packet, packet.len() as u64),
                "cut after {cut}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_packet_of_the_broker_that_has_passed_in_part_passes_whole_and_nothing_after_it() {
    for packet in PACKETS {
        for cut in 1..packet.len() {
            let mut pair = inside(Version::V5).await;
            send(&mut pair.broker, &packet[..cut]).await;
            let mut leaving = pair.kicked();
            settle().await;
            send(&mut leaving.broker, &[&packet[cut..], NEXT].concat()).await;
            let left = leaving.left().await;
            assert_eq!((left.client_hears, left.took), (true, Duration::ZERO), "cut after {cut}");
            assert_eq!(
                (&left.at_client[..], left.end.to_client),
                (packet, packet.len() as u64),
                "cut after {cut}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn packets_that_go_on_byte_by_byte_pass_whole_all_the_same() {
    for packet in PACKETS {
        let mut pair = inside(Version::V5).await;
        send(&mut pair.client, &packet[..1]).await;
        send(&mut pair.broker, &packet[..1]).await;
        let mut leaving = pair.kicked();
        for byte in [&packet[1..], NEXT].concat() {
            // What comes after the packet finds nobody who listens.
            let _ = leaving.client.write_all(&[byte]).await;
            let _ = leaving.broker.write_all(&[byte]).await;
            settle().await;
        }
        let left = leaving.left().await;
        assert_eq!((left.client_hears, left.broker_hears, left.took), (true, true, Duration::ZERO));
        assert_eq!((&left.at_client[..], &left.at_broker[..]), (packet, packet));
    }
}

#[tokio::test(start_paused = true)]
async fn a_packet_that_never_ends_is_cut_off_after_the_wait_and_the_other_side_hears() {
    for cut in 1..PACKETS[0].len() {
        let mut pair = inside(Version::V5).await;
        send(&mut pair.client, &PACKETS[0][..cut]).await;
        let left = pair.kicked().left().await;
        assert_eq!((left.client_hears, left.broker_hears, left.took), (true, false, WAIT), "cut after {cut}");
        assert_eq!(left.at_broker, PACKETS[0][..cut]);

        let mut pair = inside(Version::V5).await;
        send(&mut pair.broker, &PACKETS[0][..cut]).await;
        let left = pair.kicked().left().await;
        assert_eq!((left.client_hears, left.broker_hears, left.took), (false, true, WAIT), "cut after {cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_side_that_is_not_to_hear_anything_is_not_waited_for() {
    // 3.1.1 has no word from the server, whatever is to be said.
    let mut pair = inside(Version::V311).await;
    send(&mut pair.broker, &PACKETS[0][..3]).await;
    let left = pair.kicked().left().await;
    assert_eq!((left.client_hears, left.broker_hears, left.took), (false, true, Duration::ZERO));

    let mut session = Session::new(Version::V5, 0);
    session.from_broker(CONNACK_V5);
    let silent = Parting { to_client: false, to_broker: false, ..PARTING };
    let mut pair = going_on(session, silent).await;
    send(&mut pair.client, &PACKETS[0][..3]).await;
    send(&mut pair.broker, &PACKETS[0][..3]).await;
    let left = pair.kicked().left().await;
    assert_eq!((left.client_hears, left.broker_hears, left.took), (false, false, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_connack_that_is_under_way_passes_and_its_client_hears() {
    for cut in 0..CONNACK_V5.len() {
        let mut pair = going_on(Session::new(Version::V5, 0), PARTING).await;
        send(&mut pair.broker, &CONNACK_V5[..cut]).await;
        let mut leaving = pair.kicked();
        settle().await;
        let _ = leaving.broker.write_all(&CONNACK_V5[cut..]).await;
        let left = leaving.left().await;
        // Before its first byte there is nothing to wait for.
        assert_eq!((left.client_hears, left.broker_hears), (cut > 0, true), "cut after {cut}");
        assert_eq!(left.took, Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_of_the_client_that_is_under_way_passes_and_is_not_said_twice() {
    let mut pair = inside(Version::V5).await;
    send(&mut pair.client, b"\xe0\x02\x04").await;
    let mut leaving = pair.kicked();
    settle().await;
    send(&mut leaving.client, b"\x00").await;
    let left = leaving.left().await;
    assert_eq!((left.client_hears, left.broker_hears), (true, false));
    assert_eq!(left.at_broker, b"\xe0\x02\x04\x00");
}

#[tokio::test(start_paused = true)]
async fn a_side_that_does_not_read_is_left_after_the_wait_and_the_other_one_hears() {
    // What is kept for it ends with a packet.
    let packets = PACKETS[0].repeat(18);
    let (first, second) = packets.split_at(packets.len() / 2);
    let mut pair = inside(Version::V5).await;
    send(&mut pair.broker, first).await;
    send(&mut pair.broker, second).await;
    let left = pair.kicked().left().await;
    assert_eq!((left.client_hears, left.broker_hears, left.took), (false, true, WAIT));
    assert_eq!(left.at_client, packets[..64]);

    let mut pair = inside(Version::V5).await;
    send(&mut pair.client, first).await;
    send(&mut pair.client, second).await;
    let left = pair.kicked().left().await;
    assert_eq!((left.client_hears, left.broker_hears, left.took), (true, false, WAIT));
}

#[tokio::test(start_paused = true)]
async fn a_side_that_reads_on_hears_after_what_was_kept_for_it() {
    let packets = PACKETS[0].repeat(16);
    let mut pair = inside(Version::V5).await;
    send(&mut pair.client, &packets[..64]).await;
    send(&mut pair.client, &packets[64..]).await;
    let mut leaving = pair.kicked();
    settle().await;
    let mut got = vec![0; packets.len()];
    leaving.broker.read_exact(&mut got).await.expect("relayed");
    let left = leaving.left().await;
    assert!(left.broker_hears && got == packets);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_in_the_middle_of_a_packet_is_not_waited_for() {
    let mut pair = inside(Version::V5).await;
    send(&mut pair.client, &PACKETS[0][..3]).await;
    let Leaving { client, broker, relay, began } = pair.kicked();
    settle().await;
    drop(client);
    let (end, _) = relay.await.expect("no panic");
    assert_eq!((end.broker_hears, began.elapsed()), (false, Duration::ZERO));
    assert_eq!(rest(broker).await, PACKETS[0][..3]);
}

#[tokio::test(start_paused = true)]
async fn a_side_whose_own_half_has_ended_has_said_its_last_word() {
    let mut pair = inside(Version::V5).await;
    pair.client.shutdown().await.expect("open");
    settle().await;
    let left = pair.kicked().left().await;
    assert_eq!((left.client_hears, left.broker_hears), (true, false));

    let mut pair = inside(Version::V5).await;
    pair.broker.shutdown().await.expect("open");
    settle().await;
    let left = pair.kicked().left().await;
    assert_eq!((left.client_hears, left.broker_hears), (false, true));
}

#[tokio::test(start_paused = true)]
async fn what_loses_the_borders_after_the_kick_is_not_passed_on() {
    let mut pair = inside(Version::V5).await;
    send(&mut pair.client, b"\x30\xff\xff\xff").await;
    let mut leaving = pair.kicked();
    settle().await;
    send(&mut leaving.client, b"\xff\x01\x10\x00").await;
    let left = leaving.left().await;
    assert_eq!((left.broker_hears, left.took), (false, Duration::ZERO));
    assert_eq!(left.at_broker, b"\x30\xff\xff\xff");
}

#[tokio::test(start_paused = true)]
async fn everybody_leaves_alike_when_the_door_stops() {
    let mut pair = inside(Version::V5).await;
    send(&mut pair.client, &PACKETS[0][..3]).await;
    pair.stop.raise();
    settle().await;
    send(&mut pair.client, &PACKETS[0][3..]).await;
    let (end, _) = pair.relay.await.expect("no panic");
    assert!(matches!(end.cause, Cause::Stopped), "{end:?}");
    assert!(end.client_hears && end.broker_hears);
}
