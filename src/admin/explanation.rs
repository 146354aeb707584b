//! An explanation as JSON: `{"verdict": "refuse", "ban": {…}, "exemptions": […], "bans": […]}`.

use crate::admission::{Ban, Explanation, Timestamp, Verdict};
use crate::exchange::{self, Format, ReadOptions};
use serde_json::{Value, json};

/// A text that is no explanation.
#[derive(Debug, thiserror::Error)]
#[error("is no explanation: {0}")]
pub struct BadExplanation(String);

impl BadExplanation {
    pub(super) fn new(what: &impl ToString) -> BadExplanation {
        BadExplanation(what.to_string())
    }
}

pub(super) fn to_json(explanation: &Explanation) -> Value {
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
    })
}

/// Reads what a running proxy answers to `explain`.
///
/// # Errors
/// It is something else.
pub fn read_explanation(text: &[u8]) -> Result<Explanation, BadExplanation> {
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
    Ok(Explanation { verdict, exemptions: list("exemptions")?, bans: list("bans")? })
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
            let text = to_json(&explanation).to_string();
            assert_eq!(read_explanation(text.as_bytes()).expect("an explanation"), explanation);
        }
    }

    #[test]
    fn what_is_no_explanation_is_refused() {
        for text in ["", "[]", "{}", r#"{"verdict":"refuse"}"#, r#"{"verdict":"admit","bans":[{"as":"x"}]}"#]
        {
            assert!(read_explanation(text.as_bytes()).is_err(), "{text}");
        }
    }
}
