//! A plain list: a name, an address or a network a line, for ever.
//!
//! Only the end of the line is not part of the name. Unless the reader says what the names are, their form tells:
//! an address, a network, or else a client identifier. What looks like an address and is none is a mistake then, and no
//! client identifier: it would be a ban that never meets anybody.

use super::draft::{Draft, NAMES};
use super::error::{FileError, Problem, RecordError, Shown};
use super::lines::Lines;
use crate::admission::{As, Ban, Until, Who};
use ipnet::IpNet;
use std::borrow::Cow;
use std::io::BufRead;
use std::net::IpAddr;

/// The next name, with the number of its line.
pub(super) fn next<R: BufRead>(
    lines: &mut Lines<R>,
    kind: Option<As>,
) -> Result<Option<super::csv::Record<'_>>, FileError> {
    let line = loop {
        match lines.advance()? {
            None => return Ok(None),
            Some((_, text)) if is_comment(text) => {}
            Some((line, _)) => break line,
        }
    };
    Ok(Some((line, read(lines.text(), kind))))
}

fn read(text: &[u8], kind: Option<As>) -> Result<Draft<'_>, RecordError> {
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let who = std::str::from_utf8(text).map_err(|_| RecordError::whole(Problem::NotUtf8))?;
    let doubtful =
        |problem| RecordError::new(NAMES.who, Problem::Doubtful { value: Shown::of(who), problem });
    if has_blanks_around(who) {
        return Err(doubtful("begins or ends with a blank; expected nothing but the name"));
    }
    let kind = match kind {
        Some(kind) => kind,
        None => guess(who).map_err(doubtful)?,
    };
    Ok(Draft {
        kind,
        who: Cow::Borrowed(who),
        matching: None,
        by: None,
        reason: Cow::Borrowed(""),
        at: None,
        until: Until::Infinity,
        names: NAMES,
    })
}

/// What a name is, by its form.
fn guess(who: &str) -> Result<As, &'static str> {
    let by_form = |text: &str| match text.parse::<IpAddr>() {
        Ok(_) => Some(As::PeerHost),
        Err(_) => text.parse::<IpNet>().ok().map(|_| As::PeerHostNet),
    };
    if let Some(kind) = by_form(who) {
        return Ok(kind);
    }
    let word = who.split([' ', '\t', ';', ',', '#']).next().unwrap_or_default();
    if word.len() < who.len() && by_form(word).is_some() {
        return Err("is an address or a network with something behind it; expected nothing but the address");
    }
    let is_numeric = word.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'/'));
    if is_numeric && word.contains('.') && word.contains(|char: char| char.is_ascii_digit()) {
        return Err("looks like an address or a network and is none; say what it is if it is a name");
    }
    Ok(As::ClientId)
}

fn is_comment(text: &[u8]) -> bool {
    text.starts_with(b"# ") || text.trim_ascii_end() == b"#"
}

fn has_blanks_around(who: &str) -> bool {
    who.starts_with(char::is_whitespace) || who.ends_with(char::is_whitespace)
}

pub(super) fn write(to: &mut Vec<u8>, ban: &Ban) -> Result<(), &'static str> {
    if ban.terms.until != Until::Infinity {
        return Err("a plain list has no place for the end of a ban");
    }
    match &ban.who {
        Who::ClientId(name) => can_stand(name)?,
        Who::PeerHost(_) | Who::PeerHostNet(_) => {}
        Who::CertCn(_) | Who::CertSha256(_) | Who::TlsJa4(_) => {
            return Err("a plain list would take a certificate or fingerprint for a client identifier");
        }
        Who::Username(_) => return Err("a plain list would take a user name for a client identifier"),
        Who::ClientIdRe(_) | Who::UsernameRe(_) | Who::PeerHostRe(_) => {
            return Err("a plain list would take a pattern for a client identifier");
        }
    }
    to.extend_from_slice(super::emqx::name(&ban.who).as_bytes());
    Ok(())
}

fn can_stand(name: &str) -> Result<(), &'static str> {
    if name.contains('\n') {
        return Err("the name holds a line break");
    }
    if has_blanks_around(name) {
        return Err("the name begins or ends with a blank");
    }
    if is_comment(name.as_bytes()) || name.starts_with(['\u{feff}']) {
        return Err("a plain list would take the name for a comment or a byte order mark");
    }
    if guess(name) != Ok(As::ClientId) {
        return Err("a plain list would take the name for an address");
    }
    Ok(())
}
