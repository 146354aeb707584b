//! `top`: what the running proxy is doing right now.

mod numbers;
mod screen;
mod terminal;

use super::Outcome;
use super::out::say;
use super::paging::word;
use super::site::Site;
use crate::admin::stats::Stats;
use crate::admin::{CallError, Caller};
use crate::config::parse_duration;
use crate::telemetry::Chain;
use clap::Args;
use screen::{Size, View};
use serde_json::Value;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;
use terminal::{Asked, Terminal};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep, timeout};

#[derive(Debug, Args)]
pub(super) struct Top {
    #[command(flatten)]
    site: Site,
    /// Print it once, over one interval, and end.
    #[arg(long)]
    once: bool,
    /// Print the numbers as one JSON object a line, as `GET /api/v5/stats` has them.
    #[arg(long)]
    json: bool,
    /// How often it is refreshed, e.g. 500ms, 5s.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    interval: Duration,
}

/// No proxy needs longer to say how it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who asks more often sees nothing.
const SHORTEST: Duration = Duration::from_millis(100);

impl Top {
    pub(super) fn run(self) -> Outcome {
        let caller = self.site.caller()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let interval = self.interval.max(SHORTEST);
        if self.json {
            print_objects(&runtime, &caller, interval, self.once)
        } else if self.once || !console::user_attended() {
            print_once(&runtime, &caller, interval)
        } else {
            watch(&runtime, &caller, interval)
        }
    }
}

fn print_objects(runtime: &Runtime, caller: &Caller, interval: Duration, once: bool) -> Outcome {
    loop {
        say(serde_json::to_string(&runtime.block_on(caller.stats())?)?)?;
        if once {
            return Ok(ExitCode::SUCCESS);
        }
        runtime.block_on(async { sleep(interval).await });
    }
}

fn print_once(runtime: &Runtime, caller: &Caller, interval: Duration) -> Outcome {
    let before = runtime.block_on(caller.stats())?;
    runtime.block_on(async { sleep(interval).await });
    let Seen { stats: now, refused } = runtime.block_on(look(caller))?;
    let size = Size { width: super::out::width().unwrap_or(80), height: usize::MAX };
    for line in (View { before: Some(&before), now: &now, refused: &refused, trouble: None }).lines(size) {
        say(line)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows it until somebody has seen enough.
fn watch(runtime: &Runtime, caller: &Caller, interval: Duration) -> Outcome {
    // One that cannot be reached at all is no reason to take the screen.
    let mut now = runtime.block_on(look(caller))?;
    let mut before: Option<Stats> = None;
    let mut trouble = None;
    let mut terminal = Terminal::take(runtime)?;
    loop {
        let due = runtime.block_on(async { Instant::now() }) + interval;
        loop {
            let view = View {
                before: before.as_ref(),
                now: &now.stats,
                refused: &now.refused,
                trouble: trouble.as_deref(),
            };
            match terminal.show(&view).and_then(|()| terminal.wait(runtime, due)) {
                Ok(Asked::End) => return Ok(ExitCode::SUCCESS),
                Ok(Asked::Redraw) => {}
                Ok(Asked::Nothing) => break,
                // Whose terminal has gone has seen enough, be it before the signal says so.
                Err(_) if !io::stdout().is_terminal() => return Ok(ExitCode::SUCCESS),
                Err(error) => return Err(error.into()),
            }
        }
        match runtime.block_on(ask(caller)) {
            Ok(seen) => {
                before = Some(std::mem::replace(&mut now, seen).stats);
                trouble = None;
            }
            Err(error) => trouble = Some(error),
        }
    }
}

/// What is seen at one moment.
struct Seen {
    stats: Stats,
    /// Who was turned away last, as the API lists them.
    refused: Value,
}

async fn look(caller: &Caller) -> Result<Seen, CallError> {
    let stats = caller.stats().await?;
    let words: Vec<_> = word("limit", Some(REFUSED)).into_iter().collect();
    Ok(Seen { stats, refused: caller.refused(&words).await? })
}

/// So many of those who were turned away fit below all the rest in most terminals.
const REFUSED: usize = 10;

async fn ask(caller: &Caller) -> Result<Seen, String> {
    match timeout(PATIENCE, look(caller)).await {
        Ok(Ok(seen)) => Ok(seen),
        Ok(Err(error)) => Err(Chain(&error).to_string()),
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).to_string()),
    }
}
