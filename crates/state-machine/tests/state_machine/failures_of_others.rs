//! What went wrong in other lock services (TESTING.md, "Failures that others had"), as far as the tables decide it.

use crate::log::*;
use leasehold_state_machine::*;

/// etcd #11456: a grant was returned to a waiter whose own lease had died.
#[test]
fn dead_waiter_is_not_granted() {
    let mut log = Log::founded();
    let held = log.granted(0, try_lock(id(1, 1), "a", 60_000));
    log.queued(0, wait_lock(id(2, 1), "a", 5_000, 1_000));
    log.queued(0, wait_lock(id(3, 1), "a", 5_000, 9_000));
    // The wait of client 2 ends in the entry in which the lock is released.
    log.one(1_001, release("a", held.grants[0].token));
    assert_eq!(log.grants().iter().map(|(request, _)| *request).collect::<Vec<_>>(), [id(3, 1)]);
}

/// hiqlite #352: a dead waiter that was promoted blocked the key.
#[test]
fn dead_waiters_do_not_block_those_behind_them() {
    let mut log = Log::founded();
    log.granted(0, try_lock(id(1, 1), "a", 1_000));
    for client in 2..10 {
        log.queued(0, wait_lock(id(client, 1), "a", 1_000, 100 * client));
    }
    log.tick(1_001);
    assert_eq!(log.holder("a"), None);
    log.granted(1_001, try_lock(id(20, 1), "a", 1_000));
}

/// etcd #10811: a paused holder wakes and writes. Only the token tells it apart from the next holder.
#[test]
fn paused_holder_is_told_apart_by_its_token() {
    let mut log = Log::founded();
    let paused = log.granted(0, try_lock(id(1, 1), "a", 1_000));
    log.tick(1_001);
    let next = log.granted(1_001, try_lock(id(2, 1), "a", 1_000));
    assert!(next.grants[0].token > paused.grants[0].token);
    assert_eq!(log.renewed(1_002, paused.lease, None), Renewed::Gone { reason: Some(LossReason::Expired) });
    let late = log.released(1_003, "a", paused.grants[0].token);
    assert_eq!(late, not_released(Some(LossReason::Expired)));
    assert_eq!(log.holder("a"), Some(next.grants[0].token));
}

/// etcd #15247 and #12528: a deposed leader's clock, or its revocations, reached the new leader's log.
#[test]
fn stamp_of_a_deposed_leader_moves_no_time() {
    let mut log = Log::founded();
    log.granted(0, try_lock(id(1, 1), "a", 1_000));
    let deposed = log.leader;
    log.leader = LeaderStamp { term: 2, node: 2 };
    log.entry_stamped(50_000, deposed, vec![Operation::Tick]);
    assert_eq!(log.now(), 0);
    assert!(log.holder("a").is_some());
    log.tick(1_001);
    assert_eq!(log.holder("a"), None);
}

/// etcd #9395, #20273: leases were kept alive for ever by repeated changes of the leader.
#[test]
fn leader_changes_do_not_renew_leases() {
    let mut log = Log::founded();
    let granted = log.granted(0, try_lock(id(1, 1), "a", 1_000));
    for term in 2..=9 {
        log.leader = LeaderStamp { term, node: term % 3 };
        log.index += 1;
        log.machine.apply_blank(EntryId { leader: log.leader, index: log.index });
        log.tick(term * 100);
        assert_eq!(log.machine.lease_left_ms(granted.lease), Some(1_000 - term * 100));
    }
    log.tick(1_001);
    assert_eq!(log.holder("a"), None);
}

/// etcd #12291: steps of a wall clock changed leases. databend #18318: log time went backwards at a leader change.
#[test]
fn log_time_never_goes_back() {
    let mut log = Log::founded();
    let granted = log.granted(5_000, try_lock(id(1, 1), "a", 1_000));
    log.leader = LeaderStamp { term: 2, node: 3 };
    log.tick(10);
    assert_eq!(log.now(), 5_000);
    assert_eq!(log.machine.lease_left_ms(granted.lease), Some(1_000));
}

