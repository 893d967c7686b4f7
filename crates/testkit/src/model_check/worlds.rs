//! The worlds. Together they go through the whole lock model; each is small enough to be searched to its end.

use super::coverage::Seen::{self, *};
use super::world::{A, Ask, B, ClientPlan, EXCLUSIVE, SHARED, World, permits};

/// How much of a world is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Up to some hundred thousand states each: for every run of the tests.
    Small,
    /// Up to some million: by command.
    Large,
}

impl Size {
    fn of<T>(self, small: T, large: T) -> T {
        match self {
            Self::Small => small,
            Self::Large => large,
        }
    }
}

/// All worlds.
#[must_use]
pub fn all(size: Size) -> Vec<World> {
    vec![
        own_leases(size),
        queue(size),
        sessions(size),
        dying_sessions(size),
        readers_and_writer(size),
        permits_of_two(size),
        several_locks(size),
        upgrades(size),
        downgrades(size),
        own_converts(size),
        deadlocks(size),
        upgrade_cycles(size),
        tasks_of_one_session(size),
        delays(size),
        force(size),
        full_queue(size),
        late_expiry(size),
        marks(size),
        forgetting(size),
    ]
}

/// Exclusive locks under leases of their own: a try and a wait, retries on other nodes, calls that break, cancels that
/// race grants.
#[must_use]
pub fn own_leases(size: Size) -> World {
    let trying = ClientPlan::asking(vec![Ask::own(&[(A, EXCLUSIVE)], 2, 0).attempts(2).cancelling().releasing()]);
    let waiting = Ask::own(&[(A, EXCLUSIVE)], 2, 2).attempts(size.of(2, 3)).breaking().releasing();
    let waiting = ClientPlan::asking(vec![waiting]).renewing(1);
    World::new("own leases", size.of(3, 4), vec![trying, waiting]).showing(&[
        GrantAtOnce,
        GrantAfterWait,
        GrantedAgain,
        RefusedAsHeld,
        AttemptSuperseded,
        AttemptCancelledBefore,
        AttemptEndedBefore,
        CancelLeftQueue,
        CancelUndidGrant,
        CancelSuperseded,
        CancelFoundNothing,
        GrantAfterCancel,
        LeaseExpired,
        WaitTimedOut,
        WaitRearmed,
        RenewedInTime,
        Released,
        ReleasedTooLate,
    ])
}

/// Three in one queue; one of them stops for ever, holding or waiting.
#[must_use]
pub fn queue(size: Size) -> World {
    let ask = |ttl, wait| Ask::own(&[(A, EXCLUSIVE)], ttl, wait);
    let first = ClientPlan::asking(vec![ask(1, 1).breaking().attempts(size.of(1, 2))]).crashing();
    let second = ClientPlan::asking(vec![ask(1, 2).cancelling()]).renewing(size.of(0, 1));
    let third = ClientPlan::asking(vec![ask(2, 2).releasing()]).renewing(1);
    World::new("queue", size.of(3, 4), vec![first, second, third]).showing(&[
        GrantAfterWait,
        CancelLeftQueue,
        CancelUndidGrant,
        LeaseOfCrashedExpired,
        WaitTimedOut,
        RenewedInTime,
    ])
}

/// Sessions that are opened, kept alive and closed, with a lock that goes from one to the other.
#[must_use]
pub fn sessions(size: Size) -> World {
    let ask = |wait| Ask::session(&[(A, EXCLUSIVE)], wait);
    let first = ClientPlan::in_session(1, vec![ask(1).releasing()]).opening().renewing(1).closing();
    let second = ask(2).attempts(size.of(1, 2)).releasing();
    let second = ClientPlan::in_session(1, vec![second]).renewing(1).crashing();
    World::new("sessions", size.of(2, 4), vec![first, second]).showing(&[
        SessionOpened,
        SessionOpenedAgain,
        SessionStayedDead,
        SessionClosed,
        SessionExpiredWithWaiter,
        RenewedInTime,
        RenewedTooLate,
        GrantAfterWait,
        LeaseOfCrashedExpired,
    ])
}

