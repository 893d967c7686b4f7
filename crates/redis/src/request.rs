//! Requests off a connection: arrays of bulk strings, or inline commands as somebody types them.

mod inline;

use bytes::{Buf, Bytes, BytesMut};
pub(crate) use inline::hex_digit;
use redis_protocol::resp2::{decode::decode_bytes_mut, types::BytesFrame};

/// One request: a command and its arguments, as they came. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The name of the command and its arguments. They share the memory of the buffer that they were read into: copy what is kept.
    pub words: Vec<Bytes>,
}

/// Takes requests off what was read from a connection: arrays of bulk strings, or inline commands.
///
/// It remembers how far it looked, so bytes that trickle in are not looked at again and again: between two calls its buffer may
/// only grow at the end.
#[derive(Debug, Default)]
pub struct Decoder {
    seen: Seen,
}

/// The client speaks no protocol of ours; after the reply the connection is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ERR Protocol error: {problem}")]
pub struct ProtocolError {
    /// What is wrong, with the limit.
    pub problem: String,
}

impl ProtocolError {
    fn new(problem: impl Into<String>) -> Self {
        Self { problem: problem.into() }
    }
}

/// How far the request at the front of the buffer has been looked at.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Its first byte was not.
    #[default]
    Nothing,
    /// So many bytes of an inline command, none of which ends the line.
    Inline(usize),
    /// The header of an array, and the words before the byte `at`.
    Array { words_left: usize, at: usize },
}

/// What is at the front of the buffer.
enum Front {
    /// A request whose end has not come.
    Unfinished(Seen),
    /// Nothing in so many bytes: an empty line, or an array of no words.
    Empty(usize),
    /// A request, in so many bytes.
    Whole(usize),
}

impl Decoder {
    /// Most bytes that a request may have in all: what is read and no request yet is bounded by it.
    pub const REQUEST_BYTES_MAX: usize = 1 << 20;
    /// Most words that a request may have.
    pub const WORDS_MAX: usize = 1024;
    /// Longest word of a request, in bytes.
    pub const WORD_BYTES_MAX: usize = 512 * 1024;
    /// Longest inline command, in bytes.
    pub const INLINE_BYTES_MAX: usize = 64 * 1024;
    /// Longest line that declares a length: a sign, 19 digits and room for nothing.
    const LENGTH_LINE_MAX: usize = 32;

