//! A TOML document that remembers where everything stood, which options were asked for, and every mistake.
//!
//! Deserialising into structs would stop at the first mistake; whoever mends a file at 3 a.m. wants them all. So
//! options are asked for one by one, each with its default written as it would be in the file; what was not asked for
//! is an unknown option.

mod lists;
mod values;

pub use values::to_json;

use super::error::Mistake;
use super::units;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use values::{at_least, between, chosen, number, switch, within};

/// The mistakes of one file, and the options that hold.
pub(super) struct Notes<'f> {
    file: &'f str,
    source: &'f str,
    mistakes: RefCell<Vec<(usize, Mistake)>>,
    settings: RefCell<BTreeMap<String, Setting>>,
}

/// An option that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// Its value as it is written in the file, or would be.
    pub(super) text: String,
    /// Whether it stands in the file.
    pub(super) is_written: bool,
}

impl<'f> Notes<'f> {
    pub(super) fn new(file: &'f str, source: &'f str) -> Self {
        Notes { file, source, mistakes: RefCell::default(), settings: RefCell::default() }
    }

    /// Notes a mistake at a byte of the file.
    pub(super) fn mistake(&self, offset: usize, key: impl Into<String>, problem: impl Into<String>) {
        let before = self.source.get(..offset).unwrap_or(self.source);
        let line = 1 + before.matches('\n').count();
        let mistake = Mistake { file: self.file.to_owned(), line, key: key.into(), problem: problem.into() };
        self.mistakes.borrow_mut().push((offset, mistake));
    }

    /// What stands at this place of the file, short enough for a message.
    fn found(&self, span: Range<usize>) -> String {
        let text = self.source.get(span).unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        match line.char_indices().nth(60) {
            Some((cut, _)) => format!("{}…", line.get(..cut).unwrap_or_default()),
            None if line.len() < text.len() => format!("{line}…"),
            None => line.to_owned(),
        }
    }

    /// All mistakes in the order of the file, and every option with the value that holds, as it is written.
    pub(super) fn into_parts(self) -> (Vec<Mistake>, BTreeMap<String, Setting>) {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort_by_key(|(offset, _)| *offset);
        (mistakes.into_iter().map(|(_, mistake)| mistake).collect(), self.settings.into_inner())
    }
}

/// A table of the file, or the absence of one: then every option has its default.
pub(super) struct Section<'n, 'd> {
    notes: &'n Notes<'n>,
    /// The key that leads here, in messages: `listener[0]`.
    key: String,
    /// The key that leads here, in settings: `listener.mqtt`. `None` where settings are not noted.
    label: Option<String>,
    /// Where it begins.
    offset: usize,
    table: Option<&'d DeTable<'d>>,
    known: RefCell<Vec<&'static str>>,
}

/// A duration that can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OrOff {
    Off,
    On(Duration),
}

impl OrOff {
    pub(super) fn on(self) -> Option<Duration> {
        match self {
            OrOff::Off => None,
            OrOff::On(duration) => Some(duration),
        }
    }
}

/// What may be there, or be switched off with a word.
#[derive(Debug, Clone, Copy)]
pub(super) enum OrNone<T> {
    /// The file says nothing of it.
    Absent,
    /// `"none"`, or `"off"`.
    None,
    /// It is there.
    Some(T),
}

impl<T> OrNone<T> {
    /// What is there.
    pub(super) fn some(self) -> Option<T> {
        match self {
            OrNone::Absent | OrNone::None => None,
            OrNone::Some(value) => Some(value),
        }
    }

    /// What is there, or what holds where the file says nothing.
    pub(super) fn or(self, otherwise: impl FnOnce() -> Option<T>) -> Option<T> {
        match self {
            OrNone::Absent => otherwise(),
            OrNone::None => None,
            OrNone::Some(value) => Some(value),
        }
    }
}

impl<T> From<Option<T>> for OrNone<T> {
    fn from(value: Option<T>) -> OrNone<T> {
        value.map_or(OrNone::None, OrNone::Some)
    }
}

/// An entry of a list.
pub(super) enum Entry<'n, 'd, T> {
    Value(T),
    Table(Section<'n, 'd>),
}

