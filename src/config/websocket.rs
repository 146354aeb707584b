//! `[listener.websocket]`: which requests become a WebSocket.

use super::document::Section;
use crate::proxy::WebSocketSettings;
use crate::wire::websocket::upgrade::Rules;
use std::str::FromStr;
use std::sync::Arc;

/// What was read of a table that only some listeners have.
pub(super) struct WebSocket {
    pub(super) settings: Option<Arc<WebSocketSettings>>,
}

/// Reads the table of a listener, which only those of WebSockets have.
pub(super) fn read(
    listener: &Section<'_, '_>,
    is_websocket: bool,
    label: Option<String>,
) -> Option<WebSocket> {
    let is_there = listener.has("websocket");
    let mut section = listener.section("websocket");
    if !is_websocket {
        if is_there {
            listener.mistake(
                "websocket",
                "stands at a listener of no WebSockets; expected type = \"ws\" or \"wss\"",
            );
        }
        return Some(WebSocket { settings: None });
    }
    section.label(label.map(|label| format!("{label}.websocket")));
    let path: Option<RequestPath> = section.parsed("path", "\"/mqtt\"");
    let hosts: Vec<Host> = section.list_or("hosts", ("[]", Vec::new()), "names, e.g. \"mqtt.example.org\"");
    let origins: Vec<Origin> =
        section.list_or("origins", ("[]", Vec::new()), "origins, e.g. \"https://app.example.org\"");
    // The largest packet of MQTT fits.
    let max_frame = section.size("max_frame_size", "\"257MB\"", 1..(1 << 40));
    let forwarded_for = section.switch("forwarded_for", "false");
    if forwarded_for == Some(true) && !listener.has("trusted") {
        section.mistake(
            "forwarded_for",
            "believes nobody; expected the listener to have trusted = [\"10.0.0.0/8\"]",
        );
    }
    section.finish();
    let rules = Rules {
        path: path?.0,
        hosts: hosts.into_iter().map(|host| host.0).collect(),
        origins: origins.into_iter().map(|origin| origin.0).collect(),
    };
    let settings = WebSocketSettings { rules, max_frame: max_frame?, forwarded_for: forwarded_for? };
    Some(WebSocket { settings: Some(Arc::new(settings)) })
}

/// The path of a request.
pub(super) struct RequestPath(pub(super) String);

impl FromStr for RequestPath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<RequestPath, &'static str> {
        let is_path = text.starts_with('/')
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
        is_path.then(|| RequestPath(text.to_owned())).ok_or("is not a path; expected e.g. \"/mqtt\"")
    }
}

struct Host(String);

impl FromStr for Host {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Host, &'static str> {
        let has_port =
            text.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let is_host =
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@".contains(&byte));
        (is_host && !has_port)
            .then(|| Host(text.to_ascii_lowercase()))
            .ok_or("is not a host without a port; expected e.g. \"mqtt.example.org\"")
    }
}

struct Origin(String);

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Origin, &'static str> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
        let is_origin =
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@".contains(&byte));
        is_origin
            .then(|| Origin(text.to_owned()))
            .ok_or("is not an origin; expected e.g. \"https://app.example.org\"")
    }
}
