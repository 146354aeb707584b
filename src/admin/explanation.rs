//! An explanation as JSON: `{"verdict": "refuse", "ban": {…}, "exemptions": […], "bans": […], "evidence": […],
//! "upstream": "default", "route": null}`.

use crate::admission::{As, Ban, Explanation, Timestamp, Verdict, Who};
use crate::exchange::{self, Format, ReadOptions};
use crate::proxy::Choice;
use crate::store::Offence;
use serde_json::{Value, json};

/// An explanation, and what its automatic bans are based on.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// The verdict and the rules.
    pub explanation: Explanation,
    /// What is known of those among them that detection has made.
    pub evidence: Vec<Evidence>,
    /// Where it is taken when it is let in.
    pub route: Taken,
}

/// Where a client is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The group of brokers.
    pub upstream: String,
    /// Which `[[route]]` says so, from 0; `None` where none does.
    pub route: Option<usize>,
}

impl From<Choice<'_>> for Taken {
    fn from(choice: Choice<'_>) -> Taken {
        Taken { upstream: choice.upstream.to_owned(), route: choice.rule }
    }
}

/// What an automatic ban is based on.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Whom the ban names.
    pub who: Who,
    /// How many automatic bans of it there have been.
    pub offences: u32,
    /// The finding, as [`findings`](crate::findings) tells it.
    pub finding: Value,
}

impl From<Offence> for Evidence {
    fn from(offence: Offence) -> Evidence {
        let finding = serde_json::from_str(&offence.evidence).unwrap_or_default();
        Evidence { who: offence.who, offences: offence.count, finding }
    }
}

/// A text that is no explanation.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadExplanation(String);

impl BadExplanation {
    pub(super) fn new(what: &impl ToString) -> BadExplanation {
        BadExplanation(what.to_string())
    }
}

impl Explained {
    /// As the API tells it.
    pub fn to_json(&self) -> Value {
        to_json(self)
    }
}

pub(super) fn to_json(explained: &Explained) -> Value {
    let Explained { explanation, evidence, route } = explained;
    let evidence: Vec<Value> = evidence.iter().map(evidence_to_json).collect();
    let list = |bans: &[Ban]| bans.iter().map(ban_to_json).collect::<Vec<_>>();
    let ban = match &explanation.verdict {
        Verdict::Admit => Value::Null,
        Verdict::Refuse(ban) => ban_to_json(ban),
    };
    json!({
        "verdict": if ban.is_null() { "admit" } else { "refuse" },
        "ban": ban,
        "exemptions": list(&explanation.exemptions),
        "bans": list(&explanation.bans),
        "evidence": evidence,
        "upstream": route.upstream,
        "route": route.route,
    })
}

fn evidence_to_json(evidence: &Evidence) -> Value {
    let Evidence { who, offences, finding } = evidence;
    json!({ "as": who.kind().as_str(), "who": who.to_string(), "offences": offences, "finding": finding })
}

fn evidence_from_json(value: &Value) -> Result<Evidence, BadExplanation> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let kind: As = text("as").parse().map_err(|error| BadExplanation::new(&error))?;
    let who = Who::new(kind, text("who"), None).map_err(|error| BadExplanation::new(&error))?;
    let offences = value.get("offences").and_then(Value::as_u64).unwrap_or_default();
    let finding = value.get("finding").cloned().unwrap_or_default();
    Ok(Evidence { who, offences: u32::try_from(offences).unwrap_or(u32::MAX), finding })
}

/// Reads what a running proxy answers to `explain`.
///
/// # Errors
/// It is something else.
pub(super) fn read(text: &[u8]) -> Result<Explained, BadExplanation> {
    let value: Value = serde_json::from_slice(text).map_err(|error| BadExplanation::new(&error))?;
    let list = |key: &str| {
        let items = value.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        items.iter().map(ban_from_json).collect::<Result<Vec<_>, _>>()
    };
    let verdict = match value.get("verdict").and_then(Value::as_str) {
        Some("admit") => Verdict::Admit,
        Some("refuse") => Verdict::Refuse(ban_from_json(value.get("ban").unwrap_or(&Value::Null))?),
        _ => return Err(BadExplanation::new(&"it has no verdict")),
    };
    let explanation = Explanation { verdict, exemptions: list("exemptions")?, bans: list("bans")? };
    let evidence = value.get("evidence").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let evidence = evidence.iter().map(evidence_from_json).collect::<Result<_, _>>()?;
    let upstream = value.get("upstream").and_then(Value::as_str).unwrap_or_default().to_owned();
    let route = value.get("route").and_then(Value::as_u64).and_then(|rule| usize::try_from(rule).ok());
    Ok(Explained { explanation, evidence, route: Taken { upstream, route } })
}

fn ban_to_json(ban: &Ban) -> Value {
    let mut line = Vec::new();
    let mut writer = exchange::Writer::new(Format::JsonLines, &mut line);
    // Our own form can express every ban, and memory does not fail.
    let written = writer.write(ban).is_ok() && writer.finish().is_ok();
    debug_assert!(written, "{ban:?}");
    serde_json::from_slice(&line).unwrap_or_default()
}

fn ban_from_json(value: &Value) -> Result<Ban, BadExplanation> {
    let line = value.to_string();
    // Bans that have ended are part of an explanation.
    let options =
        ReadOptions { now: Timestamp::from_millis(0), by: "".into(), kind: None, keep_expired: true };
    match exchange::read(Format::JsonLines, line.as_bytes(), options).next() {
        Some(Ok(Ok(ban))) => Ok(ban),
        Some(Ok(Err(error))) => Err(BadExplanation::new(&error)),
        Some(Err(error)) => Err(BadExplanation::new(&error)),
        None => Err(BadExplanation::new(&"a ban is missing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{As, Match, Terms, Until, Who};

    #[test]
    fn explanations_come_through_whole() {
        let ban = |kind, who, matching, until| Ban {
            who: Who::new(kind, who, matching).expect("a name"),
            terms: Terms { by: "ops".into(), reason: "\"x\"\n".into(), at: Timestamp::from_millis(1), until },
        };
        let ended = ban(As::PeerHostNet, "10.0.0.0/8", None, Until::Moment(Timestamp::from_millis(2001)));
        let holds = ban(As::ClientIdRe, "^bot", Some(Match::Full), Until::Infinity);
        for verdict in [Verdict::Admit, Verdict::Refuse(holds.clone())] {
            let explanation = Explanation {
                verdict,
                exemptions: vec![ended.clone()],
                bans: vec![holds.clone(), ended.clone()],
            };
            let finding = json!({ "detector": "by_peerhost", "evidence": { "count": 15 } });
            let evidence = vec![Evidence { who: holds.who.clone(), offences: 2, finding }];
            let route = Taken { upstream: "blue".to_owned(), route: Some(2) };
            let explained = Explained { explanation, evidence, route };
            let text = to_json(&explained).to_string();
            assert_eq!(read(text.as_bytes()).expect("an explanation"), explained);
        }
    }

    #[test]
    fn what_is_no_explanation_is_refused() {
        for text in ["", "[]", "{}", r#"{"verdict":"refuse"}"#, r#"{"verdict":"admit","bans":[{"as":"x"}]}"#]
        {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
