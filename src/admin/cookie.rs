//! How a browser says who it is: a cookie with a token, which no script can read, and on every call that changes
//! something a second word, which another site cannot know.

use crate::accounts::Digest;
use axum::http::header::{COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The header with the second word.
pub(super) const WORD: &str = "x-csrf-token";

/// The token in the cookie, where there is one.
pub(super) fn token(headers: &HeaderMap) -> Option<&str> {
    let name = name(headers);
    let cookies = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
    let pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let found = pairs.filter(|(key, _)| key.strip_prefix(LOCKED).unwrap_or(key) == name);
    found.map(|(_, token)| token).find(|token| !token.is_empty())
}

/// The second word of a token. The page is told it, and shows it with every call that changes something.
pub(super) fn word(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(token).as_bytes())
}

/// Whether a call comes from our own page: it knows the second word, and the browser says nothing else.
pub(super) fn is_from_page(headers: &HeaderMap, token: &str) -> bool {
    let shown = headers.get(WORD).and_then(|word| URL_SAFE_NO_PAD.decode(word.as_bytes()).ok());
    let shown = shown.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let is_elsewhere = headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin");
    shown.is_some_and(|bytes| Digest::stored(bytes).is_of(&worded(token))) && !is_elsewhere
}

/// The cookie that says who it is from now on, until the browser is closed.
pub(super) fn set(headers: &HeaderMap, is_tls: bool, token: &str) -> Option<HeaderValue> {
    let is_secure = is_secure(headers, is_tls);
    let (locked, secure) = if is_secure { (LOCKED, "; Secure") } else { ("", "") };
    let text = format!("{locked}{}={token}; Path=/; HttpOnly; SameSite=Strict{secure}", name(headers));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The cookie that says nothing any more.
pub(super) fn forget(headers: &HeaderMap, is_tls: bool) -> Option<HeaderValue> {
    let is_secure = is_secure(headers, is_tls);
    let (locked, secure) = if is_secure { (LOCKED, "; Secure") } else { ("", "") };
    let name = name(headers);
    HeaderValue::from_str(&format!("{locked}{name}=; Path=/; HttpOnly; SameSite=Strict{secure}; Max-Age=0"))
        .ok()
}

/// Browsers take a cookie of such a name from nobody but this very host, over TLS.
const LOCKED: &str = "__Host-";

/// Cookies belong to a host and not to a port: two proxies on one machine would log each other's users out.
fn name(headers: &HeaderMap) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let port = host.rsplit_once(':').map_or("", |(_, port)| port);
    let port = if port.bytes().all(|byte| byte.is_ascii_digit()) { port } else { "" };
    format!("mqtt-bouncer-{port}")
}

/// Over TLS, ours or that of something in front of us.
fn is_secure(headers: &HeaderMap, is_tls: bool) -> bool {
    is_tls || headers.get(ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
}

fn worded(token: &str) -> String {
    format!("the second word of {token}")
}

fn digest(token: &str) -> Digest {
    Digest::of(&worded(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).expect("a value"));
        }
        headers
    }

    #[test]
    fn the_token_is_that_of_this_port() {
        let cookies = "a=b; mqtt-bouncer-18083=mine; mqtt-bouncer-1=other";
        let host = ("host", "localhost:18083");
        assert_eq!(token(&headers(&[host, ("cookie", cookies)])), Some("mine"));
        assert_eq!(token(&headers(&[host, ("cookie", "__Host-mqtt-bouncer-18083=x")])), Some("x"));
        assert_eq!(token(&headers(&[host, ("cookie", "mqtt-bouncer-18083=")])), None);
        assert_eq!(token(&headers(&[("host", "example.org"), ("cookie", "mqtt-bouncer-=x")])), Some("x"));
        assert_eq!(token(&headers(&[("host", "[::1]"), ("cookie", cookies)])), None);
        assert_eq!(token(&headers(&[host])), None);
    }

    #[test]
    fn the_cookie_is_for_this_site_alone_and_for_tls_where_there_is_some() {
        let plain = set(&headers(&[("host", "h:1")]), false, "t").expect("a value");
        assert_eq!(plain, "mqtt-bouncer-1=t; Path=/; HttpOnly; SameSite=Strict");
        let locked = "__Host-mqtt-bouncer-1=t; Path=/; HttpOnly; SameSite=Strict; Secure";
        assert_eq!(set(&headers(&[("host", "h:1")]), true, "t").expect("a value"), locked);
        let before_us = headers(&[("host", "h:1"), ("origin", "https://h:1")]);
        assert_eq!(set(&before_us, false, "t").expect("a value"), locked);
    }

    #[test]
    fn a_call_from_the_page_knows_the_word_and_comes_from_nowhere_else() {
        let word = word("token");
        let is = |pairs: &[(&'static str, &str)]| is_from_page(&headers(pairs), "token");
        assert!(is(&[(WORD, &word)]));
        assert!(is(&[(WORD, &word), ("sec-fetch-site", "same-origin")]));
        for site in ["same-site", "cross-site", "none"] {
            assert!(!is(&[(WORD, &word), ("sec-fetch-site", site)]), "{site}");
        }
        for wrong in ["", "-", "x", &super::word("other")] {
            assert!(!is(&[(WORD, wrong)]), "{wrong}");
        }
        assert!(!is(&[]));
    }
}
