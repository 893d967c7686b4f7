//! What went wrong in other lock services (TESTING.md, "Failures that others had"), where sessions and modes are part of
//! the story. See also `failures_of_others.rs`.

use crate::log::*;
use crate::spoken::*;
use leasehold_state_machine::*;

const WAIT: Wait = Wait::For { wait_ms: 20_000 };

/// etcd #11456: a grant was returned to a waiter whose own lease had died.
#[test]
fn waiter_of_a_dead_session_is_not_granted() {
    let mut log = Log::founded();
    for (n, ttl_ms) in [(1, 60_000), (2, 1_000), (3, 60_000)] {
        log.one(0, open_session(session(n), ttl_ms));
    }
    let held = log.granted(0, try_in(1, 1, "a", EXCLUSIVE));
    log.queued(0, wait_in(2, 1, "a", EXCLUSIVE, 20_000));
    log.queued(0, wait_in(3, 1, "a", EXCLUSIVE, 20_000));
    // Session 2 is due in the entry in which the lock is released; its wait is not.
    log.one(1_001, release("a", token(&held)));
    assert_eq!(log.granted_to(), [id(3, 1)]);
    assert_eq!(log.waits_ended(), [(id(2, 1), LossReason::Expired, false)]);
    let told = log.one(1_002, wait_in(2, 1, "a", EXCLUSIVE, 20_000));
    assert_eq!(told, Outcome::Ended(Ended { reason: LossReason::Expired, token: None }));
    let again = log.refused(1_003, wait_in(2, 2, "a", EXCLUSIVE, 20_000));
    assert_eq!(again, Refusal::NoSession { session: session(2), reason: Some(LossReason::Expired) });
}

/// hiqlite #352: a dead waiter that was promoted blocked the key. Here it stands at the head of two queues, and those behind
/// it on either lock go at once when its session dies.
#[test]
fn dead_waiter_for_several_locks_blocks_neither() {
    let mut log = Log::founded();
    for (n, ttl_ms) in [(1, 60_000), (2, 1_000), (3, 60_000), (4, 60_000)] {
        log.one(0, open_session(session(n), ttl_ms));
    }
    log.granted(0, try_in(1, 1, "a", EXCLUSIVE));
    let both = under(Operation::Acquire(acquire_of(id(2, 1), &["b", "a"], 1, WAIT)), 2);
    log.queued(0, both);
    log.queued(0, wait_in(3, 1, "b", SHARED, 20_000));
    log.queued(0, wait_in(4, 1, "b", SHARED, 20_000));
    assert_eq!(log.holder("b"), None, "the head idles it");
    log.tick(1_001);
    assert_eq!(log.granted_to(), [id(3, 1), id(4, 1)]);
    assert!(log.waiters("a").is_empty());
}

/// hiqlite #352 once more: the one that dies had been promoted already, and was never heard of since.
#[test]
fn promoted_waiter_that_is_dead_loses_the_lock_with_its_session() {
    let mut log = Log::founded();
    for (n, ttl_ms) in [(1, 60_000), (2, 1_000), (3, 60_000)] {
        log.one(0, open_session(session(n), ttl_ms));
    }
    let first = log.granted(0, try_in(1, 1, "a", EXCLUSIVE));
    log.queued(0, wait_in(2, 1, "a", EXCLUSIVE, 20_000));
    log.queued(0, wait_in(3, 1, "a", EXCLUSIVE, 20_000));
    log.released(500, "a", token(&first));
    assert_eq!(log.granted_to(), [id(2, 1)]);
    log.tick(1_001);
    assert_eq!(log.granted_to(), [id(3, 1)]);
}

/// kazoo #649: readers and writers deadlocked, as each looked at later contenders too. Here only those ahead count: all get
/// their turn, neighbouring readers together, and no writer is passed by.
#[test]
fn readers_and_writers_look_only_at_those_ahead() {
    let mut log = Log::founded();
    open_sessions(&mut log, 7, 60_000);
    let first = log.granted(0, try_in(1, 1, "a", EXCLUSIVE));
    for (client, how) in [(2, SHARED), (3, EXCLUSIVE), (4, SHARED), (5, SHARED), (6, EXCLUSIVE), (7, SHARED)] {
        log.queued(0, wait_in(client, 1, "a", how, 20_000));
    }
    let mut held = vec![token(&first)];
    for expected in [vec![2], vec![3], vec![4, 5], vec![6], vec![7]] {
        let last = held.pop().unwrap();
        for other in held {
            log.released(1, "a", other);
            assert!(log.granted_to().is_empty(), "the other reader still holds");
        }
        log.released(1, "a", last);
        assert_eq!(log.granted_to(), expected.iter().map(|client| id(*client, 1)).collect::<Vec<_>>());
        held = log.holders("a");
        assert_eq!(held.len(), expected.len());
    }
}

