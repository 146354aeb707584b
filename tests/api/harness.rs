//! The binary with `[admin]`, and an HTTP client made of bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// A config file in a folder of its own.
pub(crate) struct Site {
    pub(crate) folder: TempDir,
}

/// A proxy that serves the site. Ended when it is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) log: Log,
    /// Where the API listens.
    pub(crate) api: SocketAddr,
}

/// What a process has said so far. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<(Mutex<Vec<String>>, Condvar)>);

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) const PASSWORD: &str = "correct horse battery";

impl Site {
    /// A site whose config file ends with these sections. The first user is `admin` with [`PASSWORD`].
    pub(crate) fn new(sections: &str) -> Site {
        let site = Site { folder: tempfile::tempdir().expect("a folder") };
        site.write("password", PASSWORD);
        site.configure(sections);
        site
    }

    pub(crate) fn configure(&self, sections: &str) {
        let admin = if sections.contains("[admin]") {
            ""
        } else {
            "[admin]\nbind = \"127.0.0.1:0\"\npassword_file = \"password\"\napi_key_file = \"keys\"\n"
        };
        if !self.path("keys").exists() {
            self.write("keys", "file-key:file-secret\nfile-viewer:viewer-secret:viewer\n");
        }
        self.write(
            "bouncer.toml",
            format!(
                "[node]\ndata_dir = \"data\"\ndrain_timeout = \"1s\"\n[[listener]]\nname = \"mqtt\"\nbind = \"127.0.0.1:0\"\n\
                 [upstream]\nservers = [\"127.0.0.1:1\"]\n{admin}{sections}\n"
            ),
        );
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).expect("written");
    }

    /// Runs a command to its end: what it ends with, what it prints, and what it complains about.
    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
        let (name, rest) = arguments.split_first().expect("a command");
        let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt-bouncer"));
        command.arg(name).arg("--config").arg(self.path("bouncer.toml")).args(rest);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("it ends");
        let folder = self.folder.path().to_str().expect("UTF-8");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text").replace(folder, "SITE");
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// Starts the proxy, and waits until it listens.
    pub(crate) fn serve(&self) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt-bouncer"));
        command.arg("serve").arg("--config").arg(self.path("bouncer.toml")).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let (log, pipe) = (Log::default(), child.stderr.take().expect("piped"));
        let writing = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines() {
                writing.push(line.unwrap_or_default());
            }
            writing.push("END".to_owned());
        });
        let line = log.wait_for("API is listening address=");
        log.wait_for("mqtt-bouncer has started");
        let api = line.rsplit('=').next().and_then(|addr| addr.parse().ok()).expect("an address");
        Running { child, log, api }
    }
}

impl Log {
    fn push(&self, line: String) {
        self.0.0.lock().expect("no panic").push(line);
        self.0.1.notify_all();
    }

    /// The first line that has this text, as soon as there is one.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let (lines, told) = &*self.0;
        let mut lines = lines.lock().expect("no panic");
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            assert_ne!(
                lines.last().map(String::as_str),
                Some("END"),
                "it never said {text}:\n{}",
                lines.join("\n")
            );
            let (more, waited) = told.wait_timeout(lines, Duration::from_secs(30)).expect("no panic");
            assert!(!waited.timed_out(), "it does not say {text}:\n{}", more.join("\n"));
            lines = more;
        }
    }

    pub(crate) fn text(&self) -> String {
        self.0.0.lock().expect("no panic").join("\n")
    }
}

pub(crate) fn basic(key: &str, secret: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{key}:{secret}")))
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

impl Running {
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.api).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
        stream
    }

    /// What these bytes are answered with.
    pub(crate) fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // Whoever is refused early may not take all of it.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Makes a call with these headers, each with its line end.
    pub(crate) fn call(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        Answer::read(&self.raw(request(method, path, headers, body).as_bytes()))
    }

    /// Makes a call with the administrator's key of the file.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &basic("file-key", "file-secret"), "")
    }

    pub(crate) fn login(&self, username: &str, password: &str) -> Answer {
        let body = serde_json::json!({ "username": username, "password": password }).to_string();
        self.call("POST", "/api/v5/login", "", &body)
    }

    /// The token of a user.
    pub(crate) fn token(&self, username: &str, password: &str) -> String {
        let answer = self.login(username, password);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["token"].as_str().expect("a token").to_owned()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs").success());
    }

    pub(crate) fn wait(&mut self) -> io::Result<std::process::ExitStatus> {
        self.child.wait()
    }
}

pub(crate) fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{kind}Content-Length: {length}\r\n{headers}\r\n{body}"
    )
}

impl Answer {
    pub(crate) fn read(text: &str) -> Answer {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Answer { status: status.unwrap_or(0), head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Status and `code` of a fault.
    pub(crate) fn fault(&self) -> (u16, String) {
        (self.status, self.json()["code"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.map(str::trim)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
