//! `serve` and `check`.

use super::{ConfigFile, Outcome};
use crate::admission::As;
use crate::app::{App, check_admin_files, log_start};
use crate::clock::Clock;
use crate::config::Config;
use crate::signal::Signals;
use crate::telemetry::Telemetry;
use crate::webhook::Webhook;
use std::process::ExitCode;
use std::thread::available_parallelism;

pub(super) fn serve(file: &ConfigFile) -> Outcome {
    let config = Config::load(&file.config)?;
    let telemetry = Telemetry::new(config.log);
    telemetry.install();
    let workers = config.worker_threads.map_or_else(available_parallelism, Ok)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(workers.get()).enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let app = App::start(config, Clock::system(), telemetry)?;
        log_start(&app);
        app.run(&file.config, &mut signals).await;
        Ok(ExitCode::SUCCESS)
    })
}

pub(super) fn check(file: &ConfigFile) -> Outcome {
    let config = Config::load(&file.config)?;
    if let Some(webhook) = config.webhook.clone() {
        // Its certificates are read by whoever starts it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { Webhook::start(webhook).map(drop) })?;
    }
    let now = Clock::system().now();
    check_admin_files(&config, now)?;
    let expired = config.bans.iter().filter(|ban| !ban.until.is_after(now)).count();
    println!(
        "{} can be used: {} listeners, {} bans ({expired} of them expired), {} exemptions",
        file.config.display(),
        config.listeners.len(),
        config.bans.len(),
        config.exemptions.len(),
    );
    for kind in As::ALL {
        let count = config.bans.iter().filter(|ban| ban.who.kind() == kind).count();
        if count > 0 {
            println!("  {count} {kind}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
