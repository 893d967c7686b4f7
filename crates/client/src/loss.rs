//! Why a lock or a session is no longer held.

use std::fmt;

use leasehold_proto::v1::LossReason;

/// Why a lock, or the session that it hung on, was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// Its lease or session was not renewed in time, by this client's own clock. The cluster gives the locks away later
    /// than that, never earlier.
    Expired,
    /// The cluster says that the grant has ended.
    Ended {
        /// Why, where that is remembered.
        reason: Option<LossReason>,
        /// What a forced release said; empty otherwise, and for a lease of its own, which no watch is kept on.
        note: String,
    },
    /// The cluster says that the session has ended, and every grant under it.
    SessionEnded {
        /// Why, where that is remembered.
        reason: Option<LossReason>,
    },
    /// This process closed the session or the client.
    Closed,
}

impl Loss {
    /// A grant's end as the cluster tells it.
    pub(crate) fn of_grant(reason: LossReason, note: &str) -> Self {
        Self::Ended { reason: remembered(reason), note: note.to_owned() }
    }

    /// Whether the cluster itself said so: then there is nothing left to release.
    pub(crate) fn is_told(&self) -> bool {
        matches!(self, Self::Ended { .. } | Self::SessionEnded { .. })
    }
}

/// `None` for "not remembered".
pub(crate) fn remembered(reason: LossReason) -> Option<LossReason> {
    (reason != LossReason::Unspecified).then_some(reason)
}

/// `lease closed` for `LOSS_REASON_LEASE_CLOSED`.
pub(crate) fn in_words(reason: LossReason) -> String {
    reason.as_str_name().trim_start_matches("LOSS_REASON_").to_lowercase().replace('_', " ")
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, reason, note) = match self {
            Self::Expired => return f.write_str("its lease was not renewed in time"),
            Self::Closed => return f.write_str("the client was closed"),
            Self::Ended { reason, note } => ("it", reason, note.as_str()),
            Self::SessionEnded { reason } => ("its session", reason, ""),
        };
        write!(f, "the cluster says that {what} has ended")?;
        if let Some(reason) = reason {
            write!(f, ": {}", in_words(*reason))?;
        }
        if note.is_empty() { Ok(()) } else { write!(f, " ({note})") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_was_lost_and_why() {
        let forced = Loss::of_grant(LossReason::Forced, "host is gone");
        assert_eq!(forced.to_string(), "the cluster says that it has ended: forced (host is gone)");
        let closed = Loss::SessionEnded { reason: Some(LossReason::LeaseClosed) };
        assert_eq!(closed.to_string(), "the cluster says that its session has ended: lease closed");
        assert_eq!(Loss::of_grant(LossReason::Unspecified, ""), Loss::Ended { reason: None, note: String::new() });
    }
}
