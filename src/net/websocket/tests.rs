use super::*;
use crate::wire::websocket::frame::{apply_mask, control};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

const MASK: [u8; 4] = [9, 8, 7, 6];
const PATIENCE: Duration = Duration::from_secs(10);
const REQUEST: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn masked(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Header::new(Opcode::Binary, payload.len(), Some(MASK)).as_bytes().to_vec();
    let begin = bytes.len();
    bytes.extend_from_slice(payload);
    apply_mask(&mut bytes[begin..], MASK, 0);
    bytes
}

async fn sockets() -> (TcpStream, Stream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("listening");
    (client, listener.accept().await.expect("connected").0.into())
}

fn rules() -> Rules {
    Rules { path: "/mqtt".to_owned(), hosts: Vec::new(), origins: Vec::new() }
}

/// A client whose upgrade was answered, and our end.
async fn pair() -> (TcpStream, WebSocket) {
    let (mut client, stream) = sockets().await;
    client.write_all(REQUEST).await.expect("connected");
    let (server, _) = accept(stream, &rules(), 1 << 20, PATIENCE).await.expect("an upgrade");
    let mut answer = [0; 1024];
    let count = client.read(&mut answer).await.expect("an answer");
    assert!(answer[..count].starts_with(b"HTTP/1.1 101 ") && answer[..count].ends_with(b"\r\n\r\n"));
    (client, server)
}

#[tokio::test]
async fn bytes_pass_both_ways_and_frames_do_not() {
    let (mut client, mut server) = pair().await;
    for piece in [&b"\x10\x0e\0\x04MQ"[..], b"TT", b"\x04\x02\0\0\0\x02ab"] {
        client.write_all(&masked(piece)).await.expect("connected");
    }
    let mut connect = [0; 16];
    server.read_exact(&mut connect).await.expect("all of it");
    assert_eq!(&connect, b"\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x02ab");
    server.write_all(b"\x20\x02\0\0").await.expect("connected");
    let mut frame = [0; 6];
    client.read_exact(&mut frame).await.expect("a frame");
    assert_eq!(&frame, b"\x82\x04\x20\x02\0\0");
}

#[tokio::test]
async fn what_comes_before_the_answer_is_not_lost() {
    let (mut client, stream) = sockets().await;
    client.write_all(&[REQUEST, &masked(b"early")].concat()).await.expect("connected");
    let (mut server, _) = accept(stream, &rules(), 1 << 20, PATIENCE).await.expect("an upgrade");
    let mut early = [0; 5];
    server.read_exact(&mut early).await.expect("all of it");
    assert_eq!(&early, b"early");
}

#[tokio::test]
async fn pings_are_answered_and_the_close_is_returned() {
    let (mut client, mut server) = pair().await;
    client.write_all(&control(Opcode::Ping, b"there?", Some(MASK))).await.expect("connected");
    client.write_all(&control(Opcode::Close, &1001_u16.to_be_bytes(), Some(MASK))).await.expect("connected");
    assert_eq!(server.read(&mut [0; 100]).await.expect("the end"), 0);
    assert_eq!(server.read(&mut [0; 100]).await.expect("still the end"), 0);
    assert!(server.write_all(b"more").await.is_err(), "nothing may follow a close");
    server.shutdown().await.expect("connected");
    let mut answers = Vec::new();
    client.read_to_end(&mut answers).await.expect("until the end");
    assert_eq!(answers, b"\x8a\x06there?\x88\x02\x03\xe9");
}

#[tokio::test]
async fn a_broken_rule_ends_the_stream_with_its_code() {
    let (mut client, mut server) = pair().await;
    client.write_all(b"\x81\x85text!").await.expect("connected");
    let error = server.read(&mut [0; 100]).await.expect_err("text");
    assert_eq!(error.to_string(), "WebSocket text, which MQTT never is");
    drop(server);
    let mut answer = [0; 4];
    client.read_exact(&mut answer).await.expect("a close");
    assert_eq!(answer, *b"\x88\x02\x03\xeb");
}

