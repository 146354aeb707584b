//! Sockets and streams: accept, read, relay, dial, close. Knows no ban, no configuration and no metric.

pub mod address;
pub mod kick;
pub mod linger;
pub mod listener;
pub mod options;
pub mod peer;
pub mod proxy_header;
pub mod relay;
mod scratch;
mod shortage;
pub mod slots;
pub mod stop;
pub mod stream;
pub mod tls;
pub mod trust;
pub mod unix;
pub mod upstream;
pub mod websocket;

pub use scratch::read_some;