/// Three sessions on one lock, two of which may die: nobody who is dead is granted anything.
#[must_use]
pub fn dying_sessions(size: Size) -> World {
    let ask = |wait| Ask::session(&[(A, EXCLUSIVE)], wait);
    let first = ClientPlan::in_session(1, vec![ask(0).releasing()]).renewing(size.of(0, 1)).crashing();
    let second = ClientPlan::in_session(2, vec![ask(3)]).crashing();
    let third = ClientPlan::in_session(2, vec![ask(2)]).renewing(size.of(0, 1)).closing();
    World::new("dying sessions", 3, vec![first, second, third]).showing(&[
        SessionExpiredWithWaiter,
        LeaseOfCrashedExpired,
        SessionClosed,
        GrantAfterWait,
    ])
}

/// Two readers and a writer.
#[must_use]
pub fn readers_and_writer(size: Size) -> World {
    let reader = |releases| {
        let ask = Ask::own(&[(A, SHARED)], 2, 2);
        if releases { ask.releasing() } else { ask.attempts(2) }
    };
    let writer = Ask::own(&[(A, EXCLUSIVE)], 1, 2).cancelling().releasing();
    let clients = [reader(true), reader(false), writer].map(|ask| ClientPlan::asking(vec![ask]));
    World::new("readers and writer", size.of(3, 5), clients.into()).showing(&[
        SeveralGrantedInOneEntry,
        GrantAfterWait,
        CancelLeftQueue,
        LeaseExpired,
    ])
}

/// A semaphore of two: one who wants one, one who wants both, and one who means another limit.
#[must_use]
pub fn permits_of_two(size: Size) -> World {
    let other = leasehold_state_machine::Mode::Permits { permits: 1, limit: 3 };
    let one = ClientPlan::asking(vec![Ask::own(&[(A, permits(1))], 2, 2).releasing()]).renewing(1);
    let both = ClientPlan::asking(vec![Ask::own(&[(A, permits(2))], 1, 2).cancelling()]);
    let more = Ask::own(&[(A, permits(1))], 1, 1).releasing();
    let odd = ClientPlan::asking(vec![Ask::own(&[(A, other)], 1, 0).attempts(size.of(1, 2)), more]);
    World::new("permits", size.of(3, 4), vec![one, both, odd]).showing(&[
        LimitConflict,
        SeveralGrantedInOneEntry,
        GrantAfterWait,
        WaitTimedOut,
    ])
}

/// Several locks at once, in mixed modes, beside requests for each.
#[must_use]
pub fn several_locks(size: Size) -> World {
    let both = Ask::own(&[(A, EXCLUSIVE), (B, SHARED)], 2, 2).releasing().cancelling();
    let first = ClientPlan::asking(vec![both]);
    let second = ClientPlan::asking(vec![Ask::own(&[(B, EXCLUSIVE)], 1, 1), Ask::own(&[(A, SHARED)], 1, 1).nested()]);
    let third = Ask::own(&[(B, SHARED), (A, SHARED)], 2, size.of(0, 2)).releasing();
    let third = ClientPlan::asking(vec![third]);
    World::new("several locks", size.of(3, 4), vec![first, second, third]).showing(&[
        GrantAtOnce,
        GrantAfterWait,
        CancelLeftQueue,
        CancelUndidGrant,
        Released,
        WaitTimedOut,
    ])
}

/// Two who share and both want to go on alone, and a third who waits.
#[must_use]
pub fn upgrades(size: Size) -> World {
    let upgrader = |wait, attempts| {
        let up = Ask::convert(A, EXCLUSIVE, wait).attempts(attempts).cancelling();
        ClientPlan::in_session(3, vec![Ask::session(&[(A, SHARED)], 0).releasing(), up])
    };
    let writer = Ask::session(&[(A, EXCLUSIVE)], 2);
    let third = ClientPlan::in_session(2, vec![writer]);
    let first = upgrader(2, size.of(1, 2)).crashing();
    World::new("upgrades", size.of(3, 4), vec![first, upgrader(2, 1), third]).showing(&[
        Upgraded,
        SecondUpgrader,
        CancelLeftQueue,
        CancelKeptConvert,
        GrantAfterWait,
        Released,
    ])
}

/// One who goes from alone to shared and back, beside a reader.
#[must_use]
pub fn downgrades(size: Size) -> World {
    let down = Ask::convert(A, SHARED, 0).attempts(2);
    let up = Ask::convert(A, EXCLUSIVE, 1).cancelling();
    let first = vec![Ask::session(&[(A, EXCLUSIVE)], 1).releasing(), down, up];
    let first = ClientPlan::in_session(3, first).closing();
    let reader = ClientPlan::in_session(2, vec![Ask::session(&[(A, SHARED)], 2).releasing()]).renewing(1);
    World::new("downgrades", size.of(3, 4), vec![first, reader]).showing(&[
        Downgraded,
        Upgraded,
        UpgradedAfterWait,
        GrantedAgain,
        GrantAfterWait,
        CancelKeptConvert,
        ConvertOfLostGrant,
    ])
}

