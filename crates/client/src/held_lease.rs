//! A lease or session that this client keeps, as its own clock sees it.

use std::time::Duration;

use leasehold_proto::v1::LossReason;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Moment};
use crate::ids::LeaseId;
use crate::loss::{Loss, remembered};

/// What a lease is to the grants that hang on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseKind {
    /// Made with one acquire, and gone with it.
    Own,
    /// Opened by this client, for many.
    Session,
}

/// Shared by guards, sessions and the keeper.
#[derive(Debug)]
pub(crate) struct HeldLease {
    pub(crate) lease: LeaseId,
    pub(crate) kind: LeaseKind,
    /// What it was asked to live; its renewals are spaced by this.
    pub(crate) ttl: Duration,
    state: Mutex<State>,
    lost: CancellationToken,
    /// Told when not all of its grants may be held any more, though it lives.
    pub(crate) in_doubt: Notify,
}

#[derive(Debug)]
struct State {
    deadline: Moment,
    /// Grants under it that were ended by force, by the last renewal.
    forced: u64,
    loss: Option<Loss>,
}

impl HeldLease {
    pub(crate) fn new(kind: LeaseKind, lease: LeaseId, ttl: Duration, deadline: Moment) -> Self {
        let state = Mutex::new(State { deadline, forced: 0, loss: None });
        Self { lease, kind, ttl, state, lost: CancellationToken::new(), in_doubt: Notify::new() }
    }

    pub(crate) fn deadline(&self) -> Moment {
        self.state.lock().deadline
    }

    /// Looks at the clock; once lost, lost for ever.
    pub(crate) fn is_held(&self, clock: &Clock) -> bool {
        let mut state = self.state.lock();
        if state.loss.is_none() && clock.now() >= state.deadline {
            state.loss = Some(Loss::Expired);
            drop(state);
            self.lost.cancel();
            return false;
        }
        state.loss.is_none()
    }

    /// An answer said that it lives until then at least. Answers may come in any order: the latest moment counts.
    pub(crate) fn extend(&self, deadline: Moment) {
        let mut state = self.state.lock();
        state.deadline = state.deadline.max(deadline);
    }

    /// A renewal said that so many of its grants were ended by force so far: news of that may have been lost.
    pub(crate) fn forced(&self, count: u64) {
        let mut state = self.state.lock();
        if count > state.forced {
            state.forced = count;
            drop(state);
            self.in_doubt.notify_one();
        }
    }

    /// The first reason stays.
    pub(crate) fn lose(&self, loss: Loss) {
        self.state.lock().loss.get_or_insert(loss);
        self.lost.cancel();
    }

    /// The cluster says that it has ended.
    pub(crate) fn ended(&self, reason: LossReason) {
        self.lose(match self.kind {
            LeaseKind::Own => Loss::of_grant(reason, ""),
            LeaseKind::Session => Loss::SessionEnded { reason: remembered(reason) },
        });
    }

    pub(crate) fn loss(&self) -> Option<Loss> {
        self.state.lock().loss.clone()
    }

    /// Cancelled when it is lost.
    pub(crate) fn lost(&self) -> &CancellationToken {
        &self.lost
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::clock::TimeSource;

    #[derive(Default)]
    struct ByHand(AtomicU64);

    impl TimeSource for Arc<ByHand> {
        fn boottime(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed))
        }
    }

    fn lease_of_one_second(kind: LeaseKind) -> (HeldLease, Clock, Arc<ByHand>) {
        let hand = Arc::new(ByHand::default());
        let clock = Clock::new(Arc::new(hand.clone()));
        let ttl = Duration::from_secs(1);
        (HeldLease::new(kind, "ab".into(), ttl, clock.now().after(ttl)), clock, hand)
    }

    #[test]
    fn it_is_lost_at_its_deadline_and_stays_lost() {
        let (lease, clock, hand) = lease_of_one_second(LeaseKind::Own);
        hand.0.store(999, Ordering::Relaxed);
        assert!(lease.is_held(&clock));
        hand.0.store(1_000, Ordering::Relaxed);
        assert!(!lease.is_held(&clock));
        assert!(lease.lost().is_cancelled());
        lease.extend(clock.now().after(Duration::from_secs(5)));
        assert!(!lease.is_held(&clock), "an answer after the loss revives nothing");
        assert_eq!(lease.loss(), Some(Loss::Expired));
    }

    #[test]
    fn an_older_answer_never_shortens_it() {
        let (lease, clock, hand) = lease_of_one_second(LeaseKind::Own);
        let start = clock.now();
        lease.extend(start.after(Duration::from_millis(1_500)));
        lease.extend(start.after(Duration::from_millis(1_200)));
        hand.0.store(1_400, Ordering::Relaxed);
        assert!(lease.is_held(&clock));
        assert_eq!(lease.deadline(), start.after(Duration::from_millis(1_500)));
    }

    #[test]
    fn the_first_reason_stays() {
        let (lease, _, _) = lease_of_one_second(LeaseKind::Session);
        lease.ended(LossReason::Expired);
        lease.lose(Loss::Closed);
        assert_eq!(lease.loss(), Some(Loss::SessionEnded { reason: Some(LossReason::Expired) }));
    }
}
