//! How a lock is held: as a type where the program knows it, as a value where its input decides.

use leasehold_proto::v1;

use crate::ids::Token;

/// Alone: the mode of [`Guard<Exclusive>`](crate::Guard) and of a lock builder to begin with.
#[derive(Debug, Clone, Copy)]
pub enum Exclusive {}

/// Beside others that share: the mode of [`Guard<Shared>`](crate::Guard).
#[derive(Debug, Clone, Copy)]
pub enum Shared {}

/// So many permits of a limit: the mode of [`Guard<Permits>`](crate::Guard).
#[derive(Debug, Clone, Copy)]
pub enum Permits {}

/// Hangs on a session: what a lock builder does to begin with.
#[derive(Debug, Clone, Copy)]
pub enum InSession {}

/// Hangs on a lease of its own, with a ttl and renewals of its own.
#[derive(Debug, Clone, Copy)]
pub enum OwnLease {}

/// How a lock is asked for or held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LockMode {
    /// Alone.
    Exclusive,
    /// Beside others that share.
    Shared,
    /// A counting semaphore.
    Permits {
        /// How many are taken, from 1.
        permits: u32,
        /// Of how many: the same for all who hold or await permits of the lock; its first user sets it.
        limit: u32,
    },
}

/// A lock to take, and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LockSpec {
    /// Its name: 1 to 512 bytes without control characters.
    pub name: String,
    /// How it is to be held.
    pub mode: LockMode,
}

impl LockSpec {
    /// To be held alone.
    pub fn exclusive(name: impl Into<String>) -> Self {
        Self { name: name.into(), mode: LockMode::Exclusive }
    }

    /// To be held beside others that share.
    pub fn shared(name: impl Into<String>) -> Self {
        Self { name: name.into(), mode: LockMode::Shared }
    }

    /// `permits` of `limit`.
    pub fn permits(name: impl Into<String>, permits: u32, limit: u32) -> Self {
        Self { name: name.into(), mode: LockMode::Permits { permits, limit } }
    }

    pub(crate) fn to_wire(&self) -> v1::LockRequest {
        let (mode, permits, limit) = match self.mode {
            LockMode::Exclusive => (v1::Mode::Exclusive, 0, 0),
            LockMode::Shared => (v1::Mode::Shared, 0, 0),
            LockMode::Permits { permits, limit } => (v1::Mode::Permits, permits, limit),
        };
        v1::LockRequest { name: self.name.clone(), mode: mode.into(), permits, limit }
    }
}

impl<S: Into<String>> From<S> for LockSpec {
    /// To be held alone.
    fn from(name: S) -> Self {
        Self::exclusive(name)
    }
}

/// One lock that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantInfo {
    /// Its name.
    pub name: String,
    /// How it is held.
    pub mode: LockMode,
    /// The fencing token of the grant.
    pub token: Token,
}

impl From<&v1::Grant> for GrantInfo {
    fn from(grant: &v1::Grant) -> Self {
        let mode = match grant.mode() {
            v1::Mode::Shared => LockMode::Shared,
            v1::Mode::Permits => LockMode::Permits { permits: grant.permits, limit: grant.limit },
            v1::Mode::Exclusive | v1::Mode::Unspecified => LockMode::Exclusive,
        };
        Self { name: grant.name.clone(), mode, token: Token(grant.token) }
    }
}
