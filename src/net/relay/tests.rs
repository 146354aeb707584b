use super::*;
use crate::wire::mqtt::Version;
use proptest::prelude::*;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::task::JoinHandle;

/// A client and a broker with a relay between them whose pipes hold `capacity` bytes each.
pub(super) struct Pair {
    pub(super) client: DuplexStream,
    pub(super) broker: DuplexStream,
    pub(super) stop: Stop,
    pub(super) kick: Arc<Kick>,
    pub(super) relay: JoinHandle<(End, Session)>,
}

/// Sees a session and takes its leave in this way.
struct Watching {
    session: Session,
    parting: Parting,
    is_told_by_drop: bool,
}

impl Watch for Watching {
    fn see_client(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        self.session.from_client(bytes)
    }

    fn see_broker(&mut self, bytes: &[u8]) {
        self.session.from_broker(bytes);
    }

    fn session(&self) -> &Session {
        &self.session
    }

    fn parting(&self, _: &Cause) -> Parting {
        self.parting
    }

    fn is_client_told_by_drop(&self) -> bool {
        self.is_told_by_drop
    }
}

fn relayed(capacity: usize, idle: IdleTimeout, keep_alive: u16) -> Pair {
    let parting = Parting { wait: Duration::ZERO, to_client: true, to_broker: true };
    relayed_until(capacity, idle, Session::new(Version::V5, keep_alive), parting)
}

pub(super) fn relayed_until(capacity: usize, idle: IdleTimeout, session: Session, parting: Parting) -> Pair {
    let ((client, inner_client), (broker, inner_broker)) = (duplex(capacity), duplex(capacity));
    let (stop, kick) = (Stop::default(), Arc::new(Kick::default()));
    let limits = Limits { idle, half_close: Duration::from_secs(30) };
    let relay = tokio::spawn({
        let (stop, kick) = (stop.clone(), Arc::clone(&kick));
        async move {
            let mut watching = Watching { session, parting, is_told_by_drop: false };
            let end = relay(inner_client, inner_broker, &mut watching, limits, &stop, &kick).await;
            (end, watching.session)
        }
    });
    Pair { client, broker, stop, kick, relay }
}

/// A stream of PUBLISH packets that holds these bytes.
fn packets(bytes: &[u8]) -> Vec<u8> {
    let packet = |chunk: &[u8]| [&[0x30, u8::try_from(chunk.len()).expect("short")][..], chunk].concat();
    bytes.chunks(100).flat_map(packet).collect()
}

