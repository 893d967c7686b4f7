//! Who within a process asks for a lock.

use std::fmt;
use std::sync::Arc;

use leasehold_platform::random;
use rand::Rng;

/// A task of this process, by a name of its own. It stands for the task in the cluster's search for deadlocks, and it is
/// who holds a [`ReentrantLock`](crate::ReentrantLock). Nothing is read from the thread or the task that happens to run:
/// who passes the same actor on *is* that actor. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Actor(Arc<str>);

impl Actor {
    /// An actor of that name: 1 to 128 bytes (a limit of the namespace). Names count within one session.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into().into())
    }

    /// An actor whose name nobody else has.
    #[must_use]
    pub fn unique() -> Self {
        Self(format!("task-{:016x}", random::rng().random::<u64>()).into())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Actor({})", self.0)
    }
}

impl From<&Self> for Actor {
    fn from(actor: &Self) -> Self {
        actor.clone()
    }
}

impl From<&str> for Actor {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Actor {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}
