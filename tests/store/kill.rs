//! The promise a_ban_that_was_acknowledged_survives_kill_9: a process that changes bans is killed at a moment that
//! nobody chose, again and again.

use super::*;
use fastrand::Rng;
use mqtt_bouncer::store::Change;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

const ROUNDS: u64 = 12;
const THREADS: usize = 4;
const CHANGES: usize = 250;

#[test]
fn a_ban_that_was_acknowledged_survives_kill_9() {
    let mut rng = Rng::with_seed(9);
    for round in 0..ROUNDS {
        let home = Home::new();
        let killed_after = rng.usize(0..THREADS * CHANGES);
        let acknowledged = kill_a_writer(&home, round, killed_after);
        let (store, bouncer, loaded) = home.open();
        let stored = home.stored(List::Bans);
        assert_eq!(loaded.bans, stored.len());
        for ban in &stored {
            assert_eq!(bouncer.admission().list(List::Bans).get(&ban.who).as_ref(), Some(ban));
        }
        for (thread, count) in acknowledged.into_iter().enumerate() {
            let found = of_thread(&stored, &loaded.offences, thread);
            let whole = [count, count + 1].map(|count| after(round, thread, count));
            // The one request that was not acknowledged is there whole or not at all.
            assert!(
                whole.contains(&found),
                "round {round}, thread {thread}, {count} acknowledged: {found:?}"
            );
        }
        store.close();
    }
}

/// Runs the writer in a process of its own, kills it when so many changes are acknowledged, and returns how many were,
/// of each thread.
fn kill_a_writer(home: &Home, round: u64, killed_after: usize) -> [usize; THREADS] {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "kill::the_writer_that_is_killed", "--nocapture", "--test-threads=1"])
        .env(PATH, home.path())
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a process");
    let mut acknowledged = [0; THREADS];
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut total = 0;
    loop {
        if total == killed_after {
            child.kill().expect("killed");
        }
        // What it wrote before it was killed is still to be read. The test's own lines share the output.
        let Some(Ok(line)) = lines.next() else { break };
        if let Some((_, thread)) = line.split_once("acknowledged ") {
            acknowledged[thread.parse::<usize>().expect("a thread")] += 1;
            total += 1;
        }
    }
    child.wait().expect("ended");
    assert!(total >= killed_after, "it ended by itself after {total} changes");
    acknowledged
}

/// Does nothing unless it is run by the test above.
#[test]
fn the_writer_that_is_killed() {
    let (Ok(path), Ok(round)) = (std::env::var(PATH), std::env::var(ROUND)) else { return };
    let round: u64 = round.parse().expect("a number");
    let (store, _) = Store::open(path, Some(Bouncer::default())).expect("a store");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                for changes in requests(round, thread) {
                    store.change_blocking(changes).expect("written");
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "\nacknowledged {thread}").and_then(|()| out.flush()).expect("told");
                }
            });
        }
    });
}

/// The requests of one thread: it has names of its own, and each ban says which request has made it.
fn requests(round: u64, thread: usize) -> impl Iterator<Item = Vec<Change>> {
    let mut rng = Rng::with_seed(round * 100 + thread as u64);
    (0..CHANGES).map(move |number| {
        (0..rng.usize(1..4))
            .map(|_| {
                let name = format!("{thread}-{}", rng.u8(..10));
                if rng.u8(..3) == 0 {
                    return Change::Remove(List::Bans, client(&name));
                }
                let mut ban = if rng.bool() { forever(&name) } else { until(&name, rng.i64(..1_000)) };
                ban.terms.reason = number.to_string().into();
                Change::Put(List::Bans, ban)
            })
            .flat_map(|change| [with_its_offence(&change, number), Some(change)])
            .flatten()
            .collect()
    })
}

/// Whoever is banned has offended, as many times as the request's number.
fn with_its_offence(change: &Change, number: usize) -> Option<Change> {
    let Change::Put(_, ban) = change else { return None };
    Some(Change::Offend(offence(ban.who.clone(), u32::try_from(number).expect("small"), 0)))
}

/// Terms of bans, and counts of offences.
type Kept = (BTreeMap<String, Terms>, BTreeMap<String, u32>);

/// What a thread's bans and offences are after so many of its requests.
fn after(round: u64, thread: usize, count: usize) -> Kept {
    let (mut bans, mut offences) = Kept::default();
    for change in requests(round, thread).take(count).flatten() {
        match change {
            Change::Put(_, ban) => drop(bans.insert(ban.who.to_string(), ban.terms)),
            Change::Offend(offence) => drop(offences.insert(offence.who.to_string(), offence.count)),
            Change::Remove(_, who) => {
                bans.remove(&who.to_string());
                offences.remove(&who.to_string());
            }
            other => panic!("{other:?}"),
        }
    }
    (bans, offences)
}

fn of_thread(bans: &[Ban], offences: &[Offence], thread: usize) -> Kept {
    let is_its = |who: &Who| who.to_string().starts_with(&format!("{thread}-"));
    let bans = bans.iter().filter(|ban| is_its(&ban.who));
    let offences = offences.iter().filter(|offence| is_its(&offence.who));
    (
        bans.map(|ban| (ban.who.to_string(), ban.terms.clone())).collect(),
        offences.map(|offence| (offence.who.to_string(), offence.count)).collect(),
    )
}

const PATH: &str = "MQTT_BOUNCER_TEST_STORE";
const ROUND: &str = "MQTT_BOUNCER_TEST_ROUND";
