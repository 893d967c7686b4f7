//! Mistakes that can be planted around the machine, to show that the rules find them. The machine itself has no switch.

/// What a client, a node or the network does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// Clients count a lease from the moment they hear of it, and not from the send.
    CountsFromAnswer,
    /// Clients count on a grant that ended a wait before they have renewed it.
    TrustsGrantAfterWait,
    /// The node of a broken call cancels its request, and not its attempt.
    CancelsEveryAttempt,
    /// A release ends whoever holds the lock when it arrives.
    ReleasesByName,
    /// Calls carry no `not_after`.
    CallsWithoutEnd,
    /// Log time stands still.
    TimeStands,
    /// The requests of client 1 lose their actor on the way.
    LosesActor,
    /// The tasks of one session are taken for one actor.
    TakesTasksForOne,
    /// A client does not mind that a renewal tells of grants that were ended by force.
    IgnoresForce,
    /// Acquires lose their lock-delay on the way.
    LosesLockDelay,
    /// A client uses one request id for all its asks.
    ReusesIds,
    /// The machine goes back to how it was founded whenever time moves.
    RestoresBackup,
    /// A client goes on as an exclusive holder until it hears that its downgrade was done.
    DowngradesLate,
}
