//! What TLS told of a client, in a row: beside the columns of fixed width, its names.

use super::paging::text;
use crate::telemetry::Shown;
use serde_json::Value;
use std::fmt::Write;

/// The names that there are: of its certificate, of the server that it asked for, and its load balancer's address.
pub(super) fn names(client: &Value, told: &Value) -> String {
    let mut names = String::new();
    for (label, name) in [
        ("cn=", text(client, "cert_cn")),
        ("sni=", text(told, "server_name")),
        ("sha256=", text(told, "cert_sha256")),
        ("via ", text(client, "via")),
    ] {
        if !name.is_empty() {
            // Writing to a string does not fail.
            let _ = write!(names, "  {label}{}", Shown(name));
        }
    }
    names
}
