//! `serve` and `check`.

use super::out::say;
use super::{ConfigFile, Outcome};
use crate::admission::As;
use crate::app::{
    App, check_admin_files, check_certificates, check_sockets, check_upstream_files, log_start,
};
use crate::clock::Clock;
use crate::config::{Config, ConfigError, Mistake};
use crate::signal::Signals;
use crate::telemetry::Telemetry;
use crate::webhook::Webhook;
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::thread::available_parallelism;

#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    file: ConfigFile,
    /// One JSON object: what the file holds, or its mistakes.
    #[arg(long)]
    json: bool,
}

impl Serve {
    pub(super) fn run(&self) -> Outcome {
        let config = Config::load(&self.file.config)?;
        let telemetry = Telemetry::new(config.log);
        telemetry.install();
        let workers = config.worker_threads.map_or_else(available_parallelism, Ok)?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(workers.get()).enable_all().build()?;
        runtime.block_on(async {
            let mut signals = Signals::new()?;
            let app = App::start(config, Clock::system(), telemetry)?;
            log_start(&app);
            app.run(&self.file.config, &mut signals).await;
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Check {
    pub(super) fn run(&self) -> Outcome {
        let config = match Config::load(&self.file.config) {
            Err(ConfigError::Mistakes(mistakes)) if self.json => {
                let mistakes: Vec<Value> = mistakes.iter().map(to_json).collect();
                say(json!({ "ok": false, "file": self.file.config, "mistakes": mistakes }))?;
                return Ok(ExitCode::FAILURE);
            }
            other => other?,
        };
        if let Some(webhook) = config.webhook.clone() {
            // Its certificates are read by whoever starts it.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { Webhook::start(webhook).map(drop) })?;
        }
        let now = Clock::system().now();
        check_admin_files(&config, now)?;
        check_upstream_files(&config)?;
        check_sockets(&config)?;
        check_certificates(&config)?;
        let expired = config.bans.iter().filter(|ban| !ban.until.is_after(now)).count();
        let of_kind = |kind| config.bans.iter().filter(|ban| ban.who.kind() == kind).count();
        if self.json {
            let kinds: serde_json::Map<_, _> =
                As::ALL.map(|kind| (kind.to_string(), of_kind(kind).into())).into_iter().collect();
            say(json!({
                "ok": true,
                "file": self.file.config,
                "listeners": config.listeners.len(),
                "bans": config.bans.len(),
                "expired_bans": expired,
                "bans_by_kind": kinds,
                "exemptions": config.exemptions.len(),
            }))?;
            return Ok(ExitCode::SUCCESS);
        }
        say(format_args!(
            "{} can be used: {} listeners, {} bans ({expired} of them expired), {} exemptions",
            self.file.config.display(),
            config.listeners.len(),
            config.bans.len(),
            config.exemptions.len(),
        ))?;
        for kind in As::ALL.into_iter().filter(|kind| of_kind(*kind) > 0) {
            say(format_args!("  {} {kind}", of_kind(kind)))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn to_json(mistake: &Mistake) -> Value {
    let Mistake { file, line, key, problem } = mistake;
    json!({ "file": file, "line": line, "option": key, "problem": problem })
}