/// One value of the file, or a default.
#[derive(Clone, Copy)]
enum Source<'d> {
    File(&'d Spanned<DeValue<'d>>),
    Default(&'static str),
}

impl<'n, 'd> Section<'n, 'd> {
    /// The whole document.
    pub(super) fn root(notes: &'n Notes<'n>, table: &'d DeTable<'d>) -> Self {
        Section::new(notes, String::new(), 0, Some(table))
    }

    fn new(notes: &'n Notes<'n>, key: String, offset: usize, table: Option<&'d DeTable<'d>>) -> Self {
        Section { notes, label: Some(key.clone()), key, offset, table, known: RefCell::default() }
    }

    /// Gives the section the name under which its settings are noted; `None` for not at all.
    pub(super) fn label(&mut self, label: Option<String>) {
        self.label = label;
    }

    /// The key of an option, as messages write it.
    fn key_of(&self, key: &str) -> String {
        if self.key.is_empty() { key.to_owned() } else { format!("{}.{key}", self.key) }
    }

    fn value(&self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.known.borrow_mut().push(key);
        self.table?.get(key)
    }

    /// Notes that an option is wrong.
    pub(super) fn mistake(&self, key: &str, problem: impl Into<String>) {
        let offset =
            self.table.and_then(|table| table.get(key)).map_or(self.offset, |value| value.span().start);
        self.notes.mistake(offset, self.key_of(key), problem);
    }

    /// Notes that an option of a table further inside is wrong; `place` leads there: `upstreams.NAME`.
    pub(super) fn wrong_at(&self, place: &str, key: &str, problem: impl Into<String>) {
        let mut table = self.table;
        for part in place.splitn(2, '.') {
            table = table.and_then(|table| table.get(part)?.get_ref().as_table());
        }
        let offset = table.and_then(|table| table.get(key)).map_or(self.offset, |value| value.span().start);
        self.notes.mistake(offset, format!("{}.{key}", self.key_of(place)), problem);
    }

    /// Notes that an option's value is wrong, with the value.
    pub(super) fn wrong(&self, key: &str, problem: impl Display) {
        let found = self.table.and_then(|table| table.get(key)).map(|value| self.notes.found(value.span()));
        self.mistake(key, format!("{} {problem}", found.unwrap_or_default()));
    }

    fn wrong_value(&self, value: &Spanned<DeValue<'_>>, key: &str, problem: impl Display) {
        let found = self.notes.found(value.span());
        self.notes.mistake(value.span().start, self.key_of(key), format!("{found} {problem}"));
    }

    fn note_setting(&self, key: &str, source: Source<'_>) {
        let text = match source {
            Source::File(value) => self.notes.source.get(value.span()).unwrap_or_default().to_owned(),
            Source::Default(text) => text.to_owned(),
        };
        self.note(key, text, matches!(source, Source::File(_)));
    }

    fn note(&self, key: &str, text: String, is_written: bool) {
        let Some(label) = &self.label else { return };
        let label = if label.is_empty() { key.to_owned() } else { format!("{label}.{key}") };
        self.notes.settings.borrow_mut().insert(label, Setting { text, is_written });
    }

    /// Reads an option that the file writes as a string, a number, a date or a switch. A default that cannot be read
    /// would be our own mistake; it is noted like any other.
    fn scalar<T>(
        &self,
        key: &'static str,
        source: Source<'d>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.note_setting(key, source);
        let outcome = match source {
            Source::Default(text) => read(text.trim_matches('"')),
            Source::File(value) => match value.get_ref() {
                DeValue::String(text) => read(text),
                DeValue::Integer(number) if number.radix() == 10 => read(number.as_str()),
                DeValue::Boolean(switch) => read(if *switch { "true" } else { "false" }),
                DeValue::Datetime(moment) => read(&moment.to_string()),
                _ => Err("is of the wrong type; expected a string or a number".to_owned()),
            },
        };
        match outcome {
            Ok(value) => Some(value),
            Err(problem) => {
                match source {
                    Source::File(value) => self.wrong_value(value, key, problem),
                    Source::Default(text) => self.mistake(key, format!("{text} {problem}")),
                }
                None
            }
        }
    }

