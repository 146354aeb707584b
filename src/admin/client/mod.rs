//! Calls a running proxy, through its socket or at a URL.

mod export;
mod inside;
mod steer;
mod way;

pub use way::{Proof, RemoteError};

use crate::admin::explain::Asked;
use crate::admin::explanation::{self, BadExplanation, Explained};
use crate::admin::fault::FaultBody;
use crate::admin::lists::{Changes, Mode, Named, path_name};
use crate::admin::stats::Stats;
use crate::admin::steering::NotReloaded;
use crate::admission::{Ban, List, Who};
use crate::exchange::{Format, Writer};
use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use way::Way;

/// Calls one proxy. Each call is a connection of its own.
#[derive(Debug, Clone)]
pub struct Caller {
    way: Way,
}

/// What an import would come to.
#[derive(Debug, Clone, Deserialize)]
pub struct Rehearsed {
    /// New ones.
    pub added: usize,
    /// The first of what it would be refused for.
    pub mistakes: Vec<String>,
}

/// A call that changed nothing, or of which nobody knows.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody answers.
    #[error("cannot reach the running proxy at {at}")]
    Unreachable {
        /// The socket or the URL.
        at: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection broke before the answer came.
    #[error("the running proxy did not answer; ask it what it has done")]
    Broke(#[source] hyper::Error),
    /// The proxy refused the call; nothing has changed.
    #[error("{message}")]
    Refused {
        /// EMQX's word for the kind of mistake.
        code: String,
        /// What is wrong.
        message: String,
    },
    /// The config file cannot be used; nothing has changed.
    #[error("{}", .0.message)]
    NotReloaded(NotReloaded),
    /// The answer is none.
    #[error("the running proxy's answer makes no sense: {0}")]
    Nonsense(#[from] BadExplanation),
}

impl CallError {
    /// True when the call names something that is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, CallError::Refused { code, .. } if code == "NOT_FOUND")
    }
}

impl CallError {
    /// True when nobody has the socket open: the proxy is not running.
    pub fn is_stopped(&self) -> bool {
        let gone = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
        matches!(self, CallError::Unreachable { source, .. } if gone.contains(&source.kind()))
    }

    /// True when the call names what stands in the config file alone.
    fn is_in_file(&self) -> bool {
        matches!(self, CallError::Refused { code, .. } if code == "CONFLICT")
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

impl Caller {
    /// Calls through this socket.
    pub fn new(socket: PathBuf) -> Caller {
        Caller { way: Way::Socket(socket) }
    }

    /// Calls the proxy whose API is at this URL, believing the authorities of the system and of `ca_file`.
    ///
    /// # Errors
    /// It is no URL, or one of the files cannot be used.
    pub fn remote(url: &str, proof: Proof<'_>, ca_file: Option<&Path>) -> Result<Caller, RemoteError> {
        Ok(Caller { way: Way::to(url, proof, ca_file)? })
    }

    /// The same, logged in as this user, who is to be [logged out](Caller::log_out).
    pub async fn log_in(self, username: &str, password: &str) -> Result<Caller, CallError> {
        let asked = serde_json::json!({ "username": username, "password": password });
        let answer = read(&self.call(Method::POST, "login", json(&asked)).await?)?;
        let token = answer.get("token").and_then(Value::as_str).unwrap_or_default();
        let odd = || CallError::Refused { code: "BAD_TOKEN".into(), message: "the token is none".into() };
        Ok(Caller { way: self.way.with_token(token).ok_or_else(odd)? })
    }

    /// Takes the token back that this caller shows.
    pub async fn log_out(&self) -> Result<(), CallError> {
        self.call(Method::POST, "logout", empty()).await.map(drop)
    }

    /// The socket or the URL.
    pub fn place(&self) -> String {
        self.way.to_string()
    }

    /// Whether this client would be let in, everything that names it, and where it is taken.
    pub async fn explain(&self, asked: &Asked) -> Result<Explained, CallError> {
        let answer = self.call(Method::POST, "explain", json(asked)).await?;
        Ok(explanation::read(&answer)?)
    }

    /// What detection has found lately, the newest first.
    pub async fn detections(&self) -> Result<Vec<Value>, CallError> {
        let answer = self.call(Method::GET, "detections", empty()).await?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|error| BadExplanation::new(&error))?;
        Ok(answer.get("data").and_then(Value::as_array).cloned().unwrap_or_default())
    }

    /// All numbers now.
    pub async fn stats(&self) -> Result<Stats, CallError> {
        let answer = self.call(Method::GET, "stats", Empty::new().boxed_unsync()).await?;
        serde_json::from_slice(&answer).map_err(|error| BadExplanation::new(&error).into())
    }

    /// Takes in all of these or none; `seen` is told how many have been sent.
    pub async fn import(
        &self,
        list: List,
        mode: Mode,
        bans: &[Ban],
        seen: impl Fn(usize),
    ) -> Result<Changes, CallError> {
        let answer = self.send_all(list, mode, bans, "", seen).await?;
        serde_json::from_slice(&answer).map_err(|error| BadExplanation::new(&error).into())
    }

    /// What such an import would come to, without making it: how many would be new, and the first of what it would be
    /// refused for.
    pub async fn rehearse(&self, list: List, bans: &[Ban]) -> Result<Rehearsed, CallError> {
        let answer = self.send_all(list, Mode::Put, bans, "&dry_run=true", |_| {}).await?;
        serde_json::from_slice(&answer).map_err(|error| BadExplanation::new(&error).into())
    }

    async fn send_all(
        &self,
        list: List,
        mode: Mode,
        bans: &[Ban],
        words: &str,
        seen: impl Fn(usize),
    ) -> Result<Bytes, CallError> {
        let word = match mode {
            Mode::Put => "put",
            Mode::Add => "add",
        };
        // Whoever imports bans that have ended has said so on the command line.
        let path = format!("{}/import?mode={word}&keep_expired=true{words}", path_name(list));
        let (sender, body) = Channel::<Bytes, Infallible>::new(4);
        let call = self.call(Method::POST, &path, body.boxed_unsync());
        // An answer that comes early is a refusal: then nobody takes the rest.
        let (answer, ()) = tokio::join!(call, send(bans, sender, seen));
        answer
    }

    /// A page of a list, by the query that asks for it.
    pub async fn page(&self, list: List, query: &str) -> Result<Value, CallError> {
        let path = format!("{}?{query}", path_name(list));
        read(&self.call(Method::GET, &path, empty()).await?)
    }

    /// The one that names `who`, with all its fields; `None` when there is none.
    pub async fn one(&self, list: List, who: &Who) -> Result<Option<Value>, CallError> {
        match self.call(Method::GET, &path_of(list, who), empty()).await {
            Ok(answer) => read(&answer).map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the one that names `who` hold for longer; `None` when there is none that was made at run time.
    pub async fn extend(&self, list: List, who: &Who, time: Duration) -> Result<Option<Value>, CallError> {
        let body = json(&serde_json::json!({ "extend": format!("{}ms", time.as_millis()) }));
        match self.call(Method::PATCH, &path_of(list, who), body).await {
            Ok(answer) => read(&answer).map(Some),
            Err(error) if error.is_not_found() || error.is_in_file() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lifts the one that names `who`; false when there is none.
    pub async fn remove(&self, list: List, who: &Who) -> Result<bool, CallError> {
        let named = Named { r#as: who.kind().to_string(), who: who.to_string() };
        let path = format!("{}/remove", path_name(list));
        match self.call(Method::POST, &path, json(&named)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() || error.is_in_file() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lifts all that were made at run time.
    pub async fn clear(&self, list: List) -> Result<(), CallError> {
        self.call(Method::DELETE, path_name(list), empty()).await.map(drop)
    }

    async fn call(&self, method: Method, path: &str, body: Body) -> Result<Bytes, CallError> {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(self.way.open().await?)).await.map_err(CallError::Broke)?;
        let request = self.request(method, path, body)?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(CallError::Broke)?;
            let status = answer.status();
            let bytes = answer.into_body().collect().await.map_err(CallError::Broke)?.to_bytes();
            if status.is_success() { Ok(bytes) } else { Err(refusal(&bytes)) }
        };
        // The connection only moves while it is polled; it ends no later than the exchange.
        tokio::select! {
            biased;
            answer = exchange => answer,
            Err(error) = connection => Err(CallError::Broke(error)),
        }
    }

    fn request(&self, method: Method, path: &str, body: Body) -> Result<Request<Body>, CallError> {
        let unreachable = |source| CallError::Unreachable { at: self.place(), source };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v5/{path}"))
            .header(HOST, self.way.host())
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| unreachable(io::Error::other(error)))?;
        if let Some(key) = self.way.key() {
            request.headers_mut().insert(AUTHORIZATION, key);
        }
        Ok(request)
    }
}

fn read(answer: &[u8]) -> Result<Value, CallError> {
    serde_json::from_slice(answer).map_err(|error| BadExplanation::new(&error).into())
}

fn path_of(list: List, who: &Who) -> String {
    let name = who.to_string();
    format!("{}/{}/{}", path_name(list), who.kind(), utf8_percent_encode(&name, NON_ALPHANUMERIC))
}

async fn send(bans: &[Ban], mut sender: Sender<Bytes, Infallible>, seen: impl Fn(usize)) {
    for (index, some) in bans.chunks(CHUNK).enumerate() {
        let mut lines = Vec::new();
        let mut writer = Writer::new(Format::JsonLines, &mut lines);
        let written = some.iter().all(|ban| writer.write(ban).is_ok()) && writer.finish().is_ok();
        debug_assert!(written, "our own form can express every ban");
        if sender.send_data(lines.into()).await.is_err() {
            return;
        }
        seen(index * CHUNK + some.len());
    }
}

/// How many records are sent at once.
const CHUNK: usize = 500;

fn refusal(body: &[u8]) -> CallError {
    if let Some(why) = steer::not_reloaded(body) {
        return CallError::NotReloaded(why);
    }
    let FaultBody { code, message } = serde_json::from_slice(body).unwrap_or_else(|_| FaultBody {
        code: "BAD_REQUEST".to_owned(),
        message: String::from_utf8_lossy(body).into_owned(),
    });
    CallError::Refused { code, message }
}

fn empty() -> Body {
    Empty::new().boxed_unsync()
}

/// Names stand in the body, since they may be longer than a path can be.
fn json(value: &impl Serialize) -> Body {
    // Texts can always be written.
    Full::new(Bytes::from(serde_json::to_vec(value).unwrap_or_default())).boxed_unsync()
}
