//! Holds docs/openapi.json to the code, and the code to what an OpenAPI document should say.
//!
//! `UPDATE_DOCS=1` writes docs/openapi.json anew.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use mqtt_bouncer::admin::document;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const METHODS: [&str; 8] = ["get", "head", "options", "trace", "put", "post", "delete", "patch"];

fn json() -> Value {
    serde_json::to_value(document()).expect("JSON")
}

/// Every operation: `METHOD path`, and what is said of it.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    paths
        .iter()
        .flat_map(|(path, item)| {
            METHODS.iter().filter_map(move |method| Some((format!("{method} {path}"), item.get(*method)?)))
        })
        .collect()
}

#[test]
fn the_document_is_the_one_that_was_reviewed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let now = serde_json::to_string_pretty(&json()).expect("JSON") + "\n";
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, now).expect("writable");
        return;
    }
    let reviewed = fs::read_to_string(&path).expect("docs/openapi.json");
    let difference = now.lines().zip(reviewed.lines()).find(|(now, then)| now != then);
    assert!(
        now == reviewed,
        "docs/openapi.json is out of date; UPDATE_DOCS=1 writes it anew: {difference:?}"
    );
}

#[test]
fn every_operation_says_what_it_is_and_what_it_answers() {
    let document = json();
    assert_eq!(document["openapi"], "3.1.0");
    let tags: BTreeSet<_> = document["tags"]
        .as_array()
        .expect("tags")
        .iter()
        .map(|tag| &tag["name"])
        .map(Value::to_string)
        .collect();
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document) {
        let summary = operation["summary"].as_str().unwrap_or_default();
        assert!(
            !summary.is_empty() && summary.len() < 120,
            "{name} has no summary, or a long one: {summary}"
        );
        let tagged = operation["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert!(
            tagged.len() == 1 && tags.contains(&tagged[0].to_string()),
            "{name} needs one tag that openapi.rs explains"
        );
        assert!(
            ids.insert(operation["operationId"].to_string()),
            "{name} has the operationId of another one"
        );
        let answers = operation["responses"].as_object().expect("answers");
        assert!(answers.keys().any(|status| status.starts_with('2')), "{name} never succeeds");
        let is_open = ["get /livez", "get /readyz", "post /api/v5/login"].contains(&name.as_str());
        assert!(is_open || answers.contains_key("401"), "{name}");
        assert_eq!(operation["security"].as_array().is_some(), !is_open, "{name}");
        for (status, answer) in answers {
            assert!(answer["description"].as_str().is_some_and(|text| !text.is_empty()), "{name} {status}");
            let is_fault = status.starts_with('4') || status == "500";
            assert!(
                !is_fault || answer["content"]["application/json"]["schema"].is_object(),
                "{name} {status} has no body"
            );
        }
    }
}

/// A parameter of a query that is said to stand in the path cannot be sent by anybody.
#[test]
fn parameters_stand_where_they_are_said_to_stand() {
    let document = json();
    for (name, operation) in operations(&document) {
        let path = name.split_once(' ').expect("a path").1;
        let in_path: BTreeSet<_> = path
            .split('{')
            .skip(1)
            .filter_map(|part| part.split_once('}'))
            .map(|(parameter, _)| parameter)
            .collect();
        let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        let said: BTreeSet<_> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        assert_eq!(said, in_path, "{name}");
    }
}

/// Routes are made by `routes!`, which takes what the document says of them; those that are made otherwise are not in
/// the document.
#[test]
fn no_route_is_made_beside_the_document() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin");
    let mut made = Vec::new();
    collect(&folder, &mut made);
    assert!(made.is_empty(), "{made:?}");
}

fn collect(folder: &Path, made: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            // The dashboard's own paths are no calls: its files, its cookie, its feed.
            if !path.ends_with("dashboard") {
                collect(&path, made);
            }
            continue;
        }
        let text = fs::read_to_string(&path).expect("readable");
        for way in [".route(", ".route_service(", ".nest_service(", ".nest("] {
            if text.contains(way) {
                made.push(format!("{}: {way}", path.display()));
            }
        }
    }
}
