//! Frames \[RFC 6455, section 5\]: their borders are taken out of a stream of bytes, and put into one.

use std::fmt;

/// Which end of the connection we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The client's frames are masked, ours are not.
    Server,
    /// The other way round.
    Client,
}

/// Takes the borders out of what the peer sends. Holds the header of one frame, and the payload of a control frame while
/// that is incomplete: 125 bytes at most.
#[derive(Debug)]
pub struct Reader {
    role: Role,
    /// The longest payload of a data frame, in bytes.
    max_payload: u64,
    header: [u8; MAX_HEADER],
    /// How much of the header has come.
    came: usize,
    /// The frame whose payload comes now.
    open: Option<Frame>,
    /// The payload of a control frame, as far as it has come.
    control: Vec<u8>,
    /// A message has begun whose last frame has not come.
    in_message: bool,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    kind: Opcode,
    mask: [u8; 4],
    /// How much of the payload has come.
    came: usize,
    left: u64,
}

/// What stands in the place of a length that takes two, or eight, bytes of its own.
const LENGTH_OF_2: u8 = 0x7E;
const LENGTH_OF_8: u8 = 0x7F;
/// The longest header: two bytes, a length of eight, a mask of four.
const MAX_HEADER: usize = 14;
/// The longest payload of a control frame. \[section 5.5\]
pub const MAX_CONTROL: usize = 125;

/// The kinds of frames that a peer may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// More of a message.
    Continuation,
    /// The first frame of a message.
    Binary,
    /// The last frame of all.
    Close,
    /// Asks for a pong with the same payload.
    Ping,
    /// An answer to a ping, or a sign of life.
    Pong,
}

impl Opcode {
    fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0,
            Opcode::Binary => 2,
            Opcode::Close => 8,
            Opcode::Ping => 9,
            Opcode::Pong => 10,
        }
    }

    fn is_control(self) -> bool {
        self.bits() >= 8
    }
}

/// What some bytes held.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many bytes of payload there were: they stand in front.
    pub data: usize,
    /// The payload of the last ping; the earlier ones need no answer. \[section 5.5.3\]
    pub ping: Option<Vec<u8>>,
    /// The peer has said its last: its code, if it gave one. What comes after it is nothing.
    pub close: Option<Option<u16>>,
}

/// A rule that the peer broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// \[section 5.1\]
    #[error("WebSocket frame without a mask")]
    Unmasked,
    /// \[section 5.1\]
    #[error("WebSocket frame with a mask")]
    Masked,
    /// \[section 5.2\] No extension was agreed on.
    #[error("WebSocket frame with reserved bits")]
    Reserved,
    /// \[section 5.2\]
    #[error("WebSocket frame of unknown kind {0:#x}")]
    Unknown(u8),
    /// \[MQTT-6.0.0-1\]
    #[error("WebSocket text, which MQTT never is")]
    Text,
    /// \[section 5.5\]
    #[error("WebSocket control frame in pieces")]
    ControlInPieces,
    /// \[section 5.5\]
    #[error("WebSocket control frame with a payload of more than 125 bytes")]
    LongControl,
    /// \[section 5.4\]
    #[error("WebSocket continuation of no message")]
    NoMessage,
    /// \[section 5.4\]
    #[error("WebSocket message inside another")]
    InsideMessage,
    /// \[section 5.2\] The length takes more bytes than it needs, or its highest bit is set.
    #[error("WebSocket frame with a malformed length")]
    Length,
    /// \[section 5.5.1\]
    #[error("WebSocket close frame with a malformed code")]
    CloseCode,
    /// More than the listener takes.
    #[error("WebSocket frame larger than max_frame_size")]
    TooLarge,
}

impl Violation {
    /// The code that tells the peer. \[section 7.4.1\]
    pub fn close_code(self) -> u16 {
        match self {
            Violation::Text => 1003,
            Violation::TooLarge => 1009,
            _ => PROTOCOL_ERROR,
        }
    }
}

/// The session is over. \[section 7.4.1\]
pub const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;

