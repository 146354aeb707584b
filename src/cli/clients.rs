//! `clients`: who is inside the running proxy.

use super::Outcome;
use super::out::say;
use super::paging::{Paging, Words, bytes, number, text, word};
use super::site::{Site, runtime};
use super::told::names;
use crate::telemetry::Shown;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Clients {
    #[command(flatten)]
    site: Site,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints them as a table, the first who came first. All filters have to fit.
    List(Box<Listing>),
    /// Prints all that is known of one.
    Show {
        /// The client identifier.
        #[arg(value_name = "ID")]
        client_id: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ends every session of these client identifiers. Nothing keeps them from coming again; a ban does.
    Kick {
        /// The client identifiers.
        #[arg(value_name = "ID", required = true)]
        client_ids: Vec<String>,
        /// One JSON object a client.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct Listing {
    /// The client identifier; any of several.
    #[arg(long, value_name = "ID")]
    clientid: Vec<String>,
    /// The user name; any of several.
    #[arg(long, value_name = "NAME")]
    username: Vec<String>,
    /// The address.
    #[arg(long, value_name = "IP")]
    ip_address: Option<String>,
    /// A part of the client identifier.
    #[arg(long, value_name = "PART")]
    like_clientid: Option<String>,
    /// A part of the user name.
    #[arg(long, value_name = "PART")]
    like_username: Option<String>,
    /// A part of the address.
    #[arg(long, value_name = "PART")]
    like_ip_address: Option<String>,
    /// 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5.0.
    #[arg(long, value_name = "3|4|5")]
    proto_ver: Option<u8>,
    /// Let in then or later: RFC 3339, or epoch seconds.
    #[arg(long, value_name = "TIME")]
    gte_connected_at: Option<String>,
    /// Let in then or earlier.
    #[arg(long, value_name = "TIME")]
    lte_connected_at: Option<String>,
    /// The listener.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// The zone.
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// The broker.
    #[arg(long, value_name = "SERVER")]
    upstream: Option<String>,
    /// What TLS told of them: fingerprint (JA4), certificate, server name; and the load balancer.
    #[arg(long)]
    wide: bool,
    #[command(flatten)]
    paging: Paging,
}

impl Clients {
    pub(super) fn run(self) -> Outcome {
        let (caller, runtime) = (self.site.caller()?, runtime()?);
        match self.action {
            Action::List(listing) => {
                let page = runtime.block_on(caller.clients(&listing.words()))?;
                let (head, row): (_, fn(&Value) -> String) =
                    if listing.wide { (WIDE_HEAD, wide_row) } else { (HEAD, row) };
                listing.paging.print(&page, head, row)?;
            }
            Action::Show { client_id, json } => {
                let client = runtime.block_on(caller.client(&client_id))?;
                print(&client.ok_or_else(|| nobody(&client_id))?, json)?;
            }
            Action::Kick { client_ids, json } => {
                for client_id in client_ids {
                    let is_kicked = runtime.block_on(caller.kick(&client_id))?;
                    if !is_kicked {
                        return Err(nobody(&client_id).into());
                    }
                    if json {
                        say(json!({ "kicked": client_id }))?;
                    } else {
                        say(format_args!("kicked {}", Shown(&client_id)))?;
                    }
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn nobody(client_id: &str) -> String {
    format!("no client {} is inside", Shown(client_id))
}

impl Listing {
    fn words(&self) -> Words {
        let filters = [
            word("ip_address", self.ip_address.as_ref()),
            word("like_clientid", self.like_clientid.as_ref()),
            word("like_username", self.like_username.as_ref()),
            word("like_ip_address", self.like_ip_address.as_ref()),
            word("proto_ver", self.proto_ver),
            word("gte_connected_at", self.gte_connected_at.as_ref()),
            word("lte_connected_at", self.lte_connected_at.as_ref()),
            word("listener", self.listener.as_ref()),
            word("zone", self.zone.as_ref()),
            word("upstream", self.upstream.as_ref()),
        ];
        let mut words = self.paging.words();
        words.extend(filters.into_iter().flatten());
        words.extend(self.clientid.iter().map(|id| ("clientid", id.clone())));
        words.extend(self.username.iter().map(|name| ("username", name.clone())));
        words
    }
}

const HEAD: &str =
    "SINCE                     MQTT  FROM            LISTENER    RECV  SENT  CLIENT ID  USER NAME";

/// Columns of fixed width come first, so that long names push nothing aside.
fn row(client: &Value) -> String {
    let version = match number(client, "proto_ver") {
        3 => "3.1",
        4 => "3.1.1",
        _ => "5",
    };
    let waits = if client.get("connected").and_then(Value::as_bool) == Some(true) {
        ""
    } else {
        " (waits for the broker)"
    };
    let username = client.get("username").and_then(Value::as_str).map(|name| format!("  {}", Shown(name)));
    format!(
        "{:<25} {version:<5} {:<15} {:<10} {:>5} {:>5}  {}{}{waits}",
        text(client, "connected_at"),
        text(client, "ip_address"),
        text(client, "listener"),
        bytes(number(client, "recv_oct")),
        bytes(number(client, "send_oct")),
        Shown(text(client, "clientid")),
        username.unwrap_or_default(),
    )
}

const WIDE_HEAD: &str =
    "FROM            TLS JA4                                  CLIENT ID  CERTIFICATE  SERVER NAME  VIA";

fn wide_row(client: &Value) -> String {
    let told = client.get("tls_facts").unwrap_or(&Value::Null);
    let version = match (text(told, "version"), client.get("tls").and_then(Value::as_bool)) {
        // With the load balancer, which does not say.
        ("", Some(true)) => "yes",
        (version, _) => version,
    };
    format!(
        "{:<15} {version:<3} {:<36} {}{}",
        text(client, "ip_address"),
        text(told, "ja4"),
        Shown(text(client, "clientid")),
        names(client, told),
    )
}

fn print(client: &Value, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        return writeln!(out, "{client}");
    }
    for (key, value) in client.as_object().into_iter().flatten() {
        match value {
            Value::String(text) => writeln!(out, "{key:<14} {}", Shown(text))?,
            _ => writeln!(out, "{key:<14} {value}")?,
        }
    }
    Ok(())
}