/// databend #18318: a node that restarted diverged from the others.
#[test]
fn restarted_node_goes_on_like_the_others() {
    let mut logs = [Log::founded(), Log::founded()];
    for at in 1..60 {
        for (node, log) in logs.iter_mut().enumerate() {
            log.one(at * 40, wait_lock(id(at % 5, at), ["a", "b"][at as usize % 2], 150 + at, 100));
            if node == 1 && at % 7 == 0 {
                log.restore(Bounds::default());
            }
        }
        let [left, right] = &mut logs;
        assert_eq!(left.events, right.events);
        assert_eq!(left.machine.state_hash(), right.machine.state_hash());
    }
}

/// etcd #9360: mass expiry blocked everything.
#[test]
fn mass_expiry_is_cut_into_pieces_and_blocks_nobody() {
    let mut log = Log::founded();
    const LEASES: u64 = 10_000;
    for start in (0..LEASES).step_by(1_000) {
        let locks = (start..start + 1_000).map(|n| try_lock(id(n, 1), &format!("lock-{n}"), 1_000));
        log.entry(0, locks.collect());
    }
    log.tick(1_001);
    let ended = log.events.iter().filter(|e| matches!(e.kind, EventKind::LeaseEnded { .. })).count();
    assert_eq!(ended, EXPIRIES_PER_ENTRY_MAX);
    // One whose turn has not come yet is not seen as held by anybody who touches it.
    let late = log.granted(1_001, try_lock(id(LEASES, 1), "lock-9999", 1_000));
    assert_eq!(log.released(1_001, "lock-9999", late.grants[0].token), released());
    // These two had commands and took less; the second ended one by touching it. So many more expire them all: nothing is
    // left but marks, which come later.
    let left = LEASES as usize - EXPIRIES_PER_ENTRY_MAX - 2 * EXPIRIES_BESIDE_COMMANDS_MAX - 1;
    (1..left.div_ceil(EXPIRIES_PER_ENTRY_MAX)).for_each(|_| log.tick(1_001));
    assert_eq!(log.machine.earliest_deadline(), Some(LogTime(1_000)), "the bound is in force");
    log.tick(1_001);
    assert!(log.machine.earliest_deadline() > Some(LogTime(1_001)));
    // Rows were counted at several times: all in all they are those of the hash.
    log.restore(Bounds::default());
}

/// etcd #9911, #11886: keep-alive storms. One command renews many leases, and not without bound.
#[test]
fn one_command_renews_many_leases_each_for_itself() {
    let mut log = Log::founded();
    let locks = (0..1_000).map(|n| try_lock(id(n, 1), &format!("lock-{n}"), 1_000));
    log.entry(0, locks.collect());
    let lease = |n: u64| RenewLease { lease: LeaseId(u128::from(START + n)), ttl_ms: None, exact: None };
    let Outcome::Renewed(renewed) =
        log.one(900, Operation::Renew(Renew { leases: (0..1_001).map(lease).collect(), all_or_nothing: false }))
    else {
        panic!("renewals are answered one by one")
    };
    assert!(renewed[..1_000].iter().all(|one| *one == alive(1_000)));
    assert_eq!(renewed[1_000], Renewed::Gone { reason: None });
    let storm = Renew { leases: vec![lease(0); RENEWALS_MAX + 1], all_or_nothing: false };
    assert!(matches!(log.refused(900, Operation::Renew(storm)), Refusal::Invalid { field, .. } if field == "leases"));
}

/// Atomix #544: no expiry without commands. The deadline is known to the leader, and a bare tick does it.
#[test]
fn bare_tick_expires_what_is_due() {
    let mut log = Log::founded();
    log.granted(0, try_lock(id(1, 1), "a", 1_000));
    assert_eq!(log.machine.earliest_deadline(), Some(LogTime(1_000)));
    log.tick(1_000);
    assert!(log.holder("a").is_some(), "alive while now <= deadline");
    log.tick(1_001);
    assert_eq!(log.holder("a"), None);
}

/// A release that raced a renewal resurrected the lock.
#[test]
fn renewal_after_release_resurrects_nothing() {
    let mut log = Log::founded();
    let granted = log.granted(0, try_lock(id(1, 1), "a", 1_000));
    let outcomes = log.entry(10, vec![release("a", granted.grants[0].token), renew(granted.lease, None)]);
    assert_eq!(outcomes[1], Outcome::Renewed(vec![Renewed::Gone { reason: Some(LossReason::Released) }]));
    assert_eq!(log.holder("a"), None);
}

