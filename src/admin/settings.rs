//! What can be set for the API.

use crate::net::tls::KeyPair;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// `[admin]`: where the API listens beside its socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenSettings {
    /// Where it listens; port 0 takes any free port.
    pub bind: SocketAddr,
    /// The certificate; `None` for plain HTTP.
    pub tls: Option<KeyPair>,
    /// The name and password of the user that the first start makes; `None` for a random password.
    pub password_file: Option<PathBuf>,
    /// EMQX's file of keys.
    pub api_key_file: Option<PathBuf>,
    /// How many connections may live at once; more wait in the kernel's queue.
    pub max_connections: usize,
    /// How long a token holds after it was last used.
    pub token_ttl: Duration,
}

/// How much callers may take, and for how long. They hold on the socket, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The largest body of a call that is not streamed, in bytes.
    pub max_body: usize,
    /// How long the head of a call may take, and how long a connection may stay without one.
    pub header_timeout: Duration,
    /// How long the body of a call that is not streamed may take; how long a streamed one may be silent, and an answer
    /// be left unread.
    pub body_timeout: Duration,
    /// `/metrics` needs no login.
    pub open_metrics: bool,
    /// The page at `/dashboard/` is served.
    pub dashboard: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_body: 1 << 20,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            open_metrics: false,
            dashboard: true,
        }
    }
}