/// kazoo #649 for two locks: a reader of both, a writer of both in the other order, and a reader of one, which a later
/// writer's wait must not keep out of what it queued for first.
#[test]
fn mixed_modes_of_several_locks_do_not_deadlock() {
    let mut log = Log::founded();
    open_sessions(&mut log, 4, 60_000);
    let several = |client: u64, names: &[&str], how| {
        under(mode(Operation::Acquire(acquire_of(id(client, 1), names, 1, WAIT)), how), client)
    };
    let first = log.granted(0, several(1, &["a", "b"], SHARED));
    log.queued(0, several(2, &["b", "a"], EXCLUSIVE));
    log.queued(0, several(3, &["a", "b"], SHARED));
    log.queued(0, several(4, &["b"], SHARED));
    // Half of it frees neither: the writer is all or nothing, and nobody passes it.
    log.released(1, "a", first.grants[0].token);
    assert!(log.granted_to().is_empty());
    log.released(1, "b", first.grants[1].token);
    assert_eq!(log.granted_to(), [id(2, 1)]);
    log.one(2, close(session(2)));
    assert_eq!(log.granted_to(), [id(3, 1), id(4, 1)]);
}

/// etcd #9360: mass expiry blocked everything. Fifty thousand leases and sessions are due at once: every entry takes its
/// piece, and between them locks are granted, released and handed over as ever.
#[test]
fn grants_go_on_while_fifty_thousand_leases_expire() {
    const DUE: u64 = 50_000;
    const PIECES: u64 = DUE.div_ceil(EXPIRIES_BESIDE_COMMANDS_MAX as u64);
    let mut log = Log::founded();
    for start in (0..DUE).step_by(2_500) {
        let one = |n: u64| match n % 2 {
            0 => vec![try_lock(id(n + 1, 1), &format!("due-{n}"), 1_000)],
            _ => vec![open_session(session(n + 1), 1_000), try_in(n + 1, 1, &format!("due-{n}"), EXCLUSIVE)],
        };
        log.entry(0, (start..start + 2_500).flat_map(one).collect());
    }
    let client = DUE + 1;
    log.one(0, open_session(session(client), 60_000));
    // One waits for a lock whose turn to expire comes last of all.
    let last = format!("due-{}", DUE - 1);
    log.queued(0, wait_in(client, 1, &last, EXCLUSIVE, 30_000));
    let mut ended = 0;
    let mut handed_over = None;
    for piece in 1..=PIECES {
        let name = format!("living-{piece}");
        let outcomes = log.entry(1_001, vec![try_in(client, 1 + piece, &name, EXCLUSIVE)]);
        let Outcome::Granted(granted) = &outcomes[0] else { panic!("piece {piece}: {outcomes:?}") };
        let expired = log.events.iter().filter(|event| matches!(event.kind, EventKind::LeaseEnded { .. })).count();
        assert!(expired <= EXPIRIES_BESIDE_COMMANDS_MAX, "{expired} leases in one entry");
        ended += expired as u64;
        if log.granted_to().contains(&id(client, 1)) {
            handed_over = Some(piece);
        }
        assert_eq!(log.released(1_001, &name, token(granted)), released());
        // That was an entry of its own, with a piece of its own.
        ended += log.events.iter().filter(|event| matches!(event.kind, EventKind::LeaseEnded { .. })).count() as u64;
        if log.granted_to().contains(&id(client, 1)) {
            handed_over = Some(piece);
        }
        assert_eq!(log.machine.earliest_deadline() <= Some(LogTime(1_001)), ended < DUE, "more is due: it is seen");
    }
    assert_eq!(ended, DUE);
    assert!(handed_over.is_some(), "the wait behind the last one ended with a grant");
}

/// etcd #12528: a deposed leader's revocation was carried out after the change. It names the session that it closes, and a
/// client that has opened another since keeps that.
#[test]
fn late_revocation_ends_only_the_session_that_it_names() {
    let mut log = Log::founded();
    open_sessions(&mut log, 2, 1_000);
    log.granted(0, try_in(1, 1, "a", EXCLUSIVE));
    log.tick(1_001);
    log.one(1_001, open_session(session(3), 5_000));
    let again = log.granted(1_001, under(try_lock(id(1, 2), "a", 1), 3));
    log.leader = LeaderStamp { term: 2, node: 2 };
    let late = log.one(1_002, close(session(1)));
    assert_eq!(late, Outcome::Closed(Closed { closed: false, grants_ended: 0 }));
    assert_eq!(log.holder("a"), Some(token(&again)));
}