/// Converts of grants under leases of their own, with calls that break.
#[must_use]
pub fn own_converts(size: Size) -> World {
    let up = Ask::convert(A, EXCLUSIVE, 1).attempts(2).breaking();
    let first = ClientPlan::asking(vec![Ask::own(&[(A, SHARED)], 2, 0).releasing(), up]).renewing(1);
    let second = ClientPlan::asking(vec![Ask::own(&[(A, SHARED)], 1, 1).releasing()]);
    let third = ClientPlan::asking(vec![Ask::own(&[(A, EXCLUSIVE)], 1, 1)]);
    let clients = size.of(vec![first.clone(), second.clone()], vec![first, second, third]);
    World::new("own converts", size.of(3, 3), clients).showing(&[
        Upgraded,
        UpgradedAfterWait,
        CancelKeptConvert,
        CancelLeftQueue,
        CancelSuperseded,
        ConvertOfLostGrant,
        RenewedInTime,
    ])
}

/// Two who each hold what the other wants; and one whose wait between them closes the cycle, as the two would share.
#[must_use]
pub fn deadlocks(size: Size) -> World {
    let then = |lock, mode| Ask::session(&[(lock, mode)], 2).nested().attempts(size.of(1, 2)).cancelling().releasing();
    let first = vec![Ask::session(&[(A, EXCLUSIVE)], 1).releasing(), then(B, SHARED)];
    let second = vec![Ask::session(&[(B, SHARED)], 1).releasing(), then(A, EXCLUSIVE)];
    let third = vec![Ask::session(&[(B, EXCLUSIVE)], 2)];
    let clients = vec![
        ClientPlan::acting(3, vec![("x", first)]),
        ClientPlan::acting(3, vec![("y", second)]),
        ClientPlan::acting(2, vec![("z", third)]),
    ];
    World::new("deadlocks", size.of(1, 2), clients).showing(&[DeadlockOfThree, GrantAfterWait, Released])
}

/// An upgrade that waits for a reader, who waits for what the upgrader has; and a writer, whom the upgrade passes by.
#[must_use]
pub fn upgrade_cycles(size: Size) -> World {
    let first = vec![
        Ask::session(&[(A, SHARED)], 0).releasing(),
        Ask::session(&[(B, EXCLUSIVE)], 1).nested().releasing(),
        Ask::convert(A, EXCLUSIVE, 2).attempts(size.of(1, 2)).cancelling(),
    ];
    let second = vec![
        Ask::session(&[(A, SHARED)], 1).releasing(),
        Ask::session(&[(B, SHARED)], 2).nested().attempts(size.of(1, 2)).cancelling(),
    ];
    let third = vec![Ask::session(&[(A, EXCLUSIVE)], 2)];
    let clients = vec![
        ClientPlan::acting(3, vec![("x", first)]),
        ClientPlan::acting(3, vec![("y", second)]),
        ClientPlan::acting(2, vec![("z", third)]),
    ];
    World::new("upgrade cycles", size.of(1, 2), clients).showing(&[
        Deadlock,
        Upgraded,
        UpgradedAfterWait,
        GrantAfterWait,
    ])
}

/// Two tasks of one session, and one of another: tasks wait for each other without a deadlock, until they really do.
#[must_use]
pub fn tasks_of_one_session(size: Size) -> World {
    let own = |lock| Ask::session(&[(lock, EXCLUSIVE)], 2).releasing();
    let then = |lock| Ask::session(&[(lock, EXCLUSIVE)], 2).nested().releasing();
    let both = vec![("x", vec![own(A), then(B)]), ("y", vec![own(B), then(A)])];
    let first = ClientPlan::acting(3, both);
    let second = ClientPlan::acting(2, vec![("z", vec![own(A)])]);
    World::new("tasks of one session", size.of(2, 4), vec![first, second]).showing(&[Deadlock, GrantAfterWait])
}

