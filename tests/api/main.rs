//! The API of the binary, over TCP and TLS: who may call, what is answered, and what callers cannot do to it.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod accounts;
mod auth;
mod harness;
mod hostile;
mod node;
mod remote;
mod tls;
