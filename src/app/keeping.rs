//! What outlives the process: the store with its first filling and its cleaning, and the socket of the command line.

use crate::admin::{Admin, Socket, SocketError};
use crate::admission::{List, Timestamp};
use crate::bouncer::Bouncer;
use crate::cleanup::{Cleanup, CleanupSettings, Due, Reading};
use crate::exchange::{self, Format, ReadOptions};
use crate::net::stop::Stop;
use crate::store::{Change, ChangeError, OpenError, Store};
use crate::telemetry::Chain;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info, warn};

/// The store and the socket in `data_dir`, at work.
#[derive(Debug)]
pub(super) struct Keeping {
    store: Store,
    cleanup: watch::Sender<CleanupSettings>,
    tasks: JoinSet<()>,
    stop: Stop,
}

/// What is in `data_dir` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The store.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The socket of the command line.
    #[error(transparent)]
    Socket(#[from] SocketError),
}

/// The store's file in `data_dir`.
pub const STORE_FILE: &str = "bans.db";
/// The socket of the command line in `data_dir`.
pub const SOCKET_FILE: &str = "control.sock";

impl Keeping {
    /// Puts in force what is in the store, and keeps it from then on. Must be called inside a tokio runtime.
    pub(super) fn start(
        data_dir: &Path,
        bootstrap_file: Option<&Path>,
        cleanup: CleanupSettings,
        bouncer: &Bouncer,
    ) -> Result<Keeping, KeepError> {
        let began = Instant::now();
        let path = data_dir.join(STORE_FILE);
        let (store, loaded) = Store::open(&path, Some(bouncer.clone()))?;
        info!(
            file = %path.display(),
            bans = loaded.bans,
            exemptions = loaded.exemptions,
            seconds = began.elapsed().as_secs_f64(),
            "store is open"
        );
        if let Some(file) = bootstrap_file.filter(|_| loaded.bans + loaded.exemptions == 0) {
            // Waiting for the store on this thread would stop the runtime.
            let _ = std::thread::scope(|scope| scope.spawn(|| bootstrap(file, &store, bouncer)).join());
        }
        let socket = Socket::bind(&data_dir.join(SOCKET_FILE))?;

        let (settings, changed_settings) = watch::channel(cleanup);
        let (mut tasks, stop) = (JoinSet::new(), Stop::default());
        let admin = Admin { bouncer: bouncer.clone(), store: store.clone() };
        let until = stop.clone();
        tasks.spawn(async move {
            if let Err(cause) = admin.serve(socket, async move { until.raised().await }).await {
                error!(error = %Chain(&cause), "the command line cannot reach this process any more");
            }
        });
        tasks.spawn(clean(store.clone(), bouncer.clone(), changed_settings));
        Ok(Keeping { store, cleanup: settings, tasks, stop })
    }

    /// Changes when ended bans are forgotten.
    pub(super) fn adjust(&self, cleanup: CleanupSettings) {
        self.cleanup.send_if_modified(|settings| std::mem::replace(settings, cleanup) != cleanup);
    }

    /// Answers whoever is asking, and closes the store. Everything acknowledged is on disk whether this is called or
    /// not.
    pub(super) async fn close(self) {
        let Keeping { store, cleanup, mut tasks, stop } = self;
        stop.raise();
        drop(cleanup);
        if timeout(LAST_PATIENCE, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
            tasks.shutdown().await;
        }
        // Waits for the disk.
        let _ = tokio::task::spawn_blocking(move || store.close()).await;
    }
}

/// How long callers may take to be served to their end.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// Fills an empty store, as EMQX fills its empty tables: what cannot be read is logged and skipped.
fn bootstrap(path: &Path, store: &Store, bouncer: &Bouncer) {
    match read_bootstrap(path, bouncer) {
        Ok((changes, wrong)) => {
            let bans = changes.len();
            match store.change_blocking(changes) {
                Ok(_) => info!(file = %path.display(), bans, wrong, "the empty store was filled"),
                Err(cause) => {
                    error!(file = %path.display(), error = %Chain(&cause), "the store stays empty");
                }
            }
        }
        Err(cause) => error!(file = %path.display(), error = %cause, "the store stays empty"),
    }
}

fn read_bootstrap(path: &Path, bouncer: &Bouncer) -> Result<(Vec<Change>, usize), String> {
    let shown = |cause: &dyn std::error::Error| Chain(cause).to_string();
    let mut file = BufReader::new(File::open(path).map_err(|cause| shown(&cause))?);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let begins = file.fill_buf().map_err(|cause| shown(&cause))?;
    let format = Format::guess(&name, begins).unwrap_or(Format::EmqxCsv);
    let (mut changes, mut wrong) = (Vec::new(), 0);
    let options =
        ReadOptions { now: bouncer.clock().now(), by: BOOTSTRAP.into(), kind: None, keep_expired: false };
    for record in exchange::read(format, file, options) {
        match record.map_err(|cause| shown(&cause))? {
            Ok(ban) => changes.push(Change::Put(List::Bans, ban)),
            Err(mistake) => {
                wrong += 1;
                if wrong <= MAX_MISTAKES {
                    warn!(file = %path.display(), %mistake, "not taken in");
                }
            }
        }
    }
    Ok((changes, wrong))
}

