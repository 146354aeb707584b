//! `detections`: what the running proxy has found lately.

use super::Outcome;
use super::show::describe_evidence;
use super::site::{Site, runtime};
use crate::telemetry::Shown;
use clap::Args;
use serde_json::Value;
use std::io::{self, Write};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Detections {
    #[command(flatten)]
    site: Site,
    /// One JSON object a line, as a webhook gets it.
    #[arg(long)]
    json: bool,
}

impl Detections {
    pub(super) fn run(&self) -> Outcome {
        let caller = self.site.caller()?;
        let findings = runtime()?.block_on(caller.detections())?;
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