/// etcd #9395, #20273: leases were kept alive for ever by repeated changes of the leader.
#[test]
fn leader_changes_do_not_renew_sessions() {
    let mut log = Log::founded();
    open_sessions(&mut log, 1, 1_000);
    log.granted(0, try_in(1, 1, "a", SHARED));
    for term in 2..=9 {
        log.leader = LeaderStamp { term, node: term % 3 };
        log.index += 1;
        log.machine.apply_blank(EntryId { leader: log.leader, index: log.index });
        // Neither does the duplicate of the call that opened it, which a client sends to the new leader.
        let opened = log.one(term * 100, open_session(session(1), 1_000));
        assert_eq!(opened, Outcome::Opened(Opened { left_ms: 1_000 - term * 100 }));
    }
    log.tick(1_001);
    assert_eq!(log.holder("a"), None);
}

/// A release, or a close, that raced a renewal resurrected the lock.
#[test]
fn session_that_was_closed_stays_closed() {
    let mut log = Log::founded();
    open_sessions(&mut log, 1, 1_000);
    log.granted(0, try_in(1, 1, "a", EXCLUSIVE));
    let keep_alive = renew(session(1), None);
    let outcomes = log.entry(10, vec![close(session(1)), keep_alive, open_session(session(1), 1_000)]);
    assert_eq!(outcomes[0], Outcome::Closed(Closed { closed: true, grants_ended: 1 }));
    let reason = Some(LossReason::LeaseClosed);
    assert_eq!(outcomes[1], Outcome::Renewed(vec![Renewed::Gone { reason }]));
    assert_eq!(outcomes[2], Outcome::Refused(Refusal::NoSession { session: session(1), reason }));
    assert_eq!(log.holder("a"), None);
}

/// An acquire that its caller had given up succeeded, and the lock was orphaned. Under a session the caller repeats its
/// cancel until that is answered, and nothing of the wait is left, whichever came first.
#[test]
fn abandoned_wait_of_a_session_leaves_no_orphan() {
    for granted_before in [false, true] {
        let mut log = Log::founded();
        open_sessions(&mut log, 2, 60_000);
        let held = log.granted(0, try_in(1, 1, "a", EXCLUSIVE));
        log.queued(1, wait_in(2, 1, "a", EXCLUSIVE, 20_000));
        let expected = if granted_before {
            log.released(2, "a", token(&held));
            assert_eq!(log.granted_to(), [id(2, 1)]);
            Cancelled::UndidGrant
        } else {
            Cancelled::LeftQueue
        };
        assert_eq!(log.cancelled(3, id(2, 1), 1), expected);
        assert_eq!(log.cancelled(4, id(2, 1), 1), Cancelled::NotFound, "sent again, as the answer was lost");
        let late = log.one(5, wait_in(2, 1, "a", EXCLUSIVE, 20_000));
        assert!(matches!(late, Outcome::Ended(Ended { reason: LossReason::Cancelled, .. })));
        log.released(6, "a", token(&held));
        assert_eq!(log.holder("a"), None);
        assert!(log.machine.session(session(2)).unwrap().grants.is_empty());
    }
}

/// A late or repeated release harmed another holder: each names its own token, also among those who share.
#[test]
fn repeated_release_of_one_reader_ends_no_other() {
    let mut log = Log::founded();
    open_sessions(&mut log, 2, 60_000);
    let one = log.granted(0, try_in(1, 1, "a", SHARED));
    let two = log.granted(0, try_in(2, 1, "a", SHARED));
    assert_eq!(log.released(1, "a", token(&one)), released());
    let again = log.granted(2, try_in(1, 2, "a", SHARED));
    for at in 3..6 {
        assert!(!log.released(at, "a", token(&one)).released);
    }
    assert_eq!(log.holders("a"), [token(&two), token(&again)]);
    // The same with permits: the sum is what the others hold.
    let permits = |n| Mode::Permits { permits: n, limit: 3 };
    let first = log.granted(6, try_in(1, 3, "s", permits(2)));
    log.released(6, "s", token(&first));
    log.granted(6, try_in(2, 3, "s", permits(2)));
    log.released(6, "s", token(&first));
    assert!(matches!(log.one(7, try_in(1, 4, "s", permits(2))), Outcome::Held(_)));
}

