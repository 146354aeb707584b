//! What a value must be: read, and held to its bounds.

use serde_json::Value;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;
use toml::de::{DeTable, DeValue};

pub(super) fn at_least(duration: Duration, min: Duration) -> Result<Duration, String> {
    if duration >= min {
        Ok(duration)
    } else {
        Err(format!("is too short; expected at least \"{}ms\"", min.as_millis()))
    }
}

pub(super) fn between(duration: Duration, bounds: &RangeInclusive<Duration>) -> Result<Duration, String> {
    if *bounds.end() < duration {
        let most = bounds.end().as_secs();
        let most = match (most % 86_400, most % 60) {
            (0, _) => format!("{}d", most / 86_400),
            (_, 0) => format!("{}m", most / 60),
            _ => format!("{most}s"),
        };
        return Err(format!("is too long; expected at most \"{most}\""));
    }
    at_least(duration, *bounds.start())
}

pub(super) fn number(text: &str, bounds: &Range<u64>) -> Result<u64, String> {
    let number = text.parse().map_err(|_| "is not a number; expected e.g. 1000".to_owned())?;
    within(number, bounds)
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("is not a switch; expected true or false".to_owned()),
    }
}

pub(super) fn chosen<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let word = words.iter().find(|(word, _)| *word == text);
    word.map(|(_, choice)| *choice).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        format!("is unknown; expected one of {}", words.join(", "))
    })
}

pub(super) fn within(number: u64, bounds: &Range<u64>) -> Result<u64, String> {
    if bounds.contains(&number) {
        Ok(number)
    } else {
        Err(format!("is out of range; expected {} to {}", bounds.start, bounds.end - 1))
    }
}

/// A value as it is written in a file, as JSON; what cannot be read stays a text.
pub fn to_json(text: &str) -> Value {
    let document = format!("value = {text}");
    let table = DeTable::parse(&document).ok();
    let value = table.as_ref().and_then(|table| table.get_ref().get("value"));
    value.map_or_else(|| text.into(), |value| json_of(value.get_ref()))
}

fn json_of(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| number.as_str().into(), Value::from),
        DeValue::Float(number) => {
            number.as_str().parse::<f64>().map_or_else(|_| number.as_str().into(), Value::from)
        }
        DeValue::Boolean(switch) => (*switch).into(),
        DeValue::Datetime(moment) => moment.to_string().into(),
        DeValue::Array(items) => items.iter().map(|item| json_of(item.get_ref())).collect(),
        DeValue::Table(table) => {
            let entries = table.iter();
            entries.map(|(key, value)| (key.get_ref().to_string(), json_of(value.get_ref()))).collect()
        }
    }
}
