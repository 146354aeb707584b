//! Texts that many bans share, each kept once and numbered in their order.

use std::collections::HashMap;
use std::sync::Arc;

/// Different texts, in order: of two the lesser one has the lesser number.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<Arc<str>>);

impl Names {
    pub(super) fn get(&self, id: u32) -> &str {
        self.0.get(id as usize).map_or("", |text| text)
    }

    pub(super) fn shared(&self, id: u32) -> Arc<str> {
        self.0.get(id as usize).map_or_else(|| "".into(), Arc::clone)
    }

    /// The number of this text, or which one it would have.
    pub(super) fn find(&self, text: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|there| (**there).cmp(text))
    }

    /// For each number, what `test` says of its text.
    pub(super) fn which(&self, test: impl Fn(&str) -> bool) -> Vec<bool> {
        self.0.iter().map(|text| test(text)).collect()
    }
}

#[derive(Debug, Default)]
pub(super) struct NamesBuilder {
    ids: HashMap<Arc<str>, u32, foldhash::fast::RandomState>,
    /// Most rows have the text of the row before.
    last: Option<(Arc<str>, u32)>,
    bytes: usize,
}

impl NamesBuilder {
    /// A number for this text until [`finish`](NamesBuilder::finish); none where there is no room.
    pub(super) fn id(&mut self, text: &str) -> Option<u32> {
        if let Some((last, id)) = &self.last
            && **last == *text
        {
            return Some(*id);
        }
        let (name, id) = if let Some((name, id)) = self.ids.get_key_value(text) {
            (Arc::clone(name), *id)
        } else {
            self.bytes += text.len();
            let id = u32::try_from(self.ids.len()).ok().filter(|_| self.bytes <= MAX_BYTES)?;
            let name: Arc<str> = text.into();
            self.ids.insert(Arc::clone(&name), id);
            (name, id)
        };
        self.last = Some((name, id));
        Some(id)
    }

    /// The texts in order; `ids` are changed to what they are called now.
    pub(super) fn finish(self, ids: &mut [u32]) -> Names {
        let mut names: Vec<_> = self.ids.into_iter().collect();
        names.sort_unstable();
        let mut renamed = vec![0; names.len()];
        for (new, (_, old)) in (0..).zip(&names) {
            if let Some(slot) = renamed.get_mut(*old as usize) {
                *slot = new;
            }
        }
        for id in ids {
            *id = renamed.get(*id as usize).copied().unwrap_or(0);
        }
        Names(names.into_iter().map(|(name, _)| name).collect())
    }
}

/// The most that different texts may have together.
const MAX_BYTES: usize = 128 << 20;
