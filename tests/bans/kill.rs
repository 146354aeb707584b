//! A proxy that is killed for real, in the middle of its writes.

use crate::harness::{BANNED, Site};
use mqtt_bouncer::admin::{Caller, Mode};
use mqtt_bouncer::admission::{As, Ban, List, Terms, Timestamp, Until, Who};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const ROUNDS: u64 = 8;
const WRITERS: u64 = 4;
const WRITES: u64 = 250;

/// What one writer last did to a name: whether it was acknowledged, and whether the name is banned after it.
#[derive(Debug, Clone, Copy)]
struct Write {
    bans: bool,
    acknowledged: bool,
}

#[test]
fn a_ban_that_was_acknowledged_survives_kill_9() {
    let site = Site::new("");
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let proxy = site.serve();
        let writes = Arc::new(Mutex::new(HashMap::new()));
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        for writer in 0..WRITERS {
            let caller = Caller::new(site.path("data/control.sock"));
            runtime.spawn(write(caller, round, writer, random.fork(), Arc::clone(&writes)));
        }
        // Some rounds die early, some late, some after the last write.
        let moment = Duration::from_millis(random.u64(5..400));
        runtime.block_on(async { tokio::time::sleep(moment).await });
        proxy.signal("KILL");
        assert!(!proxy.wait().success());
        runtime.shutdown_timeout(Duration::from_secs(5));

        let there: Vec<_> = site.names("bans");
        let writes = writes.lock().expect("whole");
        for (name, Write { bans, acknowledged: sure }) in writes.iter() {
            if *sure {
                let is_there = there.contains(&format!("clientid {name}"));
                assert_eq!(is_there, *bans, "seed {seed}, round {round}: {name}");
                acknowledged += 1;
            }
        }
    }
    assert!(acknowledged > 0, "nobody was acknowledged: the test says nothing");

    site.succeed(&["bans", "add", "clientid", "last"]);
    assert_eq!(site.serve().knock("last"), BANNED);
}

/// Adds and lifts bans until it is done or the proxy is gone.
async fn write(
    caller: Caller,
    round: u64,
    index: u64,
    mut random: fastrand::Rng,
    writes: Arc<Mutex<HashMap<String, Write>>>,
) {
    for number in 0..WRITES {
        let name = format!("r{round}-w{index}-{}", random.u64(0..=number / 2));
        let bans = random.u8(0..3) > 0;
        let note = |acknowledged| {
            let write = Write { bans, acknowledged };
            writes.lock().expect("whole").insert(name.clone(), write);
        };
        // Until the answer has come, nobody knows.
        note(false);
        let done = if bans {
            caller.import(List::Bans, Mode::Put, &[ban(&name)], |_| {}).await.map(drop)
        } else {
            caller.remove(List::Bans, &ban(&name).who).await.map(drop)
        };
        if done.is_err() {
            return;
        }
        note(true);
    }
}

fn ban(name: &str) -> Ban {
    let terms = Terms {
        by: "test".into(),
        reason: "testing".into(),
        at: Timestamp::from_millis(0),
        until: Until::Infinity,
    };
    Ban { who: Who::new(As::ClientId, name, None).expect("a name"), terms }
}
