//! Rows, their hash, and what is refused when a state machine is built from them.

use crate::log::*;
use bytes::Bytes;
use leasehold_state_machine::*;

fn some_state() -> Log {
    let mut log = Log::founded();
    let first = log.granted(0, try_lock(id(1, 1), "a", 60_000));
    log.queued(0, wait_lock(id(2, 1), "a", 60_000, 10_000));
    log.queued(0, Operation::Acquire(acquire_of(id(3, 1), &["a", "b"], 5_000, Wait::For { wait_ms: 500 })));
    log.granted(0, try_lock(id(1, 2), "c", 60_000));
    log.released(1, "a", first.grants[0].token);
    log.cancelled(2, id(9, 9), 4);
    log.one(3, Operation::SetLimits(SetLimits { namespace: Some("x".into()), limits: Limits::default() }));
    let session = LeaseId(1 << 64);
    log.one(3, open_session(session, 60_000));
    let shared = with(try_lock(id(4, 1), "delayed", 60_000), |a| {
        a.lease = LeaseRequest::Session { session };
        a.locks[0].mode = Mode::Shared;
        a.lock_delay_ms = 5_000;
        a.value = Bytes::from_static(b"v");
    });
    let ended = log.granted(3, shared).grants[0].token;
    log.one(4, force_release("delayed", ended));
    log.index += 1;
    log.machine.apply_membership(EntryId { leader: log.leader, index: log.index }, vec![1, 2, 3]);
    log
}

#[test]
fn rows_make_the_same_machine() {
    let mut log = some_state();
    let rows = log.machine.rows();
    let tags: std::collections::BTreeSet<u8> = rows.iter().map(|(key, _)| key[0]).collect();
    assert_eq!(tags.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "every table has a row");
    let mut copy = StateMachine::from_rows(rows.clone()).unwrap();
    assert_eq!(copy.rows(), rows);
    assert_eq!(copy.membership(), log.machine.membership());
    assert_eq!(copy.applied(), log.machine.applied());
    assert_eq!(copy.take_changes().rows.len(), 1, "only the header: nothing is pending");
}

#[test]
fn head_can_be_read_without_the_rest() {
    let mut log = some_state();
    let rows = log.machine.rows();
    assert_eq!(rows[0].0, HEADER_KEY);
    let head = decode_head(&rows[0].1).unwrap();
    assert_eq!(head.cluster, Some(ClusterId(7)));
    assert_eq!(head.applied, log.machine.applied());
    assert_eq!(head.now, log.machine.now());
    assert_eq!(head.membership.map(|(_, encoded)| encoded), Some(vec![1, 2, 3]));
    assert_eq!(head.state_hash, log.machine.state_hash());
}

/// Found by fuzzing. Numbers have longer encodings than the one that is written; the hash of such a row, once it changed, would stay in
/// the running sum for ever, and the node would differ from all others.
#[test]
fn a_row_that_is_not_as_it_would_be_written_is_refused() {
    let mut log = some_state();
    let mut rows = log.machine.rows();
    let (key, value) = rows.iter_mut().find(|(key, _)| key[0] == 6).unwrap();
    // The mark of a client instance: version, mark, until. The mark is below 251, so one byte is enough for it.
    assert!(value[1] < 251);
    let mark = u16::from(value[1]).to_le_bytes();
    value.splice(1..2, [251, mark[0], mark[1]]);
    let key = key.clone();
    let error = StateMachine::from_rows(rows).unwrap_err().to_string();
    assert!(error.contains(&format!("row {key:02x?} is not as it would be written")), "{error}");
}

/// The hash is part of what nodes compare and of what lies on disk: it must not change with a build or a platform.
#[test]
fn hash_of_a_known_state_is_what_it_always_was() {
    assert_eq!(format!("{:032x}", StateMachine::new().state_hash()), EMPTY_HASH);
    assert_eq!(format!("{:032x}", some_state().machine.state_hash()), SOME_HASH);
}

const EMPTY_HASH: &str = "cda90b9b41bcd76c83be9dd436f933f8";
const SOME_HASH: &str = "cb62c3390f3b8ac15fe92ac2ad91d263";

