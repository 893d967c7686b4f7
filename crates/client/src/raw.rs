//! Acquiring without a guard: what command lines and gateways do, which hand the token on and forget it.

use std::sync::Arc;
use std::time::Duration;

use crate::acquire::{Obtained, Wait, give_up_at, obtain};
use crate::actor::Actor;
use crate::client::ClientCore;
use crate::draft::{Draft, Under};
use crate::error::Error;
use crate::ids::SessionId;
use crate::inner::Inner;
use crate::loss::remembered;
use crate::mode::LockSpec;
use crate::options::TTL_DEFAULT;
use crate::request::{AcquireSpec, LeaseSpec};
use crate::types::Acquisition;

/// An acquire without a guard in the making; see [`Client::raw`](crate::Client::raw). Nobody renews what it is granted, and
/// nobody gives it back.
#[derive(Debug, Clone)]
#[must_use = "nothing is asked until run"]
pub struct RawAcquire {
    draft: Draft,
}

impl RawAcquire {
    pub(crate) fn new(shared: Arc<ClientCore>, locks: Vec<LockSpec>) -> Self {
        let mut draft = Draft::new(shared, Under::Default, locks);
        draft.ttl(TTL_DEFAULT);
        Self { draft }
    }

    /// Time to live of the lease that the grants make, instead of one in a session. Default 30 s.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.draft.ttl(ttl);
        self
    }

    /// Hangs the grants on this session, which somebody keeps alive.
    pub fn session(mut self, session: SessionId) -> Self {
        self.draft.spec.lease = LeaseSpec::Session(session);
        self
    }

    /// Who asks: shown to others, no authority. Default: the client's owner, or the session's.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.draft.spec.owner = owner.into();
        self
    }

    /// A text that others see with the holder.
    pub fn metadata(mut self, metadata: impl Into<String>) -> Self {
        self.draft.spec.metadata = metadata.into();
        self
    }

    /// A value that others see on each grant, as its version 0.
    pub fn value(mut self, value: impl Into<Vec<u8>>) -> Self {
        self.draft.spec.value = value.into();
        self
    }

    /// How long nobody gets the locks after these grants expired or were ended by force. Default: no time at all.
    pub fn lock_delay(mut self, delay: Duration) -> Self {
        self.draft.lock_delay(delay);
        self
    }

    /// Who within the session asks; only with a session.
    pub fn actor(mut self, actor: impl Into<Actor>) -> Self {
        self.draft.spec.actor = actor.into().name().to_owned();
        self
    }

    /// Asks. Safe to drop: what it had asked for is cancelled in the background.
    pub async fn run(self, wait: Wait) -> Result<Acquisition, Error> {
        acquire_raw(self.draft.inner(), &self.draft.checked_spec()?, wait).await
    }
}

/// Acquires, and hands over what that came to as it is.
pub(crate) async fn acquire_raw(inner: &Arc<Inner>, spec: &AcquireSpec, wait: Wait) -> Result<Acquisition, Error> {
    let give_up = give_up_at(inner, wait);
    match obtain(inner, spec, wait, give_up, None).await? {
        Obtained::Acquired(acquired) => Ok(Acquisition::Acquired(acquired)),
        Obtained::Held(held) => Ok(Acquisition::Held(held)),
        Obtained::TimedOut => Ok(Acquisition::TimedOut),
        Obtained::Deadlock(deadlock) => Ok(Acquisition::Deadlock(deadlock)),
        Obtained::Ended(reason) => Err(Error::NotHeld { reason: remembered(reason) }),
    }
}
