//! The one place where a [`CallError`] becomes an error reply.
//!
//! All of them are plain `ERR`: Redis' other codes make some clients act on their own. go-redis sends a command again up to three times
//! on LOADING, READONLY, CLUSTERDOWN, MASTERDOWN and TRYAGAIN, also outside a cluster; redis-py drops the connection on LOADING. The
//! node has held the call for a leader as long as a call may take already, and a command whose fate is unknown must not be repeated
//! behind the back of whoever sent it.

use leasehold_redis::{Refused, Reply};

use crate::{CallError, status};

/// Why a command came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// The cluster, or this node, did not carry it out.
    Call(CallError),
    /// It was understood and is refused: it had no effect.
    Refused(Refused),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl Failure {
    /// Refused by this door.
    pub(super) fn refused(kind: &'static str, message: impl std::fmt::Display) -> Self {
        Self::Refused(Refused { kind, message: format!("ERR {message}") })
    }

    pub(super) fn reply(&self) -> Reply {
        match self {
            Self::Call(error) => Reply::Error(format!("ERR {}", status::message(error))),
            Self::Refused(refused) => Reply::Error(refused.message.clone()),
        }
    }
}
