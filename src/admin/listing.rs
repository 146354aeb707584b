//! What stands behind the `?` of a call that lists: page, filters, order.

use super::extract::is_text;
use super::fault::Fault;
use crate::admission::Timestamp;
use crate::telemetry::Shown;
use axum::Json;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;
use tokio::task::spawn_blocking;
use utoipa::ToSchema;

/// Answers with what takes a while to gather: a million rows are looked at, and nobody waits for that but the caller.
pub(super) async fn gathered<P: Send + 'static>(
    gather: impl FnOnce() -> P + Send + 'static,
) -> Result<Json<P>, Fault> {
    spawn_blocking(gather).await.map(Json).map_err(|_| Fault::internal(&"the list could not be made"))
}

/// The words of a query, decoded.
#[derive(Debug)]
pub(super) struct Words(Vec<(String, String)>);

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) page: usize,
    pub(super) limit: usize,
}

/// How a list is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order<C> {
    pub(super) column: C,
    pub(super) is_descending: bool,
}

/// Where a page stands in its list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Meta {
    /// The page's number; the first is 1.
    page: usize,
    /// How many rows a page has at most.
    limit: usize,
    /// How many rows the list has.
    count: usize,
    /// There is another page behind this one.
    hasnext: bool,
}

impl Words {
    /// Reads a query in which only these words may stand.
    ///
    /// # Errors
    /// There is another word; or something that is no UTF-8.
    pub(super) fn read(query: Option<&str>, known: &[&str]) -> Result<Words, Fault> {
        let query = query.unwrap_or_default();
        if !is_text(query) {
            return Err(Fault::bad_request(&"the query is not UTF-8, or has a broken percent-escape"));
        }
        let mut words = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decoded(key), decoded(value));
            if !known.contains(&&*key) {
                let known = known.join(", ");
                return Err(Fault::bad_request(&format!(
                    "{} is not a filter; expected one of {known}",
                    Shown(&key)
                )));
            }
            words.push((key, value));
        }
        Ok(Words(words))
    }

    /// Every value of a word.
    pub(super) fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(word, _)| word == key).map(|(_, value)| value.clone()).collect()
    }

    /// The first value of a word.
    pub(super) fn one(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(word, _)| word == key).map(|(_, value)| &**value)
    }

    /// The first value of a word, read as something; `expected` says what it is.
    pub(super) fn parsed<T: FromStr>(&self, key: &str, expected: &str) -> Result<Option<T>, Fault> {
        self.read_as(key, expected, |text| text.parse().ok())
    }

    /// An address, in canonical form.
    pub(super) fn address(&self, key: &str) -> Result<Option<IpAddr>, Fault> {
        let address: Option<IpAddr> = self.parsed(key, "an IP address")?;
        Ok(address.map(|address| address.to_canonical()))
    }

    /// A moment: RFC 3339, or epoch seconds or milliseconds.
    pub(super) fn moment(&self, key: &str) -> Result<Option<Timestamp>, Fault> {
        self.read_as(key, "RFC 3339 or epoch seconds", |text| {
            let is_millis = text.len() >= 13 && text.bytes().all(|byte| byte.is_ascii_digit());
            if is_millis {
                return text.parse::<i64>().ok().map(Timestamp::from_millis);
            }
            // An offset's "+" that nobody has encoded reads as a blank.
            text.replace(' ', "+").parse().ok()
        })
    }

    /// Which page is asked for: the first hundred rows, if the query does not say.
    pub(super) fn page(&self) -> Result<Page, Fault> {
        let page = self.read_as("page", "a number of 1 to 1000000000", |text| {
            text.parse().ok().filter(|page| (1..=MAX_PAGE).contains(page))
        })?;
        let limit = self.read_as("limit", "a number of 1 to 10000", |text| {
            text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit))
        })?;
        Ok(Page { page: page.unwrap_or(1), limit: limit.unwrap_or(DEFAULT_LIMIT) })
    }

    /// How the list is to be sorted, if the query says.
    pub(super) fn order<C: Copy>(
        &self,
        columns: &[(&str, C)],
        otherwise: Order<C>,
    ) -> Result<Order<C>, Fault> {
        let names = columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let column = self.read_as("sort", format!("one of {names}"), |text| {
            columns.iter().find(|(name, _)| *name == text).map(|(_, column)| *column)
        })?;
        let is_descending = self.read_as("order", "asc or desc", |text| match text {
            "asc" => Some(false),
            "desc" => Some(true),
            _ => None,
        })?;
        let by_default = if column.is_none() { otherwise.is_descending } else { false };
        Ok(Order {
            column: column.unwrap_or(otherwise.column),
            is_descending: is_descending.unwrap_or(by_default),
        })
    }

    fn read_as<T>(
        &self,
        key: &str,
        expected: impl Display,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        let Some(text) = self.one(key) else { return Ok(None) };
        let wrong = || Fault::bad_request(&format!("{key} {} is wrong; expected {expected}", Shown(text)));
        read(text).map(Some).ok_or_else(wrong)
    }
}

