//! What a session holds, as its guards and the watch on it see it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use leasehold_proto::v1::{EventType, LossReason, WatchEvent};
use parking_lot::Mutex;

use crate::held_grants::HeldGrants;
use crate::held_lease::HeldLease;
use crate::ids::Token;
use crate::loss::Loss;

/// Losses of tokens that no guard has claimed yet. Past it the session is read anew.
const UNCLAIMED_MAX: usize = 4_096;

/// Shared by a session and the task that watches it.
#[derive(Debug)]
pub(crate) struct Tracked {
    pub(crate) lease: Arc<HeldLease>,
    pub(crate) namespace: String,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    live: BTreeMap<Token, Arc<HeldGrants>>,
    /// Grants whose conversion is under way: that they are converted is no loss.
    converting: BTreeSet<Token>,
    /// Acquires and conversions whose answer may still be on its way.
    asking: usize,
    /// Tokens that ended while somebody asks: the news may be faster than the grant.
    unclaimed: BTreeMap<Token, Loss>,
    overflowed: bool,
}

impl Tracked {
    pub(crate) fn new(lease: Arc<HeldLease>, namespace: String) -> Self {
        Self { lease, namespace, book: Mutex::default() }
    }

    /// From now until the scope is dropped, a grant may be on its way.
    pub(crate) fn asking(self: &Arc<Self>) -> Asking {
        self.book.lock().asking += 1;
        Asking { tracked: self.clone(), converting: None }
    }

    /// The same for a conversion of the grant with this token.
    pub(crate) fn converting(self: &Arc<Self>, token: Token) -> Asking {
        let mut book = self.book.lock();
        book.asking += 1;
        book.converting.insert(token);
        Asking { tracked: self.clone(), converting: Some(token) }
    }

    /// Watches over grants from now on.
    pub(crate) fn hold(&self, grants: &Arc<HeldGrants>) {
        let mut book = self.book.lock();
        for token in grants.tokens() {
            book.live.insert(token, grants.clone());
        }
        let ended: Vec<_> = grants.tokens().filter_map(|token| Some((token, book.unclaimed.remove(&token)?))).collect();
        let in_doubt = book.overflowed;
        drop(book);
        for (token, loss) in ended {
            grants.lose(token, loss);
        }
        if in_doubt {
            self.lease.in_doubt.notify_one();
        }
    }

    /// They are no longer anybody's concern here.
    pub(crate) fn forget(&self, grants: &HeldGrants) {
        let mut book = self.book.lock();
        for token in grants.tokens() {
            book.live.remove(&token);
        }
    }

    /// Who is watched over now.
    pub(crate) fn live(&self) -> Vec<(Token, Arc<HeldGrants>)> {
        self.book.lock().live.iter().map(|(token, grants)| (*token, grants.clone())).collect()
    }

    pub(crate) fn is_converting(&self, token: Token) -> bool {
        self.book.lock().converting.contains(&token)
    }

    /// Takes in one event of the session.
    pub(crate) fn take_in(&self, event: &WatchEvent) {
        let reason = event.reason();
        let ended = match event.r#type() {
            EventType::SessionLost => return self.lease.ended(reason),
            EventType::Converted => (Token(event.replaced), Loss::of_grant(LossReason::Converted, "")),
            EventType::Released => (Token(event.token), Loss::of_grant(LossReason::Released, "")),
            EventType::Expired => return self.lease.ended(LossReason::Expired),
            EventType::ForceReleased => (Token(event.token), Loss::of_grant(LossReason::Forced, &event.note)),
            EventType::Lost if reason == LossReason::LeaseClosed => return self.lease.ended(reason),
            EventType::Lost => (Token(event.token), Loss::of_grant(reason, &event.note)),
            EventType::Unspecified
            | EventType::Queued
            | EventType::Granted
            | EventType::WaitEnded
            | EventType::ValueSet
            | EventType::SessionOpened => return,
        };
        self.grant_ended(ended.0, ended.1);
    }

    /// A grant of the session has ended.
    pub(crate) fn grant_ended(&self, token: Token, loss: Loss) {
        let mut book = self.book.lock();
        let converted = matches!(loss, Loss::Ended { reason: Some(LossReason::Converted), .. });
        if converted && book.converting.contains(&token) {
            return;
        }
        if let Some(grants) = book.live.remove(&token) {
            drop(book);
            grants.lose(token, loss);
        } else if book.asking > 0 {
            if book.unclaimed.len() >= UNCLAIMED_MAX {
                book.overflowed = true;
            } else {
                book.unclaimed.insert(token, loss);
            }
        }
    }
}

