//! `explain`: would this client be let in, and why?

use super::Outcome;
use super::out::say;
use super::show::{describe, describe_evidence};
use super::site::{Site, runtime};
use crate::admin::{Asked, Caller, Evidence, Explained};
use crate::admission::detection::Detector;
use crate::admission::{Ban, List, Timestamp, Verdict};
use crate::app::{SOCKET_FILE, STORE_FILE, bouncer_of};
use crate::clock::Clock;
use crate::config::Config;
use crate::store::{Filter, Reader};
use crate::telemetry::Shown;
use clap::Args;
use std::error::Error;
use std::io::{self, Write};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    site: Site,
    /// The client identifier; without one, the client lets the broker choose.
    #[arg(long, value_name = "ID", default_value = "")]
    clientid: String,
    /// The user name.
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// The address that the client comes from.
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    peer: IpAddr,
    /// The MQTT version that it speaks, for routes: 3.1, 3.1.1 or 5. What is not said fits no route's condition.
    #[arg(long, value_name = "VERSION")]
    protocol: Option<String>,
    /// The listener that it comes to, for routes.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// The server that it asks for in TLS, for routes.
    #[arg(long, value_name = "HOST")]
    sni: Option<String>,
    /// The common name of its certificate.
    #[arg(long, value_name = "NAME")]
    cert_cn: Option<String>,
    /// The SHA-256 of its certificate, with or without colons.
    #[arg(long, value_name = "DIGEST")]
    cert_sha256: Option<String>,
    /// The JA4 fingerprint of its TLS.
    #[arg(long, value_name = "JA4")]
    ja4: Option<String>,
    /// One JSON object, as `GET /api/v5/explain` answers it.
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn run(self) -> Outcome {
        let asked = Asked {
            clientid: self.clientid,
            username: self.username,
            peer: self.peer,
            protocol: self.protocol,
            listener: self.listener,
            sni: self.sni,
            cert_cn: self.cert_cn,
            cert_sha256: self.cert_sha256.map(|digest| digest.replace(':', "").to_ascii_lowercase()),
            ja4: self.ja4,
        };
        let explained = match self.site.elsewhere()? {
            Some(caller) => runtime()?.block_on(caller.explain(&asked))?,
            None => explain_here(&Config::load(&self.site.file.config)?, &asked)?,
        };
        if self.json {
            say(explained.to_json())?;
        } else {
            print(&explained)?;
        }
        Ok(match explained.explanation.verdict {
            Verdict::Admit => ExitCode::SUCCESS,
            Verdict::Refuse(_) => ExitCode::from(2),
        })
    }
}

/// Asks the proxy of the config file, or the files when it is not running.
fn explain_here(config: &Config, asked: &Asked) -> Result<Explained, Box<dyn Error>> {
    let Some(folder) = &config.data_dir else { return ask_files(config, asked) };
    let caller = Caller::new(folder.join(SOCKET_FILE));
    match runtime()?.block_on(caller.explain(asked)) {
        Err(error) if error.is_stopped() => ask_files(config, asked),
        explained => Ok(explained?),
    }
}

/// What a proxy would say that starts with this config now.
fn ask_files(config: &Config, asked: &Asked) -> Result<Explained, Box<dyn Error>> {
    let bouncer = bouncer_of(config, Clock::system());
    let store = config.data_dir.as_ref().map(|folder| folder.join(STORE_FILE)).filter(|path| path.exists());
    let reader = store.map(Reader::open).transpose()?;
    if let Some(reader) = &reader {
        for list in List::ALL {
            let mut too_many = None;
            reader.for_each(list, &Filter::default(), |ban| match bouncer.put(list, ban) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    too_many = Some(error);
                    ControlFlow::Break(())
                }
            })?;
            if let Some(error) = too_many {
                return Err(error.into());
            }
        }
    }
    let route = config.rules().choose(&asked.traits()?).into();
    let explanation = bouncer.explain(&asked.client());
    let mut evidence = Vec::new();
    if let Some(reader) = reader {
        for ban in &explanation.bans {
            evidence.extend(reader.offence(&ban.who)?.map(Evidence::from));
        }
    }
    Ok(Explained { explanation, evidence, route })
}

fn print(explained: &Explained) -> io::Result<()> {
    let (mut out, now) = (io::stdout().lock(), Clock::system().now());
    let Explained { explanation, evidence, route } = explained;
    match &explanation.verdict {
        Verdict::Admit => writeln!(out, "would be let in")?,
        Verdict::Refuse(ban) => writeln!(out, "would be refused: {}", describe(ban, now))?,
    }
    for (title, rules) in [("exemptions", &explanation.exemptions), ("bans", &explanation.bans)] {
        writeln!(out, "{title} about this client:{}", if rules.is_empty() { " none" } else { "" })?;
        for rule in rules {
            print_rule(&mut out, rule, evidence, now)?;
        }
    }
    if explanation.verdict == Verdict::Admit {
        let by = route.route.map_or_else(|| "no route".to_owned(), |rule| format!("route[{rule}]"));
        writeln!(out, "upstream: {}, by {by}", Shown(&route.upstream))?;
    }
    Ok(())
}

fn print_rule(out: &mut impl Write, rule: &Ban, evidence: &[Evidence], now: Timestamp) -> io::Result<()> {
    writeln!(out, "  {}", describe(rule, now))?;
    // An exemption of the same name has none.
    let known = evidence.iter().find(|evidence| evidence.who == rule.who);
    match known.filter(|known| Detector::is_author(&rule.terms.by) && !known.finding.is_null()) {
        Some(Evidence { offences, finding, .. }) => {
            writeln!(out, "    automatic ban number {offences}: {}", describe_evidence(finding))
        }
        None => Ok(()),
    }
}
