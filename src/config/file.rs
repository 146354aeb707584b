//! Every option, its default and its rules.

use super::admin::{self, AdminConfig};
use super::detection::{self, Zones};
use super::document::{Notes, Section};
use super::error::{ConfigError, Mistake};
use super::{limits, proxy_protocol, route, sockets, tls, units, upstream, websocket};
use crate::admission::detection::Settings;
use crate::admission::{As, Class, Kinds, List, Match, Timestamp, Until, Who, WhoError};
use crate::cleanup::CleanupSettings;
use crate::net::address::Address;
use crate::net::listener::ListenOptions;
use crate::net::options::TcpOptions;
use crate::net::relay::{IdleTimeout, Limits};
use crate::net::upstream::{DEFAULT, UpstreamSettings};
use crate::proxy::{
    Answers, DoorSettings, LimitSettings, OnBannedPeer, OnRateLimited, Partings, Rule, Rules,
};
use crate::refused::RefusedSettings;
use crate::telemetry::{LogFormat, LogSettings};
use crate::webhook::{Secret, Url, WebhookSettings};
use crate::wire::mqtt::Version;
use crate::wire::mqtt::connack::ReturnCode;
use crate::wire::mqtt::session::Will;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use toml::de::DeTable;
use tracing::level_filters::LevelFilter;

/// What runs: a file that was read and found to be right.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[node] worker_threads`; `None` for one per core.
    pub worker_threads: Option<NonZeroUsize>,
    /// `[node] name`: how this node is called where it speaks of itself.
    pub name: String,
    /// `[node] data_dir`: where bans and exemptions that are made at run time are kept; `None` for nowhere.
    pub data_dir: Option<PathBuf>,
    /// `[node] drain_timeout`: how long sessions may go on after SIGTERM.
    pub drain_timeout: Duration,
    /// `[[listener]]`, in the order of the file; at least one.
    pub listeners: Vec<ListenerConfig>,
    /// `[upstream]`: where everybody goes whom no route takes elsewhere.
    pub upstream: UpstreamSettings,
    /// `[upstreams.NAME]`: more groups of brokers.
    pub upstreams: BTreeMap<String, UpstreamSettings>,
    /// `[[route]]`, in the order of the file.
    pub routes: Vec<Rule>,
    /// `[limits]`: how many may come.
    pub limits: LimitSettings,
    /// `[banned]`: how banned clients are told.
    pub answers: Answers,
    /// `[banned] kick`: which kinds of bans end the sessions that they name.
    pub kick: Kinds,
    /// `[kick]` and `[node] drain_will`: how sessions that are ended from here take their leave.
    pub partings: Partings,
    /// `[refused]`: how many refused clients are kept in mind.
    pub refused: RefusedSettings,
    /// `[banned] bootstrap_file`: what an empty store is filled with.
    pub bootstrap_file: Option<PathBuf>,
    /// `[banned.cleanup]`: when bans that have ended are forgotten.
    pub cleanup: CleanupSettings,
    /// `[detection]`: what holds for all zones.
    pub detection: Settings,
    /// `[detection] replay_memory`: how many bytes what detection was told may take.
    pub replay_memory: usize,
    /// `[flapping_detect]`, `[detection]` and `[zones.NAME]`: the policy of each zone, by its name.
    pub zones: Zones,
    /// `[webhook]`: who is told of findings; `None` for nobody.
    pub webhook: Option<WebhookSettings>,
    /// `[admin]`: how the API is reached.
    pub admin: AdminConfig,
    /// `[[ban]]`, in the order of the file.
    pub bans: Vec<BanConfig>,
    /// `[[exempt]]`, in the order of the file.
    pub exemptions: Vec<BanConfig>,
    /// `[log]`.
    pub log: LogSettings,
    /// `[log] stats_interval`: how often the totals are logged; `None` for never.
    pub stats_interval: Option<Duration>,
    /// Every option but the bans, with the value that holds, as it is written: `listener.mqtt.bind` →
    /// `"0.0.0.0:1883"`.
    pub settings: BTreeMap<String, String>,
    /// Those of them that stand in the file; the others have their defaults.
    pub written: BTreeSet<String>,
}

