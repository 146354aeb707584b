//! Brokers to stand before.

use super::log::Log;
use super::process::Process;
use super::{eventually, free_port, loopback};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use tempfile::TempDir;

/// mosquitto, with nothing in its memory.
pub(crate) struct Broker {
    process: Process,
    pub(crate) addr: SocketAddr,
    _folder: TempDir,
}

impl Broker {
    pub(crate) fn start() -> Broker {
        Broker::start_at(loopback(free_port()))
    }

    pub(crate) fn start_at(addr: SocketAddr) -> Broker {
        Broker::start_in(tempfile::tempdir().expect("a folder"), addr, "allow_anonymous true")
    }

    /// One with these options of its own.
    pub(crate) fn start_with(options: &str) -> Broker {
        Broker::start_in(tempfile::tempdir().expect("a folder"), loopback(free_port()), options)
    }

    /// One that lets in nobody but these: user names, and their passwords.
    pub(crate) fn start_with_accounts(accounts: &[(&str, &str)]) -> Broker {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("passwords");
        fs::write(&file, "").expect("written");
        for (username, password) in accounts {
            let mut command = Command::new("mosquitto_passwd");
            let status = command.arg("-b").arg(&file).args([username, password]).status();
            assert!(status.expect("mosquitto_passwd; tests/run installs it").success());
        }
        let options = format!("password_file {}", file.display());
        Broker::start_in(folder, loopback(free_port()), &options)
    }

    fn start_in(folder: TempDir, addr: SocketAddr, options: &str) -> Broker {
        let file = folder.path().join("mosquitto.conf");
        // A process that changes its user would outlive a run that is killed.
        let config = format!(
            "listener {} {}\npersistence false\nlog_dest stderr\nuser root\n{options}\n",
            addr.port(),
            addr.ip()
        );
        fs::write(&file, config).expect("written");
        let mut process = Process::start(10_000, ["mosquitto".as_ref(), "-c".as_ref(), file.as_os_str()]);
        eventually("mosquitto to listen; tests/run installs it", || {
            assert!(process.exit_status().is_none(), "mosquitto ended:\n{}", process.log.text());
            TcpStream::connect(addr).is_ok()
        });
        Broker { process, addr, _folder: folder }
    }

    /// What it says.
    pub(crate) fn log(&self) -> &Log {
        &self.process.log
    }

    /// Ends it as an operator does; returns its whole log.
    pub(crate) fn stop(mut self) -> Vec<String> {
        self.process.signal("TERM");
        self.process.wait();
        self.process.log.complete()
    }

    /// Ends it as a crash does; returns its whole log.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.process.kill();
        self.process.log.complete()
    }
}

/// A broker of which the test has every end: it lets everybody in, and says and reads nothing else.
pub(crate) struct StubBroker(TcpListener);

impl StubBroker {
    pub(crate) fn start() -> StubBroker {
        StubBroker(TcpListener::bind(loopback(0)).expect("a free port"))
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.0.local_addr().expect("bound")
    }

    /// The broker's end of the next connection, which has the CONNACK of 3.1.1.
    pub(crate) fn accept(&self) -> TcpStream {
        let (mut stream, _) = self.0.accept().expect("somebody comes");
        super::mqtt::set_patience(&stream);
        let mut header = [0; 2];
        stream.read_exact(&mut header).expect("a CONNECT");
        assert!(header[0] == 0x10 && header[1] < 128, "{header:?}");
        stream.read_exact(&mut vec![0; header[1].into()]).expect("all of it");
        stream.write_all(b"\x20\x02\x00\x00").expect("connected");
        stream
    }
}

/// A broker that nobody must come to.
pub(crate) struct SilentBroker(TcpListener);

impl SilentBroker {
    pub(crate) fn start() -> SilentBroker {
        let listener = TcpListener::bind(loopback(0)).expect("a free port");
        listener.set_nonblocking(true).expect("open");
        SilentBroker(listener)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.0.local_addr().expect("bound")
    }

    /// Not even a connection was opened; the kernel keeps those that were closed, too.
    pub(crate) fn assert_untouched(&self) {
        let nobody = self.0.accept().expect_err("a connection to the broker");
        assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
    }
}
