//! Steers a running proxy: HTTP on a Unix socket that its owner alone may open, and on an address for those who say who
//! they are (`auth`).
//!
//! | call | does | answers |
//! |---|---|---|
//! | `GET /api/v5/explain?clientid=&username=&peer=`, `POST` with `{"clientid", "username", "peer"}` | says whether a client would be let in, every rule about it, and its route | 200 |
//! | `GET /api/v5/detections` | tells what detection has found lately | 200 with `{"data": [...]}`, the newest first |
//! | `/api/v5/banned`, `/api/v5/exemptions`, `/api/v4/banned` | the lists: docs/admin-api.md has the calls | |
//! | `POST /api/v5/login`, `/logout` | gives a token, takes it back | 200; 204 |
//! | `/api/v5/users`, `/api/v5/api_key` | who may call | 200; 204 |
//! | `GET /api/v5/status`, `/config` | how the process is, and the config that runs | 200 |
//! | `POST /api/v5/reload` | reads the config file again | 200; 400 with its mistakes |
//! | `GET /api/v5/clients?…` | tells who is inside, page by page | 200 with `{"data": [...], "meta": {...}}` |
//! | `GET`, `DELETE /api/v5/clients/{clientid}` | shows one, kicks it | 200, 204; 404 |
//! | `POST /api/v5/clients/kickout/bulk` with `["clientid", …]` | kicks them | 204 |
//! | `GET /api/v5/refused?…` | tells who was turned away lately, page by page | 200 with `{"data": [...], "meta": {...}}` |
//! | `DELETE /api/v5/refused`, `DELETE /api/v5/refused/{id}` | forgets all of them, or one | 204; 404 |
//! | `GET /api/v5/upstreams` | tells how the brokers are | 200 with `{"data": [...]}` |
//! | `POST /api/v5/upstreams/{group}/{server}/drain`, `/resume` | takes no new clients to a broker, and takes them there again | 200; 404 |
//! | `GET /api/v5/stats`, `GET /metrics` | tells all numbers, as JSON and for Prometheus | 200 |
//! | `GET /api/v5/history?span=` | tells what has come of late, in steps | 200 |
//! | `/`, `/dashboard/…` | the page: `dashboard` has its calls | |
//! | `GET /livez`, `GET /readyz` | says whether the process runs, and whether clients may be sent there | 200; 503 with the reason |
//! | `GET /api/v5/openapi.json`, `/api-docs/` | the document that describes all calls, and a viewer for it | 200 |
//!
//! What is answered with success is on disk and in force. An error has the form that EMQX gives it:
//! `{"code": "BAD_REQUEST", "message": "…"}`.
#![allow(unused_qualifications, reason = "of what utoipa's macros write")]

mod accounts;
mod api;
mod api_keys;
mod auth;
mod body;
mod client;
mod clients;
mod cookie;
mod dashboard;
mod detections;
mod explain;
mod explanation;
mod exposition;
mod extract;
mod fault;
mod health;
mod listing;
mod lists;
mod login;
mod monitoring;
mod node;
mod openapi;
mod pace;
mod query;
mod refused;
mod schema;
mod server;
mod settings;
mod socket;
mod stalled;
pub mod stats;
mod steering;
mod strangers;
mod strict;
mod suspects;
mod tls;
mod turns;
mod upstreams;
mod users;
mod what_if;

pub use accounts::{Accounts, AccountsError};
pub use api::{Admin, document};
pub use api_keys::KeyBody;
pub use client::{CallError, Caller, Proof, Rehearsed, RemoteError};
pub use dashboard::Board;
pub use explain::{Asked, UnknownProtocol};
pub use explanation::{BadExplanation, Evidence, Explained, Taken};
pub use health::Watch;
pub use lists::{Changes, Mode, one_of, page_of, rehearse};
pub use server::{Gate, GateSettings};
pub use settings::{Limits, ListenSettings};
pub use socket::{Socket, SocketError};
pub use steering::{
    Ask, LastReload, ListenerStatus, NotReloaded, OptionBody, Reloaded, RunningConfig, Source, Status,
    Steering, UpstreamStatus,
};
pub use turns::Turns;
pub use upstreams::{FailureBody, ServerBody, UpstreamBody, UpstreamsBody};
pub use users::UserBody;
