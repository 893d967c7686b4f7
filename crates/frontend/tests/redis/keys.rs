//! Commands about keys are commands about locks.

use leasehold_proto::v1;

use crate::resp::{Resp, Value, bulk, ok, start_and_connect};
use crate::server::{Server, acquire, eventually, session_id, under, wait_for};

#[tokio::test]
async fn a_key_is_a_lock_and_its_value_the_owner() {
    let (server, mut client) = start_and_connect().await;
    client.call("CLIENT SETNAME worker-7").await;
    assert_eq!(client.call("SET jobs/1 me NX PX 60000").await, ok());
    let lock = server.get("jobs/1").await;
    let holder = &lock.holders[0];
    assert_eq!(holder.owner, "me");
    let address = client.stream.local_addr().unwrap();
    assert_eq!(holder.metadata, format!("redis {address} worker-7"));

    let mut other = Resp::to(&server).await;
    assert_eq!(other.call("SET jobs/1 you NX PX 60000").await, Value::Nil);
    assert_eq!(other.call("SETNX jobs/1 you").await, Value::Integer(0));
    assert_eq!(other.call("GET jobs/1").await, bulk("me"));
    assert_eq!(other.call("EXISTS jobs/1 jobs/2").await, Value::Integer(1));
    assert!((1..=60_000).contains(&other.call("PTTL jobs/1").await.integer()));
    assert!((1..=60).contains(&other.call("TTL jobs/1").await.integer()));
    assert_eq!(other.call("PTTL jobs/2").await, Value::Integer(-2));
    assert_eq!(other.call("MGET jobs/1 jobs/2").await, Value::Array(vec![bulk("me"), Value::Nil]));
    assert_eq!(other.call("DEL jobs/2").await, Value::Integer(0), "nobody's is nobody's loss");
    server.release("jobs/1", holder.token).await;
    assert_eq!(other.call("GET jobs/1").await, Value::Nil);
    assert_eq!(other.call("SET jobs/1 you NX EX 60").await, ok());
}

#[tokio::test]
async fn a_time_to_live_is_set_exactly_and_ends_the_lock() {
    let (server, mut client) = start_and_connect().await;
    assert_eq!(client.call("SET k me NX PX 60000").await, ok());
    assert_eq!(client.call("PEXPIRE k 3600000").await, Value::Integer(1), "longer needs no comparison");
    assert!(client.call("PTTL k").await.integer() > 3_000_000);
    assert_eq!(client.call("SET k me XX PX 100").await, ok(), "its owner may shorten it");
    assert_eq!(client.call("SET free me XX PX 60000").await, Value::Nil);
    assert_eq!(client.call("PEXPIRE free 60000").await, Value::Integer(0));
    eventually("expired", || server.node.state().locks("default", "", None, 1).is_empty()).await;
    assert_eq!(client.call("GET k").await, Value::Nil);
}

#[tokio::test]
async fn the_time_left_is_as_of_now_and_not_of_the_last_log_entry() {
    let (_server, mut client) = start_and_connect().await;
    assert_eq!(client.call("SET k me NX PX 600000").await, ok());
    // Between two ticks of an idle cluster lie 250 ms.
    let mut before = client.call("PTTL k").await.integer();
    for _ in 0..100_000 {
        let left = client.call("PTTL k").await.integer();
        if (1..200).contains(&(before - left)) {
            return;
        }
        before = left;
    }
    panic!("it only ever jumps: {before}");
}

#[tokio::test]
async fn the_owner_does_not_change_under_a_lock() {
    let (_server, mut client) = start_and_connect().await;
    client.call("SET k me NX PX 60000").await;
    for refused in ["SET k you XX PX 60000", "SET k you PX 60000"] {
        assert!(client.call(refused).await.error().starts_with("ERR"), "{refused}");
    }
    assert_eq!(client.call("GET k").await, bulk("me"));
}

#[tokio::test]
async fn binary_values_are_owners_in_hexadecimal_digits() {
    let (server, mut client) = start_and_connect().await;
    let value = [0x00, 0xff, b'\r', b'\n', 0x80, b'a'];
    assert_eq!(client.call_words(&[b"SET", b"k", &value, b"NX", b"PX", b"60000"]).await, ok());
    assert_eq!(server.get("k").await.holders[0].owner, "hex:00ff0d0a8061");
    assert_eq!(client.call("GET k").await, Value::Bulk(value.to_vec()));
    let extend =
        "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], 90000) end return -7";
    assert_eq!(client.call_words(&[b"EVAL", extend.as_bytes(), b"1", b"k", &value]).await, Value::Integer(1));
    assert_eq!(client.eval(extend, &["k"], &["hex:00ff0d0a8061"]).await, Value::Integer(-7));
}

