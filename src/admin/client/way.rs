//! How the proxy is reached: through its socket, or at a URL.

use super::CallError;
use crate::net::trust::{self, TrustError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::http::uri::Authority;
use std::io;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{InvalidDnsNameError, ServerName};

/// A way to the proxy.
#[derive(Clone)]
pub(super) enum Way {
    Socket(PathBuf),
    Url(Box<Remote>),
}

/// A proxy at a URL.
#[derive(Clone)]
pub(super) struct Remote {
    tls: Option<TlsConnector>,
    host: ServerName<'static>,
    port: u16,
    /// As it stands in `Host`.
    authority: Authority,
    /// `Basic …`, with the key, or `Bearer …`, with a token. Shown nowhere.
    key: Option<HeaderValue>,
}

/// How a caller says who it is.
#[derive(Debug, Clone, Copy)]
pub enum Proof<'a> {
    /// Not at all.
    None,
    /// By the key in this file.
    KeyFile(&'a Path),
    /// By a password, in a moment: see [`Caller::log_in`](super::Caller::log_in).
    Password,
}

/// A URL, or a file that belongs to it, which cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// It is no URL, or one of another kind.
    #[error("{0:?} is not the URL of an API; expected http://HOST:PORT or https://HOST:PORT")]
    Url(String),
    /// The host is neither a name nor an address.
    #[error("{host:?} is neither a name nor an address")]
    Host {
        /// The host.
        host: String,
        /// Why not.
        #[source]
        source: InvalidDnsNameError,
    },
    /// The authorities.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The file of the key cannot be read.
    #[error("cannot read {}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file of the key has none.
    #[error("{} has no key; expected KEY:SECRET on its first line", .0.display())]
    NoKey(PathBuf),
    /// The key or the password would be read by whoever listens in.
    #[error(
        "{0} would send the key or the password through the network in the clear; expected https, or an address of this machine"
    )]
    InTheClear(String),
}

/// A stream of either kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Way {
    /// To a proxy elsewhere, believing the authorities of the system and of `ca_file`.
    pub(super) fn to(url: &str, proof: Proof<'_>, ca_file: Option<&Path>) -> Result<Way, RemoteError> {
        let bad = || RemoteError::Url(url.to_owned());
        let parsed: Uri = url.parse().map_err(|_| bad())?;
        let (is_https, usual_port) = match parsed.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            _ => return Err(bad()),
        };
        let authority = parsed.authority().cloned().ok_or_else(bad)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_plain = parsed.path().trim_end_matches('/').is_empty() && parsed.query().is_none();
        if host.is_empty() || !is_plain || authority.as_str().contains('@') {
            return Err(bad());
        }
        let is_here =
            host == "localhost" || host.parse().is_ok_and(|addr: std::net::IpAddr| addr.is_loopback());
        let key = match proof {
            Proof::KeyFile(file) => Some(read_key(file)?),
            Proof::None | Proof::Password => None,
        };
        if !matches!(proof, Proof::None) && !is_https && !is_here {
            return Err(RemoteError::InTheClear(url.to_owned()));
        }
        let named = ServerName::try_from(host.clone());
        Ok(Way::Url(Box::new(Remote {
            tls: is_https.then(|| trust::connector(ca_file)).transpose()?,
            host: named.map_err(|source| RemoteError::Host { host, source })?,
            port: authority.port_u16().unwrap_or(usual_port),
            authority,
            key,
        })))
    }

    /// The same, which shows this token from now on.
    pub(super) fn with_token(self, token: &str) -> Option<Way> {
        let Way::Url(mut remote) = self else { return Some(self) };
        let mut header = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
        header.set_sensitive(true);
        remote.key = Some(header);
        Some(Way::Url(remote))
    }

    /// Opens a connection.
    pub(super) async fn open(&self) -> Result<Box<dyn Stream>, CallError> {
        let failed = |source| CallError::Unreachable { at: self.to_string(), source };
        match self {
            Way::Socket(socket) => Ok(Box::new(UnixStream::connect(socket).await.map_err(failed)?)),
            Way::Url(remote) => remote.open().await.map_err(failed),
        }
    }

    /// What stands in `Host`.
    pub(super) fn host(&self) -> &str {
        match self {
            Way::Socket(_) => "localhost",
            Way::Url(remote) => remote.authority.as_str(),
        }
    }

    /// What stands in `Authorization`.
    pub(super) fn key(&self) -> Option<HeaderValue> {
        match self {
            Way::Socket(_) => None,
            Way::Url(remote) => remote.key.clone(),
        }
    }
}