    /// The next whole request, taken off the front of `buffer`; None when more bytes are needed. Refuses a request as soon as a
    /// length that it declares is beyond a bound, before its bytes have come.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Request>, ProtocolError> {
        loop {
            let Some(first) = buffer.first() else { return Ok(None) };
            let is_array = *first == b'*';
            let front = if is_array { self.array(buffer)? } else { self.line(buffer)? };
            self.seen = Seen::Nothing;
            match front {
                Front::Unfinished(seen) => {
                    self.seen = seen;
                    return Ok(None);
                }
                Front::Empty(bytes) => buffer.advance(bytes),
                Front::Whole(_) if is_array => return Self::take_array(buffer).map(Some),
                Front::Whole(bytes) => {
                    let line = buffer.split_to(bytes);
                    let words = inline::split(&line)?;
                    if !words.is_empty() {
                        return Ok(Some(Request { words }));
                    }
                }
            }
        }
    }

    /// Looks for the end of an array, checking each length as it is declared.
    fn array(&self, buffer: &[u8]) -> Result<Front, ProtocolError> {
        let (mut words_left, mut at) = match self.seen {
            Seen::Array { words_left, at } => (words_left, at),
            Seen::Nothing | Seen::Inline(_) => {
                let Some((count, after)) = Self::length(buffer, 1, "multibulk length", "mbulk")? else {
                    return Ok(Front::Unfinished(Seen::Nothing));
                };
                // Redis takes what has no words for nothing at all.
                let Ok(count) = usize::try_from(count) else { return Ok(Front::Empty(after)) };
                match count {
                    0 => return Ok(Front::Empty(after)),
                    1..=Self::WORDS_MAX => (count, after),
                    _ => {
                        let max = Self::WORDS_MAX;
                        return Err(ProtocolError::new(format!("invalid multibulk length: at most {max} words")));
                    }
                }
            }
        };
        while words_left > 0 {
            let unfinished = Ok(Front::Unfinished(Seen::Array { words_left, at }));
            let Some(sign) = buffer.get(at) else { return unfinished };
            if *sign != b'$' {
                return Err(ProtocolError::new(format!("expected '$', got '{}'", sign.escape_ascii())));
            }
            let Some((length, after)) = Self::length(buffer, at + 1, "bulk length", "bulk")? else { return unfinished };
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length > Self::WORD_BYTES_MAX {
                let max = Self::WORD_BYTES_MAX;
                return Err(ProtocolError::new(format!("invalid bulk length: at most {max} bytes")));
            }
            let end = after + length + 2;
            if end > Self::REQUEST_BYTES_MAX {
                let max = Self::REQUEST_BYTES_MAX;
                return Err(ProtocolError::new(format!("invalid bulk length: at most {max} bytes a request")));
            }
            if buffer.len() < end {
                return unfinished;
            }
            if &buffer[end - 2..end] != b"\r\n" {
                return Err(ProtocolError::new("invalid bulk length: no line break after so many bytes"));
            }
            (words_left, at) = (words_left - 1, end);
        }
        Ok(Front::Whole(at))
    }

    /// The number in the line that begins at `from`, and where the next line begins. None while its end has not come.
    fn length(buffer: &[u8], from: usize, what: &str, short: &str) -> Result<Option<(i64, usize)>, ProtocolError> {
        let line = &buffer[from..];
        let line = &line[..line.len().min(Self::LENGTH_LINE_MAX)];
        let Some(digits) = line.windows(2).position(|pair| pair == b"\r\n") else {
            if line.len() == Self::LENGTH_LINE_MAX {
                return Err(ProtocolError::new(format!("too big {short} count string")));
            }
            return Ok(None);
        };
        let number = canonical_integer(&line[..digits]);
        let number = number.ok_or_else(|| ProtocolError::new(format!("invalid {what}")))?;
        Ok(Some((number, from + digits + 2)))
    }

    /// Takes the array at the front, which is known to be whole and within all bounds.
    fn take_array(buffer: &mut BytesMut) -> Result<Request, ProtocolError> {
        let not_an_array = || ProtocolError::new("not an array of bulk strings");
        let (frame, _, _) = decode_bytes_mut(buffer).map_err(|_| not_an_array())?.ok_or_else(not_an_array)?;
        let BytesFrame::Array(frames) = frame else { return Err(not_an_array()) };
        let word = |frame| match frame {
            BytesFrame::BulkString(word) => Ok(word),
            _ => Err(not_an_array()),
        };
        let words = frames.into_iter().map(word).collect::<Result<Vec<_>, _>>()?;
        Ok(Request { words })
    }

    /// Looks for the end of an inline command.
    fn line(&self, buffer: &[u8]) -> Result<Front, ProtocolError> {
        let from = if let Seen::Inline(seen) = self.seen { seen } else { 0 };
        let end = buffer[from..].iter().position(|byte| *byte == b'\n').map(|offset| from + offset + 1);
        if end.unwrap_or(buffer.len()) > Self::INLINE_BYTES_MAX {
            let max = Self::INLINE_BYTES_MAX;
            return Err(ProtocolError::new(format!("too big inline request: at most {max} bytes")));
        }
        Ok(end.map_or(Front::Unfinished(Seen::Inline(buffer.len())), Front::Whole))
    }

    /// All requests in what comes in these pieces, and the error that ended it. For tests: it keeps everything.
    #[doc(hidden)]
    pub fn decode_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Request>, Option<String>) {
        let (mut decoder, mut buffer, mut requests) = (Self::default(), BytesMut::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                match decoder.next(&mut buffer) {
                    Ok(Some(request)) => requests.push(request),
                    Ok(None) => break,
                    Err(error) => return (requests, Some(error.to_string())),
                }
            }
            assert!(buffer.len() <= Self::REQUEST_BYTES_MAX, "the decoder waits for more than it takes");
        }
        (requests, None)
    }
}

/// A number as Redis writes it, and no other way: no plus sign, no zeros before it.
pub(crate) fn canonical_integer(text: &[u8]) -> Option<i64> {
    /// A sign, and the digits of the greatest number.
    const DIGITS_MAX: usize = 20;
    if text.len() > DIGITS_MAX {
        return None;
    }
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits.first()? {
        b'0' => text == b"0",
        b'1'..=b'9' => true,
        _ => false,
    };
    canonical.then_some(number)
}

#[cfg(test)]
mod tests;
