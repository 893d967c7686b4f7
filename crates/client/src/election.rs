//! Leader election on a lock: who holds it leads, with a token, and a value for others to read.

use std::fmt;
use std::time::Duration;

use leasehold_proto::v1;
use tokio_util::sync::CancellationToken;

use crate::builder::LockBuilder;
use crate::client::Client;
use crate::error::Error;
use crate::guard::Guard;
use crate::ids::{LeaseId, Token};
use crate::loss::Loss;
use crate::observe::Observe;
use crate::types::{Released, TryAcquire, ValueSet};

/// Attempts at a value that somebody else with the token changes at the same time.
const PROCLAIM_TRIES: u32 = 8;

/// An election; see [`Client::election`]. Its candidates queue for the lock of its name, so they lead in the order in which
/// they came. Cheap to clone.
///
/// ```no_run
/// # async fn example(client: leasehold_client::Client) -> Result<(), leasehold_client::Error> {
/// let mut leadership = client.election("scheduler").campaign("10.0.0.7:9000").await?;
/// // … lead, and pass leadership.token() to whatever is written to …
/// leadership.proclaim("10.0.0.7:9001").await?;
/// leadership.resign().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Election {
    client: Client,
    name: String,
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The fencing token of its leadership: greater than that of every leader before.
    pub token: Token,
    /// Who it says it is.
    pub owner: String,
    /// The session that its leadership hangs on.
    pub lease: LeaseId,
    /// What it says about itself.
    pub metadata: String,
    /// What it proclaims.
    pub value: Vec<u8>,
    /// How often it has changed that.
    pub version: u64,
}

impl Leader {
    /// The leader among a lock's holders.
    pub(crate) fn of(lock: v1::LockInfo) -> Option<Self> {
        let holder = lock.holders.into_iter().find(|holder| holder.mode() == v1::Mode::Exclusive)?;
        let v1::Holder { token, owner, lease, metadata, value, version, .. } = holder;
        Some(Self { token: Token(token), owner, lease: LeaseId(lease), metadata, value, version })
    }
}

impl Election {
    pub(crate) fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Its name, which is the lock's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits to lead, after the candidates that came before. Safe to drop: the candidacy ends.
    pub async fn campaign(&self, value: impl Into<Vec<u8>>) -> Result<Leadership, Error> {
        let value = value.into();
        Ok(Leadership::new(self.candidate(&value).acquire().await?, value))
    }

    /// The same, at most this long; `None` if that was not long enough.
    pub async fn campaign_timeout(
        &self,
        value: impl Into<Vec<u8>>,
        wait: Duration,
    ) -> Result<Option<Leadership>, Error> {
        let value = value.into();
        Ok(self.candidate(&value).acquire_timeout(wait).await?.map(|guard| Leadership::new(guard, value)))
    }

    /// Leads if nobody else does now.
    pub async fn try_campaign(&self, value: impl Into<Vec<u8>>) -> Result<TryAcquire<Leadership>, Error> {
        let value = value.into();
        Ok(self.candidate(&value).try_acquire().await?.map(|guard| Leadership::new(guard, value)))
    }

    fn candidate(&self, value: &[u8]) -> LockBuilder {
        self.client.lock(&self.name).value(value)
    }

    /// Who leads now, if anybody does. Linearizable.
    pub async fn leader(&self) -> Result<Option<Leader>, Error> {
        Ok(Leader::of(self.client.get(&self.name).await?))
    }

    /// The leaders, as they come and as they change what they proclaim, from the present one on. Goes on across reconnects
    /// and failover; never goes back to an older token or version; changes that follow each other quickly may be told as
    /// one.
    pub fn observe(&self) -> Observe {
        Observe::new(&self.client, &self.name)
    }
}

/// Leads, until it resigns, is dropped, or the leadership is lost.
#[must_use = "a leadership that is dropped is resigned"]
pub struct Leadership {
    guard: Guard,
    value: Vec<u8>,
    version: u64,
}

impl Leadership {
    fn new(guard: Guard, value: Vec<u8>) -> Self {
        Self { guard, value, version: 0 }
    }

    /// The fencing token of this leadership: pass it to whatever the leader writes to.
    #[must_use]
    pub fn token(&self) -> Token {
        self.guard.token()
    }

    /// What it proclaimed last.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// How often that was changed.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The lock that the leadership consists in.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Whether it leads by this client's clock, and nobody has said otherwise.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.guard.is_held()
    }

    /// Why the leadership was lost, if it was.
    #[must_use]
    pub fn loss(&self) -> Option<Loss> {
        self.guard.loss()
    }

    /// Resolves when the leadership is lost, with the reason.
    pub async fn lost(&self) -> Loss {
        self.guard.lost().await
    }

    /// A token that is cancelled when the leadership is lost, for work that only a leader does.
    #[must_use]
    pub fn cancellation_token(&self) -> CancellationToken {
        self.guard.cancellation_token()
    }

    /// Replaces the value that others see. [`Error::NotHeld`] if it does not lead any more.
    pub async fn proclaim(&mut self, value: impl Into<Vec<u8>>) -> Result<(), Error> {
        let value = value.into();
        for _ in 0..PROCLAIM_TRIES {
            match self.guard.set_value(self.version, value.clone()).await? {
                ValueSet::Set { version } => {
                    self.version = version;
                    self.value = value;
                    return Ok(());
                }
                // An earlier proclamation of ours whose future was dropped, most likely. This one is the newer one.
                ValueSet::Conflict { version } => self.version = version,
                ValueSet::NotHeld { reason } => return Err(Error::NotHeld { reason }),
            }
        }
        Err(Error::Server {
            message: format!("the value was changed by somebody else {PROCLAIM_TRIES} times in a row"),
        })
    }

    /// Lets the next candidate lead. Goes on in the background if the future is dropped.
    pub async fn resign(self) -> Result<Released, Error> {
        self.guard.release().await
    }
}

impl fmt::Debug for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leadership").field("guard", &self.guard).field("version", &self.version).finish()
    }
}
