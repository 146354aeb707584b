//! Sets up the log: where it goes, how it looks, how much of it strangers may cause.

mod shown;

pub use shown::Shown;

use arc_swap::ArcSwap;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::error::Error;
use std::fmt;
use std::io;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// How the log is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// The least important lines that are written.
    pub level: LevelFilter,
    /// How a line looks.
    pub format: LogFormat,
    /// How many lines about single connections may be written in a second; `None` for no limit. The others are
    /// counted, and the count is written.
    pub max_connection_lines: Option<NonZeroU32>,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// A name that is no log format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a log format; expected text or json")]
pub struct LogFormatError;

impl FromStr for LogFormat {
    type Err = LogFormatError;

    fn from_str(name: &str) -> Result<LogFormat, LogFormatError> {
        match name {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(LogFormatError),
        }
    }
}

/// A handle to the log of this process.
#[derive(Debug, Clone)]
pub struct Telemetry(Arc<Gate>);

impl Telemetry {
    /// A log that is set like this, and written nowhere until [`install`](Telemetry::install).
    pub fn new(settings: LogSettings) -> Telemetry {
        Telemetry(Arc::new(Gate {
            rule: ArcSwap::from_pointee(Rule::new(settings)),
            format: settings.format,
            suppressed: AtomicU64::new(0),
            told: AtomicU64::new(0),
        }))
    }

    /// Writes the log of this process to standard error. Once for each process; later calls change nothing.
    pub fn install(&self) {
        let filter = GateFilter(Arc::clone(&self.0));
        let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
        let registry = tracing_subscriber::registry();
        // Fails when there is one already, as in a test that starts two proxies.
        let _ = match self.0.format {
            LogFormat::Text => {
                let colours = io::IsTerminal::is_terminal(&io::stderr());
                registry.with(lines.with_ansi(colours).with_target(false).with_filter(filter)).try_init()
            }
            LogFormat::Json => {
                let lines = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
                registry.with(lines.with_target(false).with_filter(filter)).try_init()
            }
        };
    }

    /// Changes the level and the limit. The format stays as it was at the start.
    pub fn adjust(&self, settings: LogSettings) {
        self.0.rule.store(Arc::new(Rule::new(settings)));
        tracing::callsite::rebuild_interest_cache();
    }

    /// How many lines the limit has held back since this was last asked.
    pub fn take_suppressed(&self) -> u64 {
        let suppressed = self.suppressed();
        suppressed.saturating_sub(self.0.told.swap(suppressed, Ordering::Relaxed))
    }

    /// How many lines the limit has held back since the start.
    pub fn suppressed(&self) -> u64 {
        self.0.suppressed.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Gate {
    rule: ArcSwap<Rule>,
    format: LogFormat,
    suppressed: AtomicU64,
    /// How many of them whoever asks has been told of.
    told: AtomicU64,
}

#[derive(Debug)]
struct Rule {
    level: LevelFilter,
    limiter: Option<DefaultDirectRateLimiter>,
}

impl Rule {
    fn new(settings: LogSettings) -> Rule {
        let limiter =
            settings.max_connection_lines.map(|lines| RateLimiter::direct(Quota::per_second(lines)));
        Rule { level: settings.level, limiter }
    }
}

/// The lines of this crate.
const OUR_LINES: &str = "mqtt_bouncer";

/// The rooms whose lines are about single clients: how many there are is for strangers to decide.
const CLIENT_LINES: [&str; 3] =
    ["mqtt_bouncer::proxy", "mqtt_bouncer::findings", "mqtt_bouncer::admin::strangers"];

impl Gate {
    /// Lines of other crates are for whoever asks for everything.
    fn lets_level_through(&self, metadata: &Metadata<'_>) -> bool {
        let level = self.rule.load().level;
        *metadata.level() <= level
            && (metadata.target().starts_with(OUR_LINES) || level == LevelFilter::TRACE)
    }

    fn lets_line_through(&self, metadata: &Metadata<'_>) -> bool {
        let rule = self.rule.load();
        let is_limited = CLIENT_LINES.iter().any(|room| metadata.target().starts_with(room));
        let Some(limiter) = rule.limiter.as_ref().filter(|_| is_limited) else { return true };
        let through = limiter.check().is_ok();
        if !through {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
        }
        through
    }
}

struct GateFilter(Arc<Gate>);

impl<S: Subscriber> Filter<S> for GateFilter {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.0.lets_level_through(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.0.lets_level_through(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.0.lets_line_through(event.metadata())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0.rule.load().level)
    }
}

/// Shows an error and what caused it, in one line: `cannot connect to broker:1883: connection refused`.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tracing_subscriber::fmt::MakeWriter;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Page {
        type Writer = Page;

        fn make_writer(&'a self) -> Page {
            self.clone()
        }
    }

    fn settings(level: LevelFilter, lines: u32) -> LogSettings {
        LogSettings { level, format: LogFormat::Text, max_connection_lines: NonZeroU32::new(lines) }
    }

    /// What is written while `write` runs with these settings.
    fn written(telemetry: &Telemetry, write: impl FnOnce()) -> String {
        let page = Page::default();
        let lines =
            tracing_subscriber::fmt::layer().with_writer(page.clone()).with_ansi(false).without_time();
        let subscriber =
            tracing_subscriber::registry().with(lines.with_filter(GateFilter(Arc::clone(&telemetry.0))));
        tracing::subscriber::with_default(subscriber, write);
        let bytes = page.0.lock().expect("no panic").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn lines_about_connections_are_limited_and_counted_and_others_are_not() {
        let telemetry = Telemetry::new(settings(LevelFilter::INFO, 3));
        let text = written(&telemetry, || {
            for _ in 0..10 {
                tracing::info!(target: "mqtt_bouncer::proxy::connection", "refused");
                tracing::info!(target: "mqtt_bouncer::app", "reloaded");
            }
        });
        assert_eq!((text.matches("refused").count(), text.matches("reloaded").count()), (3, 10));
        assert_eq!((telemetry.take_suppressed(), telemetry.take_suppressed()), (7, 0));
    }

    #[test]
    fn the_level_can_be_changed_both_ways() {
        let telemetry = Telemetry::new(settings(LevelFilter::WARN, 100));
        let text = written(&telemetry, || {
            for level in [LevelFilter::WARN, LevelFilter::DEBUG, LevelFilter::ERROR] {
                telemetry.adjust(settings(level, 100));
                tracing::debug!(at = %level, "detail");
                tracing::warn!(at = %level, "trouble");
            }
        });
        let lines: Vec<_> = text.lines().map(|line| line.rsplit(": ").next().unwrap_or_default()).collect();
        assert_eq!(lines, ["trouble at=warn", "detail at=debug", "trouble at=debug"]);
    }

    #[test]
    fn an_error_is_shown_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read the file")]
        struct Outer(#[source] io::Error);
        let error = Outer(io::Error::other("disk on fire"));
        assert_eq!(Chain(&error).to_string(), "cannot read the file: disk on fire");
    }
}