/// One `[[listener]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Its name; no two have the same.
    pub name: Arc<str>,
    /// Where it listens, at least one.
    pub binds: Vec<Address>,
    /// How its sockets listen.
    pub listen: ListenOptions,
    /// The group of brokers for everybody whom no route takes elsewhere.
    pub upstream: Arc<str>,
    /// How it treats its connections.
    pub door: DoorSettings,
}

/// One `[[ban]]` or `[[exempt]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BanConfig {
    /// Whom it names; no two name the same.
    pub who: Who,
    /// Who made it.
    pub by: Arc<str>,
    /// Why.
    pub reason: Arc<str>,
    /// When it was made; when the file does not say, the moment it is read.
    pub at: Option<Timestamp>,
    /// When it ends.
    pub until: Until,
}

impl BanConfig {
    /// True when nothing about the ban differs, not even how its pattern matches.
    pub(super) fn is_same(&self, other: &BanConfig) -> bool {
        self == other && self.who.matching() == other.who.matching()
    }
}

impl Config {
    /// The bans or the exemptions.
    pub fn bans_of(&self, list: List) -> &[BanConfig] {
        match list {
            List::Bans => &self.bans,
            List::Exemptions => &self.exemptions,
        }
    }

    /// Who is taken where.
    pub fn rules(&self) -> Rules {
        let usual = self.listeners.iter().filter(|listener| &*listener.upstream != DEFAULT);
        let usual = usual.map(|listener| (Arc::clone(&listener.name), Arc::clone(&listener.upstream)));
        Rules { rules: self.routes.clone(), usual: usual.collect() }
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// It cannot be read, or has mistakes: all of them.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Config::parse(&path.display().to_string(), &text).map_err(ConfigError::Mistakes)
    }

    /// `[node] data_dir` of a file, whatever mistakes there are elsewhere in it.
    pub fn data_dir_of(path: &Path) -> Option<PathBuf> {
        let text = std::fs::read_to_string(path).ok()?;
        let (document, _) = DeTable::parse_recoverable(&text);
        let folder = document.get_ref().get("node")?.get_ref().as_table()?.get("data_dir")?.get_ref();
        Some(path.parent().unwrap_or(Path::new("")).join(folder.as_str()?))
    }

    /// Reads and checks the text of a file; `file` is its name in messages.
    ///
    /// # Errors
    /// All mistakes, in the order of the text.
    pub fn parse(file: &str, text: &str) -> Result<Config, Vec<Mistake>> {
        let notes = Notes::new(file, text);
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            notes.mistake(error.span().map_or(0, |span| span.start), "", error.message());
        }
        // Half a document would be full of mistakes that are none.
        let folder = Path::new(file).parent().unwrap_or(Path::new(""));
        let config = if errors.is_empty() { read(&notes, document.get_ref(), folder) } else { None };
        let (mistakes, settings) = notes.into_parts();
        match config {
            Some(config) if mistakes.is_empty() => {
                let is_written = settings.iter().filter(|(_, setting)| setting.is_written);
                let written = is_written.map(|(option, _)| option.clone()).collect();
                let settings = settings.into_iter().map(|(option, setting)| (option, setting.text)).collect();
                Ok(Config { settings, written, ..config })
            }
            _ => Err(mistakes),
        }
    }
}

