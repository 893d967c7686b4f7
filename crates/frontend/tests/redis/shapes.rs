//! Scripts of the shapes that lock libraries send: programs of our own, over one key or several.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use leasehold_consensus::runtime;

use crate::resp::{Resp, Value, bulk, ok, start_and_connect};
use crate::server::{eventually, soon};

const RELEASE: &str = "
    local owner = redis.call('GET', KEYS[1])
    if owner == false then return -1 end
    if owner ~= ARGV[1] then return -2 end
    return redis.call('DEL', KEYS[1])";
const EXTEND: &str = "
    if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
    return redis.call('pexpire', KEYS[1], ARGV[2])";
const ADD: &str = "
    if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
    local left = redis.call('pttl', KEYS[1])
    if left < 0 then return 0 end
    redis.call('pexpire', KEYS[1], left + ARGV[2])
    return 1";
const TAKE_ALL: &str = "
    for i, key in ipairs(KEYS) do
        if redis.call('exists', key) == 1 then return 0 end
    end
    for i, key in ipairs(KEYS) do redis.call('set', key, ARGV[1], 'PX', ARGV[2]) end
    return #KEYS";
const EXTEND_ALL: &str = "
    for i, key in ipairs(KEYS) do
        if redis.call('get', key) ~= ARGV[1] then return 0 end
    end
    for i, key in ipairs(KEYS) do redis.call('pexpire', key, ARGV[2]) end
    return #KEYS";
const RELEASE_OWN: &str = "
    local gone = 0
    for i, key in ipairs(KEYS) do
        if redis.call('get', key) == ARGV[1] then
            redis.pcall('del', key)
            gone = gone + 1
        end
    end
    return gone";

#[tokio::test]
async fn compare_and_release() {
    let (_server, mut client) = start_and_connect().await;
    assert_eq!(client.eval(RELEASE, &["k"], &["me"]).await, Value::Integer(-1));
    client.call("SET k me NX PX 60000").await;
    assert_eq!(client.eval(RELEASE, &["k"], &["you"]).await, Value::Integer(-2));
    assert_eq!(client.call("GET k").await, bulk("me"));
    assert_eq!(client.eval(RELEASE, &["k"], &["me"]).await, Value::Integer(1));
    assert_eq!(client.call("EXISTS k").await, Value::Integer(0));
}

#[tokio::test]
async fn compare_and_extend_sets_or_adds_time() {
    let (_server, mut client) = start_and_connect().await;
    client.call("SET k me NX PX 60000").await;
    assert_eq!(client.eval(EXTEND, &["k"], &["you", "600000"]).await, Value::Integer(0));
    assert_eq!(client.eval(EXTEND, &["k"], &["me", "600000"]).await, Value::Integer(1));
    assert!((300_000..=600_000).contains(&client.call("PTTL k").await.integer()));
    assert_eq!(client.eval(ADD, &["k"], &["me", "600000"]).await, Value::Integer(1));
    assert!((700_000..=1_200_000).contains(&client.call("PTTL k").await.integer()));
    assert_eq!(client.eval(EXTEND, &["k"], &["me", "90000"]).await, Value::Integer(1), "an owner may shorten it");
    assert!((1..=90_000).contains(&client.call("PTTL k").await.integer()));
}

#[tokio::test]
async fn several_keys_are_taken_extended_and_released_together() {
    let (server, mut client) = start_and_connect().await;
    client.call("SET b you NX PX 60000").await;
    assert_eq!(client.eval(TAKE_ALL, &["a", "b", "c"], &["me", "60000"]).await, Value::Integer(0));
    assert_eq!(client.call("EXISTS a b c").await, Value::Integer(1), "all or nothing");
    assert_eq!(client.eval(RELEASE, &["b"], &["you"]).await, Value::Integer(1));
    assert_eq!(client.eval(TAKE_ALL, &["a", "b", "c"], &["me", "60000"]).await, Value::Integer(3));
    let leases: Vec<_> = [server.get("a").await, server.get("b").await, server.get("c").await]
        .map(|lock| lock.holders[0].lease.clone())
        .into();
    assert!(leases.iter().all(|lease| *lease == leases[0]), "one acquire: {leases:?}");
    assert_eq!(client.eval(EXTEND_ALL, &["c", "a", "b"], &["me", "600000"]).await, Value::Integer(3));
    assert!(client.call("PTTL b").await.integer() > 300_000);

    let partly = client.eval(EXTEND_ALL, &["a", "b"], &["me", "600000"]).await;
    assert!(partly.error().contains("taken together with others, 3 locks in all"), "{partly:?}");
    assert_eq!(client.eval(RELEASE_OWN, &["c", "b"], &["me"]).await, Value::Integer(2));
    assert_eq!(client.eval(EXTEND_ALL, &["a"], &["me", "700000"]).await, Value::Integer(1), "alone by now");
    client.call("SET b you NX PX 60000").await;
    assert_eq!(client.eval(RELEASE_OWN, &["a", "b", "c"], &["me"]).await, Value::Integer(1));
    assert_eq!(client.call("GET b").await, bulk("you"));
}

#[tokio::test]
async fn a_key_named_twice_is_one_lock() {
    let (_server, mut client) = start_and_connect().await;
    client.call("SET a me NX PX 60000").await;
    assert_eq!(client.eval(EXTEND_ALL, &["a", "a"], &["me", "600000"]).await, Value::Integer(2));
    assert!(client.call("PTTL a").await.integer() > 300_000);
    let released = client.eval(RELEASE_OWN, &["a", "a"], &["me"]).await;
    assert_eq!(released, Value::Integer(1), "the second time it was gone");
}

/// Takes and releases a lock `rounds` times, and looks that nobody else has it meanwhile.
async fn contend(mut client: Resp, owner: String, inside: Arc<AtomicBool>, rounds: usize) {
    for _ in 0..rounds {
        while client.call(&format!("SET contended {owner} NX PX 600000")).await != ok() {
            tokio::task::yield_now().await;
        }
        assert!(!inside.swap(true, Ordering::SeqCst), "two had it");
        tokio::task::yield_now().await;
        inside.store(false, Ordering::SeqCst);
        assert_eq!(client.eval(RELEASE, &["contended"], &[&owner]).await, Value::Integer(1));
    }
}

#[tokio::test]
async fn many_clients_that_poll_never_have_the_lock_at_once() {
    let (server, _) = start_and_connect().await;
    let (inside, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = Vec::new();
    for number in 0..6 {
        let (client, inside, done) = (Resp::to(&server).await, Arc::clone(&inside), Arc::clone(&done));
        tasks.push(runtime::spawn(async move {
            contend(client, format!("client-{number}"), inside, 15).await;
            done.fetch_add(1, Ordering::SeqCst);
        }));
    }
    for task in tasks {
        soon(task).await.unwrap();
    }
    assert_eq!(done.load(Ordering::SeqCst), 6);
    eventually("free", || server.node.state().locks("default", "contended", None, 1).is_empty()).await;
}
