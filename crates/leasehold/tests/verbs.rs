//! The client verbs against a real node.
#![allow(clippy::unwrap_used, reason = "a test that gets no answer has failed")]

use serde_json::{Value, json};

mod support;
use support::{Going, Server, eventually, run};

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn a_lock_from_acquire_to_release() {
    let server = Server::start();
    let taken = server.run(["acquire", "orders", "--ttl", "20s", "--owner", "alice", "-o", "json"]);
    assert_eq!(taken.code, 0, "{taken:?}");
    let taken = taken.json();
    assert_eq!(keys(&taken), ["acquired", "holder", "lease", "token", "ttl_ms"]);
    assert_eq!((&taken["acquired"], &taken["ttl_ms"], &taken["holder"]), (&json!(true), &json!(20_000), &Value::Null));
    let (token, lease) = (taken["token"].as_str().unwrap(), taken["lease"].as_str().unwrap());
    token.parse::<u64>().unwrap();

    let refused = server.run(["acquire", "orders", "--try", "-o", "json"]);
    assert_eq!(refused.code, 75);
    assert!(refused.stderr.contains("held by alice"), "{refused:?}");
    let refused = refused.json();
    assert_eq!((&refused["acquired"], &refused["token"]), (&json!(false), &Value::Null));
    assert_eq!((&refused["holder"]["owner"], &refused["holder"]["token"]), (&json!("alice"), &json!(token)));

    let lock = server.run(["get", "orders", "-o", "json"]).json();
    assert_eq!(keys(&lock), ["holders", "name", "namespace", "waiters"]);
    let holder = &lock["holders"][0];
    assert_eq!(keys(holder), ["held_ms", "lease", "left_ms", "metadata", "mode", "owner", "token"]);
    assert_eq!((&holder["mode"], &holder["lease"]), (&json!("exclusive"), &json!(lease)));

    let renewed = server.run(["renew", lease, "--ttl", "1m", "-o", "json"]);
    assert_eq!(renewed.code, 0, "{renewed:?}");
    assert_eq!(renewed.json(), json!({ "lease": lease, "ttl_ms": 60_000 }));

    let released = server.run(["release", "orders", token, "-o", "json"]);
    assert_eq!((released.code, released.json()), (0, json!({ "released": true, "reason": null })));
    let again = server.run(["release", "orders", token, "-o", "json"]);
    assert_eq!((again.code, again.json()), (0, json!({ "released": false, "reason": "released" })));
    assert!(again.stderr.contains("no longer held"), "{again:?}");
    let ended = server.run(["renew", lease]);
    assert_eq!(ended.code, 65, "{ended:?}");

    let (later, _) = server.acquire("orders");
    assert!(later.parse::<u64>().unwrap() > token.parse().unwrap());
}

#[test]
fn tables_are_for_people_and_json_for_programs() {
    let server = Server::start();
    let (token, lease) = server.acquire("orders/1");
    server.acquire("orders/2");
    server.acquire("users");
    let table = server.run(["ls", "orders/"]);
    assert_eq!(table.code, 0);
    let lines: Vec<&str> = table.stdout.lines().collect();
    assert!(lines[0].starts_with("LOCK") && lines.len() == 3, "{table:?}");
    assert!(lines[1].starts_with("orders/1") && lines[1].contains(&token), "{table:?}");
    let listed = server.run(["ls", "-o", "json"]).json();
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|lock| lock["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["orders/1", "orders/2", "users"]);
    assert!(server.run(["get", "orders/1"]).stdout.contains(&lease));
    assert_eq!(server.run(["ls", "--namespace", "elsewhere", "-o", "json"]).json(), json!([]));
    let nobody = server.run(["get", "free"]);
    assert_eq!(nobody.code, 0);
    assert!(nobody.stderr.contains("nobody holds free"), "{nobody:?}");
}

#[test]
fn the_cluster_shows_itself() {
    let server = Server::start();
    let status = server.run(["cluster", "status", "-o", "json"]).json();
    assert_eq!(keys(&status), ["leader", "nodes", "term"]);
    let node = &status["nodes"][0];
    assert_eq!(keys(node), ["address", "applied", "id", "role", "up"]);
    assert_eq!((&status["leader"], &node["id"], &node["role"]), (&json!(1), &json!(1), &json!("leader")));
    assert_eq!((&node["address"], &node["up"]), (&json!(server.endpoint), &json!(true)));
    assert!(server.run(["cluster", "status"]).stdout.contains("leader"));
}

#[test]
fn bad_input_names_the_field_and_exits_64() {
    let server = Server::start();
    let long = "x".repeat(513);
    let cases: [(&[&str], &str); 9] = [
        (&["acquire", ""], "name"),
        (&["acquire", &long], "name"),
        (&["acquire", "a\u{7}b"], "name"),
        (&["acquire", "a", "--ttl", "0s"], "ttl"),
        (&["acquire", "a", "--ttl", "30days"], "ttl"),
        (&["acquire", "a", "--wait", "0s"], "wait"),
        (&["acquire", "a", "--owner", ""], "owner"),
        (&["renew", "zz"], "lease"),
        (&["get", ""], "name"),
    ];
    for (arguments, field) in cases {
        let run = run(server.command([]).args(arguments));
        assert_eq!(run.code, 64, "{arguments:?}: {run:?}");
        assert!(run.stderr.contains(field) && run.stdout.is_empty(), "{arguments:?}: {run:?}");
    }
    assert_eq!(server.run(["ls", "-o", "json"]).json(), json!([]), "nothing has changed");
}

#[test]
fn what_is_stale_or_foreign_is_refused_with_65() {
    let server = Server::start();
    let (token, _) = server.acquire("a");
    server.acquire("b");
    let foreign = server.run(["release", "b", &token]);
    assert_eq!(foreign.code, 65, "{foreign:?}");
    let unknown = server.run(["renew", "00000000000000ff"]);
    assert_eq!(unknown.code, 65, "{unknown:?}");
    assert_eq!(server.run(["acquire", "b", "--try"]).code, 75, "still held");
}

#[test]
fn a_wait_ends_with_75_or_with_the_lock() {
    let server = Server::start();
    let (token, _) = server.acquire("a");
    let late = server.run(["acquire", "a", "--wait", "200ms", "-o", "json"]);
    assert_eq!((late.code, &late.json()["acquired"]), (75, &json!(false)));
    assert_eq!(late.json()["holder"]["token"], json!(token));
    assert_eq!(server.waiters("a"), 0);

    let waiting = Going::start(&mut server.command(["acquire", "a", "-o", "json"]));
    eventually("the queue", || server.waiters("a") == 1);
    assert_eq!(server.run(["release", "a", &token]).code, 0);
    let granted = waiting.end();
    assert_eq!(granted.code, 0, "{granted:?}");
    assert!(granted.json()["token"].as_str().unwrap().parse::<u64>().unwrap() > token.parse().unwrap());
}

#[test]
fn the_log_of_a_stopped_node_can_be_read() {
    let mut server = Server::start();
    server.acquire("a");
    let data = server.data_dir();
    assert_eq!(server.stop(), 0);
    let log = run(support::leasehold().args(["debug", "log", "--data-dir", &data]));
    assert_eq!(log.code, 0, "{log:?}");
    let entries: Vec<Value> = log.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(entries.iter().any(|entry| entry["outcomes"].to_string().contains("Granted")), "{log:?}");
}