/// Reads the whole file, which is in `folder`. Everything is read before anything is given up, so that every mistake is
/// noted.
fn read(notes: &Notes<'_>, document: &DeTable<'_>, folder: &Path) -> Option<Config> {
    let root = Section::root(notes, document);
    let node = root.section("node");
    let worker_threads = node.number("worker_threads", "0", 0..1025);
    let name: Option<Name> = node.parsed("name", "\"mqtt-bouncer\"");
    let data_dir = node.optional::<FilePath>("data_dir").map(|path| folder.join(path.0));
    let drain_timeout = node.duration("drain_timeout", "\"30s\"", Duration::ZERO);
    let drain_will = node.choice("drain_will", "\"publish\"", &WILLS);
    node.finish();

    let policies = detection::read(&root);
    let group_names = root.names_of("upstreams");
    let limits = limits::read(root.section("limits"));
    let known = Known {
        zones: policies.as_ref().map(|(_, _, zones)| zones),
        groups: &group_names,
        limits: limits.as_ref(),
        folder,
    };
    let listeners = read_listeners(&root, known);
    let upstream = upstream::read(root.section("upstream"), folder);
    let groups = root.section("upstreams");
    let upstreams = upstream::read_named(&groups, folder);
    upstream::check_backups(&root, upstream.as_ref(), upstreams.as_ref());
    let routes = route::read(&root, &group_names, listeners.as_deref());
    let banned = root.section("banned");
    let answers = read_answers(&banned);
    let kick = banned.list_or("kick", ("[\"clientid\"]", vec![As::ClientId]), KINDS).into_iter().collect();
    let bootstrap_file = banned.optional::<FilePath>("bootstrap_file").map(|path| folder.join(path.0));
    if bootstrap_file.is_some() && data_dir.is_none() {
        banned.mistake("bootstrap_file", "has nowhere to go; expected [node] data_dir, where bans are kept");
    }
    let cleanup = read_cleanup(banned.section("cleanup"));
    banned.finish();
    let partings = read_partings(root.section("kick"), drain_will);
    let refused = read_refused(root.section("refused"));
    let webhook = read_webhook(root.section("webhook"), folder);
    let admin = admin::read(&root, folder, listeners.as_deref());
    let bans = read_bans(&root, "ban");
    let exemptions = read_bans(&root, "exempt");
    let log = read_log(root.section("log"));
    root.finish();

    let (log, stats_interval) = log?;
    let (detection, replay_memory, zones) = policies?;
    Some(Config {
        worker_threads: NonZeroUsize::new(usize::try_from(worker_threads?).ok()?),
        name: name?.0.to_string(),
        data_dir,
        drain_timeout: drain_timeout?,
        listeners: listeners?,
        upstream: upstream?,
        upstreams: upstreams?,
        routes: routes?,
        limits: limits?,
        answers: answers?,
        kick,
        partings: partings?,
        refused: refused?,
        bootstrap_file,
        cleanup: CleanupSettings { offences: detection::longest_memory(&zones), ..cleanup? },
        detection,
        replay_memory,
        zones,
        webhook: webhook?.settings,
        admin: admin?,
        bans: bans?,
        exemptions: exemptions?,
        log,
        stats_interval,
        settings: BTreeMap::new(),
        written: BTreeSet::new(),
    })
}

/// What the rest of the file says that listeners refer to.
#[derive(Clone, Copy)]
struct Known<'k> {
    zones: Option<&'k Zones>,
    groups: &'k [String],
    limits: Option<&'k LimitSettings>,
    /// Where the file is.
    folder: &'k Path,
}

fn read_listeners(root: &Section<'_, '_>, known: Known<'_>) -> Option<Vec<ListenerConfig>> {
    let sections = root.sections("listener");
    if sections.is_empty() {
        root.mistake("listener", "is missing; expected at least one [[listener]]");
    }
    let (mut names, mut binds) = (HashMap::new(), HashMap::new());
    let read = |(index, mut section): (usize, Section<'_, '_>)| {
        let listener = read_listener(&mut section, known);
        if let Some(listener) = &listener {
            if let Some(other) = names.insert(Arc::clone(&listener.name), index) {
                section.wrong("name", format!("is taken by listener[{other}]; expected a name of its own"));
            }
            for address in listener.binds.iter().filter(|address| address.is_fixed()) {
                let taken = binds.insert(address.clone(), index).filter(|other| *other != index);
                let Some(other) = taken else { continue };
                let problem = format!("is taken by listener[{other}]; expected an address of its own");
                match &listener.binds[..] {
                    [_] => section.wrong("bind", problem),
                    _ => section.mistake("bind", format!("\"{address}\" {problem}")),
                }
            }
        }
        section.finish();
        listener
    };
    all(sections.into_iter().enumerate().map(read))
}

