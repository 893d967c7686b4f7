//! Scripts: how they come, how long they are remembered, and what is not understood.

use leasehold_frontend::RedisOptions;

use crate::resp::{Resp, Value, bulk, ok, start, start_and_connect};

const RELEASE: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";

#[tokio::test]
async fn a_client_sends_the_body_when_its_name_is_not_known() {
    let (server, mut client) = start_and_connect().await;
    client.call("SET k me NX PX 60000").await;
    let name = leasehold_redis::sha1(RELEASE.as_bytes()).to_string();
    let by_name = format!("EVALSHA {name} 1 k me");
    assert_eq!(client.call(&by_name).await.error(), "NOSCRIPT No matching script. Please use EVAL.");
    assert_eq!(client.call(&format!("SCRIPT EXISTS {name}")).await, Value::Array(vec![Value::Integer(0)]));
    assert_eq!(client.eval(RELEASE, &["k"], &["you"]).await, Value::Integer(0));
    // From then on, on every connection, in either case.
    let mut other = Resp::to(&server).await;
    assert_eq!(other.call(&by_name.replace(&name, &name.to_uppercase())).await, Value::Integer(1));
    assert_eq!(client.call("GET k").await, Value::Nil);
    assert_eq!(client.call("SCRIPT FLUSH").await, ok());
    assert!(client.call(&by_name).await.error().starts_with("NOSCRIPT"));
    assert_eq!(client.call_words(&[b"SCRIPT", b"LOAD", RELEASE.as_bytes()]).await, bulk(&name));
    assert_eq!(
        client.call(&format!("SCRIPT EXISTS {name} nonsense")).await,
        Value::Array(vec![Value::Integer(1), Value::Integer(0)])
    );
    assert_eq!(client.call(&by_name).await, Value::Integer(0));
}

#[tokio::test]
async fn what_is_not_understood_is_named_and_executes_nothing() {
    let (server, mut client) = start_and_connect().await;
    let body = "redis.call('set', KEYS[1], ARGV[1], 'PX', 60000) redis.call('publish', 'channel', 'hello') return 1";
    let name = leasehold_redis::sha1(body.as_bytes()).to_string();
    let refused = client.eval(body, &["k"], &["me"]).await;
    assert!(refused.error().starts_with("ERR") && refused.error().contains(&name), "{refused:?}");
    let loaded = client.call_words(&[b"SCRIPT", b"LOAD", b"this is no program"]).await;
    assert!(loaded.error().contains(&leasehold_redis::sha1(b"this is no program").to_string()), "{loaded:?}");
    assert_eq!(client.call("EXISTS k").await, Value::Integer(0));
    let metrics = crate::wire::http_get(server.http, "/metrics").await;
    assert!(metrics.contains("leasehold_redis_refused_total{kind=\"not_understood\"}"), "{metrics}");
    assert!(metrics.contains("leasehold_calls_total{door=\"redis\",call=\"script\",result=\"refused\"}"), "{metrics}");
}

#[tokio::test]
async fn the_scripts_least_used_are_forgotten_first() {
    let server = start(RedisOptions { scripts_max: 2, ..RedisOptions::default() }).await;
    let mut client = Resp::to(&server).await;
    let mut names = Vec::new();
    for number in 0..2 {
        let body = format!("return {number}");
        names.push(client.call_words(&[b"SCRIPT", b"LOAD", body.as_bytes()]).await.text());
    }
    assert_eq!(client.call(&format!("EVALSHA {} 0", names[0])).await, Value::Integer(0));
    names.push(client.call_words(&[b"SCRIPT", b"LOAD", b"return 2"]).await.text());
    let there = client.call(&format!("SCRIPT EXISTS {}", names.join(" "))).await;
    assert_eq!(there, Value::Array(vec![Value::Integer(1), Value::Integer(0), Value::Integer(1)]));
    assert!(client.call("INFO").await.text().contains("number_of_cached_scripts:2\r\n"));
}

#[tokio::test]
async fn scripts_are_bounded_in_bytes_too() {
    let server = start(RedisOptions { scripts_bytes_max: 20, ..RedisOptions::default() }).await;
    let mut client = Resp::to(&server).await;
    let first = client.call_words(&[b"SCRIPT", b"LOAD", b"return 111"]).await.text();
    let second = client.call_words(&[b"SCRIPT", b"LOAD", b"return 22222"]).await.text();
    let there = client.call(&format!("SCRIPT EXISTS {first} {second}")).await;
    assert_eq!(there, Value::Array(vec![Value::Integer(0), Value::Integer(1)]));
    let body = format!("return {}1", " ".repeat(30));
    assert_eq!(client.eval(&body, &[], &[]).await, Value::Integer(1), "understood, and not remembered");
}
