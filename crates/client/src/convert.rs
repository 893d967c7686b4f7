//! Upgrade and downgrade: from one grant to the one that replaces it, without letting go of the lock.
//!
//! A conversion that nobody waits for any more is cancelled. The lock stays held either way: under the old token, or under
//! the new one where the grant raced the cancel. Until that is known, the lock is neither used nor given back.

use std::sync::Arc;

use leasehold_proto::v1;
use tokio::sync::watch;

use crate::acquire::{Obtained, Wait, give_up_at, obtain};
use crate::error::Error;
use crate::guard::Guard;
use crate::hold::Hold;
use crate::ids::Token;
use crate::inner::ERRAND_MAX;
use crate::loss::{Loss, remembered};
use crate::mode::{Exclusive, GrantInfo, LockMode, LockSpec, Shared};
use crate::request::{AcquireSpec, CancelledAs, Fate, FateSender, LeaseSpec};
use crate::runtime::within;
use crate::session::Asking;
use crate::types::{Deadlock, HeldInfo};

/// Why a lock was not upgraded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpgradeFailure {
    /// The wait was not long enough.
    TimedOut,
    /// A try found others sharing the lock.
    Held(HeldInfo),
    /// Another holder is waiting to upgrade already, and waits for this one; or a longer cycle of waits would close.
    Deadlock(Deadlock),
    /// The lock is not held any more.
    Lost(Loss),
    /// There was no answer, or a refusal.
    Failed(Error),
}

/// A lock that was not upgraded, with its guard.
#[derive(Debug)]
pub struct NotUpgraded {
    /// The lock as it was: shared. Its token may be another one, where an upgrade that came too late was undone.
    pub guard: Guard<Shared>,
    /// Why.
    pub why: UpgradeFailure,
}

/// A lock that was not downgraded, with its guard.
#[derive(Debug)]
pub struct NotDowngraded {
    /// The lock as it was: exclusive, or lost.
    pub guard: Guard<Exclusive>,
    /// Why.
    pub error: Error,
}

/// A shared lock that is to become exclusive. Dropping an attempt's future leaves it shared; dropping this gives the lock
/// back.
///
/// ```no_run
/// # async fn example(client: leasehold_client::Client, enough: tokio::sync::Notify) -> Result<(), leasehold_client::Error> {
/// # use leasehold_client::Wait;
/// let shared = client.lock("catalogue").shared().acquire().await?;
/// let mut upgrade = shared.begin_upgrade();
/// tokio::select! {
///     outcome = upgrade.attempt(Wait::Forever) => if let Ok(exclusive) = outcome {
///         // … write …
///         exclusive.release().await?;
///     },
///     () = enough.notified() => {}
/// }
/// if let Some(shared) = upgrade.give_up().await {
///     // … read on …
///     shared.release().await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "an upgrade that is dropped gives the lock back"]
pub struct Upgrade {
    conversion: Conversion,
}

impl Upgrade {
    pub(crate) fn new(guard: Guard<Shared>) -> Self {
        Self { conversion: Conversion::new(guard.into_hold(), LockMode::Exclusive) }
    }

    /// Tries, or waits until nobody else shares the lock. After a success there is nothing left to attempt. Dropping the
    /// future cancels the attempt in the background.
    pub async fn attempt(&mut self, wait: Wait) -> Result<Guard<Exclusive>, UpgradeFailure> {
        self.conversion.run(wait).await.map(Guard::new)
    }

    /// The shared lock back. Waits until an attempt that was dropped is known to be over; one that had succeeded by then is
    /// undone by a downgrade, which gives the lock another token. `None` after a success.
    pub async fn give_up(mut self) -> Option<Guard<Shared>> {
        if let Some(token) = self.conversion.settled().await {
            let exclusive = self.conversion.converted(token)?;
            return match downgrade(Guard::new(exclusive)).await {
                Ok(shared) => Some(shared),
                // It is lost, and its guard says why; how it was held does not matter any more.
                Err(NotDowngraded { guard, .. }) => Some(Guard::new(guard.into_hold())),
            };
        }
        self.conversion.take().map(Guard::new)
    }

