//! From one TOML file to what runs: read, checked in full, and compared with what runs already.
//!
//! The file is read twice removed from the program: `document` knows TOML and nothing of this program, `file` knows
//! every option, its default and its rules, and the other rooms only know their own settings. All mistakes of a file
//! are found in one go.

mod admin;
mod detection;
mod diff;
mod document;
mod error;
mod file;
mod limits;
mod proxy_protocol;
mod route;
mod sockets;
mod tls;
mod units;
mod upstream;
mod websocket;

pub use admin::AdminConfig;
pub use detection::DEFAULT as DEFAULT_ZONE;
pub use diff::{Orders, diff};
pub use document::to_json;
pub use error::{ConfigError, Mistake};
pub use file::{BanConfig, Config, ListenerConfig};
pub use units::duration as parse_duration;
