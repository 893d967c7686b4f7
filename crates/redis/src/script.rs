//! Scripts: the small Lua programs that lock libraries send.

use std::fmt;

use bytes::Bytes;
use sha1::Digest;

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

/// A script that is understood.
#[derive(Debug, Clone)]
pub struct Script {}

impl Script {
    /// Longest body, in bytes.
    pub const BYTES_MAX: usize = 16 * 1024;

    /// Understands a body; what is not of the subset is refused, with its SHA-1, the line and the word.
    pub fn parse(body: &[u8]) -> Result<Self, Refused> {
        let message = format!("ERR script {}: scripts are not understood yet", sha1(body));
        Err(Refused { kind: "not_understood", message })
    }

    /// Runs it where its keys look so. `entries` are those of `keys`, in their order (a key that is named twice has two equal entries).
    /// Bounded in steps and memory.
    pub fn evaluate(&self, keys: &[Bytes], args: &[Bytes], entries: &[Entry]) -> Result<Evaluated, Refused> {
        let _ = (keys, args, entries);
        Err(Refused { kind: "not_understood", message: "ERR scripts are not understood yet".into() })
    }
}
