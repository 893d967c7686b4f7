//! Shared and counting locks, several at once, lock-delay, deadlocks.

use leasehold_proto::v1;
use leasehold_proto::v1::acquire_response::Result as Acquired;
use tonic::Code;

use crate::server::{
    Server, acquire, eventually, granted, release, request_id, session_id, soon, under, verdict, wait_for,
};

fn permits(name: &str, permits: u32, limit: u32) -> v1::AcquireRequest {
    let mut request = acquire(name, None);
    request.locks[0] = v1::LockRequest { name: name.into(), mode: v1::Mode::Permits.into(), permits, limit };
    request
}

async fn held(server: &Server, request: v1::AcquireRequest) -> v1::Held {
    let answer = server.locks().acquire(request).await.unwrap().into_inner();
    match answer.result {
        Some(Acquired::Held(held)) => held,
        other => panic!("not held: {other:?}"),
    }
}

#[tokio::test]
async fn readers_share_and_a_writer_waits_its_turn() {
    let server = Server::start().await;
    for session in 1..=3 {
        server.open_session(session).await;
    }
    let first = server.take(under(1, "a", v1::Mode::Shared, None)).await;
    let second = server.take(under(2, "a", v1::Mode::Shared, None)).await;
    assert_eq!(first.mode(), v1::Mode::Shared);
    let writer = wait_for(&server, under(3, "a", v1::Mode::Exclusive, Some(30_000))).await;
    let late = held(&server, under(1, "a", v1::Mode::Shared, None)).await;
    assert_eq!((late.holders.len(), late.waiters, late.by_self), (2, 1, true), "no barging past a writer");
    assert!(!held(&server, acquire("a", None)).await.by_self);
    server.release("a", first.token).await;
    server.release("a", second.token).await;
    let writing = granted(soon(writer).await.unwrap().unwrap());
    assert_eq!(writing.grants[0].mode(), v1::Mode::Exclusive);
    assert!(!writing.confirm, "its session is what counts");
}

#[tokio::test]
async fn permits_are_counted_and_their_limit_is_set_by_the_first() {
    let server = Server::start().await;
    let two = server.take(permits("pool", 2, 3)).await;
    assert_eq!((two.mode(), two.permits, two.limit), (v1::Mode::Permits, 2, 3));
    assert_eq!(held(&server, permits("pool", 2, 3)).await.holders[0].permits, 2);
    server.take(permits("pool", 1, 3)).await;
    let status = server.locks().acquire(permits("pool", 1, 4)).await.unwrap_err();
    assert!(status.message().contains('3') && status.message().contains('4'), "both limits: {status:?}");
    assert_eq!(verdict::<()>(Err(status)), (Code::FailedPrecondition, "LIMIT_CONFLICT".into()));
    let lock = server.get("pool").await;
    assert_eq!((lock.holder_count, lock.holders[1].permits, lock.holders[1].limit), (2, 1, 3));
    assert_eq!(held(&server, acquire("pool", None)).await.name, "pool", "nobody holds it alone beside them");
}

#[tokio::test]
async fn several_locks_come_in_mixed_modes_with_a_token_each() {
    let server = Server::start().await;
    let mut request = permits("c", 1, 2);
    request.locks.push(v1::LockRequest { name: "a".into(), mode: v1::Mode::Shared.into(), ..Default::default() });
    request.locks.push(v1::LockRequest { name: "b".into(), ..Default::default() });
    let all = granted(server.locks().acquire(request).await.unwrap().into_inner());
    let names: Vec<(&str, v1::Mode)> = all.grants.iter().map(|grant| (grant.name.as_str(), grant.mode())).collect();
    assert_eq!(names, [("c", v1::Mode::Permits), ("a", v1::Mode::Shared), ("b", v1::Mode::Exclusive)]);
    let mut tokens: Vec<u64> = all.grants.iter().map(|grant| grant.token).collect();
    tokens.dedup();
    assert_eq!(tokens.len(), 3);

    let locks: Vec<v1::HeldLock> =
        all.grants.iter().map(|grant| v1::HeldLock { name: grant.name.clone(), token: grant.token }).collect();
    server.release("a", locks[1].token).await;
    let list = |all_or_nothing| v1::ReleaseRequest { locks: locks.clone(), all_or_nothing, ..Default::default() };
    let none = server.locks().release(list(true)).await.unwrap().into_inner();
    assert_eq!((none.released, none.reason()), (false, v1::LossReason::Released));
    assert!(none.locks[0].still_held && !none.locks[1].still_held && none.locks[2].still_held);
    let rest = server.locks().release(list(false)).await.unwrap().into_inner();
    let each: Vec<bool> = rest.locks.iter().map(|lock| lock.released).collect();
    assert_eq!((rest.released, each), (false, vec![true, false, true]));
    assert!(server.get("b").await.holders.is_empty());
    let mut wrong = release("b", 0);
    wrong.token = locks[0].token;
    assert_eq!(verdict(server.locks().release(wrong).await), (Code::FailedPrecondition, "WRONG_TOKEN".into()));
}

