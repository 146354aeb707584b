//! The records that carry the first handshake message. \[RFC 8446, section 5.1\]

use super::cursor::Cursor;
use super::hello::{MAX_HELLO, NotHello};
use crate::wire::Reading;
use std::borrow::Cow;

const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
/// The most that a record may carry, in bytes.
const MAX_FRAGMENT: usize = 1 << 14;
const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
const CLIENT_HELLO: u8 = 1;

/// The first handshake message without its header, borrowed where one record holds it.
pub(super) fn first_message(bytes: &[u8]) -> Result<Reading<Cow<'_, [u8]>>, NotHello> {
    let mut message = Cow::Borrowed(&[][..]);
    let mut records = Cursor::new(bytes);
    loop {
        let missing = match body_of(&message)? {
            Reading::Complete(length) => {
                let body = MESSAGE_HEADER..MESSAGE_HEADER + length;
                return Ok(Reading::Complete(match message {
                    Cow::Borrowed(message) => Cow::Borrowed(message.get(body).unwrap_or_default()),
                    Cow::Owned(message) => Cow::Owned(message.get(body).unwrap_or_default().to_vec()),
                }));
            }
            Reading::NeedMore(missing) => missing,
        };
        match fragment(&mut records)? {
            Reading::Complete(fragment) if message.is_empty() => message = Cow::Borrowed(fragment),
            Reading::Complete(fragment) => message.to_mut().extend_from_slice(fragment),
            // The end of the record that is under way, or else at least the header of the next.
            Reading::NeedMore(0) => return Ok(Reading::NeedMore(RECORD_HEADER + missing.min(MAX_FRAGMENT))),
            Reading::NeedMore(missing) => {
                // The first bytes of the message may say already that there is no use in waiting for the others.
                if message.is_empty() {
                    body_of(bytes.get(RECORD_HEADER..).unwrap_or_default())?;
                }
                return Ok(Reading::NeedMore(missing));
            }
        }
    }
}

/// The length of the message, once all of it is there.
fn body_of(message: &[u8]) -> Result<Reading<usize>, NotHello> {
    let mut cursor = Cursor::new(message);
    let Some(kind) = cursor.u8() else { return Ok(Reading::NeedMore(MESSAGE_HEADER)) };
    if kind != CLIENT_HELLO {
        return Err(NotHello::OtherMessage(kind));
    }
    let Some(length) = cursor.u24() else { return Ok(Reading::NeedMore(MESSAGE_HEADER - message.len())) };
    if length > MAX_HELLO {
        return Err(NotHello::TooLarge { size: length });
    }
    Ok(match (MESSAGE_HEADER + length).checked_sub(message.len()) {
        None | Some(0) => Reading::Complete(length),
        Some(missing) => Reading::NeedMore(missing),
    })
}

/// What the next record carries. `NeedMore(0)` where not a byte of it is there.
fn fragment<'a>(records: &mut Cursor<'a>) -> Result<Reading<&'a [u8]>, NotHello> {
    if records.is_empty() {
        return Ok(Reading::NeedMore(0));
    }
    let mut cursor = *records;
    let kind = cursor.u8().unwrap_or_default();
    match kind {
        HANDSHAKE => {}
        ALERT => return Err(NotHello::Alert),
        _ => return Err(NotHello::NotTls(kind)),
    }
    // The version of a record says nothing, but its first byte has been 3 ever since there are records.
    match cursor.u8() {
        None => return Ok(Reading::NeedMore(RECORD_HEADER - 1)),
        Some(3) => {}
        Some(_) => return Err(NotHello::NotTls(kind)),
    }
    let (Some(_), Some(length)) = (cursor.u8(), cursor.u16()) else { return Ok(Reading::NeedMore(1)) };
    let length = usize::from(length);
    // "Implementations MUST NOT send zero-length fragments of Handshake types."
    if length == 0 || length > MAX_FRAGMENT {
        return Err(NotHello::BadRecord { size: length });
    }
    match cursor.take(length) {
        Some(fragment) => {
            *records = cursor;
            Ok(Reading::Complete(fragment))
        }
        None => Ok(Reading::NeedMore(length - cursor.len())),
    }
}
