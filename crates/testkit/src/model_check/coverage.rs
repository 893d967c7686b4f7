//! What happened somewhere in a world.

use std::sync::atomic::{AtomicU64, Ordering};

/// Something that a world can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Seen {
    GrantAtOnce,
    GrantAfterWait,
    GrantedAgain,
    SeveralGrantedInOneEntry,
    RefusedAsHeld,
    WaitTimedOut,
    WaitRearmed,
    AttemptSuperseded,
    AttemptCancelledBefore,
    AttemptEndedBefore,
    AttemptTooLate,
    AttemptAlreadyAnswered,
    GrantAfterCancel,
    CancelLeftQueue,
    CancelUndidGrant,
    CancelKeptConvert,
    CancelSuperseded,
    CancelFoundNothing,
    Released,
    ReleasedTooLate,
    LeaseExpired,
    LeaseOfCrashedExpired,
    RenewedInTime,
    RenewedTooLate,
    RenewalTellsOfForce,
    SessionOpened,
    SessionOpenedAgain,
    SessionStayedDead,
    SessionClosed,
    SessionExpiredWithWaiter,
    Upgraded,
    UpgradedAfterWait,
    SecondUpgrader,
    Downgraded,
    ConvertOfLostGrant,
    Deadlock,
    DeadlockOfThree,
    LimitConflict,
    LimitReached,
    DelayHeldBack,
    Forced,
    ForcedTooLate,
    DueItemLeft,
}

impl Seen {
    /// All of it.
    pub const ALL: &'static [Self] = &[
        Self::GrantAtOnce,
        Self::GrantAfterWait,
        Self::GrantedAgain,
        Self::SeveralGrantedInOneEntry,
        Self::RefusedAsHeld,
        Self::WaitTimedOut,
        Self::WaitRearmed,
        Self::AttemptSuperseded,
        Self::AttemptCancelledBefore,
        Self::AttemptEndedBefore,
        Self::AttemptTooLate,
        Self::AttemptAlreadyAnswered,
        Self::GrantAfterCancel,
        Self::CancelLeftQueue,
        Self::CancelUndidGrant,
        Self::CancelKeptConvert,
        Self::CancelSuperseded,
        Self::CancelFoundNothing,
        Self::Released,
        Self::ReleasedTooLate,
        Self::LeaseExpired,
        Self::LeaseOfCrashedExpired,
        Self::RenewedInTime,
        Self::RenewedTooLate,
        Self::RenewalTellsOfForce,
        Self::SessionOpened,
        Self::SessionOpenedAgain,
        Self::SessionStayedDead,
        Self::SessionClosed,
        Self::SessionExpiredWithWaiter,
        Self::Upgraded,
        Self::UpgradedAfterWait,
        Self::SecondUpgrader,
        Self::Downgraded,
        Self::ConvertOfLostGrant,
        Self::Deadlock,
        Self::DeadlockOfThree,
        Self::LimitConflict,
        Self::LimitReached,
        Self::DelayHeldBack,
        Self::Forced,
        Self::ForcedTooLate,
        Self::DueItemLeft,
    ];
}

/// The set of what was seen; many threads add to it.
#[derive(Debug, Default)]
pub struct Coverage(AtomicU64);

impl Coverage {
    pub(super) fn add(&self, seen: Seen) {
        let bit = 1 << seen as u8;
        // Mostly set already: a read is cheaper.
        if self.0.load(Ordering::Relaxed) & bit == 0 {
            self.0.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Whether it was seen.
    #[must_use]
    pub fn has(&self, seen: Seen) -> bool {
        self.0.load(Ordering::Relaxed) & (1 << seen as u8) != 0
    }
}
