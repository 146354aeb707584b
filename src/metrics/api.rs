//! Calls of the API, by route and by what came of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Calls of the API. Routes are the router's own templates, methods those that are known, so there are few.
#[derive(Debug, Default)]
pub struct Api(Mutex<BTreeMap<Key, u64>>);

type Key = (&'static str, String, u16);

/// How many calls of a route had a status of this class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calls {
    /// `GET`, or `other`.
    pub method: &'static str,
    /// The route's template, or `other`.
    pub route: String,
    /// The first digit of the status.
    pub class: u16,
    /// How many.
    pub count: u64,
}

/// Methods that are told apart.
const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
const OTHER: &str = "other";

impl Api {
    /// Counts a call; `route` is the template of the route that answered, if one did.
    pub fn count(&self, method: &str, route: Option<&str>, status: u16) {
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or(OTHER);
        let key = (method, route.unwrap_or(OTHER).to_owned(), status / 100);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
    }

    /// All that were counted.
    pub fn calls(&self) -> Vec<Calls> {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = |((method, route, class), count): (&Key, &u64)| Calls {
            method,
            route: route.clone(),
            class: *class,
            count: *count,
        };
        calls.iter().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_make_no_labels() {
        let api = Api::default();
        for number in 0..100 {
            api.count(&format!("M{number}"), None, 404);
        }
        api.count("GET", Some("/livez"), 200);
        let told: Vec<_> =
            api.calls().into_iter().map(|call| (call.method, call.route, call.class, call.count)).collect();
        assert_eq!(told, [("GET", "/livez".to_owned(), 2, 1), ("other", "other".to_owned(), 4, 100)]);
    }
}
