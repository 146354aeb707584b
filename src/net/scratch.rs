//! Buffers per worker thread, so that a connection that waits holds none.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};

/// How much one read may bring, in bytes.
const SIZE: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SIZE].into_boxed_slice());
    static ENCRYPTED: RefCell<Box<[u8]>> = RefCell::new(vec![0; RECORDS].into_boxed_slice());
}

/// Room for as many records as one read may bring, and for what was left of the last, in bytes.
pub(super) const RECORDS: usize = SIZE + 18 * 1024 + 512;

/// Lends room for records. Whoever has it must not ask for it again.
pub(super) fn with_records<T>(with: impl FnOnce(&mut [u8]) -> T) -> T {
    ENCRYPTED.with_borrow_mut(|room| with(room))
}

/// Reads once, at most `limit` bytes, and lets `look` see them before the buffer is used for another connection.
/// An empty slice is the end of the stream. `look` must not read itself.
pub(super) fn poll_read<R, T>(
    reader: Pin<&mut R>,
    cx: &mut Context<'_>,
    limit: usize,
    look: impl FnOnce(&mut Context<'_>, &[u8]) -> T,
) -> Poll<io::Result<T>>
where
    R: AsyncRead + ?Sized,
{
    SCRATCH.with_borrow_mut(|scratch| {
        let space = scratch.get_mut(..limit.min(SIZE)).unwrap_or_default();
        let mut space = ReadBuf::new(space);
        let read = reader.poll_read(cx, &mut space);
        read.map_ok(|()| look(cx, space.filled()))
    })
}

/// Waits for bytes and appends at most `limit` of them to `buffer`, which grows by what came and no more. Returns how
/// many came; 0 is the end of the stream.
pub async fn read_some<R>(reader: &mut R, buffer: &mut Vec<u8>, limit: usize) -> io::Result<usize>
where
    R: AsyncRead + Unpin + ?Sized,
{
    poll_fn(|cx| {
        poll_read(Pin::new(&mut *reader), cx, limit, |_, bytes| {
            buffer.extend_from_slice(bytes);
            bytes.len()
        })
    })
    .await
}