impl Reader {
    /// A reader of a connection that begins. A data frame may have at most `max_payload` bytes.
    pub fn new(role: Role, max_payload: u64) -> Reader {
        Reader {
            role,
            max_payload,
            header: [0; MAX_HEADER],
            came: 0,
            open: None,
            control: Vec::new(),
            in_message: false,
        }
    }

    /// Takes bytes that came. The payload of data frames is unmasked and moved to the front of `bytes`.
    ///
    /// # Errors
    /// The peer broke a rule; nothing that it sends counts any more.
    pub fn take(&mut self, bytes: &mut [u8]) -> Result<Taken, Violation> {
        let mut taken = Taken::default();
        let mut at = 0;
        while at < bytes.len() && taken.close.is_none() {
            let Some(frame) = &mut self.open else {
                at += self.take_header(bytes.get(at..).unwrap_or_default())?;
                // A frame without payload is over when it begins.
                if self.open.is_some_and(|frame| frame.left == 0) {
                    self.finish(&mut taken)?;
                }
                continue;
            };
            let rest = bytes.len() - at;
            let count = usize::try_from(frame.left).map_or(rest, |left| left.min(rest));
            let to = if frame.kind.is_control() { at } else { taken.data };
            bytes.copy_within(at..at + count, to);
            let payload = bytes.get_mut(to..to + count).unwrap_or_default();
            apply_mask(payload, frame.mask, frame.came);
            if frame.kind.is_control() {
                self.control.extend_from_slice(payload);
            } else {
                taken.data += count;
            }
            frame.came = frame.came.wrapping_add(count);
            frame.left = frame.left.saturating_sub(count as u64);
            at += count;
            if frame.left == 0 {
                self.finish(&mut taken)?;
            }
        }
        Ok(taken)
    }

    /// Takes bytes of a header until it is complete, and says how many.
    fn take_header(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let mut count = 0;
        for byte in bytes {
            if let Some(place) = self.header.get_mut(self.came) {
                *place = *byte;
            }
            self.came += 1;
            count += 1;
            if self.came == 2 {
                self.check_first_bytes()?;
            }
            if self.came >= 2 && self.came == self.header_size() {
                self.open = Some(self.frame()?);
                self.came = 0;
                break;
            }
        }
        Ok(count)
    }

    /// How long the header is whose first two bytes have come.
    fn header_size(&self) -> usize {
        let [_, second, ..] = self.header;
        let length = match second & 0x7F {
            LENGTH_OF_2 => 2,
            LENGTH_OF_8 => 8,
            _ => 0,
        };
        2 + length + if second & 0x80 == 0 { 0 } else { 4 }
    }

    fn kind(&self) -> Result<Opcode, Violation> {
        match self.header[0] & 0x0F {
            0 => Ok(Opcode::Continuation),
            1 => Err(Violation::Text),
            2 => Ok(Opcode::Binary),
            8 => Ok(Opcode::Close),
            9 => Ok(Opcode::Ping),
            10 => Ok(Opcode::Pong),
            unknown => Err(Violation::Unknown(unknown)),
        }
    }

    /// What two bytes show already.
    fn check_first_bytes(&self) -> Result<(), Violation> {
        let [first, second, ..] = self.header;
        let (is_last, kind) = (first & 0x80 != 0, self.kind()?);
        match (self.role, second & 0x80 != 0) {
            _ if first & 0x70 != 0 => Err(Violation::Reserved),
            (Role::Server, false) => Err(Violation::Unmasked),
            (Role::Client, true) => Err(Violation::Masked),
            _ if kind.is_control() && !is_last => Err(Violation::ControlInPieces),
            _ if kind.is_control() && second & 0x7F > 125 => Err(Violation::LongControl),
            _ if kind == Opcode::Continuation && !self.in_message => Err(Violation::NoMessage),
            _ if kind == Opcode::Binary && self.in_message => Err(Violation::InsideMessage),
            _ => Ok(()),
        }
    }

