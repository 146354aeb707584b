//! The fields of one JSON object.

use super::error::{Problem, RecordError, Shown};
use crate::admission::{As, Timestamp, TimestampError, Until, UntilError};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// The fields of an object whose texts borrow from the file where they can. A field that is `null` is not there.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    fields: Vec<(Cow<'a, str>, Value<'a>)>,
    /// What is wrong with the fields as such, the first of it.
    mistake: Option<RecordError>,
}

/// A value. Of lists and objects only that they are such.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool,
    Number(i64),
    OtherNumber,
    Text(Cow<'a, str>),
    List,
    Object,
}

impl<'a> Fields<'a> {
    /// Reads an object that has no fields but `known`, each once.
    pub(super) fn read(
        text: &'a [u8],
        known: &[&str],
        they_are: &'static str,
    ) -> Result<Fields<'a>, RecordError> {
        let fields: Fields<'a> = serde_json::from_slice(text).map_err(|error| not_json(&error))?;
        if let Some(mistake) = fields.mistake {
            return Err(mistake);
        }
        match fields.fields.iter().find(|(name, _)| !known.contains(&name.as_ref())) {
            Some((name, _)) => Err(RecordError::named(name, Problem::Unknown { known: they_are })),
            None => Ok(fields),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value<'a>> {
        let index = self.fields.iter().position(|(field, _)| field == name)?;
        match self.fields.swap_remove(index) {
            (_, Value::Null) => None,
            (_, value) => Some(value),
        }
    }

    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<Cow<'a, str>>, RecordError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(other) => Err(other.instead_of("a string", name)),
        }
    }

    pub(super) fn needed_text(&mut self, name: &'static str) -> Result<Cow<'a, str>, RecordError> {
        self.text(name)?.ok_or_else(|| RecordError::new(name, Problem::Missing))
    }

    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<i64>, RecordError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number)),
            Some(other) => Err(other.instead_of("a whole number", name)),
        }
    }

    pub(super) fn kind(&mut self, name: &'static str) -> Result<As, RecordError> {
        let value = self.needed_text(name)?;
        kind(&value, name)
    }

    pub(super) fn moment(&mut self, name: &'static str) -> Result<Option<Timestamp>, RecordError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Text(text)) => moment(&text, name).map(Some),
            Some(Value::Number(seconds)) => Timestamp::from_seconds(seconds).map(Some).map_err(|error| {
                RecordError::new(name, Problem::Moment { value: Shown::of(&seconds.to_string()), error })
            }),
            Some(other) => Err(other.instead_of("RFC 3339 or epoch seconds", name)),
        }
    }

    pub(super) fn end(&mut self, name: &'static str) -> Result<Until, RecordError> {
        Ok(self.optional_end(name)?.unwrap_or(Until::Infinity))
    }

    pub(super) fn optional_end(&mut self, name: &'static str) -> Result<Option<Until>, RecordError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Text(text)) => end(&text, name).map(Some),
            Some(Value::Number(seconds)) => match Timestamp::from_seconds(seconds) {
                Ok(moment) => Ok(Some(Until::Moment(moment))),
                Err(TimestampError) => Err(no_end(&seconds.to_string(), name)),
            },
            Some(other) => Err(other.instead_of("\"infinity\", RFC 3339 or epoch seconds", name)),
        }
    }
}

/// Reads the kind of a ban.
pub(super) fn kind(text: &str, name: &'static str) -> Result<As, RecordError> {
    text.parse().map_err(|error| RecordError::new(name, Problem::As { value: Shown::of(text), error }))
}

/// Reads a moment.
pub(super) fn moment(text: &str, name: &'static str) -> Result<Timestamp, RecordError> {
    text.parse().map_err(|error| RecordError::new(name, Problem::Moment { value: Shown::of(text), error }))
}

/// Reads the end of a ban.
pub(super) fn end(text: &str, name: &'static str) -> Result<Until, RecordError> {
    text.parse().map_err(|UntilError| no_end(text, name))
}

fn no_end(text: &str, name: &'static str) -> RecordError {
    RecordError::new(name, Problem::Until { value: Shown::of(text), error: UntilError })
}

/// serde_json ends its messages with a place in the record; we know the place in the file.
fn not_json(error: &serde_json::Error) -> RecordError {
    let told = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let reason = told.strip_suffix(place.as_str()).unwrap_or(&told);
    let line = u64::try_from(error.line().saturating_sub(1)).unwrap_or(0);
    let reason = reason.chars().take(LONGEST_REASON).collect();
    RecordError { line, ..RecordError::whole(Problem::NotJson { reason }) }
}

impl Value<'_> {
    fn instead_of(&self, expected: &'static str, name: &'static str) -> RecordError {
        let found = match self {
            Value::Null => "null",
            Value::Bool => "true or false",
            Value::Number(_) => "a number",
            Value::OtherNumber => "a number with a fraction, or a huge one",
            Value::Text(_) => "a string",
            Value::List => "a list",
            Value::Object => "an object",
        };
        RecordError::new(name, Problem::Type { found, expected })
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields<'de>, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Vec::with_capacity(8);
        let mut mistake = None;
        // After a mistake the rest is read only to see that it is JSON.
        while let Some(Name(name)) = map.next_key()? {
            if mistake.is_some() {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if fields.iter().any(|(other, _)| *other == name) {
                mistake = Some(RecordError::named(&name, Problem::Twice));
            } else if fields.len() == MAX_FIELDS {
                mistake = Some(RecordError::whole(Problem::TooManyFields { max: MAX_FIELDS }));
            }
            fields.push((name, map.next_value()?));
        }
        Ok(Fields { fields, mistake })
    }
}

/// A field's name.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name<'de>, D::Error> {
        match deserializer.deserialize_str(ValueVisitor)? {
            Value::Text(name) => Ok(Name(name)),
            _ => Err(D::Error::custom("a name is no string")),
        }
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(i64::try_from(number).map_or(Value::OtherNumber, Value::Number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value<'de>, E> {
        Ok(Value::OtherNumber)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value<'de>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value<'de>, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Object)
    }
}

/// More than any format has; the search for duplicates is quadratic.
const MAX_FIELDS: usize = 32;
const LONGEST_REASON: usize = 256;
