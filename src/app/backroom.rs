//! Threads for what nobody's connection waits for: those of the API. They have the lowest priority, so that whoever lists
//! a million bans takes from the connections only what they leave.

use crate::process;
use std::io;
use std::num::NonZero;
use std::thread::available_parallelism;
use tokio::runtime::{Builder, EnterGuard, Runtime};
use tracing::debug;

/// A runtime of its own.
#[derive(Debug)]
pub(super) struct Backroom(Option<Runtime>);

/// More would help one caller no further.
const MAX_WORKERS: usize = 4;
/// Threads for calls that read the lists on disk, or hash passwords.
const MAX_READERS: usize = 64;

impl Backroom {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system has no threads left.
    pub(super) fn open() -> io::Result<Backroom> {
        let workers = available_parallelism().map_or(1, NonZero::get).min(MAX_WORKERS);
        Builder::new_multi_thread()
            .worker_threads(workers)
            .max_blocking_threads(MAX_READERS)
            .thread_name("api")
            .on_thread_start(|| {
                // Where the system does not allow it, the API is merely as important as everybody.
                if let Err(error) = process::step_back() {
                    debug!(%error, "the API's threads keep their priority");
                }
            })
            .enable_all()
            .build()
            .map(|runtime| Backroom(Some(runtime)))
    }

    /// While what is returned lives, tasks are spawned and sockets registered here.
    pub(super) fn enter(&self) -> Option<EnterGuard<'_>> {
        self.0.as_ref().map(Runtime::enter)
    }
}

impl Drop for Backroom {
    /// Waits for nobody: a runtime must not be waited for inside another.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
