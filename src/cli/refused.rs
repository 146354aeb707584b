//! `refused`: who was turned away lately.

use super::Outcome;
use super::out::done;
use super::paging::{Paging, Words, number, text, word};
use super::site::{Site, runtime};
use super::told::names;
use crate::telemetry::Shown;
use clap::{Args, Subcommand};
use serde_json::Value;
use std::fmt::Write;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Refused {
    #[command(flatten)]
    site: Site,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints them as a table, who came last first. All filters have to fit; parts are found whatever their case.
    List(Box<Listing>),
    /// Forgets one.
    Remove {
        /// Its number, as the list shows it.
        #[arg(value_name = "ID")]
        id: u64,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Forgets all of them.
    Clear {
        /// Say that you mean it.
        #[arg(long, required = true)]
        yes: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct Listing {
    /// The client identifier.
    #[arg(long, value_name = "ID")]
    clientid: Option<String>,
    /// The user name.
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// The address.
    #[arg(long, value_name = "IP")]
    peerhost: Option<String>,
    /// A part of the client identifier.
    #[arg(long, value_name = "PART")]
    like_clientid: Option<String>,
    /// A part of the user name.
    #[arg(long, value_name = "PART")]
    like_username: Option<String>,
    /// A part of the address.
    #[arg(long, value_name = "PART")]
    like_peerhost: Option<String>,
    /// A part of whom the ban names.
    #[arg(long, value_name = "PART")]
    like_who: Option<String>,
    /// A part of the reason.
    #[arg(long, value_name = "PART")]
    like_reason: Option<String>,
    /// Why: banned, malformed, not_authorized, ...
    #[arg(long)]
    reason: Option<String>,
    /// The kind of the ban: clientid, username, cert_cn, cert_sha256, tls_ja4, peerhost, peerhost_net, clientid_re, username_re, peerhost_re.
    #[arg(long = "as", value_name = "AS")]
    kind: Option<String>,
    /// The listener.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// The zone.
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// Whether it gave a password.
    #[arg(long, value_name = "true|false")]
    password: Option<bool>,
    /// Whether it spoke TLS.
    #[arg(long, value_name = "true|false")]
    tls: Option<bool>,
    /// Came last then or later: RFC 3339, or epoch seconds.
    #[arg(long, value_name = "TIME")]
    gte_last_at: Option<String>,
    /// Came last then or earlier.
    #[arg(long, value_name = "TIME")]
    lte_last_at: Option<String>,
    /// The JA4 fingerprint.
    #[arg(long)]
    ja4: Option<String>,
    /// The common name of its certificate.
    #[arg(long, value_name = "NAME")]
    cert_cn: Option<String>,
    /// The SHA-256 of its certificate.
    #[arg(long, value_name = "DIGEST")]
    cert_sha256: Option<String>,
    /// The name of the server that it asked for by TLS.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// The address of the load balancer that spoke for it.
    #[arg(long, value_name = "IP")]
    via: Option<String>,
    /// What TLS told of them: fingerprint (JA4), certificate, server name; and the load balancer.
    #[arg(long)]
    wide: bool,
    #[command(flatten)]
    paging: Paging,
}

impl Refused {
    pub(super) fn run(self) -> Outcome {
        let (caller, runtime) = (self.site.caller()?, runtime()?);
        match self.action {
            Action::List(listing) => {
                let page = runtime.block_on(caller.refused(&listing.words()))?;
                let (head, row): (_, fn(&Value) -> String) =
                    if listing.wide { (WIDE_HEAD, wide_row) } else { (HEAD, row) };
                listing.paging.print(&page, head, row)?;
            }
            Action::Remove { id, json } => {
                if !runtime.block_on(caller.remove_refused(id))? {
                    return Err(format!("there is no refused client {id}").into());
                }
                done("forgotten", json)?;
            }
            Action::Clear { json, .. } => {
                runtime.block_on(caller.clear_refused())?;
                done("cleared", json)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Listing {
    fn words(&self) -> Words {
        let filters = [
            word("clientid", self.clientid.as_ref()),
            word("username", self.username.as_ref()),
            word("peerhost", self.peerhost.as_ref()),
            word("like_clientid", self.like_clientid.as_ref()),
            word("like_username", self.like_username.as_ref()),
            word("like_peerhost", self.like_peerhost.as_ref()),
            word("like_who", self.like_who.as_ref()),
            word("like_reason", self.like_reason.as_ref()),
            word("reason", self.reason.as_ref()),
            word("as", self.kind.as_ref()),
            word("listener", self.listener.as_ref()),
            word("zone", self.zone.as_ref()),
            word("password", self.password),
            word("tls", self.tls),
            word("ja4", self.ja4.as_ref()),
            word("cert_cn", self.cert_cn.as_ref()),
            word("cert_sha256", self.cert_sha256.as_ref()),
            word("server_name", self.server_name.as_ref()),
            word("via", self.via.as_ref()),
            word("gte_last_at", self.gte_last_at.as_ref()),
            word("lte_last_at", self.lte_last_at.as_ref()),
        ];
        let mut words = self.paging.words();
        words.extend(filters.into_iter().flatten());
        words
    }
}

const HEAD: &str = "ID      LAST                      TIMES PW  FROM            REASON             CLIENT ID  USER NAME  BAN";

/// Columns of fixed width come first, so that long names push nothing aside.
fn row(refused: &Value) -> String {
    let is = |key: &str| refused.get(key).and_then(Value::as_bool);
    let password = is("password").map_or("", |password| if password { "yes" } else { "no" });
    let name = name_of(refused);
    let mut row = format!(
        "{:<7} {:<25} {:>5} {password:<3} {:<15} {:<18} {name}",
        number(refused, "id"),
        text(refused, "last_at"),
        number(refused, "count"),
        text(refused, "peerhost"),
        text(refused, "reason"),
    );
    // Writing to a string does not fail.
    if let Some(username) = refused.get("username").and_then(Value::as_str) {
        let _ = write!(row, "  {}", Shown(username));
    }
    if let Some(kind) = refused.get("as").and_then(Value::as_str) {
        let _ = write!(row, "  by {kind} {}", Shown(text(refused, "who")));
    }
    row
}

const WIDE_HEAD: &str = "ID      FROM            TLS JA4                                  REASON             CLIENT ID  CERTIFICATE  SERVER NAME  VIA";

fn wide_row(refused: &Value) -> String {
    let tls = if refused.get("tls").and_then(Value::as_bool) == Some(true) { "yes" } else { "" };
    format!(
        "{:<7} {:<15} {tls:<3} {:<36} {:<18} {}{}",
        number(refused, "id"),
        text(refused, "peerhost"),
        text(refused, "ja4"),
        text(refused, "reason"),
        name_of(refused),
        names(refused, refused),
    )
}

fn name_of(refused: &Value) -> String {
    if refused.get("others").and_then(Value::as_bool) == Some(true) {
        return "(others)".to_owned();
    }
    Shown(text(refused, "clientid")).to_string()
}
