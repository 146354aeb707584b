//! The `mqtt-bouncer` command: reads the command line, runs what it asks for, says what went wrong.

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a command speaks to its user")]

use clap::{Args, Parser, Subcommand};
use mqtt_bouncer::admission::{As, Ban, Client, Match, Timestamp, Verdict};
use mqtt_bouncer::app::{App, bouncer_of, log_start};
use mqtt_bouncer::clock::Clock;
use mqtt_bouncer::config::{Config, ConfigError};
use mqtt_bouncer::signal::Signals;
use mqtt_bouncer::telemetry::{Chain, Telemetry};
use std::error::Error;
use std::net::IpAddr;
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
    /// Says whether a client would be let in, and names every rule that is about it.
    ///
    /// Asks the bans and exemptions of the config file, not a running proxy. Exits with 0 when the client would be let
    /// in, with 2 when it would be refused.
    Explain(Explain),
}

#[derive(Debug, Args)]
struct Explain {
    #[command(flatten)]
    file: ConfigFile,
    /// The client identifier; without one, the client lets the broker choose.
    #[arg(long, value_name = "ID", default_value = "")]
    clientid: String,
    /// The user name.
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// The address that the client comes from.
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    peer: IpAddr,
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
        Command::Explain(client) => explain(&client),
    };
    match outcome {
        Ok(code) => code,
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

fn serve(file: &ConfigFile) -> Result<ExitCode, Box<dyn Error>> {
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

fn check(file: &ConfigFile) -> Result<ExitCode, Box<dyn Error>> {
    let config = Config::load(&file.config)?;
    let now = Clock::system().now();
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

fn explain(asked: &Explain) -> Result<ExitCode, Box<dyn Error>> {
    let bouncer = bouncer_of(&Config::load(&asked.file.config)?, Clock::system());
    let now = bouncer.clock().now();
    let client = Client::new(asked.peer, &asked.clientid, asked.username.as_deref());
    let explanation = bouncer.explain(&client);
    let code = match &explanation.verdict {
        Verdict::Admit => {
            println!("would be let in");
            ExitCode::SUCCESS
        }
        Verdict::Refuse(ban) => {
            println!("would be refused: {}", describe(ban, now));
            ExitCode::from(2)
        }
    };
    for (title, rules) in [("exemptions", &explanation.exemptions), ("bans", &explanation.bans)] {
        println!("{title} about this client:{}", if rules.is_empty() { " none" } else { "" });
        for rule in rules {
            println!("  {}", describe(rule, now));
        }
    }
    Ok(code)
}

/// A rule in one line: `clientid_re "^bot-" (holds until infinity; by config; reason: flooding)`.
fn describe(ban: &Ban, now: Timestamp) -> String {
    let Ban { who, terms } = ban;
    let matching = if who.matching() == Some(Match::Full) { ", matches the whole" } else { "" };
    let holds = if terms.is_active(now) { "holds until" } else { "ended at" };
    let reason =
        if terms.reason.is_empty() { String::new() } else { format!("; reason: {:?}", terms.reason) };
    format!(
        "{} {:?}{matching} ({holds} {}; by {:?}{reason})",
        who.kind(),
        who.to_string(),
        terms.until,
        terms.by
    )
}
