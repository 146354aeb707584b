//! Closes a connection so that the peer reads the last words.
//!
//! A socket that is closed while bytes of the peer lie unread answers with RST, and an RST makes the peer's kernel
//! throw away what it has received and not yet read: the very CONNACK that was to explain the refusal. So the last
//! words are followed by FIN, and what the peer still sends is read and dropped, for a while and up to a limit.

use super::scratch;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// How long a peer may take to read the last words and close.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much a peer may send on without being cut off, in bytes.
const MAX_DRAINED: usize = 256 * 1024;

/// Writes `last_words`, ends the writing side, waits for the peer to close, and closes.
pub async fn close<S>(stream: S, last_words: &[u8])
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    close_within(stream, last_words, MAX_DRAINED).await;
}

/// As [`close`], with a peer that may send as much as it likes meanwhile: a broker that has much to say hears the last
/// words all the same.
pub async fn close_broker<S>(stream: S, last_words: &[u8])
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    close_within(stream, last_words, usize::MAX).await;
}

async fn close_within<S>(mut stream: S, last_words: &[u8], max_drained: usize)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // Whatever goes wrong here, the connection ends, which is what this is for.
    let _ = timeout(PATIENCE, async {
        if !last_words.is_empty() {
            stream.write_all(last_words).await?;
        }
        stream.shutdown().await?;
        let mut drained = 0;
        while drained < max_drained {
            let read = poll_fn(|cx| {
                scratch::poll_read(Pin::new(&mut stream), cx, usize::MAX, |_, bytes| bytes.len())
            })
            .await?;
            if read == 0 {
                break;
            }
            drained = drained.saturating_add(read);
        }
        std::io::Result::Ok(())
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("listening");
        (client, listener.accept().await.expect("connected").0)
    }

    #[tokio::test]
    async fn a_peer_that_keeps_talking_still_reads_the_last_words() {
        let (mut client, server) = pair().await;
        client.write_all(&vec![0; 100_000]).await.expect("connected");
        let closing = tokio::spawn(async move { close(server, b"last words").await });
        let mut words = Vec::new();
        client.read_to_end(&mut words).await.expect("no reset");
        assert_eq!(words, b"last words");
        drop(client);
        closing.await.expect("closed");
    }

    #[tokio::test]
    async fn a_broker_that_has_much_to_say_still_hears_the_last_words() {
        let (mut broker, proxy) = pair().await;
        let closing = tokio::spawn(async move { close_broker(proxy, b"last words").await });
        // More than the kernel keeps for whoever does not read.
        broker.write_all(&vec![0; 64 * MAX_DRAINED]).await.expect("nobody cuts it off");
        let mut words = Vec::new();
        broker.read_to_end(&mut words).await.expect("no reset");
        assert_eq!(words, b"last words");
        drop(broker);
        closing.await.expect("closed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_closes_is_left() {
        let (_client, server) = tokio::io::duplex(64);
        let begin = tokio::time::Instant::now();
        close(server, b"bye").await;
        assert_eq!(begin.elapsed(), PATIENCE);
    }

    #[tokio::test]
    async fn a_peer_that_never_stops_is_cut_off() {
        let (mut client, server) = pair().await;
        let closing = tokio::spawn(async move { close(server, b"bye").await });
        let error = loop {
            if let Err(error) = client.write_all(&vec![0; 65_536]).await {
                break error;
            }
        };
        assert!(
            matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe),
            "{error}"
        );
        closing.await.expect("closed");
    }
}
