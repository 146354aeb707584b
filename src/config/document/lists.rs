//! Options that are lists.

use super::{Entry, Section, Source};
use std::fmt::Display;
use std::str::FromStr;
use toml::Spanned;
use toml::de::DeValue;

impl<'n, 'd> Section<'n, 'd> {
    /// A list of values; the file must have it, with at least one.
    pub(in crate::config) fn list<T>(&self, key: &'static str, expected: &str) -> Vec<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.items(key, expected).iter().filter_map(|item| self.item(key, item, expected)).collect()
    }

    /// One value, or a list of at least one; the file must have it.
    pub(in crate::config) fn one_or_more<T>(&self, key: &'static str, expected: &str) -> Option<Vec<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        let items = self.table.and_then(|table| table.get(key)?.get_ref().as_array());
        let Some(items) = items else { return self.required(key, expected).map(|value| vec![value]) };
        let values = self.list(key, expected);
        (!items.is_empty() && values.len() == items.len()).then_some(values)
    }

    /// A list whose entries are values, or tables with more to say; the file must have it, with at least one.
    pub(in crate::config) fn entries<T>(&self, key: &'static str, expected: &str) -> Vec<Entry<'n, 'd, T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        let entry = |(index, item): (usize, &'d Spanned<DeValue<'d>>)| match item.get_ref().as_table() {
            Some(table) => {
                let key = format!("{}[{index}]", self.key_of(key));
                let mut section = Section::new(self.notes, key, item.span().start, Some(table));
                // The list is noted as a whole.
                section.label(None);
                Some(Entry::Table(section))
            }
            None => self.item(key, item, expected).map(Entry::Value),
        };
        self.items(key, expected).iter().enumerate().filter_map(entry).collect()
    }

    /// A list of values that may be empty, with a default.
    pub(in crate::config) fn list_or<T>(
        &self,
        key: &'static str,
        default: (&'static str, Vec<T>),
        expected: &str,
    ) -> Vec<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let (text, default) = default;
        let Some(value) = self.value(key) else {
            self.note_setting(key, Source::Default(text));
            return default;
        };
        self.note_setting(key, Source::File(value));
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong(key, format!("is not a list; expected {expected}"));
            return default;
        };
        items.iter().filter_map(|item| self.item(key, item, expected)).collect()
    }

    /// A list of values, without a default; `None` without a mistake when the file does not have it.
    pub(in crate::config) fn optional_list<T>(&self, key: &'static str, expected: &str) -> Option<Vec<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.has(key).then(|| self.list(key, expected)).or_else(|| {
            self.known.borrow_mut().push(key);
            None
        })
    }

    /// What stands in a list that the file must have, with at least one; nothing where it does not.
    fn items(&self, key: &'static str, expected: &str) -> &'d [Spanned<DeValue<'d>>] {
        let Some(value) = self.value(key) else {
            self.mistake(key, format!("is missing; expected {expected}"));
            return &[];
        };
        self.note_setting(key, Source::File(value));
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(key, format!("is not a list; expected {expected}"));
            return &[];
        };
        if items.is_empty() {
            self.wrong(key, format!("is empty; expected {expected}"));
        }
        items
    }

    fn item<T>(&self, key: &'static str, item: &Spanned<DeValue<'_>>, expected: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = match item.get_ref() {
            DeValue::String(text) => text.as_ref(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            _ => {
                self.wrong_value(item, key, format!("is of the wrong type; expected {expected}"));
                return None;
            }
        };
        match text.parse() {
            Ok(value) => Some(value),
            Err(problem) => {
                self.wrong_value(item, key, problem);
                None
            }
        }
    }
}
