//! Takes clients to brokers: who is chosen (`balance`), who is left alone (`health`), and who is tried after one that
//! could not be reached (`dial`). Beside the clients, servers are asked how they are (`check`) and names are looked up
//! (`resolve`).
//!
//! What decides is pure and knows neither sockets nor clocks. The servers of a group share one lock while one of them is
//! chosen, which is held for no longer than that.

mod balance;
mod check;
mod dial;
mod health;
mod member;
mod resolve;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod tls;

pub use balance::Balance;
pub use check::{CheckError, CheckKind, CheckSettings, MqttCheck};
pub use dial::{Attempt, Connected, DialError, Dialling, Introduction};
pub use health::{Condition, Ejection, Event, Failure, Thresholds};
pub use member::{Lease, Member};
pub use server::{Server, ServerError};
pub use settings::{ServerSettings, UpstreamSettings};
pub use tls::{TlsError, TlsSettings};

use crate::net::shortage::{Shortage, is_shortage};
use crate::net::tls::Shown;
use balance::{Candidate, Turns, stable_hash};
use check::Password;
use dial::Place;
use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::iter::successors;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tls::Tls;
use tokio::time::{Instant, timeout_at};

/// A group of servers that can stand in for each other.
#[derive(Debug)]
pub struct Upstream {
    name: Arc<str>,
    settings: UpstreamSettings,
    members: Vec<Member>,
    turns: Mutex<Turns>,
    is_desperate: AtomicBool,
    shortage: Shortage,
    /// Of the client that its checks are.
    password: Option<Password>,
    tls: Option<Tls>,
    /// Takes the clients while no server here can.
    backup: Option<Arc<Upstream>>,
}

/// A group that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// TLS cannot be spoken with it.
    #[error("upstream \"{group}\": tls")]
    Tls {
        /// The group.
        group: Arc<str>,
        /// Why not.
        #[source]
        source: Box<TlsError>,
    },
    /// Its spare group is not there, or is spared by it in turn.
    #[error("upstream \"{group}\": backup: there is no group \"{backup}\" that could stand in for it")]
    Backup {
        /// The group.
        group: Arc<str>,
        /// The name of its spare group.
        backup: String,
    },
    /// The password of its checks cannot be read.
    #[error("upstream \"{group}\": health_check.password_file: cannot read {}", path.display())]
    PasswordFile {
        /// The group.
        group: Arc<str>,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A check that was made.
#[derive(Debug)]
pub struct Checked {
    /// What came of it.
    pub outcome: Result<(), CheckError>,
    /// What that has changed.
    pub event: Option<Event>,
}

/// All groups, by name.
#[derive(Debug, Default)]
pub struct Groups(BTreeMap<Arc<str>, Arc<Upstream>>);

/// The group that is there without being named.
pub const DEFAULT: &str = "default";

impl Groups {
    /// The groups of a config, whose files are read; servers that stay in their group keep what is known of them.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn new(
        settings: impl IntoIterator<Item = (Arc<str>, UpstreamSettings)>,
        earlier: Option<&Groups>,
    ) -> Result<Groups, UpstreamError> {
        let mut left: BTreeMap<Arc<str>, UpstreamSettings> = settings.into_iter().collect();
        let mut groups = Groups::default();
        // A group comes after its spare group.
        while !left.is_empty() {
            let is_next = |(_, settings): &(&Arc<str>, &UpstreamSettings)| {
                settings.backup.as_ref().is_none_or(|backup| groups.get(backup).is_some())
            };
            let next = left.iter().find(is_next).map(|(name, _)| Arc::clone(name));
            let Some((name, settings)) = next.and_then(|name| left.remove_entry(&name)) else {
                return Err(circle(left));
            };
            let earlier = earlier.and_then(|groups| groups.get(&name)).map(|group| &**group);
            let backup = settings.backup.as_ref().and_then(|backup| groups.get(backup)).cloned();
            let group = Upstream { backup, ..Upstream::new(Arc::clone(&name), settings, earlier)? };
            groups.0.insert(name, Arc::new(group));
        }
        Ok(groups)
    }

    /// The group of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.0.get(name)
    }

    /// All groups, in the order of their names.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.0.values()
    }
}

