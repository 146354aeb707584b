//! The real binary between real clients and a real broker: what operators run, as they run it.
//!
//! `tests/run` installs what these tests need: mosquitto with its clients, HAProxy, systemd and iproute2, Python with paho-mqtt and schemathesis, Node.js with MQTT.js.
//! A test that misses one of them fails and says so.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and real processes are watched in real time"
)]

mod api;
mod broker_restart;
mod dashboard;
mod detection;
mod drain;
mod flood;
mod haproxy;
mod harness;
mod kicked;
mod limits;
mod reading;
mod relayed;
mod reload;
mod rumqtt;
mod sockets;
mod storm;
mod strangers;
mod suites;
mod tls;
mod tls_cut;
mod tls_strangers;
mod upstreams;
mod websocket;
mod wills;
