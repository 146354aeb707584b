//! The command line: reads it, runs what it asks for, says what went wrong.

mod api_keys;
mod book;
mod clients;
mod completions;
mod detections;
mod explain;
mod export;
mod import;
mod listing;
mod lists;
mod out;
mod paging;
mod password;
mod refused;
mod serve;
mod show;
mod site;
mod staff;
mod status;
mod told;
mod top;
mod upstreams;
mod users;

use crate::admission::List;
use crate::config::ConfigError;
use crate::telemetry::Chain;
use clap::{Args, Parser, Subcommand};
use out::remark;
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// Keeps banned clients away from an MQTT broker.
///
/// A reverse proxy for MQTT 3.1, 3.1.1 and 5: it reads each client's CONNECT, refuses banned client identifiers, user
/// names and addresses with a CONNACK, and takes everybody else to the broker, byte for byte.
#[derive(Debug, Parser)]
#[command(name = "mqtt-bouncer", version, max_term_width = 100)]
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
    Serve(serve::Serve),
    /// Checks a config file and prints every mistake in it.
    ///
    /// Exits with 0 when the file can be used, else with 1 and one line per mistake:
    /// `FILE:LINE: OPTION: FOUND; EXPECTED`.
    Check(serve::Check),
    /// Says whether a client would be let in, names every rule that is about it, and the brokers that it is taken to.
    ///
    /// Asks the running proxy; where none is running, the config file and the store. Exits with 0 when the client would
    /// be let in, with 2 when it would be refused.
    Explain(explain::Explain),
    /// Prints what detection has found lately in the running proxy, the newest first: bans, and what would have been bans
    /// in shadow mode.
    Detections(detections::Detections),
    /// Lists and kicks the clients that are inside the running proxy.
    Clients(clients::Clients),
    /// Lists the clients that the running proxy or the broker has turned away lately, and why.
    Refused(refused::Refused),
    /// Lists and changes the bans that are kept in `[node] data_dir`, of a running proxy or a stopped one.
    ///
    /// What succeeds is on disk and, where a proxy is running, in force. The bans of the config file are listed too,
    /// and changed in that file alone.
    Bans(lists::Lists),
    /// Lists and changes the exemptions, who are let in whatever bans there are. The same commands as for bans.
    Exemptions(lists::Lists),
    /// Tells how the running proxy is: its listeners, sessions, bans, brokers, and its last reload.
    Status(status::StatusCommand),
    /// Has the running proxy read its config file again, as SIGHUP does, and tells what came of it.
    ///
    /// A file with mistakes changes nothing: they are printed, one a line, and the exit code is 1.
    Reload(status::Reload),
    /// Lists the brokers of the running proxy and how they are, and takes single ones out of service.
    Upstreams(upstreams::Upstreams),
    /// Lists and changes who may log in to the API, of a running proxy or a stopped one.
    Users(users::Users),
    /// Lists and changes the keys that scripts show to the API, of a running proxy or a stopped one.
    ApiKeys(api_keys::ApiKeys),
    /// Shows what the running proxy is doing right now, refreshed each second; q ends it.
    ///
    /// Connections a second by outcome, sessions, bans by kind and how often they refuse somebody, brokers, detections,
    /// and what the process uses. Where the output is no terminal it is printed once.
    Top(top::Top),
    /// Prints a script that makes a shell complete these commands.
    ///
    /// bash: `mqtt-bouncer completions bash > /etc/bash_completion.d/mqtt-bouncer`; zsh: into a folder of `$fpath`, as
    /// `_mqtt-bouncer`; fish: `~/.config/fish/completions/mqtt-bouncer.fish`.
    Completions(completions::Completions),
    /// Writes the manual: the main page to standard output, or a page for every command into a folder.
    Man(completions::Man),
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The config file (TOML); config/mqtt-bouncer.toml documents every option.
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "/etc/mqtt-bouncer/mqtt-bouncer.toml",
        global = true
    )]
    config: PathBuf,
}

/// How a command ends: with an exit code, or an error that is printed.
type Outcome = Result<ExitCode, Box<dyn Error>>;

/// Runs the command that this process was started with.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Explain(client) => client.run(),
        Command::Detections(command) => command.run(),
        Command::Clients(command) => command.run(),
        Command::Refused(command) => command.run(),
        Command::Bans(command) => command.run(List::Bans),
        Command::Exemptions(command) => command.run(List::Exemptions),
        Command::Status(command) => command.run(),
        Command::Reload(command) => command.run(),
        Command::Upstreams(command) => command.run(),
        Command::Users(command) => command.run(),
        Command::ApiKeys(command) => command.run(),
        Command::Top(command) => command.run(),
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
    };
    outcome.unwrap_or_else(|error| report(&*error))
}

fn report(error: &(dyn Error + 'static)) -> ExitCode {
    if is_about_a_reader_that_has_gone(error) {
        // Whoever read our output has enough, as `head` has.
        return ExitCode::SUCCESS;
    }
    match error.downcast_ref() {
        // These lines have the form that editors jump to.
        Some(mistakes @ ConfigError::Mistakes(_)) => remark(mistakes),
        _ => remark(format_args!("mqtt-bouncer: {}", Chain(error))),
    }
    ExitCode::FAILURE
}

fn is_about_a_reader_that_has_gone(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = error.source();
    }
    false
}
