//! The grants of one acquire, in a caller's hands: one lock or several, held and lost together or one by one.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::held_lease::HeldLease;
use crate::ids::Token;
use crate::loss::Loss;
use crate::mode::GrantInfo;

/// Shared by a guard and the session that watches over it.
#[derive(Debug)]
pub(crate) struct HeldGrants {
    pub(crate) lease: Arc<HeldLease>,
    /// As granted; at least one.
    pub(crate) grants: Vec<GrantInfo>,
    /// Those that were lost while their lease lives, in the order in which that was heard of.
    losses: Mutex<Vec<(Token, Loss)>>,
    /// Cancelled when one of them, or the lease, is lost.
    lost: CancellationToken,
}

impl HeldGrants {
    pub(crate) fn new(lease: Arc<HeldLease>, grants: Vec<GrantInfo>) -> Self {
        assert!(!grants.is_empty(), "a grant of nothing");
        let lost = lease.lost().child_token();
        Self { lease, grants, losses: Mutex::default(), lost }
    }

    pub(crate) fn first(&self) -> &GrantInfo {
        &self.grants[0]
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = Token> {
        self.grants.iter().map(|grant| grant.token)
    }

    /// Whether all of them are held. Looks at the clock.
    pub(crate) fn is_held(&self, clock: &Clock) -> bool {
        self.lease.is_held(clock) && self.losses.lock().is_empty()
    }

    /// Why the first of them was lost.
    pub(crate) fn loss(&self, clock: &Clock) -> Option<Loss> {
        let first = self.losses.lock().first().map(|(_, loss)| loss.clone());
        first.or_else(|| if self.lease.is_held(clock) { None } else { self.lease.loss() })
    }

    /// Those that were lost, in the order of the grants.
    pub(crate) fn lost_locks(&self, clock: &Clock) -> Vec<(String, Loss)> {
        let with_lease = if self.lease.is_held(clock) { None } else { self.lease.loss() };
        let losses = self.losses.lock();
        let loss_of = |token: Token| losses.iter().find(|(lost, _)| *lost == token).map(|(_, loss)| loss.clone());
        let lost = |grant: &GrantInfo| {
            let loss = loss_of(grant.token).or_else(|| with_lease.clone())?;
            Some((grant.name.clone(), loss))
        };
        self.grants.iter().filter_map(lost).collect()
    }

    /// One of them is no longer held. The first reason stays.
    pub(crate) fn lose(&self, token: Token, loss: Loss) {
        let mut losses = self.losses.lock();
        if losses.iter().all(|(lost, _)| *lost != token) {
            losses.push((token, loss));
        }
        drop(losses);
        self.lost.cancel();
    }

    /// Those that there may still be something to release of: the cluster has not said that they have ended.
    pub(crate) fn releasable(&self) -> Vec<GrantInfo> {
        if self.lease.loss().is_some_and(|loss| loss.is_told() || loss == Loss::Closed) {
            return Vec::new();
        }
        let losses = self.losses.lock();
        let told = |token: Token| losses.iter().any(|(lost, loss)| *lost == token && loss.is_told());
        self.grants.iter().filter(|grant| !told(grant.token)).cloned().collect()
    }

    /// Resolves when one of them is lost.
    pub(crate) async fn until_lost(&self) -> Loss {
        self.lost.cancelled().await;
        let first = self.losses.lock().first().map(|(_, loss)| loss.clone());
        first.or_else(|| self.lease.loss()).unwrap_or(Loss::Closed)
    }

    /// Cancelled when one of them is lost.
    pub(crate) fn lost(&self) -> &CancellationToken {
        &self.lost
    }
}
