//! What outlives the process: the store with its first filling and its cleaning.

use crate::admission::detection::{self, Moment};
use crate::admission::{List, Timestamp};
use crate::bouncer::Bouncer;
use crate::cleanup::{Cleanup, CleanupSettings, Due, Reading};
use crate::config::Config;
use crate::exchange::{self, Format, ReadOptions};
use crate::net::stop::Stop;
use crate::store::{Accounts, Change, ChangeError, Offence, OpenError, Store};
use crate::telemetry::Chain;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::thread;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info, warn};

/// The store in `data_dir`, at work.
#[derive(Debug)]
pub(super) struct Keeping {
    store: Store,
    cleanup: watch::Sender<CleanupSettings>,
    tasks: JoinSet<()>,
    stop: Stop,
}

/// The store's file in `data_dir`.
pub const STORE_FILE: &str = "bans.db";
/// The socket of the command line in `data_dir`.
pub const SOCKET_FILE: &str = "control.sock";

impl Keeping {
    /// Puts in force what is in the store of `config.data_dir`, and keeps what is made from then on; says who may use the
    /// API. Without a data directory it is kept in memory. Must be called inside a tokio runtime.
    pub(super) fn start(config: &Config, bouncer: &Bouncer) -> Result<(Keeping, Accounts), OpenError> {
        let (store, accounts) = match &config.data_dir {
            Some(folder) => open(&folder.join(STORE_FILE), config.bootstrap_file.as_deref(), bouncer)?,
            None => (Store::in_memory(bouncer.clone())?, Accounts::default()),
        };
        let lists = bouncer.clone();
        store.on_lift(move |who| lists.lifted(who));

        if config.data_dir.is_none() && config.zones.values().any(|policy| !policy.is_off()) {
            warn!("without [node] data_dir, automatic bans do not outlive this process");
        }
        let (settings, changed_settings) = watch::channel(config.cleanup);
        let (mut tasks, stop) = (JoinSet::new(), Stop::default());
        tasks.spawn(write_hits(store.clone(), bouncer.clone(), stop.clone()));
        tasks.spawn(clean(store.clone(), bouncer.clone(), changed_settings));
        Ok((Keeping { store, cleanup: settings, tasks, stop }, accounts))
    }

    /// Keeps up with the bans that end, so that whoever asks how many there are does not wait.
    pub(super) fn tick(&self, bouncer: &Bouncer) {
        let ttl = self.cleanup.borrow().ttl;
        for list in List::ALL {
            bouncer.admission().list(list).statuses(bouncer.clock().now(), ttl);
        }
    }

    /// When ended bans are forgotten, now and as it changes.
    pub(super) fn cleanup(&self) -> watch::Receiver<CleanupSettings> {
        self.cleanup.subscribe()
    }

    /// The store.
    pub(super) fn store(&self) -> Store {
        self.store.clone()
    }

    /// Changes when ended bans are forgotten.
    pub(super) fn adjust(&self, cleanup: CleanupSettings) {
        self.cleanup.send_if_modified(|settings| std::mem::replace(settings, cleanup) != cleanup);
    }

    /// Closes the store. Everything acknowledged is on disk whether this is called or not.
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

/// Opens the store, and fills it when it is empty.
fn open(
    path: &Path,
    bootstrap_file: Option<&Path>,
    bouncer: &Bouncer,
) -> Result<(Store, Accounts), OpenError> {
    let began = Instant::now();
    let (store, loaded) = Store::open(path, Some(bouncer.clone()))?;
    info!(
        file = %path.display(),
        bans = loaded.bans,
        exemptions = loaded.exemptions,
        offences = loaded.offences.len(),
        seconds = began.elapsed().as_secs_f64(),
        "store is open"
    );
    if let Some(file) = bootstrap_file.filter(|_| loaded.bans + loaded.exemptions == 0) {
        // Waiting for the store on this thread would stop the runtime.
        let _ = thread::scope(|scope| scope.spawn(|| bootstrap(file, &store, bouncer)).join());
    }
    bouncer.restore(loaded.offences.into_iter().map(remembered));
    Ok((store, loaded.accounts))
}

/// An offence as detection remembers it.
fn remembered(stored: Offence) -> detection::Offence {
    let Offence { who, count, until, ban_time, .. } = stored;
    detection::Offence { who, count, until, ban_time }
}

/// How long a cleaning that has begun may take.
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

/// Writes down every few seconds how often bans have refused somebody, and once more when `stop` is raised.
async fn write_hits(store: Store, bouncer: Bouncer, stop: Stop) {
    let (mut is_over, mut pause) = (false, HITS_PERIOD);
    while !is_over {
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.raised() => is_over = true,
        }
        let hits = bouncer.take_hits();
        pause = HITS_PERIOD.max(PAUSE_PER_HIT.saturating_mul(u32::try_from(hits.len()).unwrap_or(u32::MAX)));
        for piece in hits.chunks(PIECE) {
            let changes = piece.iter().cloned().map(Change::Hit).collect();
            // The store has said why.
            if store.change(changes).await.is_err() {
                bouncer.give_back(piece.to_vec());
            }
        }
    }
}

/// How often hits are written down.
const HITS_PERIOD: Duration = Duration::from_secs(3);
/// How long it is waited for each that was written: when thousands of bans are met at once, writing each of them down
/// would cost as much as telling the clients so.
const PAUSE_PER_HIT: Duration = Duration::from_millis(1);

