use super::*;
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, ConnectionTrafficSecrets, RootCertStore, ServerConfig, SupportedProtocolVersion,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

type Server = TlsStream<UnbufferedServerConnection>;
type Client = TlsStream<UnbufferedClientConnection>;

/// What both sides know.
struct Site {
    server: ServerConfig,
    client: ClientConfig,
}

fn site(version: &'static SupportedProtocolVersion) -> Site {
    let key = rcgen::generate_simple_self_signed(vec!["broker.test".to_owned()]).expect("a certificate");
    let certificate: CertificateDer<'static> = key.cert.der().clone();
    let secret = PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
    // The suite whose secrets a test can use by itself.
    let suites = [provider::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let suites = suites.into_iter().chain(provider::ALL_CIPHER_SUITES.iter().copied());
    let own = Arc::new(CryptoProvider { cipher_suites: suites.collect(), ..provider::default_provider() });
    let server = ServerConfig::builder_with_provider(Arc::clone(&own))
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], secret.into())
        .expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    let mut client = ClientConfig::builder_with_provider(own)
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.enable_secret_extraction = true;
    Site { server, client }
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("listening");
    (client, listener.accept().await.expect("connected").0)
}

fn name() -> ServerName<'static> {
    ServerName::try_from("broker.test").expect("a name")
}

/// As the ways to clients and brokers do it.
async fn shake<E: End>(stream: &mut TlsStream<E>) {
    loop {
        stream.advance().expect("a good handshake");
        if !stream.state().is_handshaking() {
            return;
        }
        stream.send().await.expect("connected");
        assert!(stream.read_more().await.expect("connected"));
    }
}

impl Site {
    /// Our server, and a client of others.
    async fn serve(self) -> (client::TlsStream<TcpStream>, Server) {
        let (near, far) = sockets().await;
        let connecting = TlsConnector::from(Arc::new(self.client)).connect(name(), near);
        let end = UnbufferedServerConnection::new(Arc::new(self.server)).expect("a good configuration");
        let mut server = TlsStream::new(far.into(), end, Vec::new());
        let shaking = async {
            assert!(server.read_more().await.expect("connected"));
            shake(&mut server).await;
            if server.state().protocol_version() == Some(TLS12.version) {
                server.send().await.expect("connected");
            }
        };
        let (client, ()) = tokio::join!(connecting, shaking);
        (client.expect("a good handshake"), server)
    }

    /// Our client, and a server of others.
    async fn visit(self) -> (Client, server::TlsStream<TcpStream>) {
        let (near, far) = sockets().await;
        let accepting = TlsAcceptor::from(Arc::new(self.server)).accept(far);
        let end = UnbufferedClientConnection::new(Arc::new(self.client), name()).expect("a name");
        let mut client = TlsStream::new(near.into(), end, Vec::new());
        let shaking = async {
            shake(&mut client).await;
            client.send().await.expect("connected");
        };
        let (server, ()) = tokio::join!(accepting, shaking);
        (client, server.expect("a good handshake"))
    }
}

/// Bytes that are unlike their neighbours.
fn noise(count: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(count as u64);
    std::iter::repeat_with(|| random.u8(..)).take(count).collect()
}

/// In pieces of all sizes, from each to the other at once.
async fn exchange(one: impl AsyncRead + AsyncWrite + Unpin, other: impl AsyncRead + AsyncWrite + Unpin) {
    let bytes = noise(3_000_000);
    let (mut one_reads, mut one_writes) = tokio::io::split(one);
    let (mut other_reads, mut other_writes) = tokio::io::split(other);
    tokio::join!(
        write(&mut one_writes, &bytes, 1),
        write(&mut other_writes, &bytes, 2),
        read(&mut one_reads, &bytes, 3),
        read(&mut other_reads, &bytes, 4),
    );
}

