//! The verbs on locks against a real node, in text and JSON.
#![allow(clippy::unwrap_used, reason = "a test that gets no answer has failed")]

use serde_json::{Value, json};

mod support;
use support::{Going, Server, eventually, keys, run};

#[test]
fn a_lock_from_acquire_to_release() {
    let server = Server::start();
    let taken = server.run(["acquire", "orders", "--ttl", "20s", "--owner", "alice", "-o", "json"]);
    assert_eq!(taken.code, 0, "{taken:?}");
    let taken = taken.json();
    for key in ["acquired", "holder", "lease", "token", "ttl_ms", "grants", "reason"] {
        assert!(keys(&taken).contains(&key), "{key} in {taken}");
    }
    assert_eq!((&taken["acquired"], &taken["ttl_ms"], &taken["holder"]), (&json!(true), &json!(20_000), &Value::Null));
    let (token, lease) = (taken["token"].as_str().unwrap(), taken["lease"].as_str().unwrap());
    token.parse::<u64>().unwrap();
    assert_eq!(taken["grants"], json!([{ "name": "orders", "mode": "exclusive", "token": token }]));

    let refused = server.run(["acquire", "orders", "--try", "-o", "json"]);
    assert_eq!(refused.code, 75);
    assert!(refused.stderr.contains("held by alice"), "{refused:?}");
    let refused = refused.json();
    assert_eq!((&refused["acquired"], &refused["token"]), (&json!(false), &Value::Null));
    assert_eq!((&refused["reason"], &refused["name"]), (&json!("held"), &json!("orders")));
    assert_eq!((&refused["holder"]["owner"], &refused["holder"]["token"]), (&json!("alice"), &json!(token)));

    let lock = server.get("orders");
    let holder = &lock["holders"][0];
    for key in ["held_ms", "lease", "left_ms", "metadata", "mode", "owner", "token", "value", "version"] {
        assert!(keys(holder).contains(&key), "{key} in {holder}");
    }
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
fn several_locks_are_acquired_and_released_at_once() {
    let server = Server::start();
    let taken = server.run(["acquire", "a", "b", "-o", "json"]).json();
    assert_eq!((&taken["acquired"], &taken["token"]), (&json!(true), &Value::Null), "no single token of two locks");
    let token = |at: usize| taken["grants"][at]["token"].as_str().unwrap().to_owned();
    assert_eq!((&taken["grants"][0]["name"], &taken["grants"][1]["name"]), (&json!("a"), &json!("b")));

    let table = server.run(["acquire", "c", "d"]);
    let lines: Vec<&str> = table.stdout.lines().collect();
    assert!(lines.len() == 3 && lines[1].starts_with("c ") && lines[2].starts_with("d "), "{table:?}");
    let refused = server.run(["acquire", "free", "b", "--try", "-o", "json"]);
    assert_eq!((refused.code, &refused.json()["name"]), (75, &json!("b")), "{refused:?}");
    assert_eq!(server.holders("free"), 0, "all or nothing");

    let stale = "1";
    let none = server.run(["release", "a", &token(0), "b", stale, "--all-or-nothing", "-o", "json"]);
    assert_eq!(none.code, 0, "{none:?}");
    assert_eq!((&none.json()[0]["released"], &none.json()[0]["still_held"]), (&json!(false), &json!(true)));
    assert!(none.stderr.contains("a is still held"), "{none:?}");
    let both = server.run(["release", "a", &token(0), "b", &token(1), "-o", "json"]).json();
    assert_eq!((&both[0]["released"], &both[1]["released"]), (&json!(true), &json!(true)));
    assert_eq!((&both[0]["name"], &both[1]["name"]), (&json!("a"), &json!("b")));
}

#[test]
fn readers_share_and_a_counting_lock_counts() {
    let server = Server::start();
    for owner in ["one", "two"] {
        let taken = server.run(["acquire", "r", "--shared", "--try", "--owner", owner]);
        assert!(taken.code == 0 && taken.stdout.contains("shared"), "{taken:?}");
    }
    assert_eq!(server.run(["acquire", "r", "--try"]).code, 75, "no writer beside readers");
    assert_eq!(server.holders("r"), 2);

    let taken = server.run(["acquire", "p", "--permits", "2", "--limit", "3", "--try"]);
    assert!(taken.code == 0 && taken.stdout.contains("permits 2/3"), "{taken:?}");
    assert_eq!(server.run(["acquire", "p", "--permits", "2", "--limit", "3", "--try"]).code, 75);
    let last = server.run(["acquire", "p", "--permits", "1", "--limit", "3", "--try", "-o", "json"]).json();
    assert_eq!((&last["grants"][0]["permits"], &last["grants"][0]["limit"]), (&json!(1), &json!(3)));
    let other = server.run(["acquire", "p", "--permits", "1", "--limit", "9", "--try"]);
    assert_eq!(other.code, 65, "{other:?}");
    assert!(other.stderr.contains("limit of 3") && other.stderr.contains('9'), "{other:?}");
    let listed = server.run(["ls"]).stdout;
    assert!(listed.contains("permits 3/3") && listed.contains("2 holders"), "{listed}");
}

#[test]
fn a_held_lock_is_converted_without_letting_go() {
    let server = Server::start();
    let (token, lease) = server.acquire("a");
    let shared = server.run(["convert", "a", &token, "--to", "shared", "-o", "json"]);
    assert_eq!(shared.code, 0, "{shared:?}");
    let shared = shared.json();
    assert_eq!((&shared["grants"][0]["mode"], &shared["lease"]), (&json!("shared"), &json!(lease)));
    let shared = shared["token"].as_str().unwrap();
    assert_ne!(shared, token);

    let other = server.run(["acquire", "a", "--shared", "--owner", "reader", "-o", "json"]).json();
    let tried = server.run(["convert", "a", shared, "--to", "exclusive", "--try", "-o", "json"]);
    assert_eq!((tried.code, &tried.json()["reason"]), (75, &json!("held")), "{tried:?}");
    let late = server.run(["convert", "a", shared, "--to", "exclusive", "--wait", "200ms", "-o", "json"]);
    assert_eq!((late.code, &late.json()["reason"]), (75, &json!("timed_out")), "{late:?}");
    let waiting = Going::start(&mut server.command(["convert", "a", shared, "--to", "exclusive", "-o", "json"]));
    eventually("the upgrade in the queue", || server.get("a")["waiters"][0]["converts"] == shared);
    let table = server.run(["get", "a"]).stdout;
    assert!(table.contains("waiter 1"), "{table}");

    // Two that wait for each other to let go would wait for ever.
    let second = other["token"].as_str().unwrap();
    let deadlock = server.run(["convert", "a", second, "--to", "exclusive", "-o", "json"]);
    assert_eq!((deadlock.code, &deadlock.json()["reason"]), (75, &json!("deadlock")), "{deadlock:?}");
    assert!(deadlock.stderr.contains("deadlock") && deadlock.stderr.contains("waits for a"), "{deadlock:?}");
    assert_eq!(server.run(["release", "a", second]).code, 0);
    let upgraded = waiting.end();
    assert_eq!((upgraded.code, &upgraded.json()["grants"][0]["mode"]), (0, &json!("exclusive")), "{upgraded:?}");

    let stale = server.run(["convert", "a", shared, "--to", "exclusive"]);
    assert_eq!(stale.code, 65, "{stale:?}");
    assert!(stale.stderr.contains("no longer held"), "{stale:?}");
}

#[test]
fn what_is_ended_by_force_tells_why_and_honours_the_lock_delay() {
    let server = Server::start();
    let taken = server.run(["acquire", "a", "--lock-delay", "1m", "--owner", "alice", "-o", "json"]).json();
    let token = taken["token"].as_str().unwrap();
    let forced = server.run(["force-release", "a", token, "--reason", "host is gone", "-o", "json"]);
    assert_eq!((forced.code, forced.json()), (0, json!({ "released": true, "reason": null })));
    let again = server.run(["force-release", "a", token, "--reason", "host is gone", "-o", "json"]);
    assert_eq!((again.code, again.json()), (0, json!({ "released": false, "reason": "forced" })));

    let lock = server.get("a");
    assert!(lock["delay_left_ms"].as_u64().unwrap() > 50_000, "{lock}");
    let lost = &lock["last_lost"];
    assert_eq!(
        (&lost["token"], &lost["reason"], &lost["note"]),
        (&json!(token), &json!("forced"), &json!("host is gone"))
    );
    let told = server.run(["get", "a"]);
    assert!(told.stderr.contains("lock-delay") && told.stderr.contains("forced (host is gone)"), "{told:?}");
    let delayed = server.run(["acquire", "a", "--try", "-o", "json"]);
    assert_eq!(delayed.code, 75, "{delayed:?}");
    assert!(delayed.json()["delay_left_ms"].as_u64().unwrap() > 50_000 && delayed.stderr.contains("lock-delay"));
    assert!(server.run(["ls"]).stdout.contains("delayed"));
}

#[test]
fn a_token_can_be_checked() {
    let server = Server::start();
    let (token, _) = server.acquire("a");
    let current = server.run(["check", "a", &token, "-o", "json"]);
    assert_eq!((current.code, &current.json()["current"]), (0, &json!(true)));
    assert_eq!(current.json()["mode"], "exclusive");
    assert!(server.run(["check", "a", &token]).stdout.contains("yes"));
    server.run(["release", "a", &token]);
    let past = server.run(["check", "a", &token, "-o", "json"]);
    assert_eq!(
        (past.code, &past.json()["current"], &past.json()["lost"]["reason"]),
        (65, &json!(false), &json!("released"))
    );
    let never = server.run(["check", "a", "7"]);
    assert_eq!(never.code, 65, "{never:?}");
    assert!(never.stdout.contains("no") && never.stderr.contains("not held under token 7"), "{never:?}");
}

#[test]
fn a_value_is_replaced_by_its_version() {
    let server = Server::start();
    let taken = server.run(["acquire", "a", "--value", "first", "--metadata", "host=h", "-o", "json"]).json();
    let token = taken["token"].as_str().unwrap();
    let set = server.run(["set-value", "a", token, "second", "--version", "0", "-o", "json"]);
    assert_eq!((set.code, set.json()), (0, json!({ "set": true, "version": 1, "reason": null })));
    let holder = server.get("a")["holders"][0].clone();
    assert_eq!(
        (&holder["value"], &holder["version"], &holder["metadata"]),
        (&json!("second"), &json!(1), &json!("host=h"))
    );
    let late = server.run(["set-value", "a", token, "third", "--version", "0", "-o", "json"]);
    assert_eq!((late.code, late.json()), (65, json!({ "set": false, "version": 1, "reason": null })), "{late:?}");
    assert!(server.run(["set-value", "a", token, "third", "--version", "1"]).stdout.contains("true"));
    server.run(["release", "a", token]);
    let gone = server.run(["set-value", "a", token, "x", "--version", "2", "-o", "json"]);
    assert_eq!(
        (gone.code, gone.json()),
        (65, json!({ "set": false, "version": null, "reason": "released" })),
        "{gone:?}"
    );
}

#[test]
fn a_wait_ends_with_75_or_with_the_lock() {
    let server = Server::start();
    let (token, _) = server.acquire("a");
    let late = server.run(["acquire", "a", "--wait", "200ms", "-o", "json"]);
    assert_eq!((late.code, &late.json()["acquired"], &late.json()["reason"]), (75, &json!(false), &json!("timed_out")));
    assert_eq!(late.json()["holder"]["token"], json!(token));
    assert_eq!(server.waiters("a"), 0);

    let waiting = Going::start(&mut server.command(["acquire", "a", "--metadata", "me", "-o", "json"]));
    eventually("the queue", || server.waiters("a") == 1);
    let waiter = server.get("a")["waiters"][0].clone();
    assert_eq!(
        (&waiter["position"], &waiter["mode"], &waiter["metadata"]),
        (&json!(1), &json!("exclusive"), &json!("me"))
    );
    assert_eq!(server.run(["release", "a", &token]).code, 0);
    let granted = waiting.end();
    assert_eq!(granted.code, 0, "{granted:?}");
    assert!(granted.json()["token"].as_str().unwrap().parse::<u64>().unwrap() > token.parse().unwrap());
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
    assert_eq!(server.run(["convert", "b", &token, "--to", "shared"]).code, 65);
    assert_eq!(server.run(["force-release", "b", &token, "--reason", "x"]).code, 65);
    assert_eq!(server.run(["acquire", "b", "--try"]).code, 75, "still held");
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
