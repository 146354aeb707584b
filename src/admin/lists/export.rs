//! Writes a list as a file: of one moment, whatever is changed meanwhile, and in the memory of a few records.

use super::import::FORMATS;
use super::target::Listed;
use super::wanted::{Wanted, of_export};
use crate::admin::api::Admin;
use crate::admin::fault::{Fault, FaultBody};
use crate::admin::query::Params;
use crate::admission::List;
use crate::exchange::{Format, WriteError, Writer};
use crate::store::{Entry, ReadError, Selection, View};
use crate::telemetry::Chain;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{info, warn};

/// Writes a list as a file. Without filters, all that was made at run time.
#[utoipa::path(
    get,
    path = "/api/v5/{list}/export",
    tag = "lists",
    params(
        ("list" = String, Path, description = "`banned` or `exemptions`"),
        ("format" = Option<String>, Query, description = "`jsonl` (if nothing is said), `emqx-csv`, `emqx-json`, `tbmq-json` or `plain`"),
        ("skip_unwritable" = Option<bool>, Query, description = "leave out what the form cannot say; else that is a mistake"),
        ("as" = Option<String>, Query, description = "only of this kind; may be given several times"),
        ("by" = Option<String>, Query, description = "only made by this author"),
        ("reason" = Option<String>, Query, description = "only with this in the reason"),
        ("status" = Option<String>, Query, description = "`active`, `expired` or `deleting_soon`"),
        ("gte_until" = Option<String>, Query, description = "only those that end at this moment or later"),
        ("lte_until" = Option<String>, Query, description = "only those that end at this moment or before"),
        ("gte_at" = Option<String>, Query, description = "only those made at this moment or later"),
        ("lte_at" = Option<String>, Query, description = "only those made at this moment or before"),
        ("text" = Option<String>, Query, description = "only those with this in their text"),
        ("source" = Option<String>, Query, description = "only what is in force as this source says: `run_time` or `file`; all that is kept if nothing is said"),
    ),
    responses(
        (status = OK, description = "the file", body = String, content_type = "application/x-ndjson"),
        (status = BAD_REQUEST, description = "it cannot be written in that form; the message names the first that cannot", body = FaultBody),
        (status = NOT_FOUND, description = "there is no such list", body = FaultBody),
    )
)]
pub(super) async fn export(
    State(admin): State<Admin>,
    Listed(list): Listed,
    RawQuery(query): RawQuery,
) -> Result<Response, Fault> {
    let params = Params::read(query.as_deref(), &of_export())?;
    let format = params.parsed("format", |name| name.parse().ok(), FORMATS)?.unwrap_or(Format::JsonLines);
    let skip_unwritable = params.flag("skip_unwritable")?;
    let selection = Wanted::for_export(&params, admin.moment())?;
    let (out, body) = mpsc::channel(CHUNKS);
    let (checked, may_begin) = oneshot::channel();
    let out = if admin.store.path().is_some() {
        Out { buffer: Vec::new(), to: Some((out, Handle::current())) }
    } else {
        // The store's own thread does the work, and must not wait for a slow reader.
        Out { buffer: Vec::new(), to: None }
    };
    let job = Job { list, format, skip_unwritable, selection };
    let store = admin.store.clone();
    let work = tokio::spawn(async move { store.look_long(move |view| job.run(&view, out, checked)).await });
    // Nothing comes when the store cannot be read: the work says why.
    let body = match may_begin.await {
        Ok(Err(fault)) => return Err(fault),
        Ok(Ok(())) if admin.store.path().is_some() => streamed(body),
        Ok(Ok(())) | Err(_) => match work.await {
            Ok(whole) => Body::from(whole?),
            Err(_) => return Err(Fault::internal(&"the list could not be written")),
        },
    };
    info!(%list, %format, "exported");
    let kind = match format {
        Format::JsonLines => "application/x-ndjson",
        Format::EmqxCsv => "text/csv; charset=utf-8",
        Format::EmqxJson | Format::TbmqJson => "application/json",
        Format::Plain => "text/plain; charset=utf-8",
    };
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response())
}

