//! Who may enter. Pure: no I/O, no clock; callers pass `now`.
//!
//! A [`Client`] is what a CONNECT claims and where it came from; a [`Ban`] names a client identifier, a user name or
//! an address; [`BanList`] answers, for one client and one moment, which ban keeps it out. Order of evaluation, as
//! EMQX and TBMQ have it: client identifier, user name, address. The first hit is the verdict.

mod ban;
mod ban_list;
mod client;
mod time;
mod who;

pub use ban::{Ban, Terms, Until, UntilError};
pub use ban_list::{BanList, Verdict};
pub use client::Client;
pub use time::{Timestamp, TimestampError};
pub use who::{As, MAX_WHO, UnknownAs, Who, WhoError};
