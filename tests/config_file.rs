//! Holds `config/` and the documents about it to the code.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

use mqtt_bouncer::config::Config;
use std::fs;
use std::path::Path;

const DOCUMENTED: &str = "config/mqtt-bouncer.toml";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

fn parse(text: &str) -> Config {
    Config::parse(DOCUMENTED, text).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

/// The file with its examples put in force: lines that begin with "#" and no space.
fn with_examples(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(example) if !example.starts_with(' ') => example.to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_documented_file_has_every_option_at_its_default() {
    let documented = parse(&read(DOCUMENTED));
    let minimal = parse(
        "[[listener]]\nname = \"mqtt\"\nbind = \"0.0.0.0:1883\"\n[upstream]\nservers = [\"127.0.0.1:1884\"]\n",
    );
    // What stands in the file and what does not is all that differs.
    assert_eq!(Config { written: minimal.written.clone(), ..documented }, minimal);
}

#[test]
fn the_documented_file_spells_every_option_out() {
    let text = read(DOCUMENTED);
    for (option, value) in &parse(&text).settings {
        let key = option.rsplit('.').next().expect("a key");
        let line = format!("{key} = {value}");
        assert!(text.lines().any(|found| found == line), "{option}: no line says {line}");
    }
}

#[test]
fn the_examples_in_the_documented_file_can_be_used() {
    let config = parse(&with_examples(&read(DOCUMENTED)));
    assert_eq!((config.bans.len(), config.exemptions.len()), (3, 1));
    assert_eq!((config.routes.len(), config.upstreams.len()), (2, 1));
}

#[test]
fn every_option_is_in_the_configuration_document() {
    let document = read("docs/configuration.md");
    let config = parse(&with_examples(&read(DOCUMENTED)));
    let bans = ["as", "who", "match", "by", "reason", "at", "until"];
    let options = config.settings.keys().filter_map(|option| option.rsplit('.').next());
    for key in options.chain(bans) {
        assert!(document.contains(&format!("`{key}`")), "docs/configuration.md does not explain `{key}`");
    }
}
