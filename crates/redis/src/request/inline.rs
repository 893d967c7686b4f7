//! Commands as somebody types them on a terminal: words between blanks, with quotes and escapes.

use bytes::Bytes;

use super::{Decoder, ProtocolError};

/// The words of a line. A browser that was talked into speaking to this port is cut off here, before anything that a page of
/// somebody else's put into its request is carried out.
pub(super) fn split(line: &[u8]) -> Result<Vec<Bytes>, ProtocolError> {
    let mut rest = Rest(line);
    let mut words = Vec::new();
    while let Some(word) = rest.word()? {
        if words.len() == Decoder::WORDS_MAX {
            let max = Decoder::WORDS_MAX;
            return Err(ProtocolError::new(format!("too many words in an inline request: at most {max}")));
        }
        words.push(Bytes::from(word));
    }
    let speaks_http = |word: &Bytes| word.eq_ignore_ascii_case(b"post") || word.eq_ignore_ascii_case(b"host:");
    if words.first().is_some_and(speaks_http) {
        return Err(ProtocolError::new("this port speaks the Redis protocol, not HTTP"));
    }
    Ok(words)
}

/// What is left of a line.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn word(&mut self) -> Result<Option<Vec<u8>>, ProtocolError> {
        while let Some(first) = self.0.first()
            && is_blank(*first)
        {
            self.next();
        }
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut word = Vec::new();
        while let Some(byte) = self.next() {
            match byte {
                b'"' => return self.double_quoted(word).map(Some),
                b'\'' => return self.single_quoted(word).map(Some),
                _ if is_blank(byte) => break,
                _ => word.push(byte),
            }
        }
        Ok(Some(word))
    }

    fn double_quoted(&mut self, mut word: Vec<u8>) -> Result<Vec<u8>, ProtocolError> {
        loop {
            match self.next().ok_or_else(unbalanced)? {
                b'"' => return self.closed(word),
                b'\\' => {
                    let byte = self.escaped().ok_or_else(unbalanced)?;
                    word.push(byte);
                }
                byte => word.push(byte),
            }
        }
    }

    fn single_quoted(&mut self, mut word: Vec<u8>) -> Result<Vec<u8>, ProtocolError> {
        loop {
            match self.next().ok_or_else(unbalanced)? {
                b'\'' => return self.closed(word),
                b'\\' if self.0.first() == Some(&b'\'') => {
                    self.next();
                    word.push(b'\'');
                }
                byte => word.push(byte),
            }
        }
    }

    /// What stands behind a backslash between double quotes.
    fn escaped(&mut self) -> Option<u8> {
        if let [b'x', high, low, rest @ ..] = self.0
            && let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low))
        {
            self.0 = rest;
            return Some(high * 16 + low);
        }
        Some(match self.next()? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'a' => 7,
            other => other,
        })
    }

    /// A closing quote ends the word: text that sticks to it is a mistake.
    fn closed(&self, word: Vec<u8>) -> Result<Vec<u8>, ProtocolError> {
        if self.0.first().is_none_or(|byte| is_blank(*byte)) { Ok(word) } else { Err(unbalanced()) }
    }
}

fn unbalanced() -> ProtocolError {
    ProtocolError::new("unbalanced quotes in request")
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 11 | 12 | 0)
}

/// The value of a hexadecimal digit.
pub(crate) fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