#[tokio::test]
async fn large_writes_come_out_whole_whatever_the_socket_takes() {
    let (mut client, mut server) = pair().await;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        // Pieces of all sizes, the frames of which the socket takes in parts.
        for piece in sent.chunks(700_001).flat_map(|chunk| chunk.chunks(33_333)) {
            server.write_all(piece).await.expect("connected");
        }
        server.shutdown().await.expect("connected");
    });
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).await.expect("connected");
    writing.await.expect("no panic");
    let mut reader = Reader::new(Role::Client, 1 << 30);
    let taken = reader.take(&mut bytes).expect("well formed");
    assert_eq!((taken.close, &bytes[..taken.data]), (Some(Some(NORMAL)), &expected[..]));
}

#[tokio::test]
async fn both_ends_of_ours_understand_each_other() {
    let (client, server) = sockets().await;
    let dialling = tokio::spawn(dial(client.into(), "localhost:1", "/mqtt"));
    let (mut server, upgrade) = accept(server, &rules(), 1 << 30, PATIENCE).await.expect("an upgrade");
    assert_eq!(upgrade.host, "localhost");
    let mut client = dialling.await.expect("no panic").expect("a WebSocket");
    let sent: Vec<u8> = (0..1_000_000_u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[2]).collect();
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        client.write_all(&sent).await.expect("connected");
        client.shutdown().await.expect("connected");
        let mut back = Vec::new();
        client.read_to_end(&mut back).await.expect("connected");
        back
    });
    let mut got = Vec::new();
    server.read_to_end(&mut got).await.expect("connected");
    assert!(got == expected);
    // After a close nothing is written but the close itself.
    server.shutdown().await.expect("connected");
    drop(server);
    assert_eq!(writing.await.expect("no panic"), b"");
}

#[tokio::test]
async fn a_broker_without_websockets_is_an_error_in_words() {
    let (client, mut server) = sockets().await;
    let dialling = tokio::spawn(dial(client.into(), "localhost:1", "/mqtt"));
    server.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").await.expect("connected");
    let error = dialling.await.expect("no panic").expect_err("no WebSocket");
    assert_eq!(error.to_string(), "the answer is HTTP 404; expected 101 Switching Protocols");
}

#[tokio::test]
async fn nobody_makes_it_hold_more_than_a_few_pongs() {
    let (mut client, mut server) = pair().await;
    let pings = control(Opcode::Ping, &[7; 125], Some(MASK)).repeat(20_000);
    let flood = tokio::spawn(async move {
        // Reads no pong until all is sent.
        client.write_all(&pings).await.expect("connected");
        client.write_all(&masked(b"x")).await.expect("connected");
        client
    });
    assert_eq!(server.read(&mut [0; 100]).await.expect("data at last"), 1);
    assert!(server.pending.len() <= MAX_PENDING + frame::MAX_CONTROL + 4, "{}", server.pending.len());
    drop(flood.await.expect("no panic"));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_drips_is_given_up_and_a_bad_one_is_refused() {
    let (mut client, stream) = sockets().await;
    client.write_all(b"GET /mqtt HT").await.expect("connected");
    let (failure, _) = accept(stream, &rules(), 1, PATIENCE).await.expect_err("too slow");
    assert!(matches!(failure, NoWebSocket::TimedOut(_)), "{failure}");
    let (mut client, stream) = sockets().await;
    client.write_all(&REQUEST.repeat(2)[..60]).await.expect("connected");
    drop(client);
    let (failure, _) = accept(stream, &rules(), 1, PATIENCE).await.expect_err("it closed");
    assert!(matches!(failure, NoWebSocket::ClosedEarly(60)), "{failure}");
    let (client, stream) = sockets().await;
    drop(client);
    assert!(matches!(accept(stream, &rules(), 1, PATIENCE).await, Err((NoWebSocket::Probe, _))));
}
