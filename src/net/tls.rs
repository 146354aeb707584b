//! TLS towards clients: what a listener shows, the handshake, and what it tells of the client.
//!
//! The first message is read by our own reader, for the fingerprint and for words that an operator understands; then
//! rustls gets the same bytes. A handshake is computed in turns: whoever waits for bytes or for a turn costs no
//! processor, so that a flood of handshakes leaves room for those who are inside.

mod error;
mod facts;
mod files;
mod handshake;
mod resolver;
mod server;
mod settings;
mod stream;
mod watch;

pub use error::{Ended, Refused, is_alert};
pub use facts::{CertFacts, CertField, TlsFacts};
pub use files::{Loaded, Shown, TlsFileError, key_pair};
pub use handshake::{Heard, Knock, accept, listen};
pub use server::TlsServer;
pub use settings::{CipherSuiteName, ClientAuth, KeyPair, MinVersion, TlsSettings, UnknownName};
pub use stream::TlsStream;
pub use watch::WatchedFiles;
