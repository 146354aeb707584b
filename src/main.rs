//! The `mqtt-bouncer` command: reads the command line, runs what it asks for, says what went wrong.

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a command speaks to its user")]

use clap::{Args, Parser, Subcommand};
use mqtt_bouncer::admission::As;
use mqtt_bouncer::app::{App, log_start};
use mqtt_bouncer::clock::Clock;
use mqtt_bouncer::config::{Config, ConfigError};
use mqtt_bouncer::signal::Signals;
use mqtt_bouncer::telemetry::{Chain, Telemetry};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::available_parallelism;

/// Keeps banned clients away from an MQTT broker.
///
/// A reverse proxy for MQTT 3.1, 3.1.1 and 5: it reads each client's CONNECT, refuses banned client identifiers, user
/// names and addresses with a CONNACK, and takes everybody else to the broker, byte for byte.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the proxy in the foreground.
    ///
    /// SIGHUP reads the config file again; a file with mistakes changes nothing. SIGTERM and SIGINT admit nobody any
    /// more, let sessions go on for `[node] drain_timeout`, and stop; a second one stops at once. The log goes to
    /// standard error.
    Serve(ConfigFile),
    /// Checks a config file and prints every mistake in it.
    ///
    /// Exits with 0 when the file can be used, else with 1 and one line per mistake:
    /// `FILE:LINE: OPTION: FOUND; EXPECTED`.
    Check(ConfigFile),
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The config file (TOML); config/mqtt-bouncer.toml documents every option.
    #[arg(short, long, value_name = "FILE", default_value = "/etc/mqtt-bouncer/mqtt-bouncer.toml")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(file) => serve(&file),
        Command::Check(file) => check(&file),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match error.downcast_ref() {
                // These lines have the form that editors jump to.
                Some(mistakes @ ConfigError::Mistakes(_)) => eprintln!("{mistakes}"),
                _ => eprintln!("mqtt-bouncer: {}", Chain(&*error)),
            }
            ExitCode::FAILURE
        }
    }
}

fn serve(file: &ConfigFile) -> Result<(), Box<dyn Error>> {
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
        Ok(())
    })
}

fn check(file: &ConfigFile) -> Result<(), Box<dyn Error>> {
    let config = Config::load(&file.config)?;
    let now = Clock::system().now();
    let expired = config.bans.iter().filter(|ban| !ban.until.is_after(now)).count();
    let count = |kind| config.bans.iter().filter(|ban| ban.who.kind() == kind).count();
    println!(
        "{} can be used: {} listeners, {} bans ({}; {expired} expired)",
        file.config.display(),
        config.listeners.len(),
        config.bans.len(),
        As::ALL.map(|kind| format!("{} {kind}", count(kind))).join(", "),
    );
    Ok(())
}
