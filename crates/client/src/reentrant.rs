//! A lock that its holder within this process may take again.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use crate::Wait;
use crate::acquire::give_up_at;
use crate::actor::Actor;
use crate::builder::LockBuilder;
use crate::client::{Client, ClientCore};
use crate::error::Error;
use crate::guard::Guard;
use crate::runtime::within;
use crate::types::{HeldInfo, Released, TryAcquire};

/// A lock that its holder within this process may take again; see [`Client::reentrant`]. Cheap to clone; all that name the
/// same lock through one client are the same.
///
/// The holder is the [`Actor`] that is named with each acquire, and nobody else: not the thread, not the task that happens
/// to run. While an actor holds the lock, the same actor gets it again at once, with the same token; it is given back with
/// the last of its guards. Any other actor, of this process or another, waits its turn in the cluster's queue. Tasks that
/// share an actor share the lock.
///
/// ```no_run
/// # async fn example(client: leasehold_client::Client) -> Result<(), leasehold_client::Error> {
/// let lock = client.reentrant("ledger");
/// let me = client.actor("bookkeeper");
/// let outer = lock.acquire(&me).await?;
/// let inner = lock.acquire(&me).await?; // at once
/// assert_eq!(inner.token(), outer.token());
/// inner.release().await?; // held still
/// outer.release().await?; // given back
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ReentrantLock {
    client: Client,
    name: Arc<str>,
}

impl ReentrantLock {
    pub(crate) fn new(shared: Arc<ClientCore>, name: String) -> Self {
        Self { client: Client { shared }, name: name.into() }
    }

    /// The lock's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes the lock again, or waits in its queue until it is granted. [`Error::Deadlock`] if the holder would wait for
    /// itself through others.
    pub async fn acquire(&self, holder: &Actor) -> Result<ReentrantGuard, Error> {
        let entry = self.entry(holder);
        let mut slot = entry.slot.lock().await;
        if let Some(held) = again(&slot) {
            return Ok(held);
        }
        Ok(self.entered(&entry, &mut slot, self.builder(holder).acquire().await?))
    }

    /// Takes the lock again, or if it is free now. Held, by nobody in particular, while another task of the same actor is
    /// asking for it.
    pub async fn try_acquire(&self, holder: &Actor) -> Result<TryAcquire<ReentrantGuard>, Error> {
        let entry = self.entry(holder);
        let Ok(mut slot) = entry.slot.try_lock() else {
            let held = HeldInfo { name: self.name.to_string(), ..HeldInfo::default() };
            return Ok(TryAcquire::Held(held));
        };
        if let Some(held) = again(&slot) {
            return Ok(TryAcquire::Acquired(held));
        }
        let tried = self.builder(holder).try_acquire().await?;
        Ok(tried.map(|guard| self.entered(&entry, &mut slot, guard)))
    }

    /// Takes the lock again, or waits at most this long; `None` if that was not long enough.
    pub async fn acquire_timeout(&self, holder: &Actor, wait: Duration) -> Result<Option<ReentrantGuard>, Error> {
        let inner = self.client.inner();
        let end = give_up_at(inner, Wait::For(wait)).unwrap_or_else(|| inner.clock.now());
        let entry = self.entry(holder);
        let Some(mut slot) = within(wait, entry.slot.lock()).await else { return Ok(None) };
        if let Some(held) = again(&slot) {
            return Ok(Some(held));
        }
        // No time is left after a wait for another task of the same actor: a look at the queue is taken all the same.
        let left = inner.left_until(end).max(Duration::from_millis(1));
        let acquired = self.builder(holder).acquire_timeout(left).await?;
        Ok(acquired.map(|guard| self.entered(&entry, &mut slot, guard)))
    }

    fn builder(&self, holder: &Actor) -> LockBuilder {
        self.client.lock(&*self.name).actor(holder)
    }

    fn entry(&self, holder: &Actor) -> Use {
        self.client.shared.reentries.using(Key { name: self.name.clone(), holder: holder.clone() })
    }

    fn entered(&self, entry: &Use, slot: &mut Weak<Held>, guard: Guard) -> ReentrantGuard {
        let held = Arc::new(Held { guard: Some(guard), _use: entry.again() });
        *slot = Arc::downgrade(&held);
        ReentrantGuard { held }
    }
}

impl fmt::Debug for ReentrantLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReentrantLock").field(&self.name).finish()
    }
}

/// The lock once more, if this actor holds it, and has not lost it.
fn again(slot: &Weak<Held>) -> Option<ReentrantGuard> {
    let held = slot.upgrade()?;
    let guard = ReentrantGuard { held };
    guard.is_held().then_some(guard)
}

/// One of a holder's guards of a re-entrant lock. Whatever [`Guard`] tells, it tells of all of them.
#[must_use = "the lock is given back with the last guard of its holder"]
pub struct ReentrantGuard {
    held: Arc<Held>,
}

impl ReentrantGuard {
    /// How many guards the holder has of the lock now.
    #[must_use]
    pub fn depth(&self) -> usize {
        Arc::strong_count(&self.held)
    }

    /// Gives this one back. With the last one the lock is given back, and that is waited for; `None`: it is held still.
    pub async fn release(self) -> Result<Option<Released>, Error> {
        match Arc::into_inner(self.held).and_then(|mut held| held.guard.take()) {
            Some(guard) => guard.release().await.map(Some),
            None => Ok(None),
        }
    }
}

impl Deref for ReentrantGuard {
    type Target = Guard;

    fn deref(&self) -> &Guard {
        match &self.held.guard {
            Some(guard) => guard,
            None => unreachable!("taken only by the last one's release"),
        }
    }
}

impl fmt::Debug for ReentrantGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReentrantGuard").field("guard", &self.held.guard).field("depth", &self.depth()).finish()
    }
}

struct Held {
    guard: Option<Guard>,
    _use: Use,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    name: Arc<str>,
    holder: Actor,
}

/// Locked by the one task of an actor that asks the cluster.
type Slot = tokio::sync::Mutex<Weak<Held>>;

/// Who holds or asks for which re-entrant lock.
#[derive(Default)]
pub(crate) struct Reentries(Mutex<HashMap<Key, (usize, Arc<Slot>)>>);

impl Reentries {
    fn using(self: &Arc<Self>, key: Key) -> Use {
        let mut entries = self.0.lock();
        let (uses, slot) = entries.entry(key.clone()).or_default();
        *uses += 1;
        Use { slot: slot.clone(), key, entries: self.clone() }
    }
}

/// Keeps an entry in the table.
struct Use {
    slot: Arc<Slot>,
    key: Key,
    entries: Arc<Reentries>,
}

impl Use {
    fn again(&self) -> Self {
        self.entries.using(self.key.clone())
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut entries = self.entries.0.lock();
        if let Some((uses, _)) = entries.get_mut(&self.key) {
            *uses -= 1;
            if *uses == 0 {
                entries.remove(&self.key);
            }
        }
    }
}