fn read_listener(section: &mut Section<'_, '_>, known: Known<'_>) -> Option<ListenerConfig> {
    let Known { zones, groups, limits, folder } = known;
    let name: Option<Name> = section.required("name", "a name, e.g. \"mqtt\"");
    if let Some(Name(name)) = &name {
        section.label(Some(format!("listener.{name}")));
    }
    let kinds =
        [("tcp", (false, false)), ("tls", (true, false)), ("ws", (false, true)), ("wss", (true, true))];
    let kind = section.choice("type", "\"tcp\"", &kinds);
    let binds = sockets::read_addresses(section);
    let listen = sockets::read(section);
    let user_timeout = section.duration_or_off("tcp_user_timeout", "\"off\"", MILLISECOND);
    let zone: Option<Name> = section.parsed("zone", "\"default\"");
    let policy = zone.and_then(|Name(zone)| zones?.get(&zone).cloned());
    if policy.is_none() && zones.is_some() {
        section.wrong("zone", "is no zone; expected \"default\" or the NAME of a [zones.NAME]");
    }
    let upstream: Option<String> = section.parsed("upstream", "\"default\"");
    let upstream = upstream.and_then(|name| route::known(section, "upstream", name, groups));
    let on_banned_peer = section.choice(
        "on_banned_peer",
        "\"connack\"",
        &[("connack", OnBannedPeer::Connack), ("close", OnBannedPeer::Close), ("reset", OnBannedPeer::Reset)],
    );
    let label =
        name.as_ref().filter(|_| section.has("limits")).map(|Name(name)| format!("listener.{name}.limits"));
    let throttle = limits::read_own(section.section("limits"), label);
    let on_rate_limited = section.choice(
        "on_rate_limited",
        "\"connack\"",
        &[("connack", OnRateLimited::Connack), ("close", OnRateLimited::Close)],
    );
    let proxy_protocol = proxy_protocol::read(section);
    let connect_timeout = section.duration("connect_timeout", "\"10s\"", MILLISECOND);
    let max_connect_size = section.size("max_connect_size", "\"64KB\"", 64..(1 << 28) + 5);
    let max_connections = section.number("max_connections", "100000", 1..100_000_001);
    let idle = section.parsed::<Idle>("idle_timeout", "\"off\"");
    let half_close = section.duration("half_close_timeout", "\"30s\"", MILLISECOND);
    let keepalive = section.duration_or_off("tcp_keepalive", "\"1m\"", Duration::from_secs(1));
    let label = name.as_ref().map(|Name(name)| format!("listener.{name}"));
    let websocket = kind.and_then(|(_, is_websocket)| websocket::read(section, is_websocket, label.clone()));
    let tls =
        kind.and_then(|(is_tls, is_websocket)| tls::read(section, (is_tls, is_websocket), label, folder));
    let peer_cert_as = tls::read_identity(section, tls.as_ref(), section.has("proxy_protocol"));
    Some(ListenerConfig {
        name: name?.0,
        binds: binds?,
        listen: listen?,
        upstream: upstream?,
        door: DoorSettings {
            connect_timeout: connect_timeout?,
            max_connect_size: usize::try_from(max_connect_size?).ok()?,
            max_connections: usize::try_from(max_connections?).ok()?,
            on_banned_peer: on_banned_peer?,
            rates: LimitSettings { throttle: throttle?, ..*limits? },
            on_rate_limited: on_rate_limited?,
            proxy_protocol: proxy_protocol?,
            limits: Limits { idle: idle?.0, half_close: half_close? },
            tcp: TcpOptions { keepalive: keepalive?.on(), user_timeout: user_timeout?.on() },
            policy: policy?,
            tls: tls?.settings,
            peer_cert_as: peer_cert_as?,
            websocket: websocket?.settings,
        },
    })
}

fn read_answers(section: &Section<'_, '_>) -> Option<Answers> {
    let v3_banned = section.choice(
        "v3_return_code",
        "5",
        &[
            ("2", ReturnCode::BadClientId),
            ("3", ReturnCode::ServiceUnavailable),
            ("4", ReturnCode::BadUserNamePassword),
            ("5", ReturnCode::NotAuthorized),
        ],
    );
    let tell_reason = section.switch("tell_reason", "false");
    Some(Answers { v3_banned: v3_banned?, tell_reason: tell_reason? })
}