#[tokio::test]
async fn what_no_lock_can_be_named_or_last_is_refused_with_the_limit() {
    let (_server, mut client) = start_and_connect().await;
    let long = "k".repeat(600);
    for (words, told) in [
        (vec![b"GET".as_slice(), b"a\xff"], "'a\\xff' is not UTF-8"),
        (vec![b"SET", b"a\nb", b"v", b"NX", b"PX", b"1000"], "'a\\nb'"),
        (vec![b"GET", b""], "key: must not be empty"),
        (vec![b"GET", long.as_bytes()], "key: is 600 bytes long, at most 512"),
        (vec![b"SET", b"k", b"v", b"NX", b"PX", b"50"], "ttl_ms: 50"),
        (vec![b"SET", b"k", b"v", b"NX", b"EX", b"900000"], "ttl_ms: 900000000"),
        (vec![b"SET", b"k", long.as_bytes(), b"NX", b"PX", b"1000"], "owner: is 600 bytes long, at most 256"),
    ] {
        let refused = client.call_words(&words).await;
        assert!(refused.error().starts_with("ERR ") && refused.error().contains(told), "{told}: {refused:?}");
    }
    assert_eq!(client.call("EXISTS k").await, Value::Integer(0));
    client.call("SET k v NX PX 60000").await;
    assert!(client.call("SET k v XX PX 50").await.error().contains("ttl_ms: 50 is not between 100 and"));
}

#[tokio::test]
async fn a_lock_of_another_mode_exists_and_is_no_string() {
    let (server, mut client) = start_and_connect().await;
    let mut shared = acquire("k", None);
    shared.locks[0].mode = v1::Mode::Shared.into();
    server.take(shared).await;
    assert_eq!(client.call("SET k me NX PX 60000").await, Value::Nil);
    assert_eq!(client.call("EXISTS k").await, Value::Integer(1));
    assert!(client.call("GET k").await.error().starts_with("WRONGTYPE"));
}

#[tokio::test]
async fn a_lock_kept_for_one_that_waits_for_several_is_not_free() {
    let (server, mut client) = start_and_connect().await;
    server.hold("a").await;
    let mut both = acquire("a", Some(30_000));
    both.locks.push(v1::LockRequest { name: "b".into(), ..Default::default() });
    let waiter = wait_for(&server, both).await;
    assert_eq!(client.call("SET b me NX PX 60000").await, Value::Nil);
    waiter.abort();
    eventually("left the queue", || server.queue_length("a") == 0).await;
    assert_eq!(client.call("SET b me NX PX 60000").await, ok());
}

#[tokio::test]
async fn polling_a_held_lock_writes_no_log_entry() {
    let (server, mut client) = start_and_connect().await;
    assert_eq!(client.call("SET k me NX EX 3600").await, ok());
    let mut other = Resp::to(&server).await;
    let applied = |server: &Server| server.node.state().applied().unwrap().index;
    let (before, since) = (applied(&server), server.node.now());
    for _ in 0..200 {
        assert_eq!(other.call("SET k you NX PX 60000").await, Value::Nil);
        assert_eq!(other.call("GET k").await, bulk("me"));
    }
    // While a lease is pending the leader writes a tick every 250 ms.
    let ticks = (server.node.now().0 - since.0) / 250 + 1;
    let entries = applied(&server) - before;
    assert!(entries <= ticks, "{entries} entries, {ticks} of them ticks");
}

#[tokio::test]
async fn what_a_session_holds_is_not_extended_by_key() {
    let (server, mut client) = start_and_connect().await;
    server.open_session(1).await;
    server.take(under(1, "k", v1::Mode::Exclusive, None)).await;
    let owner = "session 1";
    assert_eq!(client.call("GET k").await, bulk(owner));
    let refused = client.call("PEXPIRE k 3600000").await;
    assert!(refused.error().contains("held under a session"), "{refused:?}");
    let session = server.node.state().session(session_id(1).parse().unwrap());
    assert!(session.is_some());
}
