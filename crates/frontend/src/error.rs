//! Why a call failed.

use std::time::Duration;

use leasehold_consensus::{RaiseLevelError, ReadError, SubmitError};
use leasehold_state_machine::{Attempt, LeaseId, Refusal, Revision};

/// A call came to no ordinary answer. What each becomes on the wire is decided in the `status` module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// A field of the request is bad. Nothing was done.
    #[error("{field}: {problem}")]
    Invalid {
        /// As in the .proto, for example `locks[0].name`.
        field: String,
        /// What is wrong, with the limit.
        problem: String,
    },
    /// The state machine refused the command. Nothing was done.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The command did not come back.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// A linearizable read could not be had.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// This node is behind, and takes no calls for now. Nothing was done.
    #[error("this node is not ready: {why}; nothing was done")]
    NotReady {
        /// By the node's own word.
        why: String,
    },
    /// Another call, of this attempt, took over the request id.
    #[error("superseded by attempt {by} of the same request")]
    Superseded {
        /// The attempt that counts now.
        by: Attempt,
    },
    /// A wait ended because this node has known no leader for too long. Its place in the queue lives on until its deadline.
    #[error("the wait lost contact to a leader; its place in the queue is kept until its deadline")]
    WaitAdrift,
    /// A wait outlived the bound on all calls. Its place in the queue lives on until its deadline.
    #[error("the wait took longer than a call may; its place in the queue is kept until its deadline")]
    WaitTooLong,
    /// The caller's own deadline ended the wait, which is being cancelled.
    #[error("the caller's deadline ended the wait; its place in the queue is given up")]
    CallerDeadline,
    /// The caller's own deadline ended the call. The wait lives with its session.
    #[error(
        "the caller's deadline ended the call; its place in the queue is kept until the wait's deadline: send the request id \
         again, or cancel it"
    )]
    CallerDeadlineKept,
    /// The session is open with another namespace, ttl, owner or metadata. Nothing was done.
    #[error("session {session} is open already, with another namespace, ttl, owner or metadata; nothing was done")]
    SessionMismatch {
        /// Its id.
        session: LeaseId,
    },
    /// What follows a revision is not remembered on this node.
    #[error(
        "what follows revision {} is not remembered here; the oldest revision after which a watch can begin is {}: read what \
         matters and watch from there, or ask another node", told(.revision), told(.oldest)
    )]
    RevisionGone {
        /// What was asked for, or where the watch was.
        revision: Revision,
        /// The oldest one after which a watch can begin here.
        oldest: Revision,
    },
    /// This node has not applied the revision yet.
    #[error("this node has not applied revision {} yet, it is at log index {applied}", told(.revision))]
    RevisionAhead {
        /// What was asked for.
        revision: Revision,
        /// Log index of the last applied entry.
        applied: u64,
    },
    /// A watch did not read fast enough.
    #[error(
        "the watch did not keep up: it had everything up to revision {}, the oldest remembered here is {}; resume after the \
         last revision that was seen, on another node, or read what matters and watch anew", told(.revision), told(.oldest)
    )]
    WatchTooSlow {
        /// Everything up to this was sent, or did not concern it.
        revision: Revision,
        /// The oldest one after which a watch can begin here.
        oldest: Revision,
    },
    /// The client ended the watch.
    #[error("the watch was stopped by its client")]
    WatchStopped,
    /// The format level was not raised.
    #[error(transparent)]
    RaiseLevel(#[from] RaiseLevelError),
    /// The node is stopping.
    #[error("this node is stopping")]
    Stopping,
    /// A bound of this node was reached. Nothing was done.
    #[error("{limit} is at its limit of {max} on this node; nothing was done")]
    LimitReached {
        /// Name of the limit.
        limit: &'static str,
        /// Its value.
        max: usize,
    },
    /// An operation of a stream has the id of one that is still being worked on. Nothing was done.
    #[error("operation id {id} is already in use by an unanswered operation of this stream; nothing was done")]
    DuplicateOperation {
        /// The id.
        id: u64,
    },
    /// What was compared was never what was found a moment later. Nothing was done.
    #[error("the lock changed hands between {looks} looks at it and the commands that followed; nothing was done")]
    Moving {
        /// How often it was looked at.
        looks: usize,
    },
    /// An outcome of another command came back: a defect.
    #[error("internal error: {command} was answered with the outcome of another command")]
    ForeignOutcome {
        /// What was asked.
        command: &'static str,
    },
}

fn told(revision: &Revision) -> String {
    match revision.ordinal {
        u32::MAX => format!("{} (all of it)", revision.index),
        ordinal => format!("{}.{ordinal}", revision.index),
    }
}

impl CallError {
    /// A bad field.
    pub(crate) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), problem: problem.into() }
    }

    /// When to try again, where sending the same request again may help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        const SOON: Duration = Duration::from_millis(100);
        match self {
            Self::Submit(SubmitError::NoLeader { retry_after })
            | Self::Read(ReadError::NoLeader { retry_after })
            | Self::RaiseLevel(
                RaiseLevelError::Submit(SubmitError::NoLeader { retry_after })
                | RaiseLevelError::Read(ReadError::NoLeader { retry_after }),
            ) => Some(*retry_after),
            Self::Submit(SubmitError::Busy { .. } | SubmitError::Stopping | SubmitError::FateUnknown)
            | Self::Read(ReadError::Stopping)
            | Self::Refused(Refusal::NotFounded)
            | Self::RaiseLevel(
                RaiseLevelError::Submit(SubmitError::Busy { .. } | SubmitError::Stopping | SubmitError::FateUnknown)
                | RaiseLevelError::Read(ReadError::Stopping)
                | RaiseLevelError::Refused(Refusal::NotFounded),
            )
            | Self::RevisionAhead { .. }
            | Self::NotReady { .. }
            | Self::WaitAdrift
            | Self::WaitTooLong
            | Self::Moving { .. }
            | Self::Stopping => Some(SOON),
            Self::Submit(SubmitError::TooLarge { .. } | SubmitError::Level { .. })
            | Self::Refused(
                Refusal::TooLate { .. }
                | Refusal::Invalid { .. }
                | Refusal::LimitReached { .. }
                | Refusal::WrongToken { .. }
                | Refusal::BodyMismatch
                | Refusal::AlreadyAnswered { .. }
                | Refusal::Superseded { .. }
                | Refusal::NoSession { .. }
                | Refusal::LimitConflict { .. }
                | Refusal::NotHeld { .. }
                | Refusal::Level { .. },
            )
            | Self::RaiseLevel(
                RaiseLevelError::Silent { .. }
                | RaiseLevelError::Unsupported { .. }
                | RaiseLevelError::Lower { .. }
                | RaiseLevelError::Submit(SubmitError::TooLarge { .. } | SubmitError::Level { .. })
                | RaiseLevelError::Refused(_),
            )
            | Self::SessionMismatch { .. }
            | Self::RevisionGone { .. }
            | Self::WatchTooSlow { .. }
            | Self::WatchStopped
            | Self::CallerDeadlineKept
            | Self::Invalid { .. }
            | Self::Superseded { .. }
            | Self::CallerDeadline
            | Self::LimitReached { .. }
            | Self::DuplicateOperation { .. }
            | Self::ForeignOutcome { .. } => None,
        }
    }

    /// Whether the same request may be sent again as it is and may fare better.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retry_after().is_some()
    }
}