fn read_cleanup(section: Section<'_, '_>) -> Option<CleanupSettings> {
    let period = section.duration("period", "\"5m\"", Duration::from_secs(1));
    let ttl = section.duration("ttl", "\"1w\"", Duration::ZERO);
    section.finish();
    Some(CleanupSettings { period: period?, ttl: ttl?, offences: Duration::ZERO })
}

fn read_partings(section: Section<'_, '_>, drain_will: Option<Will>) -> Option<Partings> {
    let will = section.choice("will", "\"discard\"", &WILLS);
    let wait = section.duration_within("wait", "\"2s\"", Duration::ZERO..=Duration::from_mins(1));
    section.finish();
    Some(Partings { will: will?, drain_will: drain_will?, wait: wait? })
}

fn read_refused(section: Section<'_, '_>) -> Option<RefusedSettings> {
    let max_entries = section.number("max_entries", "10000", 0..1_000_001);
    let ttl = section.duration("ttl", "\"3d\"", Duration::from_secs(1));
    section.finish();
    Some(RefusedSettings { max_entries: usize::try_from(max_entries?).ok()?, ttl: ttl? })
}

/// What was read of a section that may be left out.
struct Webhook {
    settings: Option<WebhookSettings>,
}

fn read_webhook(section: Section<'_, '_>, folder: &Path) -> Option<Webhook> {
    let url: Option<Url> = section.optional_secret("url", |url: &Url| format!("\"{}/…\"", url.origin()));
    let secret: Option<Secret> = section.optional_secret("secret", |_| "\"…\"".to_owned());
    let ca_file = section.optional::<FilePath>("ca_file").map(|path| folder.join(path.0));
    let timeout = section.duration("timeout", "\"5s\"", MILLISECOND);
    let max_attempts = section.number("max_attempts", "5", 1..101);
    let queue = section.number("queue", "1000", 1..1_000_001);
    if url.is_none() && (secret.is_some() || ca_file.is_some()) && !section.has("url") {
        section
            .mistake("url", "is missing; expected where events are sent, e.g. \"https://example.org/hook\"");
    }
    section.finish();
    let (timeout, max_attempts) = (timeout?, u32::try_from(max_attempts?).ok()?);
    let queue = usize::try_from(queue?).ok()?;
    let settings = url.map(|url| WebhookSettings { url, secret, timeout, max_attempts, queue, ca_file });
    Some(Webhook { settings })
}

fn read_bans(root: &Section<'_, '_>, key: &'static str) -> Option<Vec<BanConfig>> {
    let mut seen = HashMap::new();
    let mut expensive: HashMap<(As, Class), usize> = HashMap::new();
    all(root.sections(key).into_iter().enumerate().map(|(index, mut section)| {
        // A list of a million bans is compared ban by ban, not option by option.
        section.label(None);
        let kind: Option<As> = section.required("as", KINDS);
        let name: Option<String> = section.required("who", "whom it is about");
        let matching = section.optional_choice("match", &[("search", Match::Search), ("full", Match::Full)]);
        let who = kind.zip(name).and_then(|(kind, name)| match Who::new(kind, &name, matching) {
            Ok(who) => Some(who),
            Err(WhoError::NoMatch) => {
                section.mistake("match", format!("stands at a {kind}; expected only at {PATTERN_KINDS}"));
                None
            }
            Err(problem) => {
                section.wrong("who", problem);
                None
            }
        });
        let by = section.optional("by").unwrap_or_else(|| "config".to_owned());
        let reason: String = section.optional("reason").unwrap_or_default();
        let at = section.optional("at");
        let until = section.optional("until").unwrap_or(Until::Infinity);
        if let Some(other) = who.as_ref().and_then(|who| seen.insert(who.clone(), index)) {
            section.wrong("who", format!("stands in {key}[{other}] already; expected once"));
        }
        if let Some(pattern) = who.as_ref().and_then(Who::pattern)
            && let Some(max) = pattern.class().max()
        {
            let count = expensive.entry((who.as_ref()?.kind(), pattern.class())).or_default();
            *count += 1;
            if *count > max {
                let class = pattern.class();
                section.wrong("who", format!("is one {class} pattern too many; expected at most {max} of a kind, because each is tried for every client"));
            }
        }
        section.finish();
        Some(BanConfig { who: who?, by: by.into(), reason: reason.into(), at, until })
    }))
}

