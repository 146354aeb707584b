//! Holds the rooms of `docs/ARCHITECTURE.md` to the code: which room may import which, and what pure rooms must not
//! touch. A new import between rooms edits this table, and its commit says why.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each room, and the rooms that it may import.
const ROOMS: &[(&str, &[&str])] = &[
    ("admission", &[]),
    ("wire", &[]),
    ("cleanup", &["admission"]),
    ("clock", &["admission"]),
    ("metrics", &["admission"]),
    ("process", &[]),
    ("telemetry", &[]),
    ("signal", &[]),
    ("systemd", &[]),
    ("net", &["wire"]),
    ("bouncer", &["admission", "clock", "metrics"]),
    ("refused", &["admission"]),
    ("sessions", &["admission", "net", "wire"]),
    ("exchange", &["admission"]),
    ("accounts", &["admission"]),
    ("store", &["accounts", "admission", "bouncer", "metrics", "process"]),
    ("findings", &["admission", "telemetry"]),
    ("webhook", &["net", "telemetry"]),
    ("dashboard", &["admission"]),
    ("proxy", &["admission", "bouncer", "metrics", "net", "refused", "sessions", "telemetry", "wire"]),
    ("config", &["admin", "admission", "cleanup", "net", "proxy", "refused", "telemetry", "webhook", "wire"]),
    (
        "admin",
        &[
            "accounts",
            "admission",
            "bouncer",
            "cleanup",
            "dashboard",
            "exchange",
            "findings",
            "metrics",
            "net",
            "process",
            "proxy",
            "refused",
            "sessions",
            "store",
            "telemetry",
            "webhook",
            "wire",
        ],
    ),
    (
        "app",
        &[
            "accounts",
            "admin",
            "admission",
            "bouncer",
            "cleanup",
            "clock",
            "config",
            "exchange",
            "findings",
            "metrics",
            "net",
            "process",
            "proxy",
            "refused",
            "sessions",
            "signal",
            "store",
            "systemd",
            "telemetry",
            "webhook",
        ],
    ),
    (
        "cli",
        &[
            "accounts",
            "admin",
            "admission",
            "app",
            "clock",
            "config",
            "exchange",
            "signal",
            "store",
            "telemetry",
            "webhook",
        ],
    ),
];

/// Rooms that decide and do not act, and what would make them act.
const PURE_ROOMS: &[&str] = &["accounts", "admission", "cleanup", "dashboard", "refused", "wire"];
const IMPURE: &[&str] =
    &["tokio", "std::net::Tcp", "std::fs", "std::io", "std::thread", "SystemTime", "Instant", "tracing::"];

#[test]
fn rooms_import_only_what_the_table_allows() {
    let allowed: BTreeMap<_, _> = ROOMS.iter().copied().collect();
    let mut crossings = Vec::new();
    for (room, file, code) in product_code() {
        let imports = imports_of(&code);
        let allowed = allowed.get(room.as_str()).unwrap_or_else(|| panic!("room {room} is not in the table"));
        for import in imports.iter().filter(|import| **import != room && !allowed.contains(&import.as_str()))
        {
            crossings.push(format!("{}: {room} must not import {import}", file.display()));
        }
    }
    assert!(crossings.is_empty(), "\n{}", crossings.join("\n"));
}

#[test]
fn the_table_has_no_import_that_nobody_uses() {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (room, _, code) in product_code() {
        used.entry(room).or_default().extend(imports_of(&code));
    }
    for (room, allowed) in ROOMS {
        for import in *allowed {
            assert!(used[*room].contains(*import), "{room} does not import {import}");
        }
    }
}

#[test]
fn pure_rooms_touch_nothing() {
    let mut touched = Vec::new();
    for (room, file, code) in product_code() {
        for word in IMPURE.iter().filter(|word| PURE_ROOMS.contains(&room.as_str()) && code.contains(**word))
        {
            touched.push(format!("{}: {room} is pure and must not use {word}", file.display()));
        }
    }
    assert!(touched.is_empty(), "\n{}", touched.join("\n"));
}

/// Every source file of the library without comments and tests, with the room that it stands in.
fn product_code() -> Vec<(String, PathBuf, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&source, &mut files);
    assert!(files.len() > 20, "the sources were not found");
    let room = |file: &Path| {
        let first = file.strip_prefix(&source).ok()?.components().next()?;
        Some(first.as_os_str().to_str()?.trim_end_matches(".rs").to_owned())
    };
    let code = |file: &Path| {
        let text = fs::read_to_string(file).expect("readable");
        let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        product.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
    };
    files
        .into_iter()
        .filter(|file| !file.ends_with("tests.rs") && !file.ends_with("lib.rs") && !file.ends_with("main.rs"))
        .map(|file| (room(&file).expect("in src"), file.clone(), code(&file)))
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The rooms that a file names in `crate::room…` or `use crate::{room, …}`.
fn imports_of(code: &str) -> BTreeSet<String> {
    let word =
        |text: &str| text.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>();
    let mut rooms = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            Some(list) => rooms
                .extend(list.split('}').next().unwrap_or_default().split(',').map(|item| word(item.trim()))),
            None => drop(rooms.insert(word(after))),
        }
    }
    rooms.remove("");
    rooms
}