/// While it lives, losses of tokens that nobody knows yet are remembered.
#[derive(Debug)]
pub(crate) struct Asking {
    tracked: Arc<Tracked>,
    converting: Option<Token>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut book = self.tracked.book.lock();
        book.asking -= 1;
        if let Some(token) = self.converting {
            book.converting.remove(&token);
        }
        if book.asking == 0 {
            book.unclaimed.clear();
            book.overflowed = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::held_lease::LeaseKind;
    use crate::mode::{GrantInfo, LockMode};

    fn tracked() -> (Arc<Tracked>, Clock) {
        let clock = Clock::system();
        let minute = Duration::from_secs(60);
        let lease = HeldLease::new(LeaseKind::Session, "ab".into(), minute, clock.now().after(minute));
        (Arc::new(Tracked::new(Arc::new(lease), "default".into())), clock)
    }

    fn grant(tracked: &Tracked, token: u64) -> Arc<HeldGrants> {
        let grant = GrantInfo { name: format!("lock-{token}"), mode: LockMode::Exclusive, token: Token(token) };
        Arc::new(HeldGrants::new(tracked.lease.clone(), vec![grant]))
    }

    fn event(kind: EventType, token: u64) -> WatchEvent {
        WatchEvent { r#type: kind.into(), token, note: "note".into(), ..WatchEvent::default() }
    }

    #[test]
    fn a_forced_release_reaches_the_guard_of_its_token_alone() {
        let (tracked, clock) = tracked();
        let (one, two) = (grant(&tracked, 1), grant(&tracked, 2));
        tracked.hold(&one);
        tracked.hold(&two);
        tracked.take_in(&event(EventType::ForceReleased, 1));
        assert_eq!(one.loss(&clock), Some(Loss::of_grant(LossReason::Forced, "note")));
        assert!(two.is_held(&clock));
    }

    #[test]
    fn news_that_are_faster_than_the_grant_are_told_with_it() {
        let (tracked, clock) = tracked();
        let asking = tracked.asking();
        tracked.take_in(&event(EventType::ForceReleased, 1));
        let one = grant(&tracked, 1);
        tracked.hold(&one);
        drop(asking);
        assert!(!one.is_held(&clock));
    }

    #[test]
    fn what_nobody_asks_for_is_not_remembered() {
        let (tracked, clock) = tracked();
        tracked.take_in(&event(EventType::ForceReleased, 1));
        let one = grant(&tracked, 1);
        tracked.hold(&one);
        assert!(one.is_held(&clock));
    }

    #[test]
    fn our_own_conversion_is_no_loss_and_anothers_is() {
        let (tracked, clock) = tracked();
        let (one, two) = (grant(&tracked, 1), grant(&tracked, 2));
        tracked.hold(&one);
        tracked.hold(&two);
        let _converting = tracked.converting(Token(1));
        for replaced in [1, 2] {
            tracked.take_in(&WatchEvent { replaced, ..event(EventType::Converted, replaced + 10) });
        }
        assert!(one.is_held(&clock));
        assert_eq!(two.loss(&clock), Some(Loss::of_grant(LossReason::Converted, "")));
    }

    #[test]
    fn the_sessions_end_reaches_every_guard() {
        let (tracked, clock) = tracked();
        let (one, two) = (grant(&tracked, 1), grant(&tracked, 2));
        tracked.hold(&one);
        tracked.hold(&two);
        let end = WatchEvent { reason: LossReason::LeaseClosed.into(), ..event(EventType::SessionLost, 0) };
        tracked.take_in(&end);
        let told = Some(Loss::SessionEnded { reason: Some(LossReason::LeaseClosed) });
        assert_eq!((one.loss(&clock), two.loss(&clock)), (told.clone(), told));
        assert!(one.lost().is_cancelled());
    }
}
