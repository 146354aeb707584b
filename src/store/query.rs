//! Writes the queries of a selection, and asks none.
//!
//! An order is a sequence of parts, each of which an index brings in its order, so that a page costs what it shows and
//! not what the list is. Within a part the bans of the config file, which stand in a table of their own, are merged in.

use super::entry::Source;
use super::selection::{Key, Place, Selection, Sort};
use crate::admission::{As, Until};
use std::fmt::Write;

/// A piece of an order, and what it is in order by: columns, the last of which tell all bans apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// Only of this kind.
    kind: Option<As>,
    condition: &'static str,
    columns: &'static [&'static str],
    index: &'static str,
}

impl Selection {
    /// The parts, in their order, that come after [`after`](Selection::after). The first of them may have begun.
    pub(super) fn parts(&self) -> Vec<Part> {
        let sort = self.order();
        let mut parts = match sort {
            Sort::As => self.by_kind(),
            Sort::Who => vec![Part { index: self.index(), ..part(&["who", "as"]) }],
            Sort::By => vec![Part { index: "bans_by_author", ..part(&["by", "as", "who"]) }],
            Sort::Reason => vec![Part { index: self.index(), ..part(&["reason", "as", "who"]) }],
            Sort::At => vec![Part { index: "bans_by_start", ..part(&["at", "as", "who"]) }],
            Sort::Until | Sort::Status => self.by_end(),
            Sort::Hits => two(["b.hits = 0", "b.hits > 0"], &["hits", "as", "who"], "bans_by_hits"),
            Sort::LastHit => two(
                ["b.last_hit IS NULL", "b.last_hit IS NOT NULL"],
                &["last_hit", "as", "who"],
                "bans_by_last_hit",
            ),
        };
        if self.is_reversed() {
            parts.reverse();
        }
        let begun = self.after.as_ref().and_then(|after| parts.iter().position(|part| part.holds(after)));
        parts.drain(..begun.unwrap_or(0));
        parts
    }

    /// True when the columns go down: what ends late is active, and so comes first by status.
    fn is_reversed(&self) -> bool {
        self.is_descending != (self.order() == Sort::Status)
    }

    fn by_kind(&self) -> Vec<Part> {
        let mut kinds = self.wanted_kinds();
        kinds.sort_unstable_by_key(|kind| kind.as_str());
        let of = |kind| Part { kind: Some(kind), index: self.index(), ..part(&["who"]) };
        kinds.into_iter().map(of).collect()
    }

    fn by_end(&self) -> Vec<Part> {
        let [ending, endless] = [
            Part { condition: ENDING, index: "bans_by_end", ..part(&["until", "as", "who"]) },
            Part { condition: ENDLESS, ..part(&["as", "who"]) },
        ];
        let wanted = [(self.ends.has_ending(), ending), (self.ends.has_endless(), endless)];
        wanted.into_iter().filter(|(is_wanted, _)| *is_wanted).map(|(_, part)| part).collect()
    }

    /// What finds the bans of an author among those of a kind, in the order of their names.
    fn index(&self) -> &'static str {
        if self.by.is_some() { "bans_by_author" } else { "" }
    }

    fn wanted_kinds(&self) -> Vec<As> {
        As::ALL.into_iter().filter(|kind| self.kinds.is_empty() || self.kinds.contains(kind)).collect()
    }

    /// The query of a part; `has_file` is whether the config file has bans. `None` when it finds nothing for sure.
    pub(super) fn query(&self, part: &Part, has_file: bool) -> Option<String> {
        let is_begun = self.after.as_ref().is_some_and(|after| part.holds(after));
        let mut filters = self.filters(part);
        if !part.condition.is_empty() {
            filters.push(part.condition.to_owned());
        }
        if is_begun {
            filters.push(self.beyond(part));
        }
        let mut arms = Vec::new();
        if self.source != Some(Source::File) {
            let shadow = if has_file { NOT_SHADOWED } else { "" };
            let both = if has_file { FILE_HAS_IT } else { "0" };
            // Of one name there are a few at most, whatever the order.
            let index = if self.who.is_some() { BY_NAME } else { part.index };
            let index = if index.is_empty() { String::new() } else { format!("INDEXED BY {index}") };
            for kinds in self.arms(part) {
                let filters = [&[kinds][..], &filters].concat().join(" AND ");
                arms.push(format!(
                    "SELECT {COLUMNS}, 0, {both} FROM main.bans b {index} WHERE b.list = :list AND {filters}{shadow}"
                ));
            }
        }
        if has_file && self.source != Some(Source::RunTime) {
            let filters = [&[self.kinds_of(part)][..], &filters].concat().join(" AND ");
            arms.push(format!(
                "SELECT {COLUMNS}, 1, {STORE_HAS_IT} FROM temp.file_bans b WHERE b.list = :list AND {filters}{NOT_OUTLASTED}"
            ));
        }
        if arms.is_empty() {
            return None;
        }
        let direction = if self.is_reversed() { " DESC" } else { "" };
        let order: Vec<_> = part.columns.iter().map(|column| format!("\"{column}\"{direction}")).collect();
        Some(format!("{} ORDER BY {} LIMIT :rows", arms.join(" UNION ALL "), order.join(", ")))
    }

    /// The conditions on kinds of which the table of bans is asked one by one: those of one kind are in order by name,
    /// those of several are not.
    fn arms(&self, part: &Part) -> Vec<String> {
        if self.order() == Sort::Who {
            self.wanted_kinds().into_iter().map(is_kind).collect()
        } else {
            vec![self.kinds_of(part)]
        }
    }

    fn kinds_of(&self, part: &Part) -> String {
        if let Some(kind) = part.kind {
            return is_kind(kind);
        }
        if self.kinds.is_empty() && self.who.is_none() {
            return "1".to_owned();
        }
        let kinds: Vec<_> = self.wanted_kinds().iter().map(|kind| format!("'{kind}'")).collect();
        format!("b.\"as\" IN ({})", kinds.join(", "))
    }

    fn filters(&self, part: &Part) -> Vec<String> {
        let mut filters = Vec::new();
        let mut add = |is_wanted: bool, filter: &str| {
            if is_wanted {
                filters.push(filter.to_owned());
            }
        };
        add(self.who.is_some(), "b.who = :who");
        add(self.text.is_some(), "instr(lower(b.who), :text) > 0");
        add(self.by.is_some(), "b.\"by\" = :by");
        add(self.reason.is_some(), "instr(lower(b.reason), :reason) > 0");
        add(self.made_from.is_some(), "b.at >= :made_from");
        add(self.made_to.is_some(), "b.at <= :made_to");
        add(self.ends.to.is_some(), "b.until <= :ends_to");
        match self.ends.from {
            None => {}
            Some(Until::Infinity) => add(true, "b.until IS NULL"),
            Some(Until::Moment(_)) if part.condition == ENDLESS => {}
            Some(Until::Moment(_)) if part.condition == ENDING || self.ends.to.is_some() => {
                add(true, "b.until >= :ends_from");
            }
            Some(Until::Moment(_)) => add(true, "(b.until IS NULL OR b.until >= :ends_from)"),
        }
        filters
    }

    /// The condition for what comes after the place that the part has got to.
    fn beyond(&self, part: &Part) -> String {
        let mut condition = String::from("(");
        for (index, column) in part.columns.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            // Writing to a string does not fail.
            let _ = write!(condition, "{comma}b.\"{column}\"");
        }
        let values: Vec<_> = part
            .columns
            .iter()
            .map(|column| match *column {
                "who" => ":after_who",
                "as" => ":after_as",
                _ => ":after_key",
            })
            .collect();
        let sign = if self.is_reversed() { '<' } else { '>' };
        let _ = write!(condition, ") {sign} ({})", values.join(", "));
        condition
    }
}