impl Page {
    /// How many rows come before it.
    pub(super) fn offset(self) -> usize {
        (self.page - 1).saturating_mul(self.limit)
    }

    /// Where it stands in a list of so many rows.
    pub(super) fn meta(self, count: usize) -> Meta {
        let Page { page, limit } = self;
        Meta { page, limit, count, hasnext: self.offset().saturating_add(limit) < count }
    }
}

impl<C> Order<C> {
    /// These rows, sorted by the keys that `key` makes of them; rows alike stay in their order, either way.
    pub(super) fn sort<T, K: Ord>(&self, rows: &mut [T], key: impl Fn(&T) -> K) {
        if self.is_descending {
            rows.sort_by_cached_key(|row| std::cmp::Reverse(key(row)));
        } else {
            rows.sort_by_cached_key(key);
        }
    }
}

/// What stands in a query that is text.
fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 10_000;
const MAX_PAGE: usize = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn words(query: &str) -> Words {
        Words::read(Some(query), &["page", "limit", "sort", "order", "a", "b"]).expect("known words")
    }

    #[test]
    fn words_are_decoded_and_may_come_again() {
        let words = words("a=x%2Fy+z&b=&a=%C3%A9&page=3&limit=7");
        assert_eq!(
            (words.all("a"), words.one("a"), words.one("b")),
            (vec!["x/y z".into(), "é".into()], Some("x/y z"), Some(""))
        );
        let page = words.page().expect("a page");
        assert_eq!((page.offset(), page.meta(21).hasnext, page.meta(22).hasnext), (14, false, true));
    }

    #[test]
    fn what_is_no_query_is_refused_in_one_sentence() {
        for query in ["c=1", "a=%ff", "=", "page"] {
            let read = Words::read(Some(query), &["a", "page"]);
            assert!(read.and_then(|words| words.page()).is_err(), "{query}");
        }
        for query in [
            "page=0",
            "page=-1",
            "page=1000000001",
            "limit=0",
            "limit=10001",
            "limit=x",
            "page=",
            "page=99999999999999999999999",
        ] {
            assert!(words(query).page().is_err(), "{query}");
        }
        assert!(words("page=1000000000&limit=10000").page().is_ok_and(|page| !page.meta(9).hasnext));
    }

    #[test]
    fn moments_are_read_in_three_forms() {
        for text in
            ["2030-11-11T10:24:00%2B08:00", "2030-11-11T10:24:00+08:00", "1920594240", "1920594240000"]
        {
            let moment = words(&format!("a={text}")).moment("a").expect("a moment");
            assert_eq!(moment, Some(Timestamp::from_millis(1_920_594_240_000)), "{text}");
        }
        assert!(words("a=soon").moment("a").is_err());
    }

    #[test]
    fn the_order_is_the_default_or_what_is_asked_for() {
        let columns = [("a", 'a'), ("b", 'b')];
        let otherwise = Order { column: 'a', is_descending: true };
        let order = |query| words(query).order(&columns, otherwise);
        assert_eq!(order("").expect("fine"), otherwise);
        assert_eq!(order("sort=b").expect("fine"), Order { column: 'b', is_descending: false });
        assert_eq!(order("order=asc").expect("fine"), Order { column: 'a', is_descending: false });
        assert!(order("sort=c").is_err() && order("order=up").is_err());
        let mut rows = [(1, 'x'), (2, 'y'), (1, 'z')];
        otherwise.sort(&mut rows, |row| row.0);
        assert_eq!(rows, [(2, 'y'), (1, 'x'), (1, 'z')]);
    }
}