/// The author of bans that name none.
const BOOTSTRAP: &str = "bootstrap";

/// How many mistakes of a bootstrap file are logged one by one.
const MAX_MISTAKES: usize = 20;

/// Forgets ended bans, period by period, until the settings' sender is gone.
async fn clean(store: Store, bouncer: Bouncer, mut settings: watch::Receiver<CleanupSettings>) {
    let began = Instant::now();
    let read = || Reading { wall: bouncer.clock().now(), steady: began.elapsed() };
    let mut cleanup = Cleanup::new(settings.borrow().ttl, read());
    loop {
        let CleanupSettings { period, ttl } = *settings.borrow_and_update();
        cleanup.adjust(ttl);
        tokio::select! {
            () = sleep(period) => {}
            changed = settings.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        }
        match cleanup.due(read()) {
            Due::Forget(by) => {
                if let Err(cause) = forget(&store, by).await {
                    error!(error = %Chain(&cause), "ended bans stay in the store");
                }
            }
            Due::Jumped(millis) => {
                warn!(millis, "the wall clock was set; no ended ban is forgotten for an hour");
            }
            Due::Held => {}
        }
    }
}

/// Forgets in small pieces, so that nobody who adds a ban waits long.
async fn forget(store: &Store, by: Timestamp) -> Result<(), ChangeError> {
    for list in List::ALL {
        let mut forgotten = 0;
        loop {
            let removed = store.change(vec![Change::RemoveEnded { list, by, limit: PIECE }]).await?.removed;
            forgotten += removed;
            if removed < PIECE {
                break;
            }
        }
        if forgotten > 0 {
            info!(%list, forgotten, "ended long ago");
        }
    }
    Ok(())
}

/// How many ended bans are forgotten in one commit.
const PIECE: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{As, Ban, Terms, Until, Who};
    use crate::clock::Clock;

    const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const HOUR: Duration = Duration::from_hours(1);

    /// A store that is cleaned every hour, with one ban that ends after half an hour.
    struct Site {
        clock: Clock,
        bouncer: Bouncer,
        store: Store,
        settings: watch::Sender<CleanupSettings>,
        _folder: tempfile::TempDir,
    }

    impl Site {
        async fn new(ttl: Duration) -> Site {
            let folder = tempfile::tempdir().expect("a folder");
            let clock = Clock::manual(START);
            let bouncer = Bouncer::new(clock.clone());
            let (store, _) =
                Store::open(folder.path().join(STORE_FILE), Some(bouncer.clone())).expect("a store");
            let until = Until::Moment(START.after(HOUR / 2));
            let terms = Terms { by: "test".into(), reason: "".into(), at: START, until };
            let ban = Ban { who: Who::new(As::ClientId, "bot", None).expect("a name"), terms };
            store.change(vec![Change::Put(List::Bans, ban)]).await.expect("room");
            let (settings, receiver) = watch::channel(CleanupSettings { period: HOUR, ttl });
            tokio::spawn(clean(store.clone(), bouncer.clone(), receiver));
            tokio::task::yield_now().await;
            Site { clock, bouncer, store, settings, _folder: folder }
        }

        /// An hour passes on both clocks, and `jump` more on the one on the wall.
        async fn pass_an_hour(&self, jump: Duration) {
            self.clock.set(self.clock.now().after(HOUR + jump));
            tokio::time::advance(HOUR).await;
            // The cleaner asks the store, which serves whoever asks in turn.
            for _ in 0..100 {
                tokio::task::yield_now().await;
                self.store.change(Vec::new()).await.expect("open");
            }
        }

        fn bans(&self) -> usize {
            self.bouncer.count(List::Bans, As::ClientId)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_ban_is_forgotten_when_its_time_after_the_end_is_over() {
        let site = Site::new(HOUR * 2).await;
        for expected in [1, 1, 0] {
            site.pass_an_hour(Duration::ZERO).await;
            assert_eq!(site.bans(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_ttl_it_is_forgotten_at_the_first_look_after_its_end() {
        let site = Site::new(Duration::ZERO).await;
        site.pass_an_hour(Duration::ZERO).await;
        assert_eq!(site.bans(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_jumps_makes_nothing_forgotten() {
        let site = Site::new(Duration::ZERO).await;
        site.pass_an_hour(HOUR * 10_000).await;
        assert_eq!(site.bans(), 1);
        site.clock.set(START.after(HOUR));
        site.pass_an_hour(Duration::ZERO).await;
        assert_eq!(site.bans(), 1, "it was set back");
        site.pass_an_hour(Duration::ZERO).await;
        assert_eq!(site.bans(), 0, "it has gone steadily for an hour");
    }

    #[tokio::test(start_paused = true)]
    async fn settings_change_while_it_waits() {
        let site = Site::new(HOUR * 1000).await;
        site.pass_an_hour(Duration::ZERO).await;
        assert_eq!(site.bans(), 1);
        site.settings.send(CleanupSettings { period: HOUR, ttl: Duration::ZERO }).expect("it listens");
        tokio::task::yield_now().await;
        site.pass_an_hour(Duration::ZERO).await;
        assert_eq!(site.bans(), 0);
    }
}
