//! HTTP by hand, so that what is wrong can be sent, too.

use crate::harness::Site;
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) kind: String,
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status, code and message of an error.
    pub(crate) fn fault(&self) -> (u16, String, String) {
        let body = self.json();
        let text = |key: &str| body[key].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned();
        (self.status, text("code"), text("message"))
    }
}

/// Calls the proxy of a site.
#[derive(Debug, Clone)]
pub(crate) struct Api(PathBuf);

impl Api {
    pub(crate) fn of(site: &Site) -> Api {
        Api(site.path("data/control.sock"))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None, b"")
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None, b"")
    }

    /// A call with a JSON body.
    pub(crate) fn call(&self, method: &str, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.send(method, path, Some("application/json"), body.as_ref())
    }

    pub(crate) fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.call("POST", path, body)
    }

    pub(crate) fn send(&self, method: &str, path: &str, kind: Option<&str>, body: &[u8]) -> Answer {
        let kind = kind.map(|kind| format!("Content-Type: {kind}\r\n")).unwrap_or_default();
        // HTTP/1.0 is answered without chunks.
        let head =
            format!("{method} {path} HTTP/1.0\r\nHost: x\r\n{kind}Content-Length: {}\r\n\r\n", body.len());
        let mut stream = UnixStream::connect(&self.0).expect("the proxy answers");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
        stream.write_all(head.as_bytes()).expect("sent");
        // A body that is too long is not read to its end.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).expect("UTF-8");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default();
        Answer { status, kind: kind.to_owned(), body: body.to_owned() }
    }

    /// The names of a page.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let data = answer.json()["data"].as_array().expect("a list").clone();
        data.iter().map(|ban| ban["who"].as_str().expect("a text").to_owned()).collect()
    }
}
