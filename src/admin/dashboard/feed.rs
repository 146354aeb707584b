//! Looks at the process once a second, remembers what the charts show, and tells everybody who listens.

use super::pulse::{Pulse, sample};
use crate::admin::api::Admin;
use crate::admin::auth::{self, Origin};
use crate::admin::fault::Fault;
use crate::admin::server::Line;
use crate::dashboard::{History, Point, Span};
use crate::net::stop::Stop;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval};

/// What everybody who watches is shown. Clones share it.
#[derive(Debug, Clone)]
pub struct Board(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    history: Mutex<History>,
    /// The latest event, as it is sent.
    latest: watch::Sender<Bytes>,
    places: Arc<Semaphore>,
}

/// How many may listen at once.
const MAX_LISTENERS: usize = 64;

impl Default for Board {
    fn default() -> Board {
        Board(Arc::new(Shared {
            history: Mutex::default(),
            latest: watch::Sender::default(),
            places: Arc::new(Semaphore::new(MAX_LISTENERS)),
        }))
    }
}

impl Board {
    pub(super) fn points(&self, span: Span, now: crate::admission::Timestamp) -> Vec<Point> {
        self.history().points(span, now)
    }

    /// A thread that panicked has left the history whole.
    fn history(&self) -> MutexGuard<'_, History> {
        self.0.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admin {
    /// Looks at the process once a second until `stop` is raised, for the dashboard, where it is on.
    pub async fn watch(self, stop: Stop) {
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                () = stop.raised() => return,
                _ = seconds.tick() => {}
            }
            if !self.limits.load().dashboard {
                continue;
            }
            let now = self.bouncer.clock().now();
            let counted = sample(&self, now);
            self.board.history().record(now, counted);
            let latest = &self.board.0.latest;
            if latest.receiver_count() > 0 {
                latest.send_replace(event(&self));
            }
        }
    }
}

/// The event that tells how it is now.
fn event(admin: &Admin) -> Bytes {
    let told = serde_json::to_string(&Pulse::of(admin)).unwrap_or_default();
    format!("event: pulse\ndata: {told}\n\n").into()
}

/// What goes on in one listener's stream.
struct Listening {
    admin: Admin,
    origin: Origin,
    headers: HeaderMap,
    latest: watch::Receiver<Bytes>,
    stop: Stop,
    told: u32,
    _place: OwnedSemaphorePermit,
}

/// After so many events it is looked at whether whoever listens may still do so.
const TRUST: u32 = 10;

/// Tells how it is, now and every second, until the listener goes, may not listen any more, or the process stops.
pub(super) async fn feed(
    State(admin): State<Admin>,
    Extension(Line { stop, .. }): Extension<Line>,
    origin: Origin,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let place = Arc::clone(&admin.board.0.places).try_acquire_owned().map_err(|_| {
        let message = format!("{MAX_LISTENERS} pages listen already; close one of them");
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_LISTENERS", &message)
    })?;
    let latest = admin.board.0.latest.subscribe();
    let first = event(&admin);
    let listening = Listening { admin, origin, headers, latest, stop, told: 0, _place: place };
    let rest = stream::unfold(listening, next);
    let events = stream::StreamExt::chain(stream::iter([Ok::<_, Infallible>(first)]), rest);
    let head = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        // Else nginx keeps back what it is to pass on.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((head, Body::from_stream(events)).into_response())
}

async fn next(mut listening: Listening) -> Option<(Result<Bytes, Infallible>, Listening)> {
    let Listening { admin, origin, headers, latest, stop, told, .. } = &mut listening;
    tokio::select! {
        biased;
        () = stop.raised() => return None,
        changed = latest.changed() => changed.ok()?,
    }
    *told += 1;
    let may_listen = *told % TRUST > 0 || auth::who(admin, *origin, headers).is_ok();
    if !may_listen || !admin.limits.load().dashboard {
        return None;
    }
    let event = latest.borrow_and_update().clone();
    Some((Ok(event), listening))
}
