//! Reads a client's CONNECT, under a deadline and a limit.

use crate::net::read_some;
use crate::net::tls;
use crate::net::websocket::NoWebSocket;
use crate::wire::mqtt::connect::{self, Connect, ConnectError};
use crate::wire::mqtt::property::{PropertyId, Value};
use crate::wire::mqtt::session::Session;
use crate::wire::mqtt::{Reading, Version};
use compact_str::CompactString;
use std::io;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::time::timeout;

/// A client that has said who it is.
#[derive(Debug)]
pub(super) struct Arrival {
    /// Its CONNECT, and whatever followed in the same segments: what the broker is to receive.
    pub(super) bytes: Vec<u8>,
    pub(super) version: Version,
    pub(super) client_id: CompactString,
    pub(super) username: Option<CompactString>,
    /// A keyed hash of user name and password, where it sent a password.
    pub(super) credentials: Option<u64>,
    /// The largest packet that it takes (5), in bytes.
    pub(super) max_packet_size: Option<u32>,
    /// It wants no earlier session back.
    pub(super) clean_start: bool,
    /// Has seen what followed the CONNECT.
    pub(super) session: Session,
}

/// A client that has not said who it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoConnect {
    /// It closed before its first byte: a load balancer's health check does that.
    #[error("closed without a byte")]
    Probe,
    /// It closed in the middle.
    #[error("closed after {0} bytes of a CONNECT")]
    ClosedEarly(usize),
    /// The connection broke.
    #[error("connection broke after {0} bytes of a CONNECT")]
    Broke(usize, #[source] io::Error),
    /// It broke the rules of what its CONNECT was to come in: TLS, or a WebSocket.
    #[error("broke the rules below MQTT after {0} bytes of a CONNECT")]
    Garbled(usize, #[source] io::Error),
    /// It took too long.
    #[error("no CONNECT in time; {0} bytes came")]
    TimedOut(usize),
    /// What it sent is no acceptable CONNECT.
    #[error("refused CONNECT")]
    Bad(#[from] ConnectError),
    /// It never came to speak TLS.
    #[error(transparent)]
    Tls(tls::Ended),
    /// It never became a WebSocket.
    #[error(transparent)]
    WebSocket(NoWebSocket),
}

/// The least that is asked for at a time, in bytes: room for most CONNECTs and what clients send along with them.
const READ_AHEAD: usize = 4096;

/// Reads until the CONNECT is complete or hopeless. Holds no buffer before the first byte, and never more than
/// `max_connect_size` and one read. Of the password nothing is kept but what `fingerprint` makes of it and the user name.
pub(super) async fn read_connect<S>(
    stream: &mut S,
    max_connect_size: usize,
    connect_timeout: Duration,
    fingerprint: impl Fn(Option<&str>, &[u8]) -> u64,
) -> Result<Arrival, NoConnect>
where
    S: AsyncRead + Unpin,
{
    let mut bytes = Vec::new();
    match timeout(connect_timeout, read(stream, &mut bytes, max_connect_size, fingerprint)).await {
        Ok(Ok(arrival)) => Ok(Arrival { bytes, ..arrival }),
        Ok(Err(refused)) => Err(refused),
        Err(_) => Err(NoConnect::TimedOut(bytes.len())),
    }
}

/// As [`read_connect`], into `bytes`; the arrival's own are left empty.
async fn read<S>(
    stream: &mut S,
    bytes: &mut Vec<u8>,
    max_size: usize,
    fingerprint: impl Fn(Option<&str>, &[u8]) -> u64,
) -> Result<Arrival, NoConnect>
where
    S: AsyncRead + Unpin,
{
    loop {
        let missing = match connect::read(bytes, max_size)? {
            Reading::Complete(connect) => {
                let credentials = connect.password.map(|password| fingerprint(connect.username, password));
                return arrival(&connect, bytes).map(|arrival| Arrival { credentials, ..arrival });
            }
            Reading::NeedMore(missing) => missing,
        };
        match read_some(stream, bytes, missing.max(READ_AHEAD)).await {
            Err(error) if is_violation(&error) => return Err(NoConnect::Garbled(bytes.len(), error)),
            // A health check ends with FIN or with RST.
            Ok(0) | Err(_) if bytes.is_empty() => return Err(NoConnect::Probe),
            Ok(0) => return Err(NoConnect::ClosedEarly(bytes.len())),
            Ok(_) => {}
            Err(error) => return Err(NoConnect::Broke(bytes.len(), error)),
        }
    }
}

/// True for what no network does: bytes that TLS or WebSocket does not allow. That a client wants our TLS no more is no
/// such thing.
fn is_violation(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData && !tls::is_alert(error)
}

fn arrival(connect: &Connect<'_>, bytes: &[u8]) -> Result<Arrival, NoConnect> {
    let version = connect.version;
    let mut session = Session::new(version, connect.keep_alive);
    let followers = bytes.get(connect.size..).unwrap_or_default();
    session.from_client(followers).map_err(|violation| ConnectError { violation, version: Some(version) })?;
    let max_packet_size = match connect.properties.get(PropertyId::MAXIMUM_PACKET_SIZE) {
        Some(Value::FourBytes(size)) => Some(size),
        _ => None,
    };
    Ok(Arrival {
        bytes: Vec::new(),
        version,
        client_id: connect.client_id.into(),
        username: connect.username.map(CompactString::from),
        credentials: None,
        max_packet_size,
        clean_start: connect.clean_start,
        session,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::mqtt::connect::Violation;
    use tokio::io::AsyncWriteExt;
    use tokio_test::io::{Builder, Mock};

    const CONNECT: &[u8] = b"\x10\x16\x00\x04MQTT\x04\x82\x00\x3c\x00\x03dev\x00\x05admin";
    const TIMEOUT: Duration = Duration::from_secs(10);

    async fn gate(mut script: Mock) -> Result<Arrival, NoConnect> {
        read_connect(&mut script, 65_536, TIMEOUT, |_, _| 0).await
    }

    #[tokio::test]
    async fn a_connect_split_at_every_offset_is_read() {
        for offset in 0..CONNECT.len() {
            let (head, tail) = CONNECT.split_at(offset);
            let mut script = Builder::new();
            if !head.is_empty() {
                script.read(head);
            }
            let arrival = gate(script.read(tail).build()).await.expect("a whole CONNECT");
            assert_eq!((&arrival.client_id[..], arrival.username.as_deref()), ("dev", Some("admin")));
            assert_eq!(arrival.bytes, CONNECT);
        }
    }

    #[tokio::test]
    async fn a_connect_that_drips_byte_by_byte_is_read() {
        let mut script = Builder::new();
        for byte in CONNECT {
            script.read(std::slice::from_ref(byte));
        }
        assert_eq!(gate(script.build()).await.expect("a whole CONNECT").bytes, CONNECT);
    }

    #[tokio::test]
    async fn packets_behind_the_connect_are_kept_in_order() {
        let segment = [CONNECT, b"\x82\x06\x00\x01\x00\x01a\x00\x30\x04\x00\x01ahi"].concat();
        let arrival = gate(Builder::new().read(&segment).build()).await.expect("a whole CONNECT");
        assert_eq!(arrival.bytes, segment);
    }

    #[tokio::test]
    async fn a_second_connect_in_the_first_segment_is_refused() {
        let error =
            gate(Builder::new().read(&[CONNECT, CONNECT].concat()).build()).await.expect_err("two of them");
        let NoConnect::Bad(error) = error else { panic!("{error}") };
        assert_eq!((error.violation, error.version), (Violation::SecondConnect, Some(Version::V311)));
    }

    #[tokio::test]
    async fn ends_before_the_connect_are_told_apart() {
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        let probe = Builder::new().build();
        assert!(matches!(gate(probe).await, Err(NoConnect::Probe)));
        let reset_probe = Builder::new().read_error(reset()).build();
        assert!(matches!(gate(reset_probe).await, Err(NoConnect::Probe)));
        let half = Builder::new().read(b"\x10\x16").build();
        assert!(matches!(gate(half).await, Err(NoConnect::ClosedEarly(2))));
        let reset_half = Builder::new().read(b"\x10").read_error(reset()).build();
        assert!(matches!(gate(reset_half).await, Err(NoConnect::Broke(1, _))));
        let http = Builder::new().read(b"GET / HTTP/1.0\r\n\r\n").build();
        assert!(matches!(gate(http).await, Err(NoConnect::Bad(_))));
    }

    #[tokio::test]
    async fn who_breaks_the_rules_below_mqtt_is_no_health_check() {
        use tokio_rustls::rustls::{AlertDescription, Error};
        let garbled = |error: Error| io::Error::new(io::ErrorKind::InvalidData, error);
        for before in [&b""[..], b"\x10\x16"] {
            let script = |error| {
                let mut script = Builder::new();
                if !before.is_empty() {
                    script.read(before);
                }
                script.read_error(error).build()
            };
            let refused = gate(script(garbled(Error::DecryptError))).await;
            assert!(
                matches!(refused, Err(NoConnect::Garbled(count, _)) if count == before.len()),
                "{refused:?}"
            );
            let left = gate(script(garbled(Error::AlertReceived(AlertDescription::UserCanceled)))).await;
            assert!(matches!(left, Err(NoConnect::Probe | NoConnect::Broke(2, _))), "{left:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_is_for_the_whole_connect_and_not_for_each_byte() {
        let (mut client, mut server) = tokio::io::duplex(64);
        let begin = tokio::time::Instant::now();
        let dripping = tokio::spawn(async move {
            for byte in CONNECT {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if client.write_all(&[*byte]).await.is_err() {
                    break;
                }
            }
        });
        let refused = read_connect(&mut server, 65_536, TIMEOUT, |_, _| 0).await;
        assert!(matches!(refused, Err(NoConnect::TimedOut(9 | 10))), "{refused:?}");
        assert_eq!(begin.elapsed(), TIMEOUT);
        dripping.abort();
    }

    #[tokio::test]
    async fn a_huge_connect_is_refused_at_its_header_and_nothing_is_read_on() {
        // The script panics when more is read than it has.
        let refused = gate(Builder::new().read(b"\x10\xff\xff\xff\x7f").build()).await;
        assert!(matches!(
            refused,
            Err(NoConnect::Bad(ConnectError { violation: Violation::TooLarge { .. }, .. }))
        ));
    }

    #[tokio::test]
    async fn the_buffer_holds_the_limit_and_one_read_at_most() {
        let (mut client, mut server) = tokio::io::duplex(1 << 20);
        client.write_all(b"\x10\x80\x80\x03\x00\x04MQTT\x04\x02\x00\x3c\xbf\xf4").await.expect("room");
        client.write_all(&vec![b'a'; 500_000]).await.expect("room");
        let arrival =
            read_connect(&mut server, 65_536, TIMEOUT, |_, _| 0).await.expect("a CONNECT of 49,156 bytes");
        assert_eq!(arrival.client_id.len(), 0xBFF4);
        assert!(arrival.bytes.len() <= 49_156 + READ_AHEAD, "{}", arrival.bytes.len());
    }
}