async fn write(writer: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8], seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    while !bytes.is_empty() {
        let most = [10, 1_000, 20_000, 200_000][random.usize(..4)];
        let (now, later) = bytes.split_at(random.usize(1..=most).min(bytes.len()));
        if random.bool() {
            writer.write_all(now).await.expect("connected");
            bytes = later;
        } else {
            let pieces = [IoSlice::new(&now[..now.len() / 2]), IoSlice::new(&now[now.len() / 2..])];
            let written = writer.write_vectored(&pieces).await.expect("connected");
            assert!(written > 0);
            bytes = &bytes[written..];
        }
        if random.u8(..4) == 0 {
            writer.flush().await.expect("connected");
        }
    }
    writer.flush().await.expect("connected");
}

async fn read(reader: &mut (impl AsyncRead + Unpin), bytes: &[u8], seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut at = 0;
    while at < bytes.len() {
        let most = [10, 1_000, 100_000][random.usize(..3)];
        let mut space = vec![0; random.usize(1..=most).min(bytes.len() - at)];
        let count = reader.read(&mut space).await.expect("connected");
        assert!(count > 0, "it ended at {at}");
        assert!(space[..count] == bytes[at..at + count], "other bytes from {at} on");
        at += count;
    }
}

#[tokio::test]
async fn bytes_pass_both_ways_to_clients_and_to_brokers() {
    for version in [&TLS12, &TLS13] {
        let (client, server) = site(version).serve().await;
        exchange(client, server).await;
        let (client, server) = site(version).visit().await;
        exchange(client, server).await;
    }
}

#[tokio::test]
async fn messages_in_the_smallest_records_are_put_together() {
    let mut site = site(&TLS13);
    (site.client.max_fragment_size, site.server.max_fragment_size) = (Some(64), Some(64));
    let (mut client, mut server) = site.serve().await;
    client.write_all(b"in").await.expect("connected");
    assert_eq!(server.read_u16().await.expect("connected").to_be_bytes(), *b"in");
}

fn assert_holds_nothing<E>(stream: &TlsStream<E>) {
    assert_eq!((stream.unread.capacity(), stream.plain.capacity(), stream.unsent.capacity()), (0, 0, 0));
}

#[tokio::test]
async fn whoever_idles_holds_no_buffer() {
    let (mut client, mut server) = site(&TLS13).serve().await;
    let bytes = noise(100_000);
    for _ in 0..2 {
        let (sent, ()) = tokio::join!(client.write_all(&bytes), read(&mut server, &bytes, 1));
        sent.expect("connected");
        let (sent, ()) = tokio::join!(server.write_all(&bytes), read(&mut client, &bytes, 1));
        sent.expect("connected");
    }
    server.flush().await.expect("connected");
    assert_holds_nothing(&server);
}

#[tokio::test]
async fn the_ticket_goes_with_the_first_answer() {
    let (mut client, mut server) = site(&TLS13).serve().await;
    assert!(!server.unsent.is_empty());
    server.write_all(b"!").await.expect("connected");
    assert_holds_nothing(&server);
    assert_eq!(client.read_u8().await.expect("connected"), b'!');
}

#[tokio::test]
async fn a_peer_that_does_not_read_slows_the_writer_down_and_misses_nothing() {
    let (mut client, mut server) = site(&TLS13).serve().await;
    let bytes = noise(60_000);
    let mut count = 0;
    // The buffers of the kernel grow for a while.
    while let Ok(written) =
        tokio::time::timeout(std::time::Duration::from_millis(200), server.write_all(&bytes)).await
    {
        written.expect("connected");
        count += 1;
        assert!(count < 10_000, "nothing slows it down");
    }
    assert!(server.unsent.len() <= MAX_HELD + MAX_WRITE + OVERHEAD, "{}", server.unsent.len());
    // What was under way when it was given up may have been taken.
    for _ in 0..count {
        tokio::select! {
            biased;
            () = read(&mut client, &bytes, 5) => {}
            flushed = async { server.flush().await.expect("connected"); std::future::pending::<()>().await } => flushed,
        }
    }
}

