//! The bans in a data directory: the command line on a stopped and on a running proxy, and the proxy that is killed.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod api;
mod beyond;
mod commands;
mod detection;
mod emqx;
mod exchange;
mod harness;
mod http;
mod inside;
mod kill;
mod monitoring;
mod running;