#[tokio::test]
async fn who_would_close_a_cycle_of_waits_is_told_the_cycle() {
    let server = Server::start().await;
    let with_actor = |session, name: &str, wait_ms| v1::AcquireRequest {
        actor: format!("task {session}"),
        ..under(session, name, v1::Mode::Exclusive, wait_ms)
    };
    for session in [1, 2] {
        server.open_session(session).await;
    }
    server.take(with_actor(1, "a", None)).await;
    server.take(with_actor(2, "b", None)).await;
    let _first = wait_for(&server, with_actor(1, "b", Some(30_000))).await;
    let closing = v1::AcquireRequest { request_id: request_id(1), ..with_actor(2, "a", Some(30_000)) };
    let answer = soon(server.locks().acquire(closing)).await.unwrap().into_inner();
    let Some(Acquired::Deadlock(deadlock)) = answer.result else { panic!("{answer:?}") };
    let steps: Vec<(&str, &str, &str)> =
        deadlock.cycle.iter().map(|step| (step.session.as_str(), step.actor.as_str(), step.name.as_str())).collect();
    assert_eq!(steps, [(&*session_id(2), "task 2", "a"), (&*session_id(1), "task 1", "b")]);
    assert_eq!(deadlock.cycle[0].owner, "session 2");
    assert_eq!(server.queue_length("a"), 0);
}

#[tokio::test]
async fn a_lock_delay_follows_a_forced_release_and_is_told() {
    let server = Server::start().await;
    let mut request = acquire("a", None);
    request.lock_delay_ms = 60_000;
    let grant = server.take(request).await;
    let force = v1::ForceReleaseRequest {
        name: "a".into(),
        token: grant.token,
        reason: "it hangs".into(),
        ..Default::default()
    };
    let forced = server.locks().force_release(force.clone()).await.unwrap().into_inner();
    assert!(forced.released);
    let refused = held(&server, acquire("a", None)).await;
    assert!(refused.holders.is_empty() && refused.delay_left_ms > 0, "{refused:?}");
    let lock = server.get("a").await;
    assert!((1..=60_001).contains(&lock.delay_left_ms));
    let loss = lock.loss.unwrap();
    assert_eq!((loss.token, loss.reason(), loss.note.as_str()), (grant.token, v1::LossReason::Forced, "it hangs"));
    let again = server.locks().force_release(force).await.unwrap().into_inner();
    assert_eq!((again.released, again.reason()), (false, v1::LossReason::Forced));
    let listed = server.locks().list(v1::ListRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.locks.len(), 1, "a lock-delay keeps the lock listed");
}

#[tokio::test]
async fn what_a_holder_says_of_itself_is_shown() {
    let server = Server::start().await;
    server.open_session(1).await;
    let request = v1::AcquireRequest {
        actor: "worker 7".into(),
        metadata: "build 9".into(),
        value: b"phase 1".to_vec(),
        owner: "another name".into(),
        ..under(1, "a", v1::Mode::Exclusive, None)
    };
    server.take(request).await;
    let holder = server.get("a").await.holders.remove(0);
    assert_eq!((holder.owner.as_str(), holder.actor.as_str()), ("another name", "worker 7"));
    assert_eq!((holder.metadata.as_str(), holder.value.as_slice(), holder.version), ("build 9", &b"phase 1"[..], 0));
    let waiting = v1::AcquireRequest { metadata: "next".into(), ..acquire("a", Some(30_000)) };
    let _call = wait_for(&server, waiting).await;
    eventually("queued", || server.queue_length("a") == 1).await;
    let lock = server.get("a").await;
    assert_eq!((lock.waiter_count, lock.waiters[0].metadata.as_str()), (1, "next"));
    assert_eq!((lock.waiters[0].position, lock.waiters[0].lease.as_str()), (1, ""));
}

#[tokio::test]
async fn a_try_on_a_held_lock_writes_no_log_entry_and_one_that_may_be_repeated_does() {
    let server = Server::start().await;
    // Without a deadline near, nothing but calls writes entries; ticks would.
    let mut request = acquire("a", None);
    request.ttl_ms = 3_600_000;
    let grant = server.take(request).await;
    let applied = || server.node.state().applied().unwrap().index;
    let mut known = acquire("a", None);
    known.request_id = request_id(7);
    let (before, since) = (applied(), server.node.now());
    for _ in 0..200 {
        let refused = held(&server, acquire("a", None)).await;
        assert_eq!(refused.holders[0].token, grant.token);
        held(&server, known.clone()).await;
    }
    // While a lease is pending the leader writes a tick every 250 ms.
    let ticks = (server.node.now().0 - since.0) / 250 + 1;
    assert!(applied() - before <= ticks, "{} entries, {ticks} of them ticks", applied() - before);

    // A later attempt is remembered, so that a delayed earlier one takes no effect.
    let before = applied();
    known.attempt = 2;
    held(&server, known.clone()).await;
    assert!(applied() > before);
    known.attempt = 1;
    let late = server.locks().acquire(known).await;
    assert_eq!(verdict(late), (Code::Aborted, "SUPERSEDED".to_owned()));
}