/// r-nacos #244: the lock table was missing from the snapshot. With all that hangs on sessions and modes: two machines, one of
/// which is written and read back before every entry, go on alike.
#[test]
fn snapshot_holds_sessions_modes_converts_and_delays() {
    let mut logs = [Log::founded(), Log::founded()];
    let delayed = |operation| with(operation, |acquire| acquire.lock_delay_ms = 2_000);
    let permits = |n| Mode::Permits { permits: n, limit: 3 };
    let start = FencingToken(START);
    let story: Vec<(u64, Operation)> = vec![
        (0, open_session(session(1), 3_000)),
        (0, open_session(session(2), 60_000)),
        (0, open_session(session(3), 60_000)),
        (1, by(try_in(1, 1, "a", SHARED), "reader")),
        (1, by(try_in(2, 1, "a", SHARED), "reader")),
        (2, convert(id(2, 2), "a", FencingToken(START + 1), EXCLUSIVE, WAIT)),
        (2, convert(id(1, 2), "a", start, EXCLUSIVE, WAIT)),
        (3, wait_in(3, 1, "a", EXCLUSIVE, 20_000)),
        (4, try_in(3, 2, "s", permits(2))),
        (4, wait_in(2, 3, "s", permits(2), 20_000)),
        (5, delayed(try_in(1, 3, "d", EXCLUSIVE))),
        (7, force_release("s", FencingToken(START + 2))),
        // Session 1 ends: its reader goes, the upgrade is granted, and a lock-delay begins.
        (3_001, Operation::Tick),
        (3_002, try_in(2, 4, "d", EXCLUSIVE)),
        (3_003, wait_in(3, 3, "d", EXCLUSIVE, 20_000)),
        (5_002, Operation::Tick),
        (5_003, close(session(2))),
    ];
    for (at, operation) in story {
        logs[1].restore(Bounds::default());
        let [left, right] = &mut logs;
        assert_eq!(left.one(at, operation.clone()), right.one(at, operation));
        assert_eq!(left.events, right.events);
        assert_eq!(left.machine.state_hash(), right.machine.state_hash());
    }
    let [log, _] = logs;
    assert_eq!(log.granted_to(), [id(3, 1)], "the writer waited for the upgraded reader's session");
    assert_eq!(log.machine.lock(NS, "d").unwrap().holders[0].lease, session(3));
    assert!(log.waiters("s").is_empty());
}

/// The fencing counter was reset by deleting the record. A convert mints too, and so does a session that came again.
#[test]
fn tokens_ascend_through_converts_and_sessions() {
    let mut log = Log::founded();
    let mut last = FencingToken(0);
    for round in 1..10 {
        log.one(round, open_session(session(round), 60_000));
        let shared = log.granted(round, under(mode(try_lock(id(1, 3 * round), "a", 1), SHARED), round));
        let up = log.granted(round, convert(id(1, 3 * round + 1), "a", token(&shared), EXCLUSIVE, Wait::Try));
        let down = log.granted(round, convert(id(1, 3 * round + 2), "a", token(&up), SHARED, Wait::Try));
        assert!(last < token(&shared) && token(&shared) < token(&up) && token(&up) < token(&down));
        last = token(&down);
        log.one(round, close(session(round)));
        log.restore(Bounds::default());
    }
}

/// etcd #10811: a paused holder wakes and writes. Whoever checks its token learns that it is past, and why.
#[test]
fn paused_session_is_told_apart_by_its_tokens() {
    let mut log = Log::founded();
    open_sessions(&mut log, 1, 1_000);
    let paused = log.granted(0, try_in(1, 1, "a", EXCLUSIVE));
    log.tick(1_001);
    log.one(1_001, open_session(session(2), 1_000));
    let next = log.granted(1_001, under(try_lock(id(2, 1), "a", 1), 2));
    assert!(token(&next) > token(&paused));
    let past = log.machine.check_token(NS, "a", token(&paused));
    assert!(matches!(past, TokenView::Past { loss: Some(LossView { reason: LossReason::Expired, .. }) }), "{past:?}");
    let current = log.machine.check_token(NS, "a", token(&next));
    assert_eq!(current, TokenView::Current { mode: EXCLUSIVE, left_ms: 1_000 });
    let gone = Renewed::Gone { reason: Some(LossReason::Expired) };
    assert_eq!(log.renewed(1_002, session(1), None), gone);
}
