//! mqtt-bouncer itself.

use super::log::Log;
use super::process::Process;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use tempfile::TempDir;

/// A config file: the listener `mqtt` on a free port, with these options; this broker; these sections.
pub(crate) fn config(broker: SocketAddr, options: &str, sections: &str) -> String {
    format!(
        "{}\n{options}\n{sections}\n[upstream]\nservers = [\"{broker}\"]\n\
         [log]\nlevel = \"debug\"\nmax_connection_lines = 0\n",
        listener("mqtt", 0)
    )
}

/// A `[[listener]]` of this machine.
pub(crate) fn listener(name: &str, port: u16) -> String {
    format!("[[listener]]\nname = \"{name}\"\nbind = \"127.0.0.1:{port}\"\n")
}

/// A `[[ban]]`.
pub(crate) fn ban(kind: &str, who: &str) -> String {
    format!("[[ban]]\nas = \"{kind}\"\nwho = \"{who}\"\n")
}

/// The binary, serving. Dropping it ends it with SIGTERM and fails the test unless it ends well.
pub(crate) struct Proxy {
    process: Process,
    pub(crate) addr: SocketAddr,
    folder: TempDir,
    is_crashed: bool,
}

impl Proxy {
    pub(crate) fn start(config: &str) -> Proxy {
        Proxy::start_with_open_files(10_000, config)
    }

    pub(crate) fn start_with_open_files(open_files: u32, config: &str) -> Proxy {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(FILE);
        fs::write(&file, config).expect("written");
        let binary = env!("CARGO_BIN_EXE_mqtt-bouncer");
        let command = [binary.as_ref(), "serve".as_ref(), "--config".as_ref(), file.as_os_str()];
        let process = Process::start(open_files, command);
        let addr = listening_at(&process.log, 0, "mqtt");
        process.log.wait_for(0, &["mqtt-bouncer has started"]);
        Proxy { process, addr, folder, is_crashed: false }
    }

    pub(crate) fn log(&self) -> &Log {
        &self.process.log
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    /// Has it read another config; returns the first line of the log that holds `outcome`.
    pub(crate) fn reload(&self, config: &str, outcome: &str) -> String {
        fs::write(self.file(), config).expect("written");
        let mark = self.log().mark();
        self.process.signal("HUP");
        self.log().wait_for(mark, &[outcome])
    }

    /// Runs the command line with its config file; returns what it prints.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt-bouncer"));
        let output = command.args(words).arg("--config").arg(self.file()).output().expect("a command");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {printed}{problem}");
        printed
    }

    /// Where a listener was opened last.
    pub(crate) fn listening_since(&self, mark: usize, listener: &str) -> SocketAddr {
        listening_at(self.log(), mark, listener)
    }

    /// Begins to drain.
    pub(crate) fn terminate(&self) {
        self.process.signal("TERM");
    }

    /// Waits for its end, which must be a good one; returns its whole log.
    pub(crate) fn ended(mut self) -> Vec<String> {
        self.assert_ends_well();
        self.log().complete()
    }

    /// Ends it; returns its whole log.
    pub(crate) fn stop(self) -> Vec<String> {
        self.terminate();
        self.ended()
    }

    /// Ends it as a crash does.
    pub(crate) fn crash(mut self) {
        self.process.kill();
        self.is_crashed = true;
    }

    fn assert_ends_well(&mut self) {
        let status = self.process.wait();
        let log = self.log().complete().join("\n");
        assert!(status.success(), "mqtt-bouncer ended with {status}:\n{log}");
        assert!(!log.contains("panicked"), "mqtt-bouncer panicked:\n{log}");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the log of mqtt-bouncer ---\n{}\n---", self.log().text());
        } else if !self.is_crashed {
            if self.process.exit_status().is_none() {
                self.terminate();
            }
            self.assert_ends_well();
        }
    }
}

const FILE: &str = "mqtt-bouncer.toml";

fn listening_at(log: &Log, mark: usize, listener: &str) -> SocketAddr {
    let line = log.wait_for(mark, &[&format!("INFO listening listener={listener} ")]);
    let (_, addr) = line.rsplit_once("address=").expect("an address");
    addr.parse().expect("an address")
}
