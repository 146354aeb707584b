//! Numbers by name.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Numbers of things that have names in the config file. A name that leaves the file keeps its numbers, so that sums
/// never fall.
#[derive(Debug, Default)]
pub struct Registry<T>(RwLock<BTreeMap<Arc<str>, Arc<T>>>);

/// The name of all for whom there is no place.
const OTHERS: &str = "others";

/// How many names have numbers of their own: more than any config file has, fewer than one reload an hour makes in a
/// year.
const MAX_NAMES: usize = 1_000;

impl<T: Default> Registry<T> {
    /// The numbers of this name.
    pub fn of(&self, name: &str) -> Arc<T> {
        // A thread that panicked has left the map whole.
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Arc::clone(known);
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let name = if all.len() < MAX_NAMES { name } else { OTHERS };
        Arc::clone(all.entry(name.into()).or_default())
    }

    /// All names and their numbers, in the order of the names.
    pub fn all(&self) -> Vec<(Arc<str>, Arc<T>)> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(name, numbers)| (Arc::clone(name), Arc::clone(numbers))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Counter;
    use super::*;

    #[test]
    fn a_name_keeps_its_numbers_and_names_are_bounded() {
        let registry: Registry<Counter> = Registry::default();
        for number in 0..MAX_NAMES * 2 {
            registry.of(&format!("name-{number}")).add(1);
        }
        registry.of("name-7").add(1);
        let all = registry.all();
        assert_eq!(all.len(), MAX_NAMES + 1);
        assert_eq!(all.iter().map(|(_, counter)| counter.value()).sum::<u64>(), 2_001);
        assert_eq!((registry.of("name-7").value(), registry.of(OTHERS).value()), (2, 1_000));
    }
}
