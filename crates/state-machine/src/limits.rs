//! Bounds that live in the replicated state, so that all nodes agree on them.

use serde::{Deserialize, Serialize};

/// Limits of a namespace. Enforced in `apply`; frontends check the same numbers earlier to give better errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Length of a lock name, in bytes.
    pub name_bytes_max: u32,
    /// Length of an owner, in bytes.
    pub owner_bytes_max: u32,
    /// Length of a holder's metadata, in bytes.
    pub metadata_bytes_max: u32,
    /// Shortest time to live, in ms.
    pub ttl_ms_min: u64,
    /// Longest time to live, in ms.
    pub ttl_ms_max: u64,
    /// Longest wait of one attempt, in ms.
    pub wait_ms_max: u64,
    /// Leases alive at once in the namespace.
    pub leases_max: u64,
    /// Grants that hang on one lease, with the locks that its waiters await. An upgrade that waits counts with its grant.
    pub locks_per_lease_max: u32,
    /// Locks that one acquire may name.
    pub locks_per_acquire_max: u32,
    /// Waiters in one lock's queue.
    pub waiters_per_lock_max: u32,
    /// Length of an actor's name, in bytes.
    pub actor_bytes_max: u32,
    /// Longest lock-delay, in ms.
    pub lock_delay_ms_max: u64,
    /// Length of a grant's value, in bytes.
    pub value_bytes_max: u32,
    /// Length of the reason of a forced release, in bytes.
    pub reason_bytes_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            name_bytes_max: 512,
            owner_bytes_max: 256,
            metadata_bytes_max: 1024,
            ttl_ms_min: 100,
            ttl_ms_max: 24 * 60 * 60 * 1000,
            wait_ms_max: 30_000,
            leases_max: 4_000_000,
            locks_per_lease_max: 1024,
            locks_per_acquire_max: 64,
            waiters_per_lock_max: 100_000,
            actor_bytes_max: 128,
            lock_delay_ms_max: 60_000,
            value_bytes_max: 4096,
            reason_bytes_max: 512,
        }
    }
}

/// Length of a namespace name, in bytes.
pub const NAMESPACE_BYTES_MAX: usize = 128;
/// Renewals in one `Renew`.
pub const RENEWALS_MAX: usize = 10_000;
/// Lock-delays that run, together with the locks held and awaited that may bring one. Past it acquires with a lock-delay
/// are refused.
pub const LOCK_DELAYS_MAX: usize = 1_000_000;
/// Waiters that a listing shows of each lock.
pub const WAITERS_LISTED_MAX: usize = 1_000;
/// Locks in one `Release`.
pub const RELEASES_MAX: usize = 1_024;
/// Waiting requests that the search for one cycle of waits looks at. A cycle behind more is not found: it ends by its
/// waits' deadlines.
pub const DEADLOCK_SEARCH_MAX: usize = 100_000;
/// Due items that an entry without commands removes; the leader ticks again while more are due.
pub const EXPIRIES_PER_ENTRY_MAX: usize = 512;
/// Due items that an entry with commands removes before it runs them: their callers wait for that.
pub const EXPIRIES_BESIDE_COMMANDS_MAX: usize = 32;
/// Client instances whose request ids are remembered. A full table refuses new instances, it never forgets.
pub const INSTANCES_MAX: usize = 1_000_000;
/// Request ids that are remembered: those that wait or hold, and tombstones. A full table refuses new ids.
pub const REQUESTS_MAX: usize = 8_000_000;
/// Namespaces with limits of their own.
pub const LIMITED_NAMESPACES_MAX: usize = 10_000;
/// Ended locks whose last loss is remembered; the oldest goes first. As many ended leases.
pub const LOSSES_MAX: usize = 100_000;
/// The longest that a call may take in all (`call_max` of DESIGN), in ms.
pub const CALL_MS_MAX: u64 = 60_000;
/// The most that one entry may move log time (`max_step` of DESIGN), in ms.
pub const STEP_MS_MAX: u64 = 1_000;
/// How long marks and tombstones of requests stay after their last use: `call_max + max_step`, in ms of log time.
pub const REMEMBER_MS: u64 = CALL_MS_MAX + STEP_MS_MAX;
/// The highest format level that this build can apply.
pub const LEVEL_MAX: u32 = 2;
/// The lowest level there is. A new cluster begins with the highest that all its founding members support.
/// 1: exclusive locks under leases of their own. 2: the whole lock model.
pub const LEVEL_FIRST: u32 = 1;
