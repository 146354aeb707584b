//! Wires the rooms together and lives the life of the process: build, run, reload, drain.

mod answers;
mod backroom;
mod certificates;
mod enforcement;
mod error;
mod keeping;
mod kicking;
mod lists;
mod report;
mod sockets;
mod steering;

pub use certificates::{CertificateError, check_certificates};
pub use error::{ReloadError, StartError};
pub use keeping::{SOCKET_FILE, STORE_FILE};
pub use lists::bouncer_of;
pub use report::log_start;
pub use sockets::{ListenError, check_sockets};
pub use steering::{AdminError, check_admin_files};

use crate::admin::{Ask, NotReloaded, Reloaded};
use crate::admission::detection::ZonePolicy;
use crate::admission::{Class, List};
use crate::bouncer::Bouncer;
use crate::clock::Clock;
use crate::config::{BanConfig, Config, ConfigError, DEFAULT_ZONE, ListenerConfig, Orders, diff};
use crate::findings::Findings;
use crate::metrics::Metrics;
use crate::net::address::Address;
use crate::net::listener::Listener;
use crate::net::stop::Stop;
use crate::net::upstream::{self, Groups, UpstreamError};
use crate::proxy::{Door, DoorSettings, Limits, Proxy, Routes, Upkeep};
use crate::refused::Refused;
use crate::sessions::Sessions;
use crate::signal::{Signal, Signals};
use crate::systemd::{self, News};
use crate::telemetry::{Chain, Telemetry};
use crate::webhook;
use answers::{History, not_reloaded, reloaded};
use arc_swap::ArcSwap;
use certificates::{Certificates, Servers};
use enforcement::{Enforcement, start_webhook};
use keeping::Keeping;
use kicking::Kicking;
use lists::{in_force, room_for};
use report::{Report, log_reload, write_totals};
use sockets::{Opened, Sockets, Wanted, open_all};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;
use steering::{Desk, Prepared, Watched};
use tokio::sync::Semaphore;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

/// The proxy, listening.
#[derive(Debug)]
pub struct App {
    config: Config,
    proxy: Arc<Proxy>,
    telemetry: Telemetry,
    open: HashMap<Arc<str>, OpenDoor>,
    /// Doors that are closed, whose last sessions may go on.
    closed: Vec<Weak<Door>>,
    keeping: Option<Keeping>,
    findings: Findings,
    enforcement: Option<Enforcement>,
    desk: Option<Desk>,
    history: History,
    /// The config file, once it is known.
    path: PathBuf,
    kicking: Option<Kicking>,
    upkeep: Option<Upkeep>,
    certificates: Certificates,
    /// Held while patterns are being rearranged.
    compacting: Arc<Semaphore>,
}

/// A door that is open.
#[derive(Debug)]
struct OpenDoor {
    door: Arc<Door>,
    sockets: Vec<OpenSocket>,
}

/// A socket of a door, and what closes it.
#[derive(Debug)]
struct OpenSocket {
    /// As the config has it.
    address: Address,
    listener: Arc<Listener>,
    close: Stop,
}

