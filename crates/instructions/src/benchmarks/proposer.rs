//! What the leader does to make an entry out of commands.

use bytes::Bytes;
use leasehold_consensus::counted::Leader;
use leasehold_state_machine::{FencingToken, LogTime};

use super::counted;
use super::log::{LEADER, encoded, lock, unlock};

const ENTRIES: u64 = 32;
pub(super) const COMMANDS: u64 = 128;

/// Half of them take a lock, half of them release one.
pub(super) fn commands() -> Vec<Bytes> {
    let one = |caller| match caller % 2 {
        0 => encoded(lock(caller, 1_000 + caller, 30_000)),
        _ => encoded(unlock(caller, FencingToken((1 << 50) + caller))),
    };
    (0..COMMANDS).map(one).collect()
}

/// Queued by calls on this node, taken from the queue, and put into one entry.
pub(super) fn entry() -> u64 {
    let (mut leader, commands) = (Leader::new(), commands());
    for nth in 0..ENTRIES {
        let bytes = counted(|| {
            leader.propose(&commands);
            leader.entry(LogTime(nth), LEADER)
        });
        assert_eq!(leader.in_entry() as u64, COMMANDS);
        assert!(bytes.len() > commands.iter().map(Bytes::len).sum());
    }
    ENTRIES * COMMANDS
}