#[test]
fn every_missing_row_is_noticed() {
    let rows = some_state().machine.rows();
    for at in 0..rows.len() {
        let mut rows = rows.clone();
        rows.remove(at);
        let error = StateMachine::from_rows(rows).unwrap_err();
        assert_eq!(matches!(error, RestoreError::NoHeader), at == 0, "row {at}: {error}");
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let rows = some_state().machine.rows();
    for at in 0..rows.len() {
        for byte in 0..rows[at].1.len() {
            let mut rows = rows.clone();
            rows[at].1[byte] ^= 1 << (byte % 8);
            assert!(StateMachine::from_rows(rows).is_err(), "byte {byte} of row {at}");
        }
        for byte in 0..rows[at].0.len() {
            let mut rows = rows.clone();
            rows[at].0[byte] ^= 1 << (byte % 8);
            assert!(StateMachine::from_rows(rows).is_err(), "byte {byte} of the key of row {at}");
        }
    }
}

#[test]
fn doubled_and_disordered_rows_are_refused() {
    let mut rows = some_state().machine.rows();
    rows.swap(1, 2);
    assert!(matches!(StateMachine::from_rows(rows.clone()).unwrap_err(), RestoreError::Inconsistent(_)));
    rows.swap(1, 2);
    rows.insert(3, rows[3].clone());
    assert!(matches!(StateMachine::from_rows(rows).unwrap_err(), RestoreError::Inconsistent(_)));
    assert!(matches!(StateMachine::from_rows([]).unwrap_err(), RestoreError::NoHeader));
}

#[test]
fn rows_that_come_and_go_between_checkpoints_are_never_written() {
    let mut log = some_state();
    log.machine.take_changes();
    let granted = log.granted(10, try_lock(id(1, 3), "short", 1_000));
    log.released(11, "short", granted.grants[0].token);
    let hash = log.machine.state_hash();
    let changes = log.machine.take_changes();
    assert!(changes.rows.iter().all(|row| row.value.is_some()), "no row is removed that was never there");
    assert!(!changes.rows.iter().any(|row| row.key[0] == 2 || row.key[0] == 3), "neither lease nor grant");
    assert_eq!(log.machine.state_hash(), hash);
}

/// Each would be a row more to write and one to take away again, for every release there is.
#[test]
fn ends_of_leases_share_rows() {
    let bounds = Bounds { losses_max: 300, ..Bounds::default() };
    let mut log = Log::founded_with(Limits::default(), bounds);
    let mut leases = Vec::new();
    for counter in 1..=1_000 {
        let granted = log.granted(counter, try_lock(id(1, counter), "a", 1_000));
        log.released(counter, "a", granted.grants[0].token);
        leases.push(granted.lease);
        if counter == 900 {
            log.machine.take_changes();
        }
    }
    let ends = |key: &[u8]| key[0] == 8;
    let rows = log.machine.rows();
    // A release takes two ages, one for the lock and one for the lease; 128 ages make a row.
    let written = rows.iter().filter(|(key, _)| ends(key)).count();
    assert!((300 / 64..=300 / 64 + 2).contains(&written), "{written} rows of 300 ends");
    let changes = log.machine.take_changes().rows;
    let changed = changes.iter().filter(|row| ends(&row.key)).count();
    assert!(changed <= 2 * (100 / 64 + 2), "{changed} rows changed by 100 releases");
    assert!(changes.iter().any(|row| ends(&row.key) && row.value.is_none()), "the oldest are gone");
    let copy = StateMachine::from_rows(rows).unwrap();
    for (at, lease) in leases.into_iter().enumerate() {
        let end = log.machine.lease_end(lease);
        assert_eq!(end, (at >= 700).then_some(LossReason::Released), "release {at}");
        assert_eq!(copy.lease_end(lease), end, "release {at}");
    }
}

/// The applier slows down by this number while a snapshot holds the checkpoint.
#[test]
fn changed_rows_are_counted_until_they_are_taken() {
    let mut log = some_state();
    assert!(log.machine.changed_rows() >= log.machine.rows().len() - 1);
    log.machine.take_changes();
    assert_eq!(log.machine.changed_rows(), 0);
    log.tick(10);
    assert_eq!(log.machine.changed_rows(), 0, "the header is not counted");
    log.granted(10, try_lock(id(5, 1), "d", 60_000));
    assert_eq!(log.machine.changed_rows(), 4, "lease, grant, request and instance");
    log.machine.state_hash();
    log.tick(20);
    assert_eq!(log.machine.changed_rows(), 4, "computing the hash takes nothing");
    log.granted(30, with(try_lock(id(5, 2), "e", 60_000), |a| a.lowest_unanswered = 2));
    assert_eq!(log.machine.changed_rows(), 7, "a row that changes twice counts once");
    assert_eq!(log.machine.take_changes().rows.len(), 1 + 7);
    log.restore(Bounds::default());
    assert_eq!(log.machine.changed_rows(), 0);
}

#[test]
#[should_panic(expected = "follows")]
fn entry_that_was_applied_before_is_a_bug() {
    let mut log = Log::founded();
    log.index -= 1;
    log.tick(0);
}