impl App {
    /// Binds every listener, puts every ban in force, and accepts connections from then on. Must be called inside a
    /// tokio runtime.
    ///
    /// # Errors
    /// A listener cannot be bound, or the store cannot be opened; then nobody was accepted.
    pub fn start(config: Config, clock: Clock, telemetry: Telemetry) -> Result<App, StartError> {
        let sockets = open_all(config.listeners.iter().map(Wanted::from), &Sockets::new())?;
        let mut servers = certificates::load(&config.listeners, |_| None)?;
        let webhook = start_webhook(config.webhook.as_ref())?;
        let (started_at, began) = (clock.now(), clock.moment());
        let prepared = Prepared::new(&config, None, started_at)?;
        let proxy = Arc::new(Proxy {
            bouncer: Bouncer::with_detection(clock, config.detection, config.replay_memory),
            routes: ArcSwap::from_pointee(routes(&config, None)?),
            answers: ArcSwap::from_pointee(config.answers),
            partings: ArcSwap::from_pointee(config.partings),
            limits: Limits::new(config.limits),
            refused: Refused::new(config.refused),
            sessions: Sessions::default(),
            metrics: Arc::new(Metrics::default()),
            open: Stop::default(),
            draining: Stop::default(),
            stop: Stop::default(),
            connections: TaskTracker::new(),
        });
        let findings = Findings::new(&config.name);
        let mut app = App {
            config,
            proxy,
            telemetry,
            open: HashMap::new(),
            closed: Vec::new(),
            keeping: None,
            findings,
            enforcement: None,
            desk: None,
            history: History::new(started_at, began),
            path: PathBuf::new(),
            kicking: None,
            upkeep: None,
            certificates: Certificates::new(),
            compacting: Arc::new(Semaphore::new(1)),
        };
        for list in List::ALL {
            app.put(app.config.bans_of(list).iter().map(|ban| (list, ban)));
        }
        let webhook = webhook::Current::new(webhook);
        let (keeping, accounts) = Keeping::start(&app.config, &app.proxy.bouncer)?;
        let (bouncer, findings) = (app.proxy.bouncer.clone(), app.findings.clone());
        let kept = (keeping.store(), accounts);
        let watched = Watched {
            started_at,
            proxy: Arc::clone(&app.proxy),
            findings: findings.clone(),
            telemetry: app.telemetry.clone(),
            webhook: webhook.clone(),
            cleanup: keeping.cleanup(),
        };
        app.desk = Some(Desk::start(&app.config, prepared, watched, kept)?);
        app.enforcement = Some(Enforcement::start(bouncer, findings, keeping.store(), webhook));
        app.keeping = Some(keeping);
        // What is in force already was in force before anybody came.
        let (bouncer, sessions) = (app.proxy.bouncer.clone(), app.proxy.sessions.clone());
        app.kicking = Some(Kicking::start(bouncer, sessions, app.config.kick));
        app.upkeep = Some(Upkeep::start(&app.proxy));
        app.compact();
        for (listener, sockets) in app.config.listeners.clone().into_iter().zip(sockets) {
            app.open(listener, sockets, &mut servers);
        }
        app.tell_unused();
        app.look_at_certificates();
        app.proxy.open.raise();
        Ok(app)
    }

    /// Where a listener listens: its first address of a network.
    pub fn local_addr(&self, listener: &str) -> Option<SocketAddr> {
        self.open.get(listener)?.sockets.iter().find_map(|socket| socket.listener.local_addr())
    }

    /// Where a listener listens.
    pub fn local(&self, listener: &str) -> Vec<Address> {
        let sockets = self.open.get(listener).into_iter().flat_map(|open| &open.sockets);
        sockets.map(|socket| socket.listener.local().clone()).collect()
    }

