//! The `mqtt-bouncer` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    mqtt_bouncer::cli::main()
}
