//! The numbers of a running proxy, gathered once for whoever asks: programs, `top`, Prometheus.
//!
//! Nothing here walks over bans, clients or keys: what is asked for each second may cost no more with a million of them.

mod call;
mod gather;
mod shape;

pub(super) use call::calls;
pub use shape::{
    Bucket, Checks, Detections, Listener, Log, Patterns, Process, Reloads, Requests, Server, State, Stats,
    StatusCounts, Store, Tables, Took, UpstreamServer, Webhook,
};
