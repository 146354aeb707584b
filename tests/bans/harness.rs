//! The binary, with a data directory of its own; nobody is behind it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A config file in a folder of its own, with the data directory `data` beside it.
pub(crate) struct Site {
    folder: TempDir,
    broker: SocketAddr,
}

/// What a command printed, and what it ended with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A proxy that serves the site. Ended when it is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) addr: SocketAddr,
}

impl Site {
    /// A site whose config file ends with these sections.
    pub(crate) fn new(sections: &str) -> Site {
        Site::with_broker("127.0.0.1:1".parse().expect("an address"), sections)
    }

    /// The same in front of this broker.
    pub(crate) fn with_broker(broker: SocketAddr, sections: &str) -> Site {
        let folder = tempfile::tempdir().expect("a folder");
        let site = Site { folder, broker };
        site.configure(sections);
        site
    }

    pub(crate) fn configure(&self, sections: &str) {
        let broker = self.broker;
        let text = format!(
            "[node]\ndata_dir = \"data\"\n[[listener]]\nname = \"mqtt\"\nbind = \"127.0.0.1:0\"\n\
             [upstream]\nservers = [\"{broker}\"]\n{sections}\n"
        );
        fs::write(self.path("bouncer.toml"), text).expect("written");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file beside the config file.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt-bouncer"));
        let (name, rest) = arguments.split_first().expect("a command");
        // Before the rest, which may hold "--".
        command.arg(name).arg("--config").arg(self.path("bouncer.toml")).args(rest);
        command
    }

    /// Runs a command to its end. The site's folder reads as `SITE` in what it prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        self.run_with_input(arguments, "")
    }

    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &str) -> Done {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        // A command that does not read its input closes it.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("it ends");
        let folder = self.folder.path().to_str().expect("UTF-8");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text").replace(folder, "SITE");
        Done { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs a command that must succeed; returns what it printed.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        done.stdout
    }

    /// Runs a command until it prints this; returns what it prints then.
    pub(crate) fn until(&self, arguments: &[&str], expected: &str) -> String {
        for _ in 0..200 {
            let printed = self.succeed(arguments);
            if printed.contains(expected) {
                return printed;
            }
        }
        panic!("{arguments:?} never printed {expected}");
    }

    /// Runs a command that must fail; returns what it says of it.
    pub(crate) fn fail(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert_eq!((done.code, done.stdout.as_str()), (Some(1), ""), "{arguments:?}: {}", done.stderr);
        done.stderr
    }

    /// `as who` of everything that `list` shows.
    pub(crate) fn names(&self, list: &str) -> Vec<String> {
        let table = self.succeed(&[list, "list", "--json"]);
        let name = |line: &str| {
            let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let text = |key: &str| record[key].as_str().expect("a text").to_owned();
            format!("{} {}", text("as"), text("who"))
        };
        table.lines().map(name).collect()
    }

    /// Starts the proxy, and waits until it listens.
    pub(crate) fn serve(&self) -> Running {
        let mut child = self.command(&["serve"]).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let mut seen = String::new();
        let addr = loop {
            let mut line = String::new();
            let length = log.read_line(&mut line).expect("a log");
            assert!(length > 0, "the proxy did not start:\n{seen}");
            seen.push_str(&line);
            if let Some((_, addr)) = line.trim_end().rsplit_once("listening listener=mqtt address=") {
                break addr.parse().expect("an address");
            }
        };
        // Nobody reads on, and a full pipe would stop the proxy.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Running { child, addr }
    }
}

/// What clients without a broker are told when they are not banned: server unavailable.
pub(crate) const UNAVAILABLE: &[u8] = b"\x20\x03\x00\x88\x00";
pub(crate) const BANNED: &[u8] = b"\x20\x03\x00\x8a\x00";

impl Running {
    /// What an MQTT 5 client of this identifier is answered.
    pub(crate) fn knock(&self, client_id: &str) -> Vec<u8> {
        let packet = Running::connect(client_id);
        let mut stream = TcpStream::connect(self.addr).expect("the proxy listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        stream.write_all(&packet).expect("connected");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("no reset");
        answer
    }

    /// A CONNECT of MQTT 5.
    pub(crate) fn connect(client_id: &str) -> Vec<u8> {
        let id = client_id.as_bytes();
        let (length, id_length) = (u8::try_from(13 + id.len()), u8::try_from(id.len()));
        let header = [0x10, length.expect("short"), 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 60, 0, 0];
        [&header[..], &[id_length.expect("short")], id].concat()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
        assert!(status.success());
    }

    pub(crate) fn wait(mut self) -> std::process::ExitStatus {
        self.child.wait().expect("a child")
    }
}

/// A broker that lets everybody in, and closes after whoever closes.
pub(crate) fn admitting_broker() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("accepts");
            std::thread::spawn(move || {
                let mut bytes = [0; 1024];
                let _ = stream.read(&mut bytes);
                let _ = stream.write_all(b"\x20\x03\x00\x00\x00");
                while stream.read(&mut bytes).is_ok_and(|length| length > 0) {}
            });
        }
    });
    addr
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