fn read_log(section: Section<'_, '_>) -> Option<(LogSettings, Option<Duration>)> {
    let level = section.choice(
        "level",
        "\"info\"",
        &[
            ("error", LevelFilter::ERROR),
            ("warn", LevelFilter::WARN),
            ("info", LevelFilter::INFO),
            ("debug", LevelFilter::DEBUG),
            ("trace", LevelFilter::TRACE),
        ],
    );
    let format: Option<LogFormat> = section.parsed("format", "\"text\"");
    let lines = section.number("max_connection_lines", "100", 0..1_000_001);
    let stats_interval = section.duration_or_off("stats_interval", "\"1m\"", Duration::from_secs(1));
    section.finish();
    let max_connection_lines = NonZeroU32::new(u32::try_from(lines?).ok()?);
    Some((LogSettings { level: level?, format: format?, max_connection_lines }, stats_interval?.on()))
}

const WILLS: [(&str, Will); 2] = [("discard", Will::Discard), ("publish", Will::Publish)];

const KINDS: &str = "one of clientid, username, cert_cn, cert_sha256, tls_ja4, peerhost, peerhost_net, clientid_re, username_re, peerhost_re";
const PATTERN_KINDS: &str = "clientid_re, username_re and peerhost_re";

pub(super) const MILLISECOND: Duration = Duration::from_millis(1);

/// All of them, or none; each is read before that is known.
pub(super) fn all<T, C: FromIterator<T>>(items: impl Iterator<Item = Option<T>>) -> Option<C> {
    items.collect::<Vec<_>>().into_iter().collect()
}

/// A name that can stand in a log line, a metric's label and a key of the file.
pub(super) struct Name(pub(super) Arc<str>);

impl FromStr for Name {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Name, &'static str> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if (1..=64).contains(&text.len()) && text.bytes().all(is_plain) {
            Ok(Name(text.into()))
        } else {
            Err("is not a name; expected 1 to 64 letters, digits, \"-\" and \"_\"")
        }
    }
}

pub(super) struct FilePath(pub(super) PathBuf);

impl FromStr for FilePath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<FilePath, &'static str> {
        if text.is_empty() || text.contains('\0') {
            return Err("is not a path; expected e.g. \"/var/lib/mqtt-bouncer\"");
        }
        Ok(FilePath(text.into()))
    }
}

/// An address of a network.
pub(super) struct Bind(pub(super) SocketAddr);

impl FromStr for Bind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Bind, &'static str> {
        text.parse()
            .map(Bind)
            .map_err(|_| "is not an address; expected IP:PORT, e.g. \"0.0.0.0:1883\" or \"[::]:1883\"")
    }
}

struct Idle(IdleTimeout);

impl FromStr for Idle {
    type Err = String;

    fn from_str(text: &str) -> Result<Idle, String> {
        match text {
            "off" => Ok(Idle(IdleTimeout::Off)),
            "keep_alive" => Ok(Idle(IdleTimeout::KeepAlive)),
            _ => match units::duration(text) {
                Ok(Duration::ZERO) => Err("is too short; expected \"off\" or at least \"1ms\"".to_owned()),
                Ok(limit) => Ok(Idle(IdleTimeout::After(limit))),
                Err(problem) => Err(format!("{problem}, \"off\", or \"keep_alive\"")),
            },
        }
    }
}

pub(super) struct VersionName(pub(super) Version);

impl FromStr for VersionName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<VersionName, &'static str> {
        let version = Version::ALL.into_iter().find(|version| version.as_str() == text);
        version.map(VersionName).ok_or("is no MQTT version; expected \"3.1\", \"3.1.1\" or \"5\"")
    }
}

#[cfg(test)]
mod tests;
