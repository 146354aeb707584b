//! Who is banned without anybody asking for it, and who is not: docs/DETECTION.md, held to the binary, a real broker and
//! real addresses (all of 127.0.0.0/8 is this machine).
//!
//! Limits are small, so that nobody has to come a hundred times. Where a test is about somebody who is *not* banned, the
//! whole log is looked at when the proxy has ended: what was in doubt has been decided by then.

mod attacks;
mod caller;
mod changes;
mod doors;
mod duplicates;
mod guesses;
mod innocents;
mod offences;
mod swarm;

use crate::harness::{Proxy, eventually};
use caller::Caller;
use std::thread::sleep;
use std::time::Duration;

/// The message of a ban in the log.
const BANNED: &str = " banned zone=";
/// The message of a ban that shadow mode does not make.
const WOULD_BE_BANNED: &str = "would be banned zone=";

/// All that is measured by novelty, and nothing is waited for.
const AT_ONCE: &str = "[detection]\nlearning = \"0s\"\nresident_after = \"1s\"\npatience = \"500ms\"\n";
/// Just longer than it takes to become a resident.
const RESIDENCE: Duration = Duration::from_millis(1100);
/// Just longer than an end is in doubt, and until that is seen to, once a second.
const DOUBT: Duration = Duration::from_millis(1700);

/// Waits for a ban of this name and returns what the log says of it.
fn await_ban(proxy: &Proxy, who: &str) -> String {
    let line = proxy.log().wait_for(0, &[BANNED, &format!(" who={who} ")]);
    assert!(!line.contains(WOULD_BE_BANNED), "{line}");
    line
}

/// Waits until so many sessions of this client identifier have ended.
fn await_ends(proxy: &Proxy, client_id: &str, count: usize) {
    let words = ["session ended", &format!(" client_id={client_id} ")];
    eventually("sessions to end", || proxy.log().lines_with(&words).len() >= count);
}

/// So many sessions that end as soon as they begin, by callers that `caller` names.
fn flap(proxy: &Proxy, count: usize, caller: impl Fn(usize) -> Caller) {
    let ended = proxy.log().count("session ended");
    (0..count).for_each(|number| drop(caller(number).enter()));
    eventually("sessions to end", || proxy.log().count("session ended") >= ended + count);
}

/// Ends the proxy, which has banned nobody, not even in shadow mode.
fn assert_nobody_was_banned(proxy: Proxy) {
    sleep(DOUBT);
    let log = proxy.stop();
    let banned: Vec<_> = log.iter().filter(|line| line.contains(BANNED)).collect();
    assert!(banned.is_empty(), "{banned:#?}");
}
