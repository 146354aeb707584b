//! `detections`: what the running proxy has found lately.

use super::show::describe_evidence;
use super::{ConfigFile, Outcome};
use crate::admin::Caller;
use crate::app::SOCKET_FILE;
use crate::config::Config;
use crate::telemetry::Shown;
use clap::Args;
use serde_json::Value;
use std::io::{self, Write};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Detections {
    #[command(flatten)]
    file: ConfigFile,
    /// One JSON object a line, as a webhook gets it.
    #[arg(long)]
    json: bool,
}

impl Detections {
    pub(super) fn run(&self) -> Outcome {
        let config = Config::load(&self.file.config)?;
        let missing =
            || format!("{} has no [node] data_dir, where the proxy can be asked", self.file.config.display());
        let folder = config.data_dir.ok_or_else(missing)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let findings = runtime.block_on(Caller::new(folder.join(SOCKET_FILE)).detections())?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        for finding in &findings {
            if self.json {
                writeln!(out, "{finding}")?;
            } else {
                writeln!(out, "{}", line(finding))?;
            }
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// `2026-11-21T10:28:00+00:00 default ban clientid bot-7 until …: by_clientid counted …`
fn line(finding: &Value) -> String {
    let text = |key: &str| finding.get(key).and_then(Value::as_str).unwrap_or_default();
    let until = match text("until") {
        "" => String::new(),
        until => format!(" until {until}"),
    };
    format!(
        "{} {} {} {} {}{until}: {}",
        text("at"),
        text("zone"),
        text("event"),
        text("as"),
        Shown(text("who")),
        describe_evidence(finding)
    )
}
