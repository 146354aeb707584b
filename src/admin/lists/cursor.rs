//! A place in a list, as a text that callers give back to be shown what follows.

use crate::admin::fault::Fault;
use crate::store::{Key, Place, Selection};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// The cursor of what follows this place; none where the name is so long that no query would hold it.
pub(super) fn write(place: &Place, selection: &Selection) -> Option<String> {
    let key = match &place.key {
        Key::None => Value::Null,
        Key::Number(number) => json!(number),
        Key::Text(text) => json!(text),
    };
    let order = selection.order().as_str();
    let cursor = json!([order, selection.is_descending, key, place.kind.as_str(), place.who]);
    let cursor = URL_SAFE_NO_PAD.encode(cursor.to_string());
    (cursor.len() <= MAX_CURSOR).then_some(cursor)
}

/// The longest cursor; a head is at most twice as long.
const MAX_CURSOR: usize = 32 << 10;

/// Reads a cursor of this very order.
pub(super) fn read(text: &str, selection: &Selection) -> Result<Place, Fault> {
    let (order, is_descending, key, kind, who) = parse(text)
        .ok_or_else(|| Fault::bad_request(&"cursor: is none; expected the next_cursor of an answer"))?;
    if order != selection.order().as_str() || is_descending != selection.is_descending {
        return Err(Fault::bad_request(
            &"cursor: belongs to another order; expected the sort and order of its answer",
        ));
    }
    let key = match (key, order.as_str()) {
        (Value::Null, "who" | "as" | "until" | "status" | "hits" | "last_hit") => Some(Key::None),
        (Value::Number(number), "at" | "until" | "status" | "hits" | "last_hit") => {
            number.as_i64().map(Key::Number)
        }
        (Value::String(text), "by" | "reason") => Some(Key::Text(text)),
        _ => None,
    };
    let place = key.zip(kind.parse().ok()).map(|(key, kind)| Place { key, kind, who });
    place.ok_or_else(|| Fault::bad_request(&"cursor: is none; expected the next_cursor of an answer"))
}

fn parse(text: &str) -> Option<(String, bool, Value, String, String)> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::As;
    use crate::store::Sort;

    #[test]
    fn a_cursor_is_read_back_and_only_for_its_order() {
        let selection =
            |sort, is_descending| Selection { sort: Some(sort), is_descending, ..Selection::default() };
        for (sort, key) in [
            (Sort::At, Key::Number(-5)),
            (Sort::By, Key::Text("é\"".to_owned())),
            (Sort::Until, Key::None),
            (Sort::Who, Key::None),
        ] {
            let place = Place { key, kind: As::Username, who: "a/ b".to_owned() };
            let text = write(&place, &selection(sort, true)).expect("short");
            assert_eq!(read(&text, &selection(sort, true)), Ok(place));
            assert!(read(&text, &selection(sort, false)).is_err());
            assert!(read(&text, &selection(Sort::Hits, true)).is_err());
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let selection = Selection { sort: Some(Sort::At), ..Selection::default() };
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        for text in [
            String::new(),
            "!!".to_owned(),
            encoded("[]"),
            encoded(r#"["at",false,"x","clientid","a"]"#),
            encoded(r#"["at",false,null,"clientid","a"]"#),
            encoded(r#"["at",false,1,"nobody","a"]"#),
            encoded(r#"["at",false,1e300,"clientid","a"]"#),
        ] {
            assert!(read(&text, &selection).is_err(), "{text}");
        }
    }
}
