//! Objects that are lists are none.
//!
//! serde takes `["a", "b"]` for a struct of two fields. Nobody writes that and means it: a body that is a list where an
//! object is expected is a mistake.

use serde::de::{self, DeserializeOwned, Deserializer, Visitor};
use serde::forward_to_deserialize_any;
use std::fmt;

/// True when a `T` is written as an object with fields.
pub(super) fn is_object<T: DeserializeOwned>() -> bool {
    T::deserialize(Question).err() == Some(Wanted::Object)
}

/// Holds nothing; what it is asked for says what a type is written as.
struct Question;

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Object,
    Other,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing is here")
    }
}

impl std::error::Error for Wanted {}

impl de::Error for Wanted {
    fn custom<T: fmt::Display>(_: T) -> Wanted {
        Wanted::Other
    }
}

impl<'de> Deserializer<'de> for Question {
    type Error = Wanted;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Wanted> {
        Err(Wanted::Other)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Wanted> {
        Err(Wanted::Object)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its form matters")]
    struct Named {
        name: Option<String>,
    }

    #[test]
    fn structs_are_objects_and_lists_are_not() {
        assert!(is_object::<Named>());
        assert!(!is_object::<Vec<Named>>());
        assert!(!is_object::<serde_json::Value>());
        assert!(!is_object::<String>());
    }
}