/// A lock-delay after an expiry.
#[must_use]
pub fn delays(size: Size) -> World {
    let first = ClientPlan::asking(vec![Ask::own(&[(A, EXCLUSIVE)], 1, 0).delaying(2).releasing()]).crashing();
    let second = ClientPlan::asking(vec![Ask::own(&[(A, EXCLUSIVE)], 1, 3).delaying(1).attempts(size.of(1, 2))]);
    let third = ClientPlan::asking(vec![Ask::own(&[(A, SHARED)], 1, 0).delaying(1)]);
    World::new("lock-delays", size.of(5, 6), vec![first, second, third]).showing(&[
        DelayHeldBack,
        LeaseExpired,
        GrantAfterWait,
        Released,
    ])
}

/// Grants that somebody ends by force, with lock-delays that outlast the leases: nobody is ever beside the one who has
/// not heard of it, as renewals tell. One is of a session, the other of two locks under one lease.
#[must_use]
pub fn force(size: Size) -> World {
    let first = Ask::own(&[(A, EXCLUSIVE), (B, SHARED)], 1, 0).delaying(2);
    let first = ClientPlan::asking(vec![first]).renewing(1);
    let second = Ask::session(&[(A, EXCLUSIVE)], 1).delaying(2).attempts(size.of(1, 2));
    let second = ClientPlan::in_session(2, vec![second]).renewing(1);
    let third = Ask::own(&[(A, SHARED)], 1, 0).delaying(1);
    let third = ClientPlan::asking(vec![third]).forcing(A);
    let clients = size.of(vec![second.clone(), third.clone()], vec![first, second, third]);
    World::new("force", 4, clients).showing(&[
        Forced,
        ForcedTooLate,
        RenewalTellsOfForce,
        DelayHeldBack,
        GrantAfterWait,
    ])
}

/// A queue with room for one.
#[must_use]
pub fn full_queue(size: Size) -> World {
    let ask = |wait| Ask::own(&[(A, EXCLUSIVE)], 1, wait).attempts(2);
    let first = ClientPlan::asking(vec![Ask::own(&[(A, EXCLUSIVE)], 2, 0).releasing()]);
    let clients = vec![first, ClientPlan::asking(vec![ask(1).cancelling()]), ClientPlan::asking(vec![ask(2)])];
    World::new("full queue", size.of(3, 5), clients).queueing_at_most(1).showing(&[LimitReached, GrantAfterWait])
}

/// Entries that expire one item each.
#[must_use]
pub fn late_expiry(size: Size) -> World {
    let first = ClientPlan::in_session(1, vec![Ask::session(&[(A, EXCLUSIVE)], 0).releasing()]);
    let second = ClientPlan::in_session(2, vec![Ask::session(&[(A, EXCLUSIVE)], 2).cancelling()]).renewing(1);
    let third = ClientPlan::asking(vec![Ask::own(&[(A, EXCLUSIVE)], 1, 1).attempts(size.of(1, 2))]);
    World::new("late expiry", size.of(3, 4), vec![first, second, third]).expiring_at_most(1).showing(&[
        DueItemLeft,
        GrantAfterWait,
        WaitTimedOut,
        SessionExpiredWithWaiter,
    ])
}

/// Clients that tell what they have been answered, so that tombstones go early.
#[must_use]
pub fn marks(size: Size) -> World {
    let asks = |wait, attempts| {
        let ask = |attempts| Ask::own(&[(A, EXCLUSIVE)], 1, wait).attempts(attempts).cancelling().releasing();
        vec![ask(attempts), ask(1)]
    };
    let clients = vec![ClientPlan::asking(asks(0, 2)), ClientPlan::asking(asks(1, size.of(1, 2)))];
    World::new("marks", size.of(1, 3), clients).with_marks().showing(&[
        AttemptAlreadyAnswered,
        GrantedAgain,
        CancelUndidGrant,
        Released,
    ])
}

/// Time enough that what is remembered of requests is forgotten, while copies of them are still under way.
#[must_use]
pub fn forgetting(size: Size) -> World {
    let ask = |wait| Ask::own(&[(A, EXCLUSIVE)], 1, wait).attempts(size.of(1, 2)).cancelling().releasing();
    let clients = vec![ClientPlan::asking(vec![ask(0)]), ClientPlan::asking(vec![ask(1)])];
    let world = World::new("forgetting", 5, clients).forgetting();
    world.showing(&[AttemptTooLate, AttemptEndedBefore, CancelFoundNothing])
}

/// What worlds show at least.
#[must_use]
pub fn shown(worlds: &[World]) -> Vec<Seen> {
    let mut all: Vec<Seen> = worlds.iter().flat_map(|world| world.shows.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    all
}
