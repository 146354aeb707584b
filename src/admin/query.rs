//! Paths and queries as callers write them: percent-encoded, and perhaps wrongly.

use super::fault::Fault;
use crate::telemetry::Shown;
use percent_encoding::percent_decode_str;

/// The parameters of a query, in their order.
#[derive(Debug, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads a query in which only `known` names may stand.
    pub(super) fn read(query: Option<&str>, known: &[&str]) -> Result<Params, Fault> {
        let mut params = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decoded(&name.replace('+', " "))?;
            if !known.contains(&name.as_str()) {
                return Err(Fault::bad_request(&format!(
                    "{} is not a parameter of this call; expected {}",
                    Shown(&name),
                    one_of(known)
                )));
            }
            params.push((name, decoded(&value.replace('+', " "))?));
        }
        Ok(Params(params))
    }

    /// A parameter; the first where it is there more than once, as EMQX has it.
    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter.
    pub(super) fn all<'p>(&'p self, name: &'p str) -> impl Iterator<Item = &'p str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A parameter read as something.
    pub(super) fn parsed<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Option<T>,
        expected: &str,
    ) -> Result<Option<T>, Fault> {
        let Some(value) = self.first(name) else { return Ok(None) };
        let mistake = || bad_value(name, value, expected);
        read(value).map(Some).ok_or_else(mistake)
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, name: &str, min: u64, max: u64) -> Result<Option<u64>, Fault> {
        let read = |value: &str| value.parse().ok().filter(|number| (min..=max).contains(number));
        let expected = if max >= i64::MAX.unsigned_abs() {
            format!("a whole number from {min} on")
        } else {
            format!("a whole number from {min} to {max}")
        };
        self.parsed(name, read, &expected)
    }

    /// `true` or `false`; false where it is not there.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Fault> {
        Ok(self.parsed(name, |value| value.parse().ok(), "true or false")?.unwrap_or(false))
    }
}

/// A parameter whose value is none.
pub(super) fn bad_value(name: &str, value: &str, expected: &str) -> Fault {
    Fault::bad_request(&format!("{name}: {:?} is not understood; expected {expected}", cut(value)))
}

fn cut(value: &str) -> String {
    value.chars().take(LONGEST_SHOWN).collect()
}

/// Names, as a sentence lists them.
pub(super) fn one_of(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// A piece of a path or of a query without its escapes.
pub(super) fn decoded(text: &str) -> Result<String, Fault> {
    let mut pieces = text.split('%');
    pieces.next();
    for escape in pieces {
        let digits = escape.as_bytes().get(..2).unwrap_or_default();
        if digits.len() < 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(Fault::bad_request(
                &"the address has a % that two hexadecimal digits do not follow; a percent sign is written %25",
            ));
        }
    }
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| Fault::bad_request(&"the address is not UTF-8 behind its escapes"))?;
    Ok(decoded.into_owned())
}

const LONGEST_SHOWN: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_the_first_counts() {
        let params = Params::read(Some("a=1%2F+2&&b&a=2"), &["a", "b"]).expect("good");
        assert_eq!(params.first("a"), Some("1/ 2"));
        assert_eq!(params.all("a").collect::<Vec<_>>(), ["1/ 2", "2"]);
        assert_eq!(params.first("b"), Some(""));
        assert_eq!(params.first("c"), None);
    }

    #[test]
    fn unknown_parameters_are_named_with_the_known_ones() {
        let fault = Params::read(Some("limt=1"), &["page", "limit"]).expect_err("unknown");
        assert_eq!(fault.message(), "limt is not a parameter of this call; expected page or limit");
    }

    #[test]
    fn wrong_escapes_are_mistakes() {
        for text in ["%", "%4", "%zz", "a%2", "%%41", "%ff", "%C3%28"] {
            assert!(decoded(text).is_err(), "{text}");
        }
        assert_eq!(decoded("%C3%A9%25"), Ok("é%".to_owned()));
    }

    #[test]
    fn numbers_have_bounds() {
        for value in ["0", "10001", "-1", "1.5", "x", "", "99999999999999999999999"] {
            let query = format!("limit={value}");
            let params = Params::read(Some(&query), &["limit"]).expect("known");
            let fault = params.number("limit", 1, 10_000).expect_err(value);
            assert_eq!(
                fault.message(),
                format!("limit: {value:?} is not understood; expected a whole number from 1 to 10000")
            );
        }
    }
}