    /// An option with a default, which is written as in the file.
    fn or_default<T>(
        &self,
        key: &'static str,
        default: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let source = self.value(key).map_or(Source::Default(default), Source::File);
        self.scalar(key, source, read)
    }

    /// An option of any type that reads itself.
    pub(super) fn parsed<T>(&self, key: &'static str, default: &'static str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.or_default(key, default, |text| text.parse().map_err(|error: T::Err| error.to_string()))
    }

    /// An option without default; `None` without a mistake when the file does not have it.
    pub(super) fn optional<T>(&self, key: &'static str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let source = Source::File(self.value(key)?);
        self.scalar(key, source, |text| text.parse().map_err(|error: T::Err| error.to_string()))
    }

    /// An option without default that is a secret, or holds one: it is listed as `shown` shows it.
    pub(super) fn optional_secret<T>(&self, key: &'static str, shown: impl Fn(&T) -> String) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let value = self.value(key)?;
        let Some(text) = value.get_ref().as_str() else {
            self.mistake(key, "is of the wrong type; expected a string");
            return None;
        };
        match text.parse() {
            Ok(secret) => {
                self.note(key, shown(&secret), true);
                Some(secret)
            }
            Err(problem) => {
                // What is wrong with it is said without it.
                self.mistake(key, problem.to_string());
                None
            }
        }
    }

