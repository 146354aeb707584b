//! The proxy in this process, between clients and brokers that are made of bytes.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod addresses;
mod bad_input;
mod harness;
mod invariants;
mod limits;
mod listeners;
mod parting;
mod pki;
mod proxy_protocol;
mod refusals;
mod reload;
mod sessions;
mod tls;
mod unix;
mod upstreams;
mod websocket;
