//! TBMQ's blocked clients, as its API takes them (the value under the name of its type) and answers them (`value`).

use super::draft::{Draft, Names};
use super::emqx::{name, write_row};
use super::error::{Problem, RecordError, Shown};
use super::fields::Fields;
use crate::admission::{As, Ban, Match, Timestamp, Until, Who};
use serde::Serialize;
use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

pub(super) fn read(text: &[u8]) -> Result<Draft<'_>, RecordError> {
    let mut fields = Fields::read(text, &KNOWN, THEY_ARE)?;
    let r#type = fields.needed_text("type")?;
    let of_type = OF_TYPE.into_iter().find(|(name, _)| *name == r#type);
    let Some((_, own_name)) = of_type else {
        let problem =
            Problem::Word { value: Shown::of(&r#type), expected: "CLIENT_ID, USERNAME, IP_ADDRESS or REGEX" };
        return Err(RecordError::new("type", problem));
    };
    let (who, who_name) = value(&mut fields, own_name)?;
    let target = fields.text("regexMatchTarget")?;
    let kind = kind(own_name, target.as_deref())?;
    let status = fields.text("status")?;
    drop(status); // Follows from the end.
    let until = match fields.number("expirationTime")? {
        Some(millis) if millis > 0 => Until::Moment(Timestamp::from_millis(millis)),
        Some(_) | None => Until::Infinity,
    };
    Ok(Draft {
        kind,
        who,
        matching: kind.is_pattern().then_some(Match::Full),
        by: None,
        reason: fields.text("description")?.unwrap_or(Cow::Borrowed("")),
        at: None,
        until,
        names: Names { who: who_name, until: "expirationTime" },
    })
}

/// The value, and the name that it stands under.
fn value<'a>(
    fields: &mut Fields<'a>,
    own_name: &'static str,
) -> Result<(Cow<'a, str>, &'static str), RecordError> {
    for (_, other) in OF_TYPE.into_iter().filter(|(_, name)| *name != own_name) {
        if fields.text(other)?.is_some() {
            return Err(RecordError::new(other, Problem::Misplaced { with: "this \"type\"" }));
        }
    }
    match (fields.text(own_name)?, fields.text("value")?) {
        (Some(_), Some(_)) => Err(RecordError::new("value", Problem::Misplaced { with: own_name })),
        (Some(value), None) => Ok((value, own_name)),
        (None, Some(value)) => Ok((value, "value")),
        (None, None) => Err(RecordError::new(own_name, Problem::Missing)),
    }
}

fn kind(own_name: &str, target: Option<&str>) -> Result<As, RecordError> {
    let mistake = |problem| Err(RecordError::new("regexMatchTarget", problem));
    match (own_name, target) {
        ("clientId", None) => Ok(As::ClientId),
        ("username", None) => Ok(As::Username),
        ("ipAddress", None) => Ok(As::PeerHost),
        ("pattern", Some("BY_CLIENT_ID")) => Ok(As::ClientIdRe),
        ("pattern", Some("BY_USERNAME")) => Ok(As::UsernameRe),
        ("pattern", Some("BY_IP_ADDRESS")) => Ok(As::PeerHostRe),
        ("pattern", Some(target)) => mistake(Problem::Word {
            value: Shown::of(target),
            expected: "BY_CLIENT_ID, BY_USERNAME or BY_IP_ADDRESS",
        }),
        ("pattern", None) => mistake(Problem::Missing),
        (_, _) => mistake(Problem::Misplaced { with: "a \"type\" other than REGEX" }),
    }
}

/// A ban as TBMQ's API takes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    r#type: &'static str,
    #[serde(flatten)]
    value: Value<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    regex_match_target: Option<&'static str>,
    expiration_time: i64,
    description: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Value<'a> {
    ClientId(Cow<'a, str>),
    Username(Cow<'a, str>),
    IpAddress(String),
    Pattern(Cow<'a, str>),
}

pub(super) fn write(to: &mut Vec<u8>, ban: &Ban) -> Result<(), &'static str> {
    if ban.who.matching() == Some(Match::Search) {
        return Err("TBMQ's patterns match the whole name, not any part of it");
    }
    let expiration_time = match ban.terms.until {
        Until::Infinity => 0,
        Until::Moment(end) if end.as_millis() > 0 => end.as_millis(),
        Until::Moment(_) => return Err("it ends in 1970 or before, which TBMQ reads as never"),
    };
    let (r#type, value, regex_match_target) = match &ban.who {
        Who::ClientId(_) => ("CLIENT_ID", Value::ClientId(name(&ban.who)), None),
        Who::Username(_) => ("USERNAME", Value::Username(name(&ban.who)), None),
        Who::PeerHost(peer) => ("IP_ADDRESS", Value::IpAddress(java_text(*peer)), None),
        Who::CertCn(_) | Who::CertSha256(_) | Who::TlsJa4(_) => {
            return Err("TBMQ does not ban by certificate or fingerprint");
        }
        Who::PeerHostNet(_) => return Err("TBMQ has no networks"),
        Who::ClientIdRe(_) => ("REGEX", Value::Pattern(name(&ban.who)), Some("BY_CLIENT_ID")),
        Who::UsernameRe(_) => ("REGEX", Value::Pattern(name(&ban.who)), Some("BY_USERNAME")),
        Who::PeerHostRe(_) => ("REGEX", Value::Pattern(name(&ban.who)), Some("BY_IP_ADDRESS")),
    };
    let description = &ban.terms.reason;
    write_row(to, &Request { r#type, value, regex_match_target, expiration_time, description })
}

/// TBMQ compares addresses as Java writes them: of IPv6 all eight groups, even when they are zeroes.
fn java_text(peer: IpAddr) -> String {
    match peer {
        IpAddr::V4(peer) => peer.to_string(),
        IpAddr::V6(peer) => Ipv6Addr::segments(&peer).map(|group| format!("{group:x}")).join(":"),
    }
}

/// The types, and what a value of them is called in a request.
const OF_TYPE: [(&str, &str); 4] =
    [("CLIENT_ID", "clientId"), ("USERNAME", "username"), ("IP_ADDRESS", "ipAddress"), ("REGEX", "pattern")];
const KNOWN: [&str; 10] = [
    "type",
    "value",
    "clientId",
    "username",
    "ipAddress",
    "pattern",
    "regexMatchTarget",
    "expirationTime",
    "description",
    "status",
];
const THEY_ARE: &str = "type, value, clientId, username, ipAddress, pattern, regexMatchTarget, expirationTime, \
                        description or status";
