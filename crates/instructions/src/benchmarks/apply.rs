//! What every node does with an entry.

use std::hint::black_box;

use leasehold_state_machine::{EventKind, FencingToken, Operation, Outcome, Renew, RenewLease, Renewed};

use super::counted;
use super::log::{Log, lock, open_session, release_shared_lock, session, tokens, unlock, wait_for_shared_lock};

const TTL_MS: u64 = 30_000;
/// Rounds that are not counted, until the tables have their usual size.
const WARM_UP: u64 = 4;

/// Applies an entry and is counted at it.
fn apply(log: &mut Log, ms: u64, operations: Vec<Operation>) -> leasehold_state_machine::Effects {
    let (entry, batch) = log.next(ms, operations);
    counted(|| log.machine.apply(entry, black_box(&batch)))
}

/// 256 callers take a lock each in one entry, and release it in the next one.
pub(super) fn lock_unlock() -> u64 {
    const CALLERS: u64 = 256;
    const ROUNDS: u64 = 16;
    let mut log = Log::new();
    for round in 1..=WARM_UP + ROUNDS {
        let locks = (0..CALLERS).map(|caller| lock(caller, round, TTL_MS)).collect();
        let unlocks =
            |tokens: Vec<FencingToken>| (0..).zip(tokens).map(|(caller, token)| unlock(caller, token)).collect();
        if round <= WARM_UP {
            let locked = log.apply(locks);
            log.apply(unlocks(tokens(&locked.outcomes)));
        } else {
            let locked = apply(&mut log, 1, locks);
            apply(&mut log, 1, unlocks(tokens(&locked.outcomes)));
        }
    }
    ROUNDS * CALLERS
}

/// 64 sessions want one lock: the holder releases it, the first of 63 waiters gets it, the former holder waits again.
pub(super) fn hand_over() -> u64 {
    const CALLERS: u64 = 64;
    const ROUNDS: u64 = 32;
    let mut log = Log::new();
    log.apply((0..CALLERS).map(open_session).collect());
    let first = log.apply((0..CALLERS).map(|caller| wait_for_shared_lock(caller, 1)).collect());
    let mut token = tokens(&first.outcomes[..1])[0];
    for round in 2..2 + ROUNDS {
        for caller in 0..CALLERS {
            let operations = vec![release_shared_lock(token), wait_for_shared_lock(caller, round)];
            let effects = apply(&mut log, 1, operations);
            let granted = effects.events.iter().find_map(|event| match &event.kind {
                EventKind::Granted { granted, .. } => Some(granted.grants[0].token),
                _ => None,
            });
            token = granted.expect("the next one was granted the lock");
            assert!(matches!(effects.outcomes[1], Outcome::Queued(_)), "{:?}", effects.outcomes[1]);
        }
    }
    ROUNDS * CALLERS
}

/// 4,096 sessions are kept alive, 64 in one command, 16 commands in one entry.
pub(super) fn renew() -> u64 {
    const SESSIONS: u64 = 4_096;
    const PER_COMMAND: u64 = 64;
    const PER_ENTRY: u64 = 16 * PER_COMMAND;
    const ROUNDS: u64 = 2;
    let mut log = Log::new();
    log.apply((0..SESSIONS).map(open_session).collect());
    let command = |first: u64| {
        let one = |caller| RenewLease { lease: session(caller), ttl_ms: None, exact: None };
        let leases = (first..first + PER_COMMAND).map(one).collect();
        Operation::Renew(Renew { leases, all_or_nothing: false })
    };
    for entry in 0..ROUNDS * SESSIONS / PER_ENTRY {
        let first = entry * PER_ENTRY % SESSIONS;
        let commands = (0..PER_ENTRY / PER_COMMAND).map(|nth| command(first + nth * PER_COMMAND)).collect();
        for outcome in apply(&mut log, 100, commands).outcomes {
            let Outcome::Renewed(renewed) = outcome else { panic!("renewed was expected, not {outcome:?}") };
            assert!(renewed.iter().all(|one| matches!(one, Renewed::Alive { .. })));
        }
    }
    ROUNDS * SESSIONS
}

/// 4,096 leases are due at once; an entry ends at most 512 of them.
pub(super) fn expire() -> u64 {
    const LEASES: u64 = 4_096;
    let mut log = Log::new();
    let locked = log.apply((0..LEASES).map(|caller| lock(caller, 1, TTL_MS)).collect());
    assert_eq!(tokens(&locked.outcomes).len() as u64, LEASES);
    // What was locked is not to be encoded where the expiries are counted.
    black_box(log.machine.state_hash());
    let mut lost = 0;
    let mut ms = TTL_MS + 1;
    while lost < LEASES {
        let effects = apply(&mut log, ms, Vec::new());
        let now_lost =
            effects.events.iter().filter(|event| matches!(event.kind, EventKind::Lost { .. })).count() as u64;
        assert!(now_lost > 0, "{lost} of {LEASES} are lost, and nothing more is");
        lost += now_lost;
        ms = 1;
    }
    LEASES
}

/// Entries of 16 commands, in turn locks and unlocks of 256 callers; after each 64th one `then` is called. The commands since the
/// warm-up.
fn entries_of_16(mut then: impl FnMut(&mut Log, bool)) -> u64 {
    const CALLERS: u64 = 256;
    const PER_ENTRY: u64 = 16;
    const ENTRIES: u64 = 64;
    const TIMES: u64 = 8;
    let mut log = Log::new();
    let mut entries = 0;
    for round in 1.. {
        for first in (0..CALLERS).step_by(PER_ENTRY as usize) {
            let callers = first..first + PER_ENTRY;
            let locked = log.apply(callers.clone().map(|caller| lock(caller, round, TTL_MS)).collect());
            let tokens = tokens(&locked.outcomes);
            log.apply(callers.zip(tokens).map(|(caller, token)| unlock(caller, token)).collect());
            entries += 2;
            if entries % ENTRIES == 0 {
                let times = entries / ENTRIES;
                then(&mut log, times > WARM_UP);
                if times == WARM_UP + TIMES {
                    return TIMES * ENTRIES * PER_ENTRY;
                }
            }
        }
    }
    unreachable!("the rounds have no end")
}

/// The hash that nodes compare at each 64th log position.
pub(super) fn state_hash() -> u64 {
    entries_of_16(|log, count| {
        let hash = if count { counted(|| log.machine.state_hash()) } else { log.machine.state_hash() };
        black_box(hash);
    })
}

/// The rows for a checkpoint, after 64 entries.
pub(super) fn take_changes() -> u64 {
    entries_of_16(|log, count| {
        let changes = if count { counted(|| log.machine.take_changes()) } else { log.machine.take_changes() };
        assert!(changes.rows.len() > 1, "rows have changed");
    })
}