/// A body that breaks off, instead of ending, where the list does.
fn streamed(chunks: mpsc::Receiver<Option<Bytes>>) -> Body {
    Body::from_stream(stream::unfold(Some(chunks), |chunks| async {
        let mut chunks = chunks?;
        match chunks.recv().await {
            Some(Some(chunk)) => Some((Ok(chunk), Some(chunks))),
            Some(None) => None,
            None => Some((Err(io::Error::other("the list was not written to its end")), None)),
        }
    }))
}

struct Job {
    list: List,
    format: Format,
    skip_unwritable: bool,
    selection: Selection,
}

type MayBegin = oneshot::Sender<Result<(), Fault>>;

impl Job {
    /// Returns what was written, where nobody takes it piece by piece.
    fn run(self, view: &View<'_>, out: Out, may_begin: MayBegin) -> Result<Vec<u8>, ReadError> {
        view.at_one_moment(|view| {
            // Whoever has the first half of a file cannot be told any more that there is no second one.
            let checked = if self.skip_unwritable || self.format == Format::JsonLines {
                Ok(())
            } else {
                self.write(view, Writer::new(self.format, io::sink())).map(drop)
            };
            let is_good = checked.is_ok();
            let told = checked.map_err(|error| match error {
                Trouble::Read(error) => error.into(),
                Trouble::Write(error) => {
                    Fault::bad_request(&format!("{}; skip_unwritable=true leaves it out", Chain(&error)))
                }
            });
            if may_begin.send(told).is_err() || !is_good {
                return Ok(Vec::new());
            }
            match self.write(view, Writer::new(self.format, out)) {
                Ok(out) => Ok(out.end()),
                Err(Trouble::Read(error)) => {
                    warn!(list = %self.list, error = %Chain(&error), "an export broke off");
                    Err(error)
                }
                // The caller has gone, or sleeps.
                Err(Trouble::Write(_)) => Ok(Vec::new()),
            }
        })?
    }

    fn write<W: Write>(&self, view: &View<'_>, mut writer: Writer<W>) -> Result<W, Trouble> {
        let mut trouble = None;
        view.for_each(self.list, &self.selection, |entry| match self.write_one(&mut writer, entry) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                trouble = Some(error);
                ControlFlow::Break(())
            }
        })
        .map_err(Trouble::Read)?;
        match trouble {
            Some(error) => Err(Trouble::Write(error)),
            None => writer.finish().map_err(|error| Trouble::Write(error.into())),
        }
    }

    fn write_one<W: Write>(&self, writer: &mut Writer<W>, entry: Entry) -> Result<(), WriteError> {
        // The proxy has read the row before, at its start.
        let ban = entry.ban().map_err(|error| io::Error::other(error.to_string()))?;
        match writer.write(&ban) {
            Err(WriteError::Unwritable { .. }) if self.skip_unwritable => Ok(()),
            written => written,
        }
    }
}

enum Trouble {
    Read(ReadError),
    Write(WriteError),
}

/// Gathers what is written and passes it on, chunk by chunk, or keeps it where there is nobody to pass it to.
struct Out {
    buffer: Vec<u8>,
    to: Option<(mpsc::Sender<Option<Bytes>>, Handle)>,
}

impl Out {
    fn pass_on(&mut self, chunk: Option<Bytes>) -> io::Result<()> {
        let Some((to, runtime)) = &self.to else { return Ok(()) };
        let sent = runtime.block_on(timeout(PATIENCE, to.send(chunk)));
        if matches!(sent, Ok(Ok(()))) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    /// Says that the list is whole.
    fn end(mut self) -> Vec<u8> {
        // One that has gone by now does not care.
        let _ = self.pass_on(None);
        self.buffer
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.to.is_some() && self.buffer.len() >= CHUNK {
            let chunk = std::mem::take(&mut self.buffer);
            self.pass_on(Some(chunk.into()))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.to.is_some() && !self.buffer.is_empty() {
            let chunk = std::mem::take(&mut self.buffer);
            self.pass_on(Some(chunk.into()))?;
        }
        Ok(())
    }
}

/// How much is passed on at once, and how often before the first of it is taken.
const CHUNK: usize = 64 << 10;
const CHUNKS: usize = 4;

/// How long a caller may take for a chunk: until it is through, the write-ahead log cannot be emptied.
const PATIENCE: Duration = Duration::from_mins(1);