    /// Where the API listens beside its socket.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.desk.as_ref().and_then(Desk::local_addr)
    }

    /// The ban list.
    pub fn bouncer(&self) -> &Bouncer {
        &self.proxy.bouncer
    }

    /// Who is inside.
    pub fn sessions(&self) -> &Sessions {
        &self.proxy.sessions
    }

    /// Who was turned away lately.
    pub fn refused(&self) -> &Refused {
        &self.proxy.refused
    }

    /// The groups of brokers, and how they are.
    pub fn routes(&self) -> Arc<Routes> {
        self.proxy.routes.load_full()
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.proxy.metrics
    }

    /// The config that runs.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Serves until a signal ends it. Reads the file at `path` again when a signal asks for that.
    pub async fn run(mut self, path: &Path, signals: &mut Signals) {
        path.clone_into(&mut self.path);
        systemd::tell(News::Ready);
        let mut watchdog = Watchdog::new();
        let mut report = Report::new(self.config.stats_interval);
        let mut housekeeping = interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Reload => {
                        // The log says what came of it.
                        let _ = self.reload_file(path);
                        report = Report::new(self.config.stats_interval);
                    }
                    Signal::Drain => break,
                },
                ask = asked(&mut self.desk) => {
                    let stats = self.config.stats_interval;
                    self.answer(ask, path);
                    if self.config.stats_interval != stats {
                        report = Report::new(self.config.stats_interval);
                    }
                }
                () = report.due() => report.write(&self.proxy.metrics, &self.findings, &self.telemetry),
                () = watchdog.due() => systemd::tell(News::Alive),
                _ = housekeeping.tick() => {
                    self.compact();
                    self.proxy.bouncer.tick();
                    self.look_at_certificates();
                    if let Some(keeping) = &self.keeping {
                        keeping.tick(&self.proxy.bouncer);
                    }
                }
            }
        }
        let impatience = async { while signals.next().await != Signal::Drain {} };
        self.drain(impatience).await;
    }

    /// Reads the file again and applies it. A file that cannot be used changes nothing and is logged.
    fn reload_file(&mut self, path: &Path) -> Result<Reloaded, NotReloaded> {
        systemd::tell(News::Reloading);
        let outcome = Config::load(path).map_err(ReloadError::from).and_then(|config| self.reload(config));
        let reloads = &self.proxy.metrics.reloads;
        match &outcome {
            Ok(_) => {
                let now = self.proxy.bouncer.clock().now().as_millis();
                reloads.succeeded.add(1);
                reloads.last_success_millis.set(u64::try_from(now).unwrap_or(0));
            }
            Err(_) => drop(reloads.failed.add(1)),
        }
        match &outcome {
            Ok(orders) => log_reload(orders),
            Err(ReloadError::Config(ConfigError::Mistakes(mistakes))) => {
                for mistake in mistakes {
                    error!(%mistake, "config file is not used");
                }
            }
            Err(cause) => error!(error = %Chain(cause), "config file is not used"),
        }
        let outcome = outcome.as_ref().map(reloaded).map_err(not_reloaded);
        self.history.note(self.proxy.bouncer.clock().now(), &outcome);
        // It goes on, with the new config or the old one.
        systemd::tell(News::Ready);
        outcome
    }

    /// Changes over to another config. No session of a listener that stays is touched; sessions of one that goes live
    /// on.
    ///
    /// # Errors
    /// A listener cannot be bound, the webhook not be told, or the API not be changed; then nothing has changed.
    pub fn reload(&mut self, config: Config) -> Result<Orders, ReloadError> {
        let orders = diff(&self.config, &config);
        // All that can fail comes first.
        let closing = self.closing(&orders);
        let opened = open_all(orders.open.iter().map(Wanted::from), &closing)?;
        let bound = open_all(wanted(&orders), &closing)?;
        drop(closing);
        let mut servers = certificates::load(&config.listeners, |name| Some(&self.open.get(name)?.door))?;
        room_for(&orders, &self.proxy.bouncer)?;
        let routes = routes(&config, Some(&self.proxy.routes.load().groups))?;
        let is_same_webhook = config.webhook == self.config.webhook;
        let prepared = Prepared::new(&config, self.desk.as_ref(), self.proxy.bouncer.clock().now())?;
        if let (Some(desk), Some(listen)) = (&self.desk, &config.admin.listen) {
            desk.make_first_user(listen)?;
        }
        let webhook = if is_same_webhook { None } else { start_webhook(config.webhook.as_ref())? };

        for name in &orders.close {
            self.close(name);
        }
        for (name, addresses) in &orders.unbind {
            self.unbind(name, addresses);
        }
        for (listener, sockets) in orders.open.iter().cloned().zip(opened) {
            self.open(listener, sockets, &mut servers);
        }
        for listener in &orders.keep {
            if let Some(open) = self.open.get(&listener.name) {
                open.door.show(servers.remove(&listener.name));
                open.door.adjust(listener.door.clone());
                for socket in &open.sockets {
                    socket.listener.pass_on(&listener.door.tcp);
                }
            }
        }
        // Whoever comes by a new address finds the settings that it came with.
        for ((name, _), sockets) in orders.bind.iter().zip(bound) {
            self.bind(name, sockets);
        }
        self.adjust_closed(&config.zones);
        self.proxy.limits.adjust(config.limits);
        self.proxy.refused.adjust(config.refused);
        if let Some(kicking) = &self.kicking {
            kicking.adjust(config.kick);
        }
        for (list, who) in &orders.remove {
            self.proxy.bouncer.remove_from_file(*list, who);
        }
        self.put(orders.put.iter().map(|(list, ban)| (*list, ban)));
        self.proxy.routes.store(Arc::new(routes));
        self.upkeep = Some(Upkeep::start(&self.proxy));
        self.proxy.answers.store(Arc::new(config.answers));
        self.proxy.partings.store(Arc::new(config.partings));
        self.telemetry.adjust(config.log);
        if let Some(keeping) = &self.keeping {
            keeping.adjust(config.cleanup);
        }
        if let Some(enforcement) = self.enforcement.as_ref().filter(|_| !is_same_webhook) {
            enforcement.tell(webhook);
        }
        if let Some(desk) = &mut self.desk {
            desk.take(prepared);
        }
        self.config = config;
        Ok(orders)
    }

    /// Admits nobody any more, lets the sessions go on for the drain timeout or until `impatience` completes, and
    /// ends those that are left.
    pub async fn drain(mut self, impatience: impl Future<Output = ()>) {
        let (proxy, patience) = (Arc::clone(&self.proxy), self.config.drain_timeout);
        proxy.draining.raise();
        systemd::tell(News::Stopping(patience));
        for name in
            self.config.listeners.iter().map(|listener| Arc::clone(&listener.name)).collect::<Vec<_>>()
        {
            self.close(&name);
        }
        proxy.connections.close();
        info!(sessions = proxy.metrics.live_sessions(), timeout = ?patience, "draining");
        let path = self.path.clone();
        let over = async {
            tokio::select! {
                () = proxy.connections.wait() => {}
                () = tokio::time::sleep(patience) => {}
                () = impatience => {}
            }
        };
        let mut over = pin!(over);
        loop {
            tokio::select! {
                biased;
                () = &mut over => break,
                ask = asked(&mut self.desk) => self.answer(ask, &path),
            }
        }
        let left = proxy.metrics.live_sessions();
        proxy.stop.raise();
        if timeout(LAST_PATIENCE, proxy.connections.wait()).await.is_err() {
            warn!(connections = proxy.metrics.live_connections(), "connections did not end in time");
        }
        if let Some(desk) = self.desk.take() {
            desk.end().await;
        }
        if let Some(enforcement) = self.enforcement.take() {
            enforcement.close().await;
        }
        if let Some(keeping) = self.keeping.take() {
            keeping.close().await;
        }
        write_totals(&proxy.metrics, &self.findings);
        info!(cut_off = left, "stopped");
    }

    /// The sockets that are going to be given up.
    fn closing(&self, orders: &Orders) -> Sockets {
        let mut closing = Sockets::new();
        for (name, open) in &self.open {
            let gone = orders.unbind.iter().find(|(own, _)| own == name).map(|(_, addresses)| &addresses[..]);
            let is_closed = orders.close.contains(name);
            for socket in &open.sockets {
                if is_closed || gone.is_some_and(|gone| gone.contains(&socket.address)) {
                    closing.entry(socket.address.clone()).or_default().push(Arc::clone(&socket.listener));
                }
            }
        }
        closing
    }

    fn look_at_certificates(&mut self) {
        let now = self.proxy.bouncer.clock().now().as_millis() / 1000;
        let routes = self.proxy.routes.load();
        self.certificates.tick(self.open.values().map(|open| &open.door), &routes.groups, now);
    }

    fn open(&mut self, config: ListenerConfig, sockets: Vec<Opened>, servers: &mut Servers) {
        let ListenerConfig { name, door, .. } = config;
        let door = Arc::new(Door::new(Arc::clone(&name), door, self.proxy.metrics.listeners.of(&name)));
        door.show(servers.remove(&name));
        self.open.insert(Arc::clone(&name), OpenDoor { door, sockets: Vec::new() });
        self.bind(&name, sockets);
    }

    fn bind(&mut self, name: &str, sockets: Vec<Opened>) {
        let Some(open) = self.open.get_mut(name) else { return };
        for (address, listener) in sockets {
            info!(listener = %name, address = %listener.local(), "listening");
            let (door, close) = (Arc::clone(&open.door), Stop::default());
            // Who drains waits for it: it may hold a connection, or find one in the queue.
            let keeping = door.keep(Arc::clone(&self.proxy), Arc::clone(&listener), close.clone());
            self.proxy.connections.spawn(keeping);
            open.sockets.push(OpenSocket { address, listener, close });
        }
    }

    fn unbind(&mut self, name: &str, addresses: &[Address]) {
        let Some(open) = self.open.get_mut(name) else { return };
        let is_gone = |socket: &mut OpenSocket| addresses.contains(&socket.address);
        for socket in open.sockets.extract_if(.., is_gone) {
            socket.close(name);
        }
    }

    fn close(&mut self, name: &str) {
        if let Some(OpenDoor { door, sockets }) = self.open.remove(name) {
            self.closed.push(Arc::downgrade(&door));
            for socket in sockets {
                socket.close(name);
            }
        }
    }

    /// Sockets that nobody accepts at would leave clients waiting.
    fn tell_unused(&self) {
        let names = systemd::socket_names();
        let is_used = |name: &str| {
            let binds = self.config.listeners.iter().flat_map(|listener| &listener.binds);
            binds.into_iter().any(|address| matches!(address, Address::Systemd(own) if **own == *name))
        };
        for name in names.into_iter().filter(|name| !is_used(name)) {
            warn!(socket = name, "no listener uses a socket that systemd has handed over");
        }
    }

    /// What their zone says holds for sessions of listeners that have gone, too; where the zone has gone as well, what
    /// holds for everybody without one.
    fn adjust_closed(&mut self, zones: &BTreeMap<Arc<str>, Arc<ZonePolicy>>) {
        self.closed.retain(|door| {
            let Some(door) = door.upgrade() else { return false };
            let settings = door.settings();
            if let Some(policy) = zones.get(&settings.policy.zone).or_else(|| zones.get(DEFAULT_ZONE)) {
                door.adjust(DoorSettings { policy: Arc::clone(policy), ..DoorSettings::clone(&settings) });
            }
            true
        });
    }

    /// Puts bans and exemptions of the config file in force.
    fn put<'b>(&self, bans: impl Iterator<Item = (List, &'b BanConfig)>) {
        let bouncer = &self.proxy.bouncer;
        let now = bouncer.clock().now();
        let mut expired = 0_usize;
        for (list, ban) in bans {
            expired += usize::from(!ban.until.is_after(now));
            // The config holds no more expensive patterns than the lists take.
            if let Err(error) = bouncer.put_from_file(list, in_force(ban, now)) {
                error!(%list, %error, "not in force");
            }
        }
        if expired > 0 {
            warn!(expired, "bans and exemptions of the config file have ended and are about nobody");
        }
        let count = |class| {
            List::ALL.map(|list| bouncer.admission().list(list).count_class(class)).iter().sum::<usize>()
        };
        let (unfilterable, lookaround) = (count(Class::Unfilterable), count(Class::Lookaround));
        if unfilterable + lookaround > 0 {
            warn!(
                unfilterable,
                lookaround, "patterns without literal text, or with lookaround, are tried for every client"
            );
        }
        self.compact();
    }

    /// Rearranges the patterns where that makes checks cheaper, beside the connections.
    fn compact(&self) {
        let (bouncer, is_idle) = (self.proxy.bouncer.clone(), Arc::clone(&self.compacting));
        if List::ALL.into_iter().any(|list| bouncer.admission().list(list).needs_compaction()) {
            // One at a time: whoever comes while another is at work leaves it to the next look.
            let Ok(turn) = is_idle.try_acquire_owned() else { return };
            tokio::task::spawn_blocking(move || {
                for list in List::ALL {
                    bouncer.admission().list(list).compact();
                }
                drop(turn);
            });
        }
    }
}