fn circle(left: BTreeMap<Arc<str>, UpstreamSettings>) -> UpstreamError {
    let first = left.into_iter().next();
    let (group, backup) = first.map(|(name, settings)| (name, settings.backup)).unwrap_or_default();
    UpstreamError::Backup { group, backup: backup.unwrap_or_default() }
}

impl Upstream {
    /// A group with these settings; `earlier` is what it was before.
    ///
    /// # Errors
    /// A file that belongs to it cannot be used.
    pub fn new(
        name: Arc<str>,
        settings: UpstreamSettings,
        earlier: Option<&Upstream>,
    ) -> Result<Upstream, UpstreamError> {
        let known = |server: &Server| {
            earlier.and_then(|group| group.members.iter().find(|member| member.server() == server))
        };
        let password = match settings.check.as_ref().map(|check| &check.kind) {
            Some(CheckKind::Mqtt(MqttCheck { password_file: Some(path), .. })) => {
                let failed = |source| UpstreamError::PasswordFile {
                    group: Arc::clone(&name),
                    path: path.clone(),
                    source,
                };
                Some(Password::read(path).map_err(failed)?)
            }
            _ => None,
        };
        let member = |one: &ServerSettings| Member::new(one.clone(), known(&one.server));
        let members: Vec<_> = settings.servers.iter().map(member).collect();
        if settings.check.is_none() {
            members.iter().for_each(Member::forget_checks);
        }
        let failed = |source| UpstreamError::Tls { group: Arc::clone(&name), source: Box::new(source) };
        let names = || settings.servers.iter().map(|one| &one.server);
        let tls = settings.tls.as_ref().map(|tls| Tls::load(tls, names())).transpose().map_err(failed)?;
        if settings.tls.as_ref().is_some_and(|tls| !tls.verify) {
            tracing::warn!(upstream = %name, "tls.verify is false: whoever answers in the place of a broker is believed, and reads every password");
        }
        let turns = Mutex::new(Turns::new(members.len()));
        Ok(Upstream {
            name,
            settings,
            members,
            turns,
            is_desperate: AtomicBool::default(),
            shortage: Shortage::default(),
            password,
            tls,
            backup: None,
        })
    }