impl Remote {
    async fn open(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((&*self.host.to_str(), self.port)).await?;
        Ok(match &self.tls {
            None => Box::new(stream),
            Some(tls) => Box::new(tls.connect(self.host.clone(), stream).await?),
        })
    }
}

fn read_key(path: &Path) -> Result<HeaderValue, RemoteError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| RemoteError::KeyFile { path: path.to_owned(), source })?;
    let line = text.lines().next().unwrap_or_default().trim();
    // A line of a file of keys may have a role.
    let mut parts = line.split(':');
    let key = parts.next().zip(parts.next()).filter(|(key, secret)| !key.is_empty() && !secret.is_empty());
    let (key, secret) = key.ok_or_else(|| RemoteError::NoKey(path.to_owned()))?;
    let text = format!("Basic {}", STANDARD.encode(format!("{key}:{secret}")));
    let mut header = HeaderValue::try_from(text).map_err(|_| RemoteError::NoKey(path.to_owned()))?;
    header.set_sensitive(true);
    Ok(header)
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Way::Socket(socket) => socket.display().fmt(f),
            Way::Url(remote) => {
                let scheme = if remote.tls.is_some() { "https" } else { "http" };
                write!(f, "{scheme}://{}", remote.authority)
            }
        }
    }
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        for (url, shown, port) in [
            ("http://127.0.0.1:18083", "http://127.0.0.1:18083", 18083),
            ("http://[::1]:1/", "http://[::1]:1", 1),
            ("http://localhost", "http://localhost", 80),
        ] {
            let way = Way::to(url, Proof::None, None).expect(url);
            let Way::Url(remote) = &way else { panic!("a URL") };
            assert_eq!((way.to_string().as_str(), remote.port), (shown, port));
        }
        for url in [
            "",
            "localhost:1",
            "ftp://x",
            "http://",
            "http://u:p@x",
            "http://x/api",
            "http://x/?a",
            "http:// x",
        ] {
            assert!(matches!(Way::to(url, Proof::None, None), Err(RemoteError::Url(_))), "{url}");
        }
    }

    #[test]
    fn a_key_goes_nowhere_in_the_clear_but_to_this_machine() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        std::fs::write(&file, "key:secret:viewer\nmore").expect("written");
        let way = Way::to("http://localhost:1", Proof::KeyFile(&file), None).expect("this machine");
        assert_eq!(way.key().expect("a key"), "Basic a2V5OnNlY3JldA==");
        assert!(!format!("{way:?} {:?}", way.key()).contains("a2V5"));
        for proof in [Proof::KeyFile(&file), Proof::Password] {
            let way = Way::to("http://10.0.0.1:1", proof, None);
            assert!(matches!(way, Err(RemoteError::InTheClear(_))), "{proof:?}");
        }
        let way = Way::to("http://localhost:1", Proof::Password, None).expect("this machine");
        let way = way.with_token("t0ken").expect("a token");
        assert_eq!(way.key().expect("a token"), "Bearer t0ken");
        assert!(!format!("{way:?} {:?}", way.key()).contains("t0ken"));
        std::fs::write(&file, "key").expect("written");
        assert!(matches!(
            Way::to("http://localhost:1", Proof::KeyFile(&file), None),
            Err(RemoteError::NoKey(_))
        ));
    }
}
