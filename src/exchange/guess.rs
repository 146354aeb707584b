//! Tells a file's format by its name and its beginning.

use super::{BOM, Format};

pub(super) fn guess(file_name: &str, first_bytes: &[u8]) -> Option<Format> {
    let (_, ending) = file_name.rsplit_once('.').unwrap_or_default();
    let text = first_bytes.strip_prefix(BOM).unwrap_or(first_bytes).trim_ascii_start();
    match ending.to_ascii_lowercase().as_str() {
        "csv" => Some(Format::EmqxCsv),
        "jsonl" | "ndjson" => Some(Format::JsonLines),
        "json" => by_json(text),
        // A list of names does not begin like JSON, whatever it is called.
        "txt" if text.starts_with(b"{\"") || text.starts_with(b"[") => by_json(text),
        "txt" => Some(Format::Plain),
        _ if text.starts_with(b"{") || text.starts_with(b"[") => by_json(text),
        _ => is_header(text).then_some(Format::EmqxCsv),
    }
}

/// Whose words come first? Ours are EMQX's, without a list around them.
fn by_json(text: &[u8]) -> Option<Format> {
    let first = |words: &[&str]| words.iter().filter_map(|word| find(text, word)).min();
    let emqx = first(&["\"as\"", "\"who\""]);
    let tbmq = first(&["\"type\"", "\"clientId\"", "\"ipAddress\"", "\"expirationTime\"", "\"totalPages\""]);
    let data = find(text, "\"data\"");
    match (emqx, tbmq) {
        (Some(emqx), tbmq) if tbmq.is_none_or(|tbmq| emqx < tbmq) => {
            let is_listed = text.starts_with(b"[") || data.is_some_and(|data| data < emqx);
            Some(if is_listed { Format::EmqxJson } else { Format::JsonLines })
        }
        (_, Some(_)) => Some(Format::TbmqJson),
        // An empty page.
        _ => find(text, "\"meta\"").map(|_| Format::EmqxJson),
    }
}

fn is_header(text: &[u8]) -> bool {
    let line = text.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    let has = |name: &[u8]| line.split(|byte| *byte == b',').any(|column| column.trim_ascii() == name);
    has(b"as") && has(b"who")
}

fn find(text: &[u8], word: &str) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_name_and_beginning() {
        for (name, text, format) in [
            ("banned.csv", "", Some(Format::EmqxCsv)),
            ("bans.JSONL", "", Some(Format::JsonLines)),
            ("bans.ndjson", "[", Some(Format::JsonLines)),
            ("block.txt", "192.0.2.1\n", Some(Format::Plain)),
            ("block.txt", "[{\"as\":", Some(Format::EmqxJson)),
            ("a.json", "\u{feff} [ {\"as\":\"clientid\",\"who\":\"type\"", Some(Format::EmqxJson)),
            ("a.json", "{\"data\":[{\"until\":1,\"who\":\"x\"", Some(Format::EmqxJson)),
            ("a.json", "{\"data\":[],\"meta\":{}}", Some(Format::EmqxJson)),
            ("a.json", "{\"data\":[],\"totalPages\":0}", Some(Format::TbmqJson)),
            ("a.json", "[{\"type\":\"REGEX\",\"value\":\"as\"", Some(Format::TbmqJson)),
            ("a.json", "[{\"clientId\":\"x\"", Some(Format::TbmqJson)),
            ("a.json", "{\"as\":\"clientid\",\"who\":\"data\"}\n{", Some(Format::JsonLines)),
            ("a.json", "[]", None),
            ("-", "{\"as\":\"clientid\"", Some(Format::JsonLines)),
            ("-", "who , as\nx,clientid", Some(Format::EmqxCsv)),
            ("-", "192.0.2.1\n", None),
            ("-", "", None),
        ] {
            assert_eq!(guess(name, text.as_bytes()), format, "{name} {text}");
        }
    }
}