    /// One attempt; if it fails, the shared lock back.
    pub(crate) async fn finish(mut self, wait: Wait) -> Result<Guard<Exclusive>, NotUpgraded> {
        let why = match self.attempt(wait).await {
            Ok(exclusive) => return Ok(exclusive),
            Err(why) => why,
        };
        match self.give_up().await {
            Some(guard) => Err(NotUpgraded { guard, why }),
            None => unreachable!("an attempt that failed leaves the shared lock"),
        }
    }
}

/// Converts down, asking until it is answered or the lock is lost.
pub(crate) async fn downgrade(guard: Guard<Exclusive>) -> Result<Guard<Shared>, NotDowngraded> {
    let mut conversion = Conversion::new(guard.into_hold(), LockMode::Shared);
    let error = loop {
        match conversion.run(Wait::Try).await {
            Ok(hold) => return Ok(Guard::new(hold)),
            Err(UpgradeFailure::Failed(error)) if error.is_retryable() && !conversion.is_lost() => {
                tracing::debug!(%error, "a downgrade is asked for again");
            }
            Err(UpgradeFailure::Failed(error)) => break error,
            Err(UpgradeFailure::Lost(Loss::Ended { reason, .. })) => break Error::NotHeld { reason },
            Err(UpgradeFailure::Lost(loss)) => break Error::SessionLost { loss },
            Err(other) => break Error::Server { message: format!("a downgrade came to {other:?}") },
        }
    };
    match conversion.take() {
        Some(hold) => Err(NotDowngraded { guard: Guard::new(hold), error }),
        None => unreachable!("a conversion that failed leaves the lock"),
    }
}

/// A lock on its way from one grant to another.
#[derive(Debug)]
struct Conversion {
    /// None once it has succeeded, or was taken back.
    hold: Option<Hold>,
    to: LockMode,
    fate: FateSender,
    /// While somebody listens, cancels are repeated.
    listening: watch::Receiver<Fate>,
    /// From the first attempt on: that the grant is converted is no loss.
    asking: Option<Asking>,
}

impl Conversion {
    fn new(hold: Hold, to: LockMode) -> Self {
        let (fate, listening) = watch::channel(Fate::Settled);
        Self { hold: Some(hold), to, fate: Arc::new(fate), listening, asking: None }
    }

    fn is_lost(&self) -> bool {
        self.hold.as_ref().is_none_or(|hold| !hold.is_held())
    }

    async fn run(&mut self, wait: Wait) -> Result<Hold, UpgradeFailure> {
        // What an earlier attempt, dropped, came to.
        if let Some(token) = self.settled().await {
            return self.converted(token).ok_or(UpgradeFailure::Failed(Error::Closed));
        }
        let Some(hold) = &self.hold else {
            let problem = "this upgrade has succeeded already".to_owned();
            return Err(UpgradeFailure::Failed(Error::Options { field: "upgrade", problem }));
        };
        if let Some(loss) = hold.loss() {
            return Err(UpgradeFailure::Lost(loss));
        }
        if self.asking.is_none() {
            self.asking = hold.converting();
        }
        let spec = self.spec(hold);
        let give_up = give_up_at(&hold.inner, wait);
        let obtained = tokio::select! {
            biased;
            obtained = obtain(&hold.inner, &spec, wait, give_up, Some(&self.fate)) => obtained,
            loss = hold.grants.until_lost() => return Err(UpgradeFailure::Lost(loss)),
        };
        match obtained {
            Ok(Obtained::Acquired(acquired)) => {
                self.converted(acquired.token).ok_or(UpgradeFailure::Failed(Error::Closed))
            }
            Ok(Obtained::Held(held)) => Err(UpgradeFailure::Held(held)),
            Ok(Obtained::TimedOut) => Err(UpgradeFailure::TimedOut),
            Ok(Obtained::Deadlock(deadlock)) => Err(UpgradeFailure::Deadlock(deadlock)),
            Ok(Obtained::Ended(reason)) => Err(self.lost(reason)),
            Err(Error::NotHeld { reason }) => Err(self.lost(reason.unwrap_or_default())),
            Err(error) => match self.settled().await {
                Some(token) => self.converted(token).ok_or(UpgradeFailure::Failed(Error::Closed)),
                None => Err(UpgradeFailure::Failed(error)),
            },
        }
    }

