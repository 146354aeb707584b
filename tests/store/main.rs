//! The store, with a file of its own for each test.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod accounts;
mod changes;
mod damage;
mod hits;
mod kill;
mod model;
mod offences;
mod reading;
mod together;
mod view;

use mqtt_bouncer::admission::{As, Ban, List, Match, Terms, Timestamp, Until, Who};
use mqtt_bouncer::bouncer::Bouncer;
use mqtt_bouncer::clock::Clock;
use mqtt_bouncer::store::{Filter, Loaded, Offence, Reader, Store};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

/// A folder for a store, gone with the test.
struct Home {
    folder: TempDir,
}

impl Home {
    fn new() -> Home {
        Home { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("data").join("bans.db")
    }

    /// Opens the store with lists that follow it.
    fn open(&self) -> (Store, Bouncer, Loaded) {
        let bouncer = Bouncer::new(Clock::manual(NOW));
        let (store, loaded) = Store::open(self.path(), Some(bouncer.clone())).expect("a store");
        (store, bouncer, loaded)
    }

    fn reader(&self) -> Reader {
        Reader::open(self.path()).expect("a reader")
    }

    /// What is on disk, in the reader's order.
    fn stored(&self, list: List) -> Vec<Ban> {
        read(&self.reader(), list, &Filter::default())
    }
}

fn read(reader: &Reader, list: List, filter: &Filter) -> Vec<Ban> {
    let mut bans = Vec::new();
    let collect = |ban| {
        bans.push(ban);
        ControlFlow::Continue(())
    };
    reader.for_each(list, filter, collect).expect("readable");
    bans
}

fn who(kind: As, text: &str) -> Who {
    Who::new(kind, text, None).expect("a name")
}

fn client(name: &str) -> Who {
    who(As::ClientId, name)
}

fn ban(who: Who, until: Until) -> Ban {
    Ban { who, terms: Terms { by: "test".into(), reason: "tested".into(), at: NOW, until } }
}

fn forever(name: &str) -> Ban {
    ban(client(name), Until::Infinity)
}

fn until(name: &str, millis: i64) -> Ban {
    ban(client(name), Until::Moment(Timestamp::from_millis(millis)))
}

fn offence(who: Who, count: u32, until: i64) -> Offence {
    let until = Timestamp::from_millis(until);
    let evidence = format!(r#"{{"count":{count}}}"#);
    Offence { who, count, until, ban_time: Duration::from_mins(5), evidence }
}

/// As the start of the store tells it.
fn without_evidence(offence: Offence) -> Offence {
    Offence { evidence: String::new(), ..offence }
}

fn names(bans: &[Ban]) -> Vec<String> {
    bans.iter().map(|ban| ban.who.to_string()).collect()
}

fn full(kind: As, text: &str) -> Who {
    Who::new(kind, text, Some(Match::Full)).expect("a pattern")
}