    /// An option without default that must be there; `expected` says what it is.
    pub(super) fn required<T>(&self, key: &'static str, expected: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        if self.table.is_none_or(|table| !table.contains_key(key)) {
            self.known.borrow_mut().push(key);
            self.mistake(key, format!("is missing; expected {expected}"));
            return None;
        }
        self.optional(key)
    }

    /// A duration that is at least `min`.
    pub(super) fn duration(
        &self,
        key: &'static str,
        default: &'static str,
        min: Duration,
    ) -> Option<Duration> {
        self.or_default(key, default, |text| at_least(units::duration(text)?, min))
    }

    /// A duration that is at least `min`, or `off`.
    pub(super) fn duration_or_off(
        &self,
        key: &'static str,
        default: &'static str,
        min: Duration,
    ) -> Option<OrOff> {
        self.or_default(key, default, |text| match text {
            "off" => Ok(OrOff::Off),
            _ => match units::duration(text) {
                Ok(duration) => at_least(duration, min).map(OrOff::On),
                Err(problem) => Err(format!("{problem}, or \"off\"")),
            },
        })
    }

    /// A size in bytes within these bounds.
    pub(super) fn size(&self, key: &'static str, default: &'static str, bounds: Range<u64>) -> Option<u64> {
        self.or_default(key, default, |text| within(units::size(text)?, &bounds))
    }

    /// A number within these bounds.
    pub(super) fn number(&self, key: &'static str, default: &'static str, bounds: Range<u64>) -> Option<u64> {
        self.or_default(key, default, |text| number(text, &bounds))
    }

    /// A switch.
    pub(super) fn switch(&self, key: &'static str, default: &'static str) -> Option<bool> {
        self.or_default(key, default, switch)
    }

    /// A duration within these bounds.
    pub(super) fn duration_within(
        &self,
        key: &'static str,
        default: &'static str,
        bounds: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        self.or_default(key, default, |text| between(units::duration(text)?, &bounds))
    }

    /// A duration within these bounds, without a default.
    pub(super) fn optional_duration(
        &self,
        key: &'static str,
        bounds: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let source = Source::File(self.value(key)?);
        self.scalar(key, source, |text| between(units::duration(text)?, &bounds))
    }

    /// A number within these bounds, without a default.
    pub(super) fn optional_number(&self, key: &'static str, bounds: Range<u64>) -> Option<u64> {
        let source = Source::File(self.value(key)?);
        self.scalar(key, source, |text| number(text, &bounds))
    }

    /// A number within these bounds, or `off`, without a default.
    pub(super) fn optional_or_off(&self, key: &'static str, bounds: Range<u64>) -> OrNone<u8> {
        let Some(value) = self.value(key) else { return OrNone::Absent };
        let read = |text: &str| match text {
            "off" => Ok(OrNone::None),
            _ => number(text, &bounds).map(|number| u8::try_from(number).ok().into()),
        };
        self.scalar(key, Source::File(value), read).unwrap_or(OrNone::Absent)
    }

    /// A switch, without a default.
    pub(super) fn optional_switch(&self, key: &'static str) -> Option<bool> {
        let source = Source::File(self.value(key)?);
        self.scalar(key, source, switch)
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &'static str,
        default: &'static str,
        words: &[(&str, T)],
    ) -> Option<T> {
        self.or_default(key, default, |text| chosen(text, words))
    }

    /// One of several words, without a default; `None` without a mistake when the file does not have it.
    pub(super) fn optional_choice<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let source = Source::File(self.value(key)?);
        self.scalar(key, source, |text| chosen(text, words))
    }

    /// True when the file has this key here.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// A table inside this one that may be switched off with `"none"`.
    pub(super) fn section_or_none(&self, key: &'static str) -> OrNone<Section<'n, 'd>> {
        let Some(value) = self.value(key) else { return OrNone::Absent };
        if value.get_ref().as_str() == Some("none") {
            self.note_setting(key, Source::File(value));
            return OrNone::None;
        }
        let Some(table) = value.get_ref().as_table() else {
            self.wrong(key, format!("is not a table; expected [{}] or \"none\"", self.key_of(key)));
            return OrNone::Absent;
        };
        OrNone::Some(Section::new(self.notes, self.key_of(key), value.span().start, Some(table)))
    }

    /// A table inside this one. One that is not there reads as empty.
    pub(super) fn section(&self, key: &'static str) -> Section<'n, 'd> {
        let value = self.value(key);
        let table = value.and_then(|value| {
            let table = value.get_ref().as_table();
            if table.is_none() {
                self.wrong(key, format!("is not a table; expected [{}]", self.key_of(key)));
            }
            table
        });
        Section::new(
            self.notes,
            self.key_of(key),
            value.map_or(self.offset, |value| value.span().start),
            table,
        )
    }

    /// The keys that the file has in a table inside this one.
    pub(super) fn names_of(&self, key: &str) -> Vec<String> {
        let table = self.table.and_then(|table| table.get(key)?.get_ref().as_table());
        table.into_iter().flat_map(DeTable::keys).map(|key| key.get_ref().to_string()).collect()
    }

    /// The tables inside this one that users name themselves: `[upstreams.NAME]`.
    pub(super) fn named_sections(&self) -> Vec<(String, Section<'n, 'd>)> {
        let entries = self.table.into_iter().flat_map(|table| table.iter());
        let section = |(name, value): (&'d Spanned<std::borrow::Cow<'d, str>>, &'d Spanned<DeValue<'d>>)| {
            let (name, key) = (name.get_ref().to_string(), self.key_of(name.get_ref()));
            let table = value.get_ref().as_table();
            if table.is_none() {
                self.wrong_value(value, &name, format!("is not a table; expected [{key}]"));
            }
            table.map(|table| (name, Section::new(self.notes, key, value.span().start, Some(table))))
        };
        entries.filter_map(section).collect()
    }

    /// The tables of an array of tables: `[[listener]]`.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'n, 'd>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(key, format!("is not an array of tables; expected [[{}]]", self.key_of(key)));
            return Vec::new();
        };
        let section = |(index, item): (usize, &'d Spanned<DeValue<'d>>)| {
            let table = item.get_ref().as_table();
            if table.is_none() {
                self.wrong_value(item, key, format!("is not a table; expected [[{}]]", self.key_of(key)));
            }
            let key = format!("{}[{index}]", self.key_of(key));
            table.map(|table| Section::new(self.notes, key, item.span().start, Some(table)))
        };
        items.iter().enumerate().filter_map(section).collect()
    }

    /// Notes every option of this table that nobody asked for.
    pub(super) fn finish(self) {
        let known = self.known.into_inner();
        for (key, _) in self.table.into_iter().flat_map(|table| table.iter()) {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let place = if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) };
            let problem = format!("is not an option; expected one of {}", known.join(", "));
            self.notes.mistake(key.span().start, place, problem);
        }
    }
}
