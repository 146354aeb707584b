//! The forms of answers that are written elsewhere, for the document alone: bans by [`exchange`](crate::exchange),
//! findings by [`findings`](crate::findings).
#![allow(dead_code, reason = "they are described and not made; schemathesis holds the answers to them")]

use serde_json::Value;
use utoipa::ToSchema;

/// Whether a client would be let in, and every rule about it.
#[derive(ToSchema)]
pub(super) struct Explanation {
    /// `admit` or `refuse`.
    verdict: String,
    /// The ban that refuses it.
    #[schema(required)]
    ban: Option<Rule>,
    /// Exemptions about it, in the order of evaluation, ended ones included.
    exemptions: Vec<Rule>,
    /// Bans about it, likewise.
    bans: Vec<Rule>,
    /// What the automatic ones among them are based on.
    evidence: Vec<Known>,
    /// The group of brokers that it is taken to when it is let in.
    upstream: String,
    /// Which `[[route]]` says so, from 0; null where none does.
    #[schema(required)]
    route: Option<usize>,
}

/// A ban or an exemption.
#[derive(ToSchema)]
pub(super) struct Rule {
    /// Its kind.
    r#as: String,
    /// The name, address, network or pattern.
    who: String,
    /// For patterns: `search` or `full`.
    r#match: Option<String>,
    /// Who made it.
    by: String,
    /// Why.
    reason: String,
    /// When it was made, RFC 3339.
    at: String,
    /// When it ends, RFC 3339, or `infinity`.
    until: String,
}

/// What an automatic ban is based on.
#[derive(ToSchema)]
pub(super) struct Known {
    /// Its kind.
    r#as: String,
    /// Whom it names.
    who: String,
    /// How many automatic bans of it there have been.
    offences: u32,
    /// The finding of the last one, as `GET /api/v5/detections` tells it.
    finding: Value,
}

/// The latest findings.
#[derive(ToSchema)]
pub(super) struct Findings {
    /// The newest first.
    data: Vec<Finding>,
}

/// What detection has found.
#[derive(ToSchema)]
pub(super) struct Finding {
    /// `ban`, `would_ban`, `hush`, `would_hush` or `duplicates`.
    event: String,
    /// When, RFC 3339.
    at: String,
    /// `[node] name`.
    node: String,
    /// The zone whose policy said so.
    zone: String,
    /// Which detector.
    detector: String,
    /// The kind of whom it names.
    r#as: String,
    /// Whom it names.
    who: String,
    /// Of a ban: its author.
    by: Option<String>,
    /// Of a ban: why.
    reason: Option<String>,
    /// Of a ban: when it ends.
    until: Option<String>,
    /// Of a ban: how long it is.
    ban_time_seconds: Option<f64>,
    /// Of a ban: how many automatic ones there have been of this client.
    offence: Option<u32>,
    /// How long a client is not answered.
    hush_time_seconds: Option<f64>,
    /// What it is based on.
    evidence: Value,
}
