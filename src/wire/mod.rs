//! Bytes to types and back. Pure: no sockets, no clock, no allocation on the way in.
//!
//! Everything here works on a slice that somebody else has read, and says one of three things about it:
//! complete, need more, or wrong (and which rule of the specification it breaks).

pub mod mqtt;
pub mod proxy_protocol;
pub mod tls;
pub mod websocket;
pub mod x509;

/// What the bytes at hand amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading<T> {
    /// The value is all there.
    Complete(T),
    /// Nothing is wrong so far; at least this many more bytes are needed before asking again pays.
    NeedMore(usize),
}