    /// Its name; `default` for the one that has none in the config file.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How it is set.
    pub fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// Its servers, in the order of the config file.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member of this name.
    pub fn member(&self, server: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.server().as_str() == server)
    }

    /// Whether a server of the group, or of one that stands in for it, is told whom a connection is for.
    pub fn is_introduced(self: &Arc<Self>) -> bool {
        successors(Some(self), |group| group.backup.as_ref())
            .any(|group| group.settings.proxy_protocol.is_some())
    }

    /// The way of a client with this identifier to one of the servers.
    pub fn dial<'c>(self: &Arc<Self>, client_id: &str) -> Dialling<'c> {
        let key = (!client_id.is_empty()).then(|| stable_hash(client_id.as_bytes()));
        Dialling::new(Arc::clone(self), key)
    }

    /// Whether a server takes connections now. The connection is closed at once; brokers hold that against nobody.
    pub async fn probe(&self, member: &Member, patience: Duration) -> bool {
        let patience = patience.min(self.settings.connect_timeout);
        dial::connect(self, member, patience, None).await.is_ok()
    }

    /// Asks a server how it is, as the group's settings say, and remembers the answer.
    pub async fn check(&self, member: &Member, settings: &CheckSettings) -> Checked {
        let outcome = self.ask(member, settings).await;
        let told = outcome.as_ref().map_err(|error| match error.source() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        });
        let event = match &outcome {
            Err(CheckError::Connect(error)) if self.is_short(error) => None,
            _ => member.checked(Instant::now(), told.copied(), settings.thresholds),
        };
        Checked { outcome, event }
    }

    async fn ask(&self, member: &Member, settings: &CheckSettings) -> Result<(), CheckError> {
        let deadline = Instant::now() + settings.timeout;
        let connected = dial::connect(self, member, settings.timeout, None).await;
        let mut stream = connected.map_err(CheckError::Connect)?;
        match &settings.kind {
            CheckKind::Tcp => Ok(()),
            CheckKind::Mqtt(check) => {
                let speaking = check::speak(&mut stream, check, self.password.as_ref());
                let silent = |_| Err(CheckError::Silent { to: "CONNECT and PINGREQ" });
                timeout_at(deadline, speaking).await.unwrap_or_else(silent)
            }
        }
    }

    /// Reads the files of its TLS again where one has changed; `None` where none has. Connections to come use what is new.
    ///
    /// # Errors
    /// A file cannot be used; then what was in use stays.
    pub fn refresh_tls(&self) -> Option<Result<(), TlsError>> {
        self.tls.as_ref()?.refresh()
    }

    /// The certificate that its servers are shown, where there is one.
    pub fn shown(&self) -> Option<Shown> {
        self.tls.as_ref()?.shown()
    }

    /// Looks the name of a server up, again and again; ends at once where it is an address.
    pub async fn keep_resolved(&self, member: &Member) {
        member.keep_resolved(self.settings.resolve_interval).await;
    }

    /// Chooses a server that was not tried: one that is believed to be well; of the backups only where no other is, and of
    /// the spare group only where none here is. Where nobody is well, all are tried all the same: whoever is turned away
    /// for certain loses nothing by that.
    fn choose(
        this: &Arc<Upstream>,
        tried: &[Lease],
        key: Option<u64>,
        now: Instant,
    ) -> Option<(Place, Lease)> {
        let choose = |wanted| {
            let mut groups = successors(Some(this), |group| group.backup.as_ref());
            groups.find_map(|group| group.choose_here(tried, key, now, wanted))
        };
        let (group, index, lease) = choose(Wanted::Well).or_else(|| choose(Wanted::Anybody))?;
        Some((Place { group, index }, lease))
    }

    fn choose_here(
        self: &Arc<Self>,
        tried: &[Lease],
        key: Option<u64>,
        now: Instant,
        wanted: Wanted,
    ) -> Option<(Arc<Upstream>, usize, Lease)> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let usable: Vec<bool> = self.members.iter().map(|member| member.is_usable(now)).collect();
        self.note_desperate(!usable.contains(&true));
        let is_wanted = |index: usize, member: &Member| match wanted {
            Wanted::Well => usable.get(index).copied().unwrap_or_default(),
            Wanted::Anybody => !member.is_drained(),
        };
        [false, true].into_iter().find_map(|is_backup| {
            let fits = |(index, member): &(usize, &Member)| {
                let is_new = !tried.iter().any(|lease| lease.is_at(member));
                is_wanted(*index, member) && is_new && member.settings().is_backup == is_backup
            };
            let slow_start = self.settings.slow_start;
            let candidate = |(index, member): (usize, &Member)| member.candidate(index, now, slow_start);
            let candidates: Vec<Candidate> =
                self.members.iter().enumerate().filter(fits).map(candidate).collect();
            let index = turns.choose(self.settings.balance, &candidates, key)?;
            let lease = self.members.get(index)?.take(now, self.settings.connect_timeout);
            Some((Arc::clone(self), index, lease))
        })
    }

    /// True when a connection could not be had for want of something that this machine has run out of. The log says so once.
    fn is_short(&self, error: &io::Error) -> bool {
        let is_short = is_shortage(error);
        if is_short && self.shortage.is_news(Instant::now()) {
            tracing::error!(upstream = %self.name, %error, "cannot open connections to brokers; trying on");
        }
        is_short
    }

    /// A connection was had.
    fn note_connected(&self) {
        if self.shortage.is_over() {
            tracing::info!(upstream = %self.name, "opening connections to brokers again");
        }
    }

    /// Says in the log when no server is believed to be well any more, and when one is again.
    fn note_desperate(&self, is_desperate: bool) {
        if self.is_desperate.swap(is_desperate, Ordering::Relaxed) == is_desperate {
            return;
        }
        match (&self.backup, is_desperate) {
            (_, false) => tracing::info!(upstream = %self.name, "a server of the group may be well again"),
            (Some(backup), true) => {
                tracing::warn!(upstream = %self.name, backup = %backup.name, "no server of the group is well; its spare group takes its clients");
            }
            (None, true) => {
                tracing::warn!(upstream = %self.name, "no server of the group is well; all are tried all the same");
            }
        }
    }
}

/// Who may be chosen.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// Who is believed to be well.
    Well,
    /// Whoever is not drained.
    Anybody,
}
