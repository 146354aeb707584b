//! Steers a running proxy: HTTP on a Unix socket that its owner alone may open.
//!
//! `{list}` is `banned` or `exemptions`. Lists are JSON Lines as [`exchange`](crate::exchange) writes them.
//!
//! | call | does | answers |
//! |---|---|---|
//! | `GET /api/v5/explain?clientid=&username=&peer=`, `POST` with `{"clientid", "username", "peer"}` | says whether a client would be let in, and every rule about it | 200 |
//! | `GET /api/v5/detections` | tells what detection has found lately | 200 with `{"data": [...]}`, the newest first |
//! | `POST /api/v5/{list}/import?mode=put\|add` | takes in all records of the body, or none; `put` changes what is there, `add` refuses it | 200 with the counts; 400 |
//! | `DELETE /api/v5/{list}/{as}/{who}`, `POST /api/v5/{list}/remove` with `{"as", "who"}` | lifts one | 204; 404 |
//! | `DELETE /api/v5/{list}` | lifts all that were made at run time | 204 |
//!
//! What is answered with success is on disk and in force. An error has the form that EMQX gives it:
//! `{"code": "BAD_REQUEST", "message": "…"}`.
#![allow(unused_qualifications, reason = "of what utoipa's macros write")]

mod api;
mod client;
mod detections;
mod explain;
mod explanation;
mod fault;
mod lists;
mod socket;

pub use api::{Admin, document};
pub use client::{CallError, Caller};
pub use explanation::{BadExplanation, Evidence, Explained};
pub use lists::{Changes, Mode};
pub use socket::{Socket, SocketError};