/// Tells systemd again and again that the process is not stuck, where it wants to hear that.
struct Watchdog(Option<Interval>);

impl Watchdog {
    fn new() -> Watchdog {
        Watchdog(systemd::watchdog().map(|period| {
            let mut interval = interval(period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
            interval
        }))
    }

    async fn due(&mut self) {
        match &mut self.0 {
            Some(interval) => drop(interval.tick().await),
            None => std::future::pending().await,
        }
    }
}

impl OpenSocket {
    fn close(self, listener_name: &str) {
        let OpenSocket { listener, close, .. } = self;
        info!(listener = %listener_name, address = %listener.local(), "no longer listening");
        // The door then holds the socket alone, and serves whoever waits in its queue.
        drop(listener);
        close.raise();
    }
}

/// What listeners that stay are to listen on from now on, too.
fn wanted(orders: &Orders) -> impl Iterator<Item = Wanted<'_>> {
    orders.bind.iter().filter_map(|(name, addresses)| {
        let listener = orders.keep.iter().find(|listener| listener.name == *name)?;
        Some(Wanted { addresses, ..Wanted::from(listener) })
    })
}

/// The next question of the API.
async fn asked(desk: &mut Option<Desk>) -> Ask {
    match desk {
        Some(desk) => desk.asked().await,
        None => std::future::pending().await,
    }
}

/// How often it is seen whether patterns that were added want rearranging.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// How long connections may take to notice that they are to end.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// The routes of a config; servers that stay in their group keep what is known of them.
fn routes(config: &Config, earlier: Option<&Groups>) -> Result<Routes, UpstreamError> {
    let named = config.upstreams.iter().map(|(name, settings)| (name.as_str().into(), settings.clone()));
    let all = named.chain([(upstream::DEFAULT.into(), config.upstream.clone())]);
    Ok(Routes { rules: config.rules(), groups: Groups::new(all, earlier)? })
}

/// Reads the files of `[upstream]` and `[upstreams.NAME]` and throws them away: whether a config can be used.
pub fn check_upstream_files(config: &Config) -> Result<(), UpstreamError> {
    routes(config, None).map(drop)
}