    /// The frame whose header has come whole.
    fn frame(&mut self) -> Result<Frame, Violation> {
        let [first, second, rest @ ..] = self.header;
        let rest = &rest[..];
        let (length, rest) = match second & 0x7F {
            LENGTH_OF_2 => number::<2>(rest),
            LENGTH_OF_8 => number::<8>(rest),
            short => (short.into(), rest),
        };
        let least = match second & 0x7F {
            LENGTH_OF_2 => 126,
            LENGTH_OF_8 => 1 << 16,
            _ => 0,
        };
        if length < least || length >> 63 != 0 {
            return Err(Violation::Length);
        }
        let kind = self.kind()?;
        if !kind.is_control() {
            if length > self.max_payload {
                return Err(Violation::TooLarge);
            }
            self.in_message = first & 0x80 == 0;
        }
        let mask = rest.first_chunk().filter(|_| second & 0x80 != 0);
        Ok(Frame { kind, mask: mask.copied().unwrap_or_default(), came: 0, left: length })
    }

    /// The payload of the open frame has come whole.
    fn finish(&mut self, taken: &mut Taken) -> Result<(), Violation> {
        let Some(frame) = self.open.take() else { return Ok(()) };
        let payload = std::mem::take(&mut self.control);
        match frame.kind {
            Opcode::Ping => taken.ping = Some(payload),
            Opcode::Close => taken.close = Some(close_code(&payload)?),
            Opcode::Continuation | Opcode::Binary | Opcode::Pong => {}
        }
        Ok(())
    }
}

/// A number of so many bytes, and what stands behind it.
fn number<const SIZE: usize>(bytes: &[u8]) -> (u64, &[u8]) {
    let (number, rest) = bytes.split_at_checked(SIZE).unwrap_or_default();
    (number.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), rest)
}

/// The code of a close frame, which may have none. \[section 7.4\]
fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(None) } else { Err(Violation::CloseCode) };
    };
    let code = u16::from_be_bytes(*code);
    let is_allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    if is_allowed && std::str::from_utf8(reason).is_ok() { Ok(Some(code)) } else { Err(Violation::CloseCode) }
}

/// Masks or unmasks bytes, which stand `offset` bytes behind the beginning of their payload. \[section 5.3\]
pub fn apply_mask(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut mask = mask;
    mask.rotate_left(offset % 4);
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// The header of a frame of ours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header {
    bytes: [u8; MAX_HEADER],
    size: usize,
}

impl Header {
    /// The header of the only frame of a message, or of a control frame, with so many bytes of payload.
    pub fn new(kind: Opcode, payload: usize, mask: Option<[u8; 4]>) -> Header {
        let mut header = Header { bytes: [0; MAX_HEADER], size: 0 };
        let masked = if mask.is_some() { 0x80 } else { 0 };
        header.push(&[0x80 | kind.bits()]);
        match (u8::try_from(payload), u16::try_from(payload)) {
            (Ok(short @ 0..126), _) => header.push(&[masked | short]),
            (_, Ok(middle)) => {
                header.push(&[masked | LENGTH_OF_2]);
                header.push(&middle.to_be_bytes());
            }
            _ => {
                header.push(&[masked | LENGTH_OF_8]);
                header.push(&(payload as u64).to_be_bytes());
            }
        }
        header.push(mask.as_ref().map_or(&[], |mask| mask));
        header
    }

    fn push(&mut self, more: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.size..self.size + more.len()) {
            place.copy_from_slice(more);
            self.size += more.len();
        }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.size).unwrap_or_default()
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Header").field(&self.as_bytes()).finish()
    }
}

/// A whole control frame of ours. Of a payload that is too long, what fits.
pub fn control(kind: Opcode, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let payload = payload.get(..MAX_CONTROL).unwrap_or(payload);
    let mut frame = Header::new(kind, payload.len(), mask).as_bytes().to_vec();
    let begin = frame.len();
    frame.extend_from_slice(payload);
    apply_mask(frame.get_mut(begin..).unwrap_or_default(), mask.unwrap_or_default(), 0);
    frame
}

#[cfg(test)]
mod tests;