impl Part {
    /// Whether this place is in the part.
    fn holds(&self, place: &Place) -> bool {
        let has_key = place.key != Key::None;
        let is_by_key = self.columns.iter().any(|column| !matches!(*column, "who" | "as"));
        self.kind.is_none_or(|kind| kind == place.kind) && has_key == is_by_key
    }
}

fn part(columns: &'static [&'static str]) -> Part {
    Part { kind: None, condition: "", columns, index: "" }
}

/// The bans without a key, in the order of their names, and those with one.
fn two(
    [without, with]: [&'static str; 2],
    columns: &'static [&'static str],
    index: &'static str,
) -> Vec<Part> {
    vec![
        Part { condition: without, ..part(&["as", "who"]) },
        Part { condition: with, index, ..part(columns) },
    ]
}

fn is_kind(kind: As) -> String {
    format!("b.\"as\" = '{kind}'")
}

/// The table itself: it is in the order of kinds and names.
const BY_NAME: &str = "sqlite_autoindex_bans_1";

const ENDING: &str = "b.until IS NOT NULL";
const ENDLESS: &str = "b.until IS NULL";

/// What an [`Entry`](super::Entry) is read from; two more say where it is from.
const COLUMNS: &str = r#"b."as", b.who, b.matching, b."by", b.reason, b.at, b.until, b.hits, b.last_hit"#;

/// Of two bans of one name the one that ends later is in force, the file's if they end alike; of two patterns that
/// match differently, the one that matches any part (`bouncer` has the rule).
macro_rules! file_wins {
    ($file:literal, $run_time:literal) => {
        concat!(
            "CASE WHEN ",
            $file,
            ".matching IS NOT ",
            $run_time,
            ".matching THEN ",
            $file,
            ".matching = 'search' ",
            "ELSE ",
            $file,
            ".until IS NULL OR (",
            $run_time,
            ".until IS NOT NULL AND ",
            $run_time,
            ".until <= ",
            $file,
            ".until) END"
        )
    };
}

const FILE_HAS_IT: &str = r#"EXISTS (SELECT 1 FROM temp.file_bans o
    WHERE o.list = b.list AND o."as" = b."as" AND o.who = b.who)"#;

const STORE_HAS_IT: &str = r#"EXISTS (SELECT 1 FROM main.bans o
    WHERE o.list = b.list AND o."as" = b."as" AND o.who = b.who)"#;

const NOT_SHADOWED: &str = concat!(
    r#" AND NOT EXISTS (SELECT 1 FROM temp.file_bans o
    WHERE o.list = b.list AND o."as" = b."as" AND o.who = b.who AND "#,
    file_wins!("o", "b"),
    ")"
);

const NOT_OUTLASTED: &str = concat!(
    r#" AND NOT EXISTS (SELECT 1 FROM main.bans o
    WHERE o.list = b.list AND o."as" = b."as" AND o.who = b.who AND NOT ("#,
    file_wins!("b", "o"),
    "))"
);
