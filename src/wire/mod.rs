//! Bytes to types and back. Pure: no sockets, no clock, no allocation on the way in.
//!
//! Everything here works on a slice that somebody else has read, and says one of three things about it:
//! complete, need more, or wrong (and which rule of the specification it breaks).

pub mod mqtt;
