//! What can go wrong, and what a wire error means for the caller.

use std::time::Duration;

use leasehold_proto::v1;
use tonic::Code;

use crate::loss::{Loss, in_words};
use crate::types::Deadlock;

/// Errors of the client. That a lock is held by another is not among them: it is an ordinary answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An option that cannot be.
    #[error("{field}: {problem}")]
    Options {
        /// Name of the option.
        field: &'static str,
        /// What is wrong, with the limit.
        problem: String,
    },
    /// The request itself is bad; nothing happened.
    #[error("{message}")]
    InvalidArgument {
        /// The field that is bad.
        field: String,
        /// What is wrong, with the limit.
        message: String,
    },
    /// The cluster refused: a stale token, an unknown lease, a limit reached. Nothing happened.
    #[error("{message}")]
    Refused {
        /// Machine-readable reason, such as `STALE_TOKEN`.
        reason: String,
        /// What is wrong, in words.
        message: String,
        /// Over a limit that others may make room under.
        over_limit: bool,
    },
    /// No node could take the request in time; nothing happened.
    #[error("unavailable: {message}")]
    Unavailable {
        /// What was seen last.
        message: String,
    },
    /// The request was sent and never answered: it may have happened, or may yet.
    #[error("fate unknown, it may have happened: {message}")]
    FateUnknown {
        /// What was seen last.
        message: String,
    },
    /// To wait would close a cycle of waits: somebody in it has to let go first. Nothing is queued any more.
    #[error("deadlock: {0}")]
    Deadlock(Deadlock),
    /// The session ended before the locks were granted. Whatever was asked under it is cancelled.
    #[error("the session was lost: {loss}")]
    SessionLost {
        /// Why.
        loss: Loss,
    },
    /// The grant that the call was about has ended.
    #[error("no longer held{}", reason.map(|reason| format!(": {}", in_words(reason))).unwrap_or_default())]
    NotHeld {
        /// Why, where that is remembered.
        reason: Option<v1::LossReason>,
    },
    /// This client has more requests under way than it allows itself.
    #[error("{limit} requests of this client are under way already")]
    TooMany {
        /// The most that may be under way.
        limit: usize,
    },
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
    /// The node failed, or answered what this client does not understand.
    #[error("the node failed: {message}")]
    Server {
        /// What it said.
        message: String,
    },
}

impl Error {
    /// Whether the same request may succeed later as it stands. After [`Error::FateUnknown`] of an acquire a new one may
    /// find the lock held by the earlier one, until that is cancelled (the client sees to it) or runs out.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::FateUnknown { .. } | Self::TooMany { .. } => true,
            Self::Refused { over_limit, .. } => *over_limit,
            Self::Options { .. }
            | Self::InvalidArgument { .. }
            | Self::Deadlock(_)
            | Self::SessionLost { .. }
            | Self::NotHeld { .. }
            | Self::Closed
            | Self::Server { .. } => false,
        }
    }

    /// What to tell a caller whose time is up.
    pub(crate) fn out_of_time(may_have_happened: bool, message: String) -> Self {
        if may_have_happened {
            Self::FateUnknown { message: format!("an earlier send got no answer; then: {message}") }
        } else {
            Self::Unavailable { message }
        }
    }

    /// Whether a node said that there is no such lease or session (any more).
    pub(crate) fn is_no_session(&self) -> bool {
        matches!(self, Self::Refused { reason, .. } if reason == NO_SESSION)
    }

    pub(crate) fn unexpected(answer: &v1::answer::Answer) -> Self {
        Self::Server { message: format!("unexpected answer {answer:?}") }
    }
}

/// Wire reason for a token to be converted that is no longer current.
const NOT_HELD: &str = "NOT_HELD";
/// Wire reason for a session that is not open.
const NO_SESSION: &str = "NO_SESSION";

/// What to do about an error that a node answered.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Tell the caller.
    Final(Error),
    /// Send it again, elsewhere.
    Again {
        /// The send may have had its effect.
        may_have_happened: bool,
        /// The node's advice; zero if none.
        after: Duration,
        message: String,
    },
}

impl From<v1::Error> for Verdict {
    fn from(error: v1::Error) -> Self {
        let v1::Error { code, message, reason, field, retry_after_ms, revision: _ } = error;
        if reason == NOT_HELD {
            return Self::Final(Error::NotHeld { reason: None });
        }
        let after = Duration::from_millis(retry_after_ms);
        let refused = |over_limit| {
            let text = if message.is_empty() { reason.clone() } else { message.clone() };
            Self::Final(Error::Refused { reason: reason.clone(), message: text, over_limit })
        };
        match Code::from(code) {
            Code::InvalidArgument | Code::OutOfRange => Self::Final(Error::InvalidArgument { field, message }),
            Code::Unavailable => Self::Again { may_have_happened: false, after, message },
            Code::Unknown | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted => {
                Self::Again { may_have_happened: true, after, message }
            }
            Code::FailedPrecondition
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated => refused(false),
            Code::ResourceExhausted => refused(true),
            Code::Ok | Code::Internal | Code::Unimplemented | Code::DataLoss => {
                Self::Final(Error::Server { message: format!("{message} ({reason})") })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(code: Code) -> v1::Error {
        let (message, reason, field) = ("m".into(), "R".into(), "f".into());
        v1::Error { code: code.into(), message, reason, field, retry_after_ms: 7, revision: None }
    }

    #[test]
    fn unavailable_is_sent_again_and_did_not_happen() {
        let Verdict::Again { may_have_happened, after, .. } = Verdict::from(wire(Code::Unavailable)) else {
            panic!("must be sent again")
        };
        assert!(!may_have_happened);
        assert_eq!(after, Duration::from_millis(7));
    }

    #[test]
    fn deadline_exceeded_may_have_happened() {
        assert!(matches!(Verdict::from(wire(Code::DeadlineExceeded)), Verdict::Again { may_have_happened: true, .. }));
    }

    #[test]
    fn bad_input_and_refusals_are_final() {
        let Verdict::Final(error) = Verdict::from(wire(Code::InvalidArgument)) else { panic!("must be final") };
        assert_eq!(error, Error::InvalidArgument { field: "f".into(), message: "m".into() });
        assert!(!error.is_retryable());
        let Verdict::Final(error) = Verdict::from(wire(Code::ResourceExhausted)) else { panic!("must be final") };
        assert!(error.is_retryable());
        assert!(matches!(Verdict::from(wire(Code::NotFound)), Verdict::Final(Error::Refused { .. })));
    }
}
