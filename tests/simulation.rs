//! Plays attacks and innocents against detection in simulated time, with one set of thresholds: the recommended ones.
//!
//! Each play follows from its seed. `SIMULATION_SEED=7` plays that seed alone, `SIMULATION_SEEDS=20` plays 1 to 20; the
//! default is few, since this is slow without optimisation. `UPDATE_DOCS=1` writes the table of docs/DETECTION.md anew.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::too_many_lines, reason = "a list is a list")]

#[path = "simulation/attacks.rs"]
mod attacks;
#[path = "simulation/device.rs"]
mod device;
#[path = "simulation/innocents.rs"]
mod innocents;
#[path = "simulation/people.rs"]
mod people;
#[path = "simulation/world.rs"]
mod world;

use attacks::ATTACKS;
use innocents::INNOCENTS;
use mqtt_bouncer::admission::detection::ZonePolicy;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use world::{MINUTE, Report, World};

/// Something that happens.
pub(crate) struct Scenario {
    name: &'static str,
    play: Play,
}

/// What happens, and for how long one has to look.
pub(crate) struct Play {
    act: fn(&mut World),
    minutes: u64,
}

impl Scenario {
    fn run(&self, seed: u64) -> Report {
        self.run_with(seed, ZonePolicy::recommended("default"))
    }

    fn run_with(&self, seed: u64, policy: ZonePolicy) -> Report {
        let mut world = World::new(seed, policy);
        (self.play.act)(&mut world);
        world.run(self.play.minutes * MINUTE)
    }
}

fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match number("SIMULATION_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("SIMULATION_SEEDS").unwrap_or(3)).collect(),
    }
}

/// Of every seed, on two threads.
fn each(scenarios: &'static [Scenario], seeds: &[u64], check: fn(&Scenario, u64) -> Result<(), String>) {
    let failures: Vec<String> = std::thread::scope(|scope| {
        let halves = [0, 1].map(|half| {
            scope.spawn(move || {
                let mine = scenarios.iter().skip(half).step_by(2);
                mine.flat_map(|scenario| seeds.iter().filter_map(move |seed| check(scenario, *seed).err()))
                    .collect::<Vec<_>>()
            })
        });
        halves.into_iter().flat_map(|half| half.join().expect("no panic")).collect()
    });
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn every_attack_is_detected_and_hurts_nobody_else() {
    each(ATTACKS, &seeds(), |scenario, seed| {
        let report = scenario.run(seed);
        let context = format!("SIMULATION_SEED={seed}: {}: {report:?}", scenario.name);
        match report.detected_after {
            Some(_) if report.innocents_banned.is_empty() => Ok(()),
            _ => Err(context),
        }
    });
}

#[test]
fn no_innocent_is_banned() {
    each(INNOCENTS, &seeds(), |scenario, seed| {
        let report = scenario.run(seed);
        let context = format!("SIMULATION_SEED={seed}: {}: {report:?}", scenario.name);
        if report.innocents_banned.is_empty() { Ok(()) } else { Err(context) }
    });
}

#[test]
fn a_play_follows_from_its_seed() {
    let scenario = &ATTACKS[5];
    assert_eq!(scenario.run(3), scenario.run(3));
    assert_ne!(scenario.run(3), scenario.run(4));
}

#[test]
fn shadow_mode_finds_the_same_and_bans_nobody() {
    for scenario in ATTACKS {
        let report = scenario.run_with(1, ZonePolicy::recommended("default").shadowed());
        assert_eq!(report.refused, 0, "{}", scenario.name);
        assert!(report.detected_after.is_some(), "{}", scenario.name);
    }
}

#[test]
fn duplicates_are_told_of() {
    let twins = INNOCENTS.iter().find(|scenario| scenario.name.starts_with("two devices")).expect("there");
    assert!(seeds().into_iter().all(|seed| (2..=4).contains(&twins.run(seed).duplicates_told)));
}

#[test]
fn the_table_of_the_document_is_what_the_simulation_yields() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/DETECTION.md");
    let document = fs::read_to_string(&path).expect("docs/DETECTION.md");
    let (before, rest) = document.split_once(BEGIN).expect("the table's begin");
    let (_, after) = rest.split_once(FINISH).expect("the table's end");
    let written = format!("{before}{BEGIN}\n{}{FINISH}{after}", table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, written).expect("writable");
        return;
    }
    assert!(
        written == document,
        "docs/DETECTION.md is out of date; UPDATE_DOCS=1 writes it anew:\n{}",
        table()
    );
}

const BEGIN: &str = "<!-- simulation: begin -->";
const FINISH: &str = "<!-- simulation: end -->";

fn table() -> String {
    let mut table = String::from(
        "| attack | connections | detected after | kept out | by | innocents banned |\n|---|---|---|---|---|---|\n",
    );
    for scenario in ATTACKS {
        let report = scenario.run(1);
        let after = report.detected_after.map_or_else(|| "never".to_owned(), |after| after.to_string());
        let kept_out = u64::from(report.refused) * 100 / u64::from(report.attempts.max(1));
        let Report { attempts, innocents_banned, .. } = &report;
        let (by, banned) = (detectors(&report), innocents_banned.len());
        writeln!(table, "| {} | {attempts} | {after} | {kept_out} % | {by} | {banned} |", scenario.name)
            .unwrap();
    }
    table.push_str("\n| innocent | told | innocents banned |\n|---|---|---|\n");
    for scenario in INNOCENTS {
        let report = scenario.run(1);
        let by = if report.duplicates_told > 0 { "duplicates" } else { "–" };
        writeln!(table, "| {} | {by} | {} |", scenario.name, report.innocents_banned.len()).unwrap();
    }
    table
}

fn detectors(report: &Report) -> String {
    report.detectors.iter().map(|detector| detector.as_str()).collect::<Vec<_>>().join(", ")
}