/// Forgets ended bans, period by period, until the settings' sender is gone.
async fn clean(store: Store, bouncer: Bouncer, mut settings: watch::Receiver<CleanupSettings>) {
    let mut cleaner = Cleaner::new(store, bouncer);
    loop {
        let now = *settings.borrow_and_update();
        tokio::select! {
            () = sleep(now.period) => cleaner.look(now).await,
            changed = settings.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

/// Forgets what may be forgotten.
struct Cleaner {
    store: Store,
    bouncer: Bouncer,
    cleanup: Cleanup,
}

impl Cleaner {
    fn new(store: Store, bouncer: Bouncer) -> Cleaner {
        let cleanup = Cleanup::new(Duration::ZERO, reading(&bouncer));
        Cleaner { store, bouncer, cleanup }
    }

    /// Looks once.
    async fn look(&mut self, settings: CleanupSettings) {
        self.cleanup.adjust(settings.ttl);
        match self.cleanup.due(reading(&self.bouncer)) {
            Due::Forget(by) => {
                let offences_by = self.bouncer.clock().now().before(settings.offences);
                if let Err(cause) = forget(&self.store, by, offences_by).await {
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

/// What both clocks say.
fn reading(bouncer: &Bouncer) -> Reading {
    let clock = bouncer.clock();
    Reading { wall: clock.now(), steady: clock.moment().since(Moment::default()) }
}

/// Forgets in small pieces, so that nobody who adds a ban waits long.
async fn forget(store: &Store, by: Timestamp, offences_by: Timestamp) -> Result<(), ChangeError> {
    for list in List::ALL {
        let forgotten = repeat(store, Change::RemoveEnded { list, by, limit: PIECE }).await?;
        if forgotten > 0 {
            info!(%list, forgotten, "ended long ago");
        }
    }
    let forgotten = repeat(store, Change::ForgetOffences { by: offences_by, limit: PIECE }).await?;
    if forgotten > 0 {
        info!(forgotten, "offences were long ago");
    }
    Ok(())
}

/// Makes a change that takes off a [`PIECE`] at a time until it finds less; returns how many it took off.
async fn repeat(store: &Store, change: Change) -> Result<usize, ChangeError> {
    let mut total = 0;
    loop {
        let done = store.change(vec![change.clone()]).await?;
        let taken = done.removed + done.forgotten;
        total += taken;
        if taken < PIECE {
            return Ok(total);
        }
    }
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

    /// A store with one ban, which ends after half an hour.
    struct Site {
        clock: Clock,
        bouncer: Bouncer,
        cleaner: Cleaner,
        _folder: tempfile::TempDir,
    }

    impl Site {
        async fn new() -> Site {
            let folder = tempfile::tempdir().expect("a folder");
            let clock = Clock::manual(START);
            let bouncer = Bouncer::new(clock.clone());
            let (store, _) =
                Store::open(folder.path().join(STORE_FILE), Some(bouncer.clone())).expect("a store");
            let until = Until::Moment(START.after(HOUR / 2));
            let terms = Terms { by: "test".into(), reason: "".into(), at: START, until };
            let ban = Ban { who: Who::new(As::ClientId, "bot", None).expect("a name"), terms };
            store.change(vec![Change::Put(List::Bans, ban)]).await.expect("room");
            let cleaner = Cleaner::new(store, bouncer.clone());
            Site { clock, bouncer, cleaner, _folder: folder }
        }

        /// How many bans there are after another hour and a look.
        async fn bans_after_an_hour(&mut self, ttl: Duration) -> usize {
            self.clock.advance(HOUR);
            self.cleaner.look(CleanupSettings { period: HOUR, ttl, offences: HOUR }).await;
            self.bouncer.count(List::Bans, As::ClientId)
        }
    }

    #[tokio::test]
    async fn a_ban_is_forgotten_when_its_time_after_the_end_is_over() {
        let mut site = Site::new().await;
        for expected in [1, 1, 0] {
            assert_eq!(site.bans_after_an_hour(HOUR * 2).await, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn hits_are_written_down_every_few_seconds_and_at_the_end() {
        let site = Site::new().await;
        let (store, stop) = (site.cleaner.store.clone(), Stop::default());
        let who = Who::new(As::ClientId, "bot", None).expect("a name");
        let hits = async || {
            let entry = store.look(|view| view.get(List::Bans, As::ClientId, "bot")).await;
            entry.expect("read").expect("there").hits
        };
        let writing = tokio::spawn(write_hits(store.clone(), site.bouncer.clone(), stop.clone()));
        site.bouncer.hit(&who);
        site.bouncer.hit(&who);
        assert_eq!(hits().await, 0);
        sleep(HITS_PERIOD * 2).await;
        // The store's thread does not wait for paused time.
        while hits().await == 0 {}
        assert_eq!(hits().await, 2);
        site.bouncer.hit(&who);
        stop.raise();
        writing.await.expect("it ends");
        assert_eq!(hits().await, 3);
    }

    #[tokio::test]
    async fn without_a_ttl_it_is_forgotten_at_the_first_look_after_its_end() {
        let mut site = Site::new().await;
        assert_eq!(site.bans_after_an_hour(Duration::ZERO).await, 0);
    }

    #[tokio::test]
    async fn a_wall_clock_that_jumps_makes_nothing_forgotten() {
        let mut site = Site::new().await;
        site.clock.set(START.after(HOUR * 10_000));
        assert_eq!(site.bans_after_an_hour(Duration::ZERO).await, 1);
        site.clock.set(START.after(HOUR));
        assert_eq!(site.bans_after_an_hour(Duration::ZERO).await, 1, "it was set back");
        assert_eq!(site.bans_after_an_hour(Duration::ZERO).await, 0, "it has gone steadily for an hour");
    }
}
