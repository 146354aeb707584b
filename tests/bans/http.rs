//! Calls through the socket, byte by byte: what any program could send.

use crate::harness::Site;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// What a call was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl Site {
    /// Asks the running proxy.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], "")
    }

    /// Calls the running proxy.
    pub(crate) fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = UnixStream::connect(self.path("data/control.sock")).expect("the proxy is running");
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").expect("a string");
        }
        let text = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(text.as_bytes()).expect("it takes the call");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        parse(&answer)
    }
}

fn parse(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let header =
        |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let headers: HashMap<_, _> = lines.filter_map(header).collect();
    let is_chunked = headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked");
    let body = if is_chunked { unchunk(body) } else { body.to_owned() };
    Answer { status: status.expect("a status"), headers, body }
}

fn unchunk(mut rest: &str) -> String {
    let mut whole = String::new();
    while let Some((size, chunk)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a size");
        whole.push_str(&chunk[..size]);
        rest = chunk[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    whole
}
