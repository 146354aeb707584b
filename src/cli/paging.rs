//! The pages that a running proxy answers with.

use super::out::fitted;
use clap::Args;
use serde_json::Value;
use std::fmt::Display;
use std::io::{self, Write};

/// Which part of a list, in what order, and how it is printed.
#[derive(Debug, Args)]
pub(super) struct Paging {
    /// Which page, from 1 on.
    #[arg(long, value_name = "N")]
    page: Option<u64>,
    /// Rows a page, 1 to 10000 [default: 100].
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// The column to sort by, as the JSON names it.
    #[arg(long, value_name = "COLUMN")]
    sort: Option<String>,
    /// Which way.
    #[arg(long, value_name = "asc|desc")]
    order: Option<String>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// The words of a query.
pub(super) type Words = Vec<(&'static str, String)>;

/// A word that may be left out.
pub(super) fn word(key: &'static str, value: Option<impl ToString>) -> Option<(&'static str, String)> {
    value.map(|value| (key, value.to_string()))
}

impl Paging {
    pub(super) fn words(&self) -> Words {
        let words = [
            word("page", self.page),
            word("limit", self.limit),
            word("sort", self.sort.as_ref()),
            word("order", self.order.as_ref()),
        ];
        words.into_iter().flatten().collect()
    }

    /// Prints a page as a table with this head, or as JSON.
    pub(super) fn print<R: Display>(
        &self,
        page: &Value,
        head: &str,
        row: impl Fn(&Value) -> R,
    ) -> io::Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        let rows = page.get("data").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if self.json {
            for row in rows {
                writeln!(out, "{row}")?;
            }
            return out.flush();
        }
        if !rows.is_empty() {
            writeln!(out, "{}", fitted(head))?;
        }
        for value in rows {
            writeln!(out, "{}", fitted(&row(value).to_string()))?;
        }
        let meta =
            |key: &str| page.pointer(&format!("/meta/{key}")).and_then(Value::as_u64).unwrap_or_default();
        let count = meta("count");
        match page.pointer("/meta/hasnext").and_then(Value::as_bool) {
            Some(true) => writeln!(out, "{} of {count}; --page {} shows more", rows.len(), meta("page") + 1)?,
            _ => writeln!(out, "{} of {count}", rows.len())?,
        }
        out.flush()
    }
}

/// A text of an object; empty where there is none.
pub(super) fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A number of an object; 0 where there is none.
pub(super) fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

/// A count of bytes in at most four characters and a unit: `999B`, `1.2K`, `34M`.
pub(super) fn bytes(count: u64) -> String {
    let mut unit = 1;
    let mut names = ["K", "M", "G", "T", "P", "E"].into_iter();
    let mut name = "B";
    while count / unit >= 1000 {
        unit *= 1000;
        name = names.next().unwrap_or("E");
    }
    match (count / unit, count % unit / (unit / 10).max(1)) {
        (whole, tenths) if unit > 1 && whole < 10 => format!("{whole}.{tenths}{name}"),
        (whole, _) => format!("{whole}{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_short() {
        for (count, shown) in
            [(0, "0B"), (999, "999B"), (1000, "1.0K"), (1290, "1.2K"), (34_999_999, "34M"), (u64::MAX, "18E")]
        {
            assert_eq!(bytes(count), shown);
        }
    }
}
