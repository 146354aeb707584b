//! Reads a whole list as it comes, in the memory of a few records.

use super::{CallError, Caller, empty, refusal};
use crate::admin::lists::path_name;
use crate::admission::List;
use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io::{self, Read};
use tokio::runtime::Runtime;

/// A list in the form of JSON lines, while it comes. Reading blocks, and fails where the list breaks off.
#[derive(Debug)]
pub struct Exported<'r> {
    runtime: &'r Runtime,
    body: Incoming,
    chunk: Bytes,
}

impl Caller {
    /// All that was made at run time and fits this query, which may be empty.
    ///
    /// # Errors
    /// The proxy cannot be asked, or refuses.
    pub fn export<'r>(
        &self,
        list: List,
        query: &str,
        runtime: &'r Runtime,
    ) -> Result<Exported<'r>, CallError> {
        let body = runtime.block_on(async {
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(self.way.open().await?)).await.map_err(CallError::Broke)?;
            // It moves while somebody reads, and says there what has gone wrong.
            runtime.spawn(connection);
            let path = format!("{}/export?format=jsonl{query}", path_name(list));
            let request = self.request(Method::GET, &path, empty())?;
            let answer = sender.send_request(request).await.map_err(CallError::Broke)?;
            if answer.status().is_success() {
                return Ok(answer.into_body());
            }
            Err(refusal(&answer.into_body().collect().await.map_err(CallError::Broke)?.to_bytes()))
        })?;
        Ok(Exported { runtime, body, chunk: Bytes::new() })
    }
}

impl Read for Exported<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            let Some(frame) = self.runtime.block_on(self.body.frame()) else { return Ok(0) };
            self.chunk = frame.map_err(io::Error::other)?.into_data().unwrap_or_default();
        }
        let count = self.chunk.len().min(out.len());
        let (some, room) = (self.chunk.get(..count), out.get_mut(..count));
        if let (Some(some), Some(room)) = (some, room) {
            room.copy_from_slice(some);
        }
        self.chunk.advance(count);
        Ok(count)
    }
}
