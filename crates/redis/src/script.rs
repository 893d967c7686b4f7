//! Scripts: the small Lua programs that lock libraries send.

mod ast;
mod machine;
mod number;
mod parser;
mod token;
mod value;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use sha1::Digest;

use self::{ast::Function, token::Misunderstood};
use crate::{Entry, Evaluated, Refused};

/// SHA-1 of a script's body; shown as 40 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha1(pub [u8; 20]);

impl fmt::Display for Sha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The name of a body.
#[must_use]
pub fn sha1(body: &[u8]) -> Sha1 {
    Sha1(sha1::Sha1::digest(body).into())
}

/// A script that is understood. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Script {
    sha1: Sha1,
    main: Arc<Function>,
}

impl Script {
    /// Longest body, in bytes.
    pub const BYTES_MAX: usize = 16 * 1024;

    /// Understands a body; what is not of the subset is refused, with its SHA-1, the line and the word.
    pub fn parse(body: &[u8]) -> Result<Self, Refused> {
        let sha1 = sha1(body);
        if body.len() > Self::BYTES_MAX {
            let message = format!("ERR script {sha1} is longer than {} bytes", Self::BYTES_MAX);
            return Err(Refused { kind: "script_length", message });
        }
        match parser::parse(body) {
            Ok(main) => Ok(Self { sha1, main: Arc::new(main) }),
            Err(Misunderstood { line, what }) => Err(not_understood(sha1, line, what)),
        }
    }

    /// The name of its body.
    #[must_use]
    pub fn sha1(&self) -> Sha1 {
        self.sha1
    }

    /// Runs it where its keys look so. `entries` are those of `keys`, in their order (a key that is named twice has two equal entries).
    /// Bounded in steps and memory.
    ///
    /// # Panics
    /// When there are not as many entries as keys.
    pub fn evaluate(&self, keys: &[Bytes], args: &[Bytes], entries: &[Entry]) -> Result<Evaluated, Refused> {
        assert_eq!(entries.len(), keys.len(), "one entry for each key");
        machine::run(self.sha1, &self.main, keys, args, entries)
    }
}

fn not_understood(sha1: Sha1, line: u32, what: impl fmt::Display) -> Refused {
    Refused { kind: "not_understood", message: format!("ERR script {sha1} is not understood: line {line}: {what}") }
}

#[cfg(test)]
mod tests;
