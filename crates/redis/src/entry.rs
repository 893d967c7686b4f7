use bytes::Bytes;

/// What a key looks like at the moment of an evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// There is no such key: the lock is free.
    Absent,
    /// The lock is held by one holder: to Redis, a string with a time to live.
    Held(Holding),
    /// The lock is in its lock-delay: it exists, under an owner that nobody is, and cannot be taken, changed or deleted.
    Delayed {
        /// Milliseconds left.
        left_ms: u64,
    },
    /// The lock is held in a mode that Redis has no word for (shared, permits): it exists, and is no string.
    Foreign,
}

/// See [`Entry::Held`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// The value that the key has: the owner.
    pub owner: Bytes,
    /// Milliseconds left of its time to live.
    pub left_ms: u64,
}