    fn spec(&self, hold: &Hold) -> AcquireSpec {
        let grant = hold.grants.first();
        AcquireSpec {
            namespace: hold.namespace.clone(),
            locks: vec![LockSpec { name: grant.name.clone(), mode: self.to }],
            owner: String::new(),
            metadata: String::new(),
            lease: LeaseSpec::Convert(grant.token),
            // A convert keeps the actor of its grant.
            actor: String::new(),
            lock_delay_ms: 0,
            value: Vec::new(),
        }
    }

    /// The lock under its new grant.
    fn converted(&mut self, token: Token) -> Option<Hold> {
        let hold = self.hold.take()?;
        let name = hold.grants.first().name.clone();
        let converted = hold.converted(GrantInfo { name, mode: self.to, token });
        // After the new grant is watched over: the news of its end may have come first.
        self.asking = None;
        self.fate.send_replace(Fate::Settled);
        Some(converted)
    }

    /// The cluster says that the grant has ended.
    fn lost(&self, reason: v1::LossReason) -> UpgradeFailure {
        let loss = Loss::Ended { reason: remembered(reason), note: String::new() };
        let Some(hold) = &self.hold else { return UpgradeFailure::Lost(loss) };
        hold.grants.lose(hold.grants.first().token, loss.clone());
        // The watch may have told more.
        UpgradeFailure::Lost(hold.loss().unwrap_or(loss))
    }

    /// Waits until no request is under way. The token, if one of them has converted the lock.
    async fn settled(&mut self) -> Option<Token> {
        let hold = self.hold.as_ref()?;
        let mut fate = self.listening.clone();
        let over = async {
            match fate.wait_for(|fate| *fate != Fate::Cancelling).await.as_deref() {
                Ok(Fate::Cancelled(cancelled)) => Some(*cancelled),
                Ok(Fate::Settled | Fate::Cancelling) | Err(_) => None,
            }
        };
        let cancelled = tokio::select! {
            biased;
            cancelled = over => cancelled,
            _ = hold.grants.until_lost() => None,
        };
        match cancelled {
            Some(CancelledAs::Kept(token)) => Some(token),
            Some(CancelledAs::Gone) | None => None,
        }
    }

    /// The lock back, as it is held: no request may be under way, unless it is lost.
    fn take(&mut self) -> Option<Hold> {
        self.asking = None;
        self.hold.take()
    }
}

impl Drop for Conversion {
    fn drop(&mut self) {
        if *self.fate.borrow() == Fate::Settled {
            return;
        }
        let Some(mut hold) = self.hold.take() else { return };
        // Whoever drops it wants the lock given back, under whichever token it is held.
        hold.abandon();
        let (inner, mut fate, asking) = (hold.inner.clone(), self.listening.clone(), self.asking.take());
        inner.spawner.clone().spawn_errand(async move {
            let _asking = asking;
            let over = within(ERRAND_MAX, fate.wait_for(|fate| *fate != Fate::Cancelling)).await;
            let mut grant = hold.grants.first().clone();
            if let Some(Fate::Cancelled(CancelledAs::Kept(token))) = over.and_then(|fate| fate.as_deref().ok().copied())
            {
                grant.token = token;
            }
            let deadline = hold.inner.clock.now().after(ERRAND_MAX);
            if let Err(error) = hold.inner.release_grants(&hold.namespace, &[grant], deadline).await {
                tracing::warn!(%error, "a lock was not released, it runs out by itself");
            }
        });
    }
}