#[tokio::test]
async fn what_is_held_back_goes_in_one_piece() {
    let (client, mut server) = site(&TLS13).serve().await;
    server.flush().await.expect("connected");
    let mut socket = client.into_inner().0;
    socket.readable().await.expect("the ticket");
    while socket.try_read(&mut [0; 4096]).is_ok() {}
    server.hold_back();
    server.write_all(b"refused").await.expect("connected");
    server.write_all(b"for good").await.expect("connected");
    let held = server.unsent.len();
    assert!(held > 15 && socket.try_read(&mut [0; 4096]).is_err());
    server.shutdown().await.expect("connected");
    let mut all = Vec::new();
    socket.read_to_end(&mut all).await.expect("connected");
    // A close_notify is the two bytes of an alert, in a record.
    assert_eq!(all.len(), held + 5 + 2 + 1 + 16);
}

#[tokio::test]
async fn the_end_is_told_and_heard() {
    for version in [&TLS12, &TLS13] {
        let (mut client, mut server) = site(version).serve().await;
        client.write_all(b"last").await.expect("connected");
        client.shutdown().await.expect("connected");
        let mut heard = Vec::new();
        server.read_to_end(&mut heard).await.expect("connected");
        assert_eq!(heard, b"last");
        server.write_all(b"words").await.expect("connected");
        server.shutdown().await.expect("connected");
        // This would fail where the end were not told.
        heard.clear();
        client.read_to_end(&mut heard).await.expect("told");
        assert_eq!(heard, b"words");
    }
}

#[tokio::test]
async fn a_peer_that_just_goes_has_ended() {
    let (client, mut server) = site(&TLS13).serve().await;
    drop(client);
    assert_eq!(server.read(&mut [0; 10]).await.expect("ended"), 0);
    assert_eq!(server.read(&mut [0; 10]).await.expect("ended"), 0);
}

#[tokio::test]
async fn keys_change_under_way() {
    let (mut client, mut server) = site(&TLS13).serve().await;
    for round in 0..5_u8 {
        client.get_mut().1.refresh_traffic_keys().expect("TLS 1.3");
        client.write_all(&[round; 3]).await.expect("connected");
        let mut heard = [0; 3];
        server.read_exact(&mut heard).await.expect("connected");
        assert_eq!(heard, [round; 3]);
        server.write_all(&[round; 5]).await.expect("connected");
        let mut heard = [0; 5];
        client.read_exact(&mut heard).await.expect("connected");
        assert_eq!(heard, [round; 5]);
    }
}

#[tokio::test]
async fn what_came_before_a_broken_record_is_read_first() {
    let (mut client, mut server) = site(&TLS13).serve().await;
    client.write_all(b"good").await.expect("connected");
    let (mut socket, mut end) = client.into_inner();
    socket.write_all(&[23, 3, 3, 0, 20]).await.expect("connected");
    socket.write_all(&[7; 20]).await.expect("connected");
    let mut heard = [0; 4];
    server.read_exact(&mut heard).await.expect("good");
    let error = server.read(&mut [0; 4]).await.expect_err("broken");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(server.read(&mut [0; 4]).await.expect("it has ended"), 0);
    assert!(server.write_all(b"anything").await.is_err());
    // It is told why: bad_record_mac. [RFC 8446, section 6.2]
    drop(server);
    let mut told = Vec::new();
    let _ = socket.read_to_end(&mut told).await;
    let mut told = &told[..];
    while end.read_tls(&mut told).is_ok_and(|count| count > 0) {}
    let error = end.process_new_packets().expect_err("an alert");
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
}

/// A client that writes records by itself.
struct Forger {
    socket: TcpStream,
    key: LessSafeKey,
    iv: [u8; 12],
    number: u64,
}