/// An acquire that its caller had given up succeeded, and the lock was orphaned.
#[test]
fn abandoned_acquire_leaves_no_orphan() {
    let mut log = Log::founded();
    // The cancel comes after the grant: it is undone.
    log.granted(0, try_lock(id(1, 1), "a", 60_000));
    assert_eq!(log.cancelled(1, id(1, 1), 1), Cancelled::UndidGrant);
    assert_eq!(log.holder("a"), None);
    // The cancel overtakes the acquire: that takes no effect.
    assert_eq!(log.cancelled(2, id(1, 2), 1), Cancelled::NotFound);
    let late = log.one(3, wait_lock(id(1, 2), "a", 60_000, 1_000));
    assert_eq!(late, Outcome::Ended(Ended { reason: LossReason::Cancelled, token: None }));
    assert_eq!(log.holder("a"), None);
    // The cancel finds a waiter in the middle of the queue.
    log.granted(4, try_lock(id(2, 1), "a", 60_000));
    for client in 3..6 {
        log.queued(4, wait_lock(id(client, 1), "a", 60_000, 1_000));
    }
    assert_eq!(log.cancelled(5, id(4, 1), 1), Cancelled::LeftQueue);
    assert_eq!(log.waiters("a"), [id(3, 1), id(5, 1)]);
}

/// A late or repeated release harmed the next holder.
#[test]
fn repeated_release_does_not_touch_the_next_holder() {
    let mut log = Log::founded();
    let first = log.granted(0, try_lock(id(1, 1), "a", 60_000));
    log.queued(0, wait_lock(id(2, 1), "a", 60_000, 1_000));
    assert!(log.released(1, "a", first.grants[0].token).released);
    let holder = log.holder("a");
    for at in 2..5 {
        let again = log.released(at, "a", first.grants[0].token);
        assert_eq!(again, not_released(Some(LossReason::Released)));
    }
    assert_eq!(log.holder("a"), holder);
}

/// r-nacos #244: the lock table was missing from the snapshot.
#[test]
fn snapshot_holds_grants_waiters_and_requests() {
    let mut log = Log::founded();
    let first = log.granted(0, try_lock(id(1, 1), "a", 60_000));
    log.queued(0, wait_lock(id(2, 1), "a", 60_000, 1_000));
    log.queued(0, wait_lock(id(3, 1), "a", 60_000, 1_000));
    let before = log.machine.lock(NS, "a");
    log.restore(Bounds::default());
    assert_eq!(log.machine.lock(NS, "a"), before);
    log.released(1, "a", first.grants[0].token);
    assert_eq!(log.grants()[0].0, id(2, 1));
}

/// The fencing counter was reset by a restart, or by deleting the record.
#[test]
fn tokens_ascend_across_restart_and_recreation() {
    let mut log = Log::founded();
    let mut last = FencingToken(0);
    for round in 1..20 {
        let granted = log.granted(round, try_lock(id(1, round), "a", 60_000));
        assert!(granted.grants[0].token > last);
        last = granted.grants[0].token;
        assert!(log.released(round, "a", last).released);
        log.restore(Bounds::default());
    }
    // Also when nothing is remembered of the lock any more.
    log.tick(10 * REMEMBER_MS);
    log.restore(Bounds::default());
    assert!(log.granted(10 * REMEMBER_MS, try_lock(id(1, 99), "a", 60_000)).grants[0].token > last);
}

/// kazoo #649: contenders deadlocked by looking at those behind them. Requests for several locks in opposite orders
/// all get their turn.
#[test]
fn several_locks_in_opposite_orders_do_not_deadlock() {
    let mut log = Log::founded();
    let names = ["a", "b", "c"];
    let first = log.granted(0, Operation::Acquire(acquire_of(id(0, 1), &names, 60_000, Wait::Try)));
    for client in 1..30u64 {
        let mut order = names;
        order.rotate_left(client as usize % 3);
        let some = &order[..1 + client as usize % 3];
        log.queued(0, Operation::Acquire(acquire_of(id(client, 1), some, 60_000, Wait::For { wait_ms: 30_000 })));
    }
    let mut held: Vec<GrantedLock> = first.grants;
    let mut granted = 0;
    while let Some(lock) = held.pop() {
        log.released(1, &lock.name, lock.token);
        for (_, grant) in log.grants() {
            granted += 1;
            held.extend(grant.grants);
        }
    }
    assert_eq!(granted, 29);
}
