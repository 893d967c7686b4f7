//! Several held locks, in a caller's hands.

use std::fmt;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::guard::left_at_most;
use crate::hold::Hold;
use crate::ids::{LeaseId, SessionId, Token};
use crate::loss::Loss;
use crate::mode::GrantInfo;
use crate::types::ReleasedLock;

/// Several locks that were granted at once, with a token each. Kept alive in the background and given back together. The
/// guard counts as lost when the first of them is.
#[must_use = "a guard that is dropped gives the locks back"]
pub struct MultiGuard {
    hold: Hold,
}

impl MultiGuard {
    pub(crate) fn new(hold: Hold) -> Self {
        Self { hold }
    }

    /// The locks, in the order in which they were asked for, each with its token.
    #[must_use]
    pub fn grants(&self) -> &[GrantInfo] {
        &self.hold.grants.grants
    }

    /// The fencing token of one of the locks.
    #[must_use]
    pub fn token_of(&self, name: &str) -> Option<Token> {
        self.grants().iter().find(|grant| grant.name == name).map(|grant| grant.token)
    }

    /// The lease or session that the locks hang on.
    #[must_use]
    pub fn lease(&self) -> &LeaseId {
        &self.hold.grants.lease.lease
    }

    /// The session that the locks hang on, unless they have a lease of their own.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.hold.session()
    }

    /// Whether all of them are held by this client's clock, and nobody has said otherwise. Looks at the clock itself.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.hold.is_held()
    }

    /// How long they are safe to count on if no renewal succeeds any more. Zero once one is lost.
    #[must_use]
    pub fn deadline_left(&self) -> Duration {
        self.hold.deadline_left()
    }

    /// Why the first of them was lost, if one was.
    #[must_use]
    pub fn loss(&self) -> Option<Loss> {
        self.hold.loss()
    }

    /// Those that were lost, and why. The others are held still.
    #[must_use]
    pub fn lost_locks(&self) -> Vec<(String, Loss)> {
        self.hold.grants.lost_locks(&self.hold.inner.clock)
    }

    /// Resolves when one of them is lost, with the reason; [`MultiGuard::lost_locks`] says which.
    pub async fn lost(&self) -> Loss {
        self.hold.grants.until_lost().await
    }

    /// Resolves when at most `margin` is left, or one of them is lost.
    pub async fn left_at_most(&self, margin: Duration) {
        left_at_most(margin, self.hold.grants.lost(), || self.deadline_left()).await;
    }

    /// A token that is cancelled when one of them is lost.
    #[must_use]
    pub fn cancellation_token(&self) -> CancellationToken {
        self.hold.grants.lost().child_token()
    }

    /// Gives all of them back, in one log entry, and waits for the answer: one for each, in the order of the grants. Goes
    /// on in the background if the future is dropped.
    pub async fn release(self) -> Result<Vec<ReleasedLock>, Error> {
        self.hold.release().await
    }
}

impl fmt::Debug for MultiGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultiGuard").field("grants", &self.grants()).field("loss", &self.loss()).finish()
    }
}
