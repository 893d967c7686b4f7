//! Words and signs of a script.

use bytes::Bytes;

use super::number;

/// A word or sign.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A keyword or a sign.
    Fixed(&'static str),
    Name(String),
    Text(Bytes),
    Number(f64),
    /// Behind the last one.
    End,
}

/// What is not understood, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Misunderstood {
    pub(super) line: u32,
    pub(super) what: String,
}

const KEYWORDS: [&str; 21] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil", "not", "or",
    "repeat", "return", "then", "true", "until", "while",
];

/// Longer ones first, so that none hides another.
const SIGNS: [&str; 26] = [
    "...", "..", "==", "~=", "<=", ">=", "+", "-", "*", "/", "%", "^", "#", "<", ">", "=", "(", ")", "{", "}", "[",
    "]", ";", ":", ",", ".",
];

/// All tokens of a script, each with its line; `End` is the last.
pub(super) fn tokens(body: &[u8]) -> Result<Vec<(Token, u32)>, Misunderstood> {
    let mut lexer = Lexer { rest: body, line: 1 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks_and_comments()?;
        let line = lexer.line;
        let token = lexer.token()?;
        let is_end = token == Token::End;
        tokens.push((token, line));
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    rest: &'a [u8],
    line: u32,
}

impl<'a> Lexer<'a> {
    fn misunderstood<T>(&self, what: impl Into<String>) -> Result<T, Misunderstood> {
        Err(Misunderstood { line: self.line, what: what.into() })
    }

    /// Takes bytes off the front, and counts the lines in them.
    fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        let breaks = taken.iter().filter(|byte| **byte == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(breaks).unwrap_or(u32::MAX));
        taken
    }

    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !belongs(*byte)).unwrap_or(self.rest.len());
        self.take(end)
    }

    fn skip_blanks_and_comments(&mut self) -> Result<(), Misunderstood> {
        loop {
            self.take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r'));
            if !self.rest.starts_with(b"--") {
                return Ok(());
            }
            self.take(2);
            if self.long_bracket()?.is_none() {
                self.take_while(|byte| byte != b'\n');
            }
        }
    }

    fn token(&mut self) -> Result<Token, Misunderstood> {
        let Some(first) = self.rest.first().copied() else { return Ok(Token::End) };
        let second = self.rest.get(1).copied().unwrap_or_default();
        match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let word = self.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                let word = String::from_utf8_lossy(word);
                let keyword = KEYWORDS.iter().find(|keyword| **keyword == word);
                Ok(keyword.map_or_else(|| Token::Name(word.into_owned()), |keyword| Token::Fixed(keyword)))
            }
            b'0'..=b'9' => self.number(),
            b'.' if second.is_ascii_digit() => self.number(),
            b'"' | b'\'' => self.quoted(first).map(Token::Text),
            b'[' if matches!(second, b'[' | b'=') => match self.long_bracket()? {
                Some(text) => Ok(Token::Text(text)),
                None => self.misunderstood("'['"),
            },
            _ => {
                let Some(sign) = SIGNS.iter().find(|sign| self.rest.starts_with(sign.as_bytes())) else {
                    return self.misunderstood(format!("'{}'", first.escape_ascii()));
                };
                self.take(sign.len());
                Ok(Token::Fixed(sign))
            }
        }
    }

    fn number(&mut self) -> Result<Token, Misunderstood> {
        let from = self.rest;
        self.take_while(|byte| byte.is_ascii_digit() || byte == b'.');
        if let [b'e' | b'E', b'+' | b'-', ..] = self.rest {
            self.take(2);
        }
        self.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let text = &from[..from.len() - self.rest.len()];
        match number::parse(text) {
            Some(number) => Ok(Token::Number(number)),
            None => self.misunderstood(format!("the number '{}'", crate::text::shown(text))),
        }
    }

    fn quoted(&mut self, quote: u8) -> Result<Bytes, Misunderstood> {
        self.take(1);
        let mut text = Vec::new();
        loop {
            let Some(byte) = self.rest.first().copied() else {
                return self.misunderstood("a string without an end");
            };
            if matches!(byte, b'\n' | b'\r') {
                return self.misunderstood("a string that does not end on its line");
            }
            self.take(1);
            match byte {
                b'\\' => text.push(self.escaped()?),
                _ if byte == quote => return Ok(text.into()),
                _ => text.push(byte),
            }
        }
    }

    /// What stands behind a backslash.
    fn escaped(&mut self) -> Result<u8, Misunderstood> {
        let digits = self.rest.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 0 {
            let code = self.take(digits).iter().fold(0_u32, |code, digit| code * 10 + u32::from(digit - b'0'));
            return u8::try_from(code).or_else(|_| self.misunderstood("an escape above \\255"));
        }
        let Some(byte) = self.rest.first().copied() else {
            return self.misunderstood("a string without an end");
        };
        self.take(1);
        Ok(match byte {
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            other => other,
        })
    }

    /// A text in long brackets, as `[[…]]` or `[==[…]==]`, if one begins here.
    fn long_bracket(&mut self) -> Result<Option<Bytes>, Misunderstood> {
        let [b'[', rest @ ..] = self.rest else { return Ok(None) };
        let level = rest.iter().take_while(|byte| **byte == b'=').count();
        if rest.get(level) != Some(&b'[') {
            return Ok(None);
        }
        let closing: Vec<u8> = [&b"]"[..], &b"=".repeat(level), b"]"].concat();
        let inside = &rest[level + 1..];
        let Some(length) = inside.windows(closing.len()).position(|window| window == closing) else {
            return self.misunderstood("long brackets without an end");
        };
        self.take(level + 2 + length + closing.len());
        let text = &inside[..length];
        // A line break right behind the opening does not count.
        let text = text.strip_prefix(b"\r\n").or_else(|| text.strip_prefix(b"\n")).unwrap_or(text);
        Ok(Some(Bytes::copy_from_slice(text)))
    }
}