impl Forger {
    fn new(client: client::TlsStream<TcpStream>) -> Forger {
        let (socket, end) = client.into_inner();
        let secrets = end.dangerous_extract_secrets().expect("they may be");
        let (number, ConnectionTrafficSecrets::Aes128Gcm { key, iv }) = secrets.tx else {
            panic!("another suite")
        };
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key.as_ref()).expect("a key"));
        let iv = iv.as_ref().try_into().expect("twelve bytes");
        Forger { socket, key, iv, number }
    }

    /// \[RFC 8446, section 5.2\]
    async fn send(&mut self, kind: u8, text: &[u8]) {
        let mut nonce = self.iv;
        for (byte, part) in nonce[4..].iter_mut().zip(self.number.to_be_bytes()) {
            *byte ^= part;
        }
        self.number += 1;
        let length = u16::try_from(text.len() + 17).expect("a short one").to_be_bytes();
        let header = [23, 3, 3, length[0], length[1]];
        let mut record = [text, &[kind]].concat();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(header), &mut record)
            .expect("sealed");
        self.socket.write_all(&header).await.expect("connected");
        self.socket.write_all(&record).await.expect("connected");
    }
}

const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

#[tokio::test]
async fn half_a_message_does_no_harm_to_whoever_writes_meanwhile() {
    let (client, mut server) = site(&TLS13).serve().await;
    let mut forger = Forger::new(client);
    forger.send(APPLICATION_DATA, b"a").await;
    assert_eq!(server.read_u8().await.expect("connected"), b'a');
    forger.send(HANDSHAKE, &KEY_UPDATE[..3]).await;
    let waiting = tokio::time::timeout(std::time::Duration::from_millis(50), server.read_u8());
    assert!(waiting.await.is_err());
    assert!(!server.unread.is_empty(), "rustls wants the first half again");
    server.write_all(b"meanwhile").await.expect("connected");
    server.flush().await.expect("connected");
    forger.send(HANDSHAKE, &KEY_UPDATE[3..]).await;
    // The next record needs the next key, which a forger has not.
    forger.send(APPLICATION_DATA, b"b").await;
    assert_eq!(server.read_u8().await.expect_err("another key").kind(), io::ErrorKind::InvalidData);
    assert!(server.write_all(b"anything").await.is_err());
}

#[tokio::test]
async fn half_messages_without_end_are_refused() {
    let (client, mut server) = site(&TLS13).serve().await;
    let mut forger = Forger::new(client);
    // As long as a message may say that it is, and longer than anybody may send after the handshake.
    forger.send(HANDSHAKE, &[24, 0xff, 0xff, 0xff]).await;
    let flooding = async {
        for _ in 0..20 {
            forger.send(HANDSHAKE, &[0; 16_000]).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        read = server.read_u8() => assert_eq!(read.expect_err("too long").kind(), io::ErrorKind::InvalidData),
        () = flooding => {}
    }
    assert!(server.unread.len() <= MAX_UNREAD + MAX_RECORD, "{}", server.unread.len());
    assert!(server.write_all(b"anything").await.is_err());
}

#[tokio::test]
async fn whatever_a_peer_says_under_the_right_key_does_no_harm() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (client, mut server) = site(&TLS13).serve().await;
        let mut forger = Forger::new(client);
        let speaking = async {
            for _ in 0..random.usize(1..20) {
                let kind =
                    [APPLICATION_DATA, APPLICATION_DATA, HANDSHAKE, 21, 20, random.u8(..)][random.usize(..6)];
                let mut text = noise(random.usize(..40));
                if let Some(first) = text.first_mut().filter(|_| kind == HANDSHAKE) {
                    *first = random.u8(..26);
                }
                forger.send(kind, &text).await;
            }
            drop(forger);
        };
        let serving = async {
            let mut space = [0; 7];
            let mut heard = 0;
            while let Ok(count) = server.read(&mut space).await
                && count > 0
            {
                heard += count;
                // Whoever has erred is told nothing more.
                let _ = server.write_all(b"well").await;
            }
            let _ = server.shutdown().await;
            heard
        };
        let ((), heard) = tokio::join!(speaking, serving);
        assert!(heard <= 20 * 40);
        assert!(server.unread.len() < MAX_RECORD);
    }
}
