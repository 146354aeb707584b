//! What the operating system knows of this process. Elsewhere than on Linux it is nothing.

mod background;

pub use background::{background_time, step_back};

use std::fs;

/// What this process has used, and what it may use.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Processor time, in seconds.
    pub cpu_seconds: f64,
    /// Memory that it occupies, in bytes.
    pub resident_bytes: u64,
    /// Files and sockets that are open.
    pub open_files: u64,
    /// How many may be open; 0 where that is not known.
    pub max_files: u64,
    /// Threads.
    pub threads: u64,
}

impl Usage {
    /// What it has used by now.
    pub fn now() -> Usage {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Usage { max_files: max_files(&limits), resident_bytes: resident(&status), ..of_stat(&stat) }
            .with_open_files()
    }

    fn with_open_files(self) -> Usage {
        const FOLDER: &str = "/proc/self/fd";
        // The size of the folder is their number since Linux 6.2. To count them takes long where there are many.
        let open_files = match fs::metadata(FOLDER).map_or(0, |folder| folder.len()) {
            0 => fs::read_dir(FOLDER).map_or(0, |files| u64::try_from(files.count()).unwrap_or(u64::MAX)),
            known => known,
        };
        Usage { open_files, ..self }
    }
}

/// The unit of proc(5), the same on all systems of today.
const TICKS_A_SECOND: f64 = 100.0;

fn of_stat(stat: &str) -> Usage {
    // Behind the name, which may hold anything, fields 14, 15 and 20 of proc(5) are the 12th, 13th and 18th.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|text| text.parse::<u32>().ok()).unwrap_or_default();
    let ticks = f64::from(number(11)) + f64::from(number(12));
    Usage { cpu_seconds: ticks / TICKS_A_SECOND, threads: number(17).into(), ..Usage::default() }
}

fn resident(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

fn max_files(limits: &str) -> u64 {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 2 0 0 0 150 50 0 0 20 0 9 0 100 1 1 1";
        let Usage { cpu_seconds, threads, .. } = of_stat(stat);
        assert_eq!((cpu_seconds, threads), (2.0, 9));
        assert_eq!(resident("VmPeak:\t 9 kB\nVmRSS:\t    12 kB\n"), 12 * 1024);
        assert_eq!(
            max_files("Max open files            1024                 4096                 files\n"),
            1024
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_something() {
        let usage = Usage::now();
        assert!(usage.resident_bytes > 0 && usage.open_files > 2 && usage.threads > 0, "{usage:?}");
        assert!(usage.max_files >= usage.open_files, "{usage:?}");
    }
}
