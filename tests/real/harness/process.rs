//! A child process that never outlives its test.

use super::eventually;
use super::log::Log;
use std::ffi::OsStr;
use std::fs;
use std::process::{Child, Command, ExitStatus, Stdio};

pub(crate) struct Process {
    child: Child,
    pub(crate) log: Log,
}

impl Process {
    /// Starts a program that may have this many files open, if the system lets it.
    pub(crate) fn start<A: AsRef<OsStr>>(open_files: u32, command: impl IntoIterator<Item = A>) -> Process {
        // Not everybody has the places of servers in PATH. Where a run of the tests is killed, nothing stays behind.
        let script = format!(
            "PATH=$PATH:/usr/local/sbin:/usr/sbin; ulimit -S -n {open_files}; exec setpriv --pdeathsig KILL \"$@\""
        );
        let mut child = Command::new("sh")
            .args(["-c", &script, "sh"])
            .args(command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell");
        let log = Log::follow(child.stderr.take().expect("piped"));
        Process { child, log }
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal: `HUP`, `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        // Every shell has a kill of its own; not every system has the command.
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success(), "{kill}");
    }

    /// How it ended, if it has.
    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our child")
    }

    /// How it ends.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the end of a process", || self.exit_status().is_some());
        self.exit_status().expect("just seen")
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The processor time that it has used, in hundredths of a second.
    pub(crate) fn processor_time(&self) -> u64 {
        let stat = self.proc_file("stat");
        // Behind the name, which may hold anything, fields 14 and 15 of proc(5) are the 12th and 13th.
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields[index].parse::<u64>().expect("a number");
        ticks(11) + ticks(12)
    }

    /// The memory that it occupies, in KiB.
    pub(crate) fn resident_memory(&self) -> u64 {
        let status = self.proc_file("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    fn proc_file(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).expect("a live process")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