#[tokio::test]
async fn bytes_pass_unchanged_both_ways_at_once() {
    let Pair { client, broker, relay, .. } = relayed(1000, IdleTimeout::Off, 0);
    let up: Vec<u8> = packets(&(0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect::<Vec<_>>());
    let down: Vec<u8> = packets(&(0..300_000_u32).map(|n| n.to_le_bytes()[1]).collect::<Vec<_>>());
    let (mut client_read, mut client_write) = tokio::io::split(client);
    let (mut broker_read, mut broker_write) = tokio::io::split(broker);
    let (mut got_up, mut got_down) = (Vec::new(), Vec::new());
    tokio::join!(
        async {
            client_write.write_all(&up).await.expect("relayed");
            client_write.shutdown().await.expect("relayed");
        },
        async {
            broker_write.write_all(&down).await.expect("relayed");
            broker_write.shutdown().await.expect("relayed");
        },
        async { broker_read.read_to_end(&mut got_up).await.expect("relayed") },
        async { client_read.read_to_end(&mut got_down).await.expect("relayed") },
    );
    assert!(got_up == up && got_down == down);
    let (end, _) = relay.await.expect("no panic");
    assert_eq!((end.to_broker, end.to_client), (up.len() as u64, down.len() as u64));
}

#[tokio::test]
async fn a_half_closed_client_still_receives() {
    let Pair { mut client, mut broker, relay, .. } = relayed(64, IdleTimeout::Off, 0);
    client.write_all(b"\xe0\x00").await.expect("relayed");
    client.shutdown().await.expect("relayed");
    let mut got = Vec::new();
    broker.read_to_end(&mut got).await.expect("relayed");
    assert_eq!(got, b"\xe0\x00");
    broker.write_all(b"\xd0\x00").await.expect("relayed");
    drop(broker);
    got.clear();
    client.read_to_end(&mut got).await.expect("relayed");
    assert_eq!(got, b"\xd0\x00");
    let (end, session) = relay.await.expect("no panic");
    assert!(matches!(end.cause, Cause::ClientClosed), "{end:?}");
    assert_eq!(session.facts().client_disconnect, Some(0));
}

#[tokio::test]
async fn what_a_broker_said_before_it_closed_arrives() {
    let Pair { mut client, mut broker, relay, .. } = relayed(64, IdleTimeout::Off, 0);
    broker.write_all(b"\xe0\x02\x8b\x00").await.expect("relayed");
    drop(broker);
    let mut got = Vec::new();
    client.read_to_end(&mut got).await.expect("relayed");
    assert_eq!(got, b"\xe0\x02\x8b\x00");
    drop(client);
    let (end, session) = relay.await.expect("no panic");
    assert!(matches!(end.cause, Cause::BrokerClosed), "{end:?}");
    assert_eq!(session.facts().broker_disconnect, Some(0x8B));
}

#[tokio::test]
async fn a_side_that_does_not_read_slows_the_other_down() {
    let Pair { mut client, mut broker, relay, .. } = relayed(1000, IdleTimeout::Off, 0);
    let stream = packets(&vec![7; 1_000_000]);
    let mut sent = 0;
    // The pipes hold 1000 bytes each and the relay one read of 1000: after that, the client waits.
    while let Some(chunk) = stream.get(sent..(sent + 500).min(stream.len()))
        && let Poll::Ready(count) =
            tokio_test::task::spawn(async { client.write(chunk).await.expect("relayed") }).poll()
    {
        sent += count;
        tokio::task::yield_now().await;
    }
    assert!(sent <= 3000, "{sent} bytes are under way");
    let mut got = vec![0; sent];
    broker.read_exact(&mut got).await.expect("relayed");
    assert!(got == stream[..sent]);
    drop((client, broker));
    relay.await.expect("no panic");
}

/// Says empty packets without end, and takes whatever it is told.
struct Endless;

impl AsyncRead for Endless {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let space = buffer.initialize_unfilled();
        space.fill(0);
        let count = space.len();
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn two_sides_that_never_pause_get_the_same_share_and_leave_others_theirs() {
    let (stop, kick) = (Stop::default(), Kick::default());
    let limits = Limits { idle: IdleTimeout::Off, half_close: Duration::from_secs(30) };
    let parting = Parting { wait: Duration::ZERO, to_client: false, to_broker: false };
    let mut watching = Watching { session: Session::new(Version::V5, 0), parting, is_told_by_drop: false };
    let others = async {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        stop.raise();
    };
    let (end, ()) = tokio::join!(relay(Endless, Endless, &mut watching, limits, &stop, &kick), others);
    assert!(end.to_client > 0 && end.to_client == end.to_broker, "{end:?}");
}

#[tokio::test]
async fn a_second_connect_ends_the_session_and_is_not_passed_on() {
    let Pair { mut client, mut broker, relay, .. } = relayed(64, IdleTimeout::Off, 0);
    client.write_all(b"\xc0\x00").await.expect("relayed");
    let mut ping = [0; 2];
    broker.read_exact(&mut ping).await.expect("relayed");
    client.write_all(b"\x10\x0d\x00\x04MQTT").await.expect("relayed");
    let mut rest = Vec::new();
    broker.read_to_end(&mut rest).await.expect("closed");
    assert!(rest.is_empty());
    let (end, _) = relay.await.expect("no panic");
    assert!(matches!(end.cause, Cause::Violation(Violation::SecondConnect)), "{end:?}");
}

#[tokio::test]
async fn a_raised_stop_ends_the_session() {
    let Pair { client, broker, stop, relay, .. } = relayed(64, IdleTimeout::Off, 0);
    tokio::task::yield_now().await;
    stop.raise();
    let (end, _) = relay.await.expect("no panic");
    assert!(matches!(end.cause, Cause::Stopped), "{end:?}");
    drop((client, broker));
}

/// How long a session lived in which the client and the broker spoke at these seconds.
async fn lifetime(idle: IdleTimeout, keep_alive: u16, client_at: &[u64], broker_at: &[u64]) -> Duration {
    let Pair { mut client, mut broker, mut relay, .. } = relayed(1024, idle, keep_alive);
    let begin = Instant::now();
    let at = |second: u64| sleep_until(begin + Duration::from_secs(second));
    let talk = async {
        let mut turns: Vec<_> =
            client_at.iter().map(|&at| (at, true)).chain(broker_at.iter().map(|&at| (at, false))).collect();
        turns.sort_unstable();
        for (second, client_speaks) in turns {
            at(second).await;
            // Whoever speaks to a session that is over is not heard.
            let _ = if client_speaks {
                client.write_all(b"\xc0\x00").await
            } else {
                broker.write_all(b"\xd0\x00").await
            };
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        end = &mut relay => {
            let (end, _) = end.expect("no panic");
            assert!(matches!(end.cause, Cause::Idle), "{end:?}");
            begin.elapsed()
        }
        () = talk => unreachable!(),
        () = at(1_000_000) => Duration::MAX,
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_counted_from_the_last_byte_of_either_side() {
    let after = IdleTimeout::After(Duration::from_mins(1));
    assert_eq!(lifetime(after, 0, &[], &[]).await.as_secs(), 60);
    assert_eq!(lifetime(after, 0, &[59], &[]).await.as_secs(), 119);
    assert_eq!(lifetime(after, 0, &[59], &[100]).await.as_secs(), 160);
}

#[tokio::test(start_paused = true)]
async fn keep_alive_is_counted_from_the_clients_last_byte() {
    assert_eq!(lifetime(IdleTimeout::KeepAlive, 60, &[], &[]).await.as_secs(), 90);
    assert_eq!(lifetime(IdleTimeout::KeepAlive, 60, &[80], &[100, 160]).await.as_secs(), 170);
    assert_eq!(lifetime(IdleTimeout::KeepAlive, 0, &[], &[]).await, Duration::MAX);
}

#[tokio::test(start_paused = true)]
async fn without_an_idle_timeout_silence_is_for_ever() {
    assert_eq!(lifetime(IdleTimeout::Off, 60, &[1], &[2]).await, Duration::MAX);
}

#[tokio::test(start_paused = true)]
async fn the_brokers_keep_alive_replaces_the_clients() {
    let Pair { client: _client, mut broker, relay, .. } = relayed(64, IdleTimeout::KeepAlive, 600);
    let begin = Instant::now();
    broker.write_all(b"\x20\x06\x00\x00\x03\x13\x00\x0a").await.expect("relayed");
    let (end, _) = relay.await.expect("no panic");
    assert!(matches!(end.cause, Cause::Idle), "{end:?}");
    assert_eq!(begin.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_session_is_given_up_when_the_other_side_is_silent() {
    let Pair { mut client, broker, relay, .. } = relayed(64, IdleTimeout::Off, 0);
    tokio::time::sleep(Duration::from_secs(100)).await;
    client.shutdown().await.expect("relayed");
    let begin = Instant::now();
    let (end, _) = relay.await.expect("no panic");
    assert!(matches!(end.cause, Cause::ClientClosed), "{end:?}");
    assert_eq!(begin.elapsed().as_secs(), 30);
    drop(broker);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn relayed_bytes_equal_received_bytes(
        bytes in prop::collection::vec(any::<u8>(), 0..5000),
        cuts in prop::collection::vec(1_usize..700, 1..40),
        capacity in 1_usize..600,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let stream = packets(&bytes);
        let got = runtime.block_on(async {
            let Pair { mut client, mut broker, relay, .. } = relayed(capacity, IdleTimeout::Off, 0);
            let (mut got, mut rest) = (Vec::new(), &stream[..]);
            tokio::join!(
                async {
                    for cut in cuts.iter().cycle() {
                        let (chunk, later) = rest.split_at((*cut).min(rest.len()));
                        if chunk.is_empty() {
                            break;
                        }
                        client.write_all(chunk).await.expect("relayed");
                        rest = later;
                    }
                    client.shutdown().await.expect("relayed");
                },
                async { broker.read_to_end(&mut got).await.expect("relayed") },
            );
            drop(broker);
            relay.await.expect("no panic");
            got
        });
        prop_assert_eq!(got, stream);
    }
}

#[tokio::test]
async fn a_client_that_has_closed_is_told_by_the_drop_alone_where_that_does() {
    for (is_told_by_drop, client_closes) in [(true, true), (true, false), (false, true)] {
        let ((mut client, mut inner_client), (mut broker, inner_broker)) = (duplex(64), duplex(64));
        if client_closes {
            client.shutdown().await.expect("open");
        }
        broker.shutdown().await.expect("open");
        let parting = Parting { wait: Duration::ZERO, to_client: false, to_broker: false };
        let mut watching = Watching { session: Session::new(Version::V5, 0), parting, is_told_by_drop };
        let limits = Limits { idle: IdleTimeout::Off, half_close: Duration::from_secs(30) };
        let (stop, kick) = (Stop::default(), Kick::default());
        let relaying = relay(&mut inner_client, inner_broker, &mut watching, limits, &stop, &kick);
        let mut relaying = tokio_test::task::spawn(relaying);
        let has_ended = (0..10).any(|_| relaying.poll().is_ready());
        drop(relaying);
        assert_eq!(has_ended, client_closes);
        let is_shut = tokio_test::task::spawn(client.read(&mut [0])).poll().is_ready();
        assert_eq!(is_shut, !(is_told_by_drop && client_closes));
        drop(inner_client);
        assert_eq!(client.read(&mut [0]).await.expect("closed"), 0);
    }
}
