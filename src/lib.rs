//! mqtt-bouncer keeps bad clients away from an MQTT broker: a reverse proxy that reads one packet, decides, and from
//! then on moves bytes.
//!
//! # The rooms
//! | room | what it does | what it knows |
//! |---|---|---|
//! | [`admission`] | decides who may enter | nothing but its arguments: no I/O, no clock |
//! | [`wire`] | turns bytes into packets and back | nothing but its arguments |
//! | [`net`] | accepts, reads, dials, relays, closes | sockets; no ban, no configuration |
//! | [`bouncer`] | the handle to the ban list | [`admission`] and the [`clock`] |
//! | [`cleanup`] | says when ended bans are forgotten | nothing but its arguments |
//! | [`findings`] | tells what detection has found | [`admission`] and [`telemetry`] |
//! | [`exchange`] | reads and writes lists of bans | [`admission`], and the readers and writers that it is given |
//! | [`accounts`] | says who may use the API | nothing but its arguments |
//! | [`refused`] | knows who was turned away lately | [`admission`]; no I/O, no clock |
//! | [`sessions`] | knows who is inside, and kicks | [`admission`], [`wire`] and the signal of [`net`] |
//! | [`store`] | keeps bans and accounts on disk | [`admission`] and [`bouncer`] |
//! | [`metrics`] | every number that is counted | [`admission`] |
//! | [`process`] | what the system knows of this process | nothing of ours |
//! | [`systemd`] | takes sockets from systemd, and tells it how the process is | nothing of ours |
//! | [`webhook`] | tells an operator's URL of events | nothing of what it tells |
//! | [`proxy`] | the way of one connection | [`net`], [`wire`] and [`bouncer`] |
//! | [`config`] | reads the file, compares two of them | every room's settings |
//! | [`dashboard`] | the page that operators watch, and what its charts remember | nothing but its arguments |
//! | [`admin`] | steers a running proxy, over a local socket or an address | [`bouncer`], [`store`] and [`exchange`] |
//! | [`app`] | builds, runs, reloads, drains | everything |
//! | [`cli`] | the command line | everything |
//!
//! `tests/layering.rs` holds this table to the code.
//!
//! # The life of a connection
//! A listener ([`net::listener`]) accepts it and a task of its own serves it ([`proxy`]): it reads the CONNECT under a
//! deadline and a limit ([`wire::mqtt::connect`]), asks the list ([`bouncer`]), and either answers with the CONNACK
//! that the client's version understands and closes so that the client can read it ([`net::linger`]), or dials a
//! broker ([`net::upstream`]), replays what it has read, and relays both ways until somebody ends it
//! ([`net::relay`]). When it refuses, not one byte has reached the broker.

pub mod accounts;
pub mod admin;
pub mod admission;
pub mod app;
pub mod bouncer;
pub mod cleanup;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dashboard;
pub mod exchange;
pub mod findings;
pub mod metrics;
pub mod net;
pub mod process;
pub mod proxy;
pub mod refused;
pub mod sessions;
pub mod signal;
pub mod store;
pub mod systemd;
pub mod telemetry;
pub mod webhook;
pub mod wire;
