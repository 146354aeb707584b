//! Where events are sent: `http://` or `https://`, a host, a port, a path.

use hyper::Uri;
use hyper::http::uri::PathAndQuery;
use std::fmt;
use std::str::FromStr;
use tokio_rustls::rustls::pki_types::ServerName;

/// The URL of a receiver. [`Display`](fmt::Display) shows all of it, `Debug` leaves out the path.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    is_https: bool,
    host: ServerName<'static>,
    port: u16,
    path: PathAndQuery,
}

/// A text that is no URL of a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is no URL at all.
    #[error("is not a URL; expected e.g. \"https://example.org/hook\"")]
    Malformed,
    /// It is a URL of something else.
    #[error("begins with neither https:// nor http://; expected e.g. \"https://example.org/hook\"")]
    Scheme,
    /// It names a user.
    #[error("has a user name or password in it; expected none, a secret signs the events")]
    UserInfo,
    /// Its host is neither a name nor an address.
    #[error("has no host; expected a name or an address, e.g. \"https://example.org/hook\"")]
    Host,
    /// Its port is none.
    #[error("has no port after the colon; expected 1 to 65535, e.g. \"https://example.org:8443/hook\"")]
    Port,
    /// It has a fragment, which browsers keep to themselves.
    #[error("has a fragment (#…) in it; expected none, no server is sent it")]
    Fragment,
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Url, UrlError> {
        let uri: Uri = text.parse().map_err(|_| UrlError::Malformed)?;
        let is_https = match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
            Some("https") => true,
            Some("http") => false,
            Some(_) => return Err(UrlError::Scheme),
            None => return Err(UrlError::Malformed),
        };
        let authority = uri.authority().ok_or(UrlError::Malformed)?.as_str();
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        if text.contains('#') {
            return Err(UrlError::Fragment);
        }
        let host = uri.host().unwrap_or_default();
        let port = match authority.strip_prefix(host) {
            Some("") => default_port(is_https),
            after => after
                .and_then(|after| after.strip_prefix(':')?.parse().ok())
                .filter(|port| *port != 0)
                .ok_or(UrlError::Port)?,
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host = ServerName::try_from(bare).map_err(|_| UrlError::Host)?.to_owned();
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Url { is_https, host, port, path })
    }
}

fn default_port(is_https: bool) -> u16 {
    if is_https { 443 } else { 80 }
}

impl Url {
    pub(super) fn is_https(&self) -> bool {
        self.is_https
    }

    pub(super) fn host(&self) -> &ServerName<'static> {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn path(&self) -> &PathAndQuery {
        &self.path
    }

    /// Host and port, as a Host header has them.
    pub(super) fn authority(&self) -> String {
        let host = self.host.to_str();
        let host = if host.contains(':') { format!("[{host}]") } else { host.into_owned() };
        if self.port == default_port(self.is_https) { host } else { format!("{host}:{}", self.port) }
    }

    /// Scheme, host and port, which are no secret.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.is_https { "https" } else { "http" }, self.authority())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({}/…)", self.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Url, UrlError> {
        text.parse()
    }

    #[test]
    fn a_url_is_shown_as_it_was_written() {
        for text in [
            "https://example.org/hook",
            "http://example.org:8080/a/b?token=x%20y",
            "http://127.0.0.1:9000/",
            "https://[2001:db8::7]:8443/hook",
            "http://[::1]/",
            "https://hook_1.internal/",
        ] {
            assert_eq!(parsed(text).expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_goes_without_saying_is_filled_in() {
        for (text, shown, port) in [
            ("https://example.org", "https://example.org/", 443),
            ("HTTP://example.org?x", "http://example.org/?x", 80),
            ("https://example.org:443/", "https://example.org/", 443),
        ] {
            let url = parsed(text).expect(text);
            assert_eq!((url.to_string().as_str(), url.port()), (shown, port));
        }
    }

    #[test]
    fn debug_leaves_the_path_out() {
        let url = parsed("https://example.org:8443/services/T0/B0/s3cret?key=s3cret").expect("a URL");
        assert_eq!(format!("{url:?}"), "Url(https://example.org:8443/…)");
    }

    #[test]
    fn a_text_that_is_no_url_is_refused_with_what_is_wrong() {
        for (text, error) in [
            ("", UrlError::Malformed),
            ("example.org/hook", UrlError::Malformed),
            ("/hook", UrlError::Malformed),
            ("https://", UrlError::Malformed),
            ("https:///hook", UrlError::Malformed),
            ("https://exa mple.org/", UrlError::Malformed),
            ("https://example.org/a b", UrlError::Malformed),
            ("https://example.org/\r\nx: y", UrlError::Malformed),
            ("mqtt://example.org/", UrlError::Scheme),
            ("https://me:secret@example.org/", UrlError::UserInfo),
            ("https://me@example.org/", UrlError::UserInfo),
            ("https://-example-.org/", UrlError::Host),
            ("https://example.org:/", UrlError::Port),
            ("https://example.org:0/", UrlError::Port),
            ("https://example.org:65536/", UrlError::Port),
            ("https://example.org/hook#x", UrlError::Fragment),
        ] {
            assert_eq!(parsed(text), Err(error), "{text}");
        }
    }
}
