//! Names of things, each a type of its own.

use std::fmt;
use std::str::FromStr;

use leasehold_platform::random;
use rand::Rng;

use crate::error::Error;

/// A fencing token: strictly increasing for every lock, for ever. Pass it to the resource that the lock protects, and
/// let the resource refuse anything below the highest it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Id of a lease or a session: lower-case hexadecimal text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub String);

impl LeaseId {
    /// As it goes over the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<&str> for LeaseId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<SessionId> for LeaseId {
    fn from(session: SessionId) -> Self {
        Self(session.to_string())
    }
}

/// Id of a session: 128 bits, chosen at random by the client that opens it. Knowing it is the right to use it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u128);

/// Ids below this are those of leases that the cluster made.
const SESSION_FIRST: u128 = 1 << 64;

impl SessionId {
    /// A new one, at random.
    #[must_use]
    pub fn random() -> Self {
        Self(random::rng().random_range(SESSION_FIRST..=u128::MAX))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

impl FromStr for SessionId {
    type Err = Error;

    /// From its 32 hexadecimal digits; the first 16 are not all zero.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |problem: String| Err(Error::Options { field: "session", problem });
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return refuse(format!("{text:?} is not 32 hexadecimal digits"));
        }
        match u128::from_str_radix(text, 16) {
            Ok(id) if id >= SESSION_FIRST => Ok(Self(id)),
            Ok(_) => refuse(format!("{text} is not the id of a session: its first 16 digits are zero")),
            Err(error) => refuse(format!("{text:?}: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_are_read_as_they_are_printed() {
        let id = SessionId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(LeaseId::from(id).as_str().len(), 32);
    }

    #[test]
    fn what_is_no_session_id_is_refused() {
        for text in ["", "7", "+0000000000000010000000000000000", "0000000000000000ffffffffffffffff"] {
            assert!(matches!(text.parse::<SessionId>(), Err(Error::Options { field: "session", .. })), "{text}");
        }
    }
}
