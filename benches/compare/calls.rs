//! How many system calls an operation costs a proxy, as `strace` counts them.

use super::broker::SMALL;
use super::client::Way;
use super::loads::Load;
use super::site::{Running, supervised};
use super::{Bench, NAMES};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

const LOADS: [(&str, Load); 8] = [
    ("admitted", Load::Come(Way::Plain)),
    ("admitted, TLS", Load::Come(Way::Tls)),
    ("admitted, TLS resumed", Load::Come(Way::Resumed)),
    ("refused", Load::Knock(Way::Plain)),
    ("refused, TLS", Load::Knock(Way::Tls)),
    ("64 B by 100", Load::RoundTrips { way: Way::Plain, connections: 100, payload: 64 }),
    ("64 B by 100, TLS", Load::RoundTrips { way: Way::Tls, connections: 100, payload: 64 }),
    ("up 16 KiB", Load::Up { way: Way::Plain, payload: SMALL }),
];

/// What strace needs to attach to all threads, and to write down what it saw.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn count(bench: &Bench) {
    if !std::process::Command::new("strace")
        .arg("-V")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
    {
        println!("strace is not there (apt-get install strace); no calls were counted");
        return;
    }
    for target in bench.start(NAMES) {
        for (what, load) in LOADS {
            let Some(proxy) = &target.proxy else { continue };
            // One that is not counted warms caches and memory.
            target.bear(load, bench.time / 3);
            let folder = tempfile::tempdir().expect("a folder");
            let file = folder.path().join("calls");
            let mut command = supervised("strace");
            command.args(["-c", "-f", "-p", &proxy.id().to_string(), "-o"]).arg(&file);
            let mut strace = Running(command.stderr(Stdio::null()).spawn().expect("strace is there"));
            sleep(Duration::from_millis(500));
            let run = target.bear(load, bench.time);
            let id = Pid::from_child(&strace.0);
            kill_process(id, Signal::INT).expect("it runs");
            let until = Instant::now() + PATIENCE;
            while strace.0.try_wait().expect("a child").is_none() && Instant::now() < until {
                sleep(Duration::from_millis(10));
            }
            print(&target.name, what, &fs::read_to_string(&file).unwrap_or_default(), run.seen.done);
            super::Table::tell_errors(run.seen.errors, run.seen.first_error.as_deref());
        }
    }
}

/// The lines of strace have a share, seconds, microseconds a call, calls, perhaps errors, and a name.
fn print(target: &str, what: &str, told: &str, done: f64) {
    let mut calls: Vec<(f64, &str)> = Vec::new();
    for line in told.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if let [_, _, _, count, .., name] = fields[..]
            && let Ok(count) = count.parse::<f64>()
            && name != "total"
        {
            calls.push((count / done, name));
        }
    }
    calls.sort_by(|one, other| other.0.total_cmp(&one.0));
    let total: f64 = calls.iter().map(|(count, _)| count).sum();
    let shown: Vec<String> = calls
        .iter()
        .take(12)
        .filter(|(count, _)| *count > 0.005)
        .map(|(count, name)| format!("{name} {count:.2}"))
        .collect();
    println!("{target:<14}{what:<24}{total:>8.2}  {}", shown.join(", "));
}
