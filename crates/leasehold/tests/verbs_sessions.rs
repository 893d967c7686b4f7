//! The verbs on sessions, deadlocks among them, and watches, against a real node.
#![allow(clippy::unwrap_used, reason = "a test that gets no answer has failed")]

use serde_json::{Value, json};

mod support;
use support::{Going, Server, eventually, keys, run};

fn open(server: &Server, owner: &str) -> String {
    let opened = server.run(["session", "open", "--owner", owner, "--metadata", "host=h", "-o", "json"]);
    assert_eq!(opened.code, 0, "{opened:?}");
    opened.json()["session"].as_str().unwrap().to_owned()
}

#[test]
fn a_session_from_open_to_close() {
    let server = Server::start();
    let opened = server.run(["session", "open", "--ttl", "20s", "--owner", "alice", "-o", "json"]).json();
    assert_eq!((keys(&opened).as_slice(), &opened["ttl_ms"]), (["session", "ttl_ms"].as_slice(), &json!(20_000)));
    let id = opened["session"].as_str().unwrap();
    let again = server.run(["session", "open", "--ttl", "20s", "--owner", "alice", "--id", id, "-o", "json"]);
    assert_eq!((again.code, &again.json()["session"]), (0, &json!(id)), "opening twice is harmless: {again:?}");
    let other = server.run(["session", "open", "--ttl", "20s", "--owner", "bob", "--id", id]);
    assert_eq!(other.code, 64, "{other:?}");

    assert_eq!(server.run(["acquire", "a", "b", "--session", id]).code, 0);
    let by_self = server.run(["acquire", "a", "--session", id, "--try", "-o", "json"]);
    assert_eq!((by_self.code, &by_self.json()["by_self"]), (75, &json!(true)), "{by_self:?}");
    let shown = server.run(["session", "get", id, "-o", "json"]).json();
    for key in [
        "session",
        "namespace",
        "owner",
        "metadata",
        "ttl_ms",
        "left_ms",
        "open_ms",
        "grants",
        "grant_count",
        "wait_count",
    ] {
        assert!(keys(&shown).contains(&key), "{key} in {shown}");
    }
    assert_eq!(
        (&shown["owner"], &shown["grant_count"], &shown["grants"][1]["name"]),
        (&json!("alice"), &json!(2), &json!("b"))
    );
    let listed = server.run(["session", "ls", "-o", "json"]).json();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["session"]), (1, &json!(id)));
    assert!(server.run(["session", "ls"]).stdout.contains("alice"));
    assert!(server.run(["session", "get", id]).stdout.contains("exclusive"));
    assert_eq!(server.get("a")["holders"][0]["lease"], id);

    let kept = server.run(["session", "keep-alive", id, "--once", "-o", "json"]);
    assert_eq!((kept.code, kept.json()), (0, json!({ "session": id, "ttl_ms": 20_000 })));
    let closed = server.run(["session", "close", id, "-o", "json"]);
    assert_eq!((closed.code, closed.json()), (0, json!({ "closed": true, "grants_ended": 2 })));
    assert_eq!(server.holders("a") + server.holders("b"), 0);
    let again = server.run(["session", "close", id, "-o", "json"]);
    assert_eq!((again.code, &again.json()["closed"]), (0, &json!(false)), "{again:?}");
    let gone = server.run(["session", "get", id, "-o", "json"]);
    assert_eq!((gone.code, gone.json()), (65, json!({ "session": null, "reason": "lease_closed" })));
    for verb in [
        &["session", "keep-alive", id][..],
        &["session", "keep-alive", id, "--once"],
        &["acquire", "a", "--session", id],
    ] {
        let refused = run(server.command([]).args(verb));
        assert_eq!(refused.code, 65, "{verb:?}: {refused:?}");
    }
}

#[test]
fn a_session_that_is_kept_alive_outlives_its_ttl_and_its_loss_is_told() {
    let server = Server::start();
    let opened = server.run(["session", "open", "--ttl", "1s", "-o", "json"]).json();
    let id = opened["session"].as_str().unwrap();
    let mut keeping = Going::start(&mut server.command(["session", "keep-alive", id, "-o", "json"]));
    keeping.line();
    eventually("more than two ttls", || keeping.age() > std::time::Duration::from_secs(3));
    assert_eq!(server.run(["session", "get", id]).code, 0);
    assert_eq!(server.run(["session", "close", id]).code, 0);
    let run = keeping.end();
    assert_eq!(run.code, 76, "{run:?}");
    assert!(run.stderr.contains("was lost"), "{run:?}");
}

#[test]
fn a_session_that_nobody_keeps_alive_ends_with_all_its_locks() {
    let server = Server::start();
    let opened = server.run(["session", "open", "--ttl", "300ms", "-o", "json"]).json();
    let id = opened["session"].as_str().unwrap();
    server.run(["acquire", "a", "b", "--session", id]);
    eventually("the end of the session", || server.run(["session", "get", id]).code == 65);
    for name in ["a", "b"] {
        let lock = server.get(name);
        assert_eq!(
            (lock["holders"].as_array().unwrap().len(), &lock["last_lost"]["reason"]),
            (0, &json!("expired")),
            "{lock}"
        );
    }
}

#[test]
fn who_would_close_a_cycle_of_waits_is_told_the_cycle() {
    let server = Server::start();
    let (alice, bob) = (open(&server, "alice"), open(&server, "bob"));
    assert_eq!(server.run(["acquire", "a", "--session", &alice, "--actor", "one"]).code, 0);
    assert_eq!(server.run(["acquire", "b", "--session", &bob, "--actor", "two"]).code, 0);
    let waiting = Going::start(&mut server.command(["acquire", "b", "--session", &alice, "--actor", "one"]));
    eventually("the wait", || server.waiters("b") == 1);
    let closing = server.run(["acquire", "a", "--session", &bob, "--actor", "two", "-o", "json"]);
    assert_eq!((closing.code, &closing.json()["reason"]), (75, &json!("deadlock")), "{closing:?}");
    let cycle = &closing.json()["cycle"];
    let step = |session: &str, actor: &str, owner: &str, lock: &str| json!({ "session": session, "actor": actor, "owner": owner, "waits_for": lock });
    assert_eq!(cycle, &json!([step(&bob, "two", "bob", "a"), step(&alice, "one", "alice", "b")]));
    assert!(closing.stderr.contains("bob") && closing.stderr.contains("waits for a"), "{closing:?}");
    let under = ["lock", "a", "--session", &bob, "--actor", "two", "--", "echo", "ran"];
    let under = server.run(under);
    assert_eq!((under.code, under.stdout.as_str()), (75, ""), "{under:?}");
    assert!(under.stderr.contains("deadlock"), "{under:?}");
    // Another task of the same session waits for nobody in the cycle's sense.
    let token = server.get("b")["holders"][0]["token"].as_str().unwrap().to_owned();
    assert_eq!(server.run(["release", "b", &token]).code, 0);
    assert_eq!(waiting.end().code, 0);
}

fn events(run: &support::Run) -> Vec<Value> {
    run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_happens_is_told_in_order_and_can_be_resumed() {
    let server = Server::start();
    let mut watching = Going::start(&mut server.command(["watch", "a", "--events", "3", "-o", "json"]));
    let started: Value = serde_json::from_str(&watching.line()).unwrap();
    assert_eq!(started["type"], "started");
    let (token, lease) = server.acquire("a");
    server.acquire("other");
    let (second, _) = server.acquire("ab");
    server.run(["release", "a", &token]);
    let seen = events(&watching.end());
    let told: Vec<_> =
        seen.iter().map(|event| (event["type"].as_str().unwrap(), event["name"].as_str().unwrap())).collect();
    assert_eq!(told, [("granted", "a"), ("granted", "ab"), ("released", "a")], "only what begins so");
    assert_eq!(
        (&seen[0]["token"], &seen[0]["lease"], &seen[0]["mode"]),
        (&json!(token), &json!(lease), &json!("exclusive"))
    );
    assert_eq!(seen[1]["token"], json!(second));
    for key in ["at_ms", "namespace", "owner", "reason", "revision"] {
        assert!(keys(&seen[0]).contains(&key), "{key} in {}", seen[0]);
    }

    let after = seen[0]["revision"].as_str().unwrap();
    let resumed = server.run(["watch", "--name", "a", "--after", after, "--events", "1", "-o", "json"]);
    let resumed = events(&resumed);
    assert_eq!(
        (&resumed[1]["type"], &resumed[1]["revision"]),
        (&json!("released"), &seen[2]["revision"]),
        "{resumed:?}"
    );
    let lines = server.run(["watch", "--after", started["revision"].as_str().unwrap(), "--events", "4"]);
    let lines: Vec<&str> = lines.stdout.lines().collect();
    assert!(lines.len() == 4 && lines[0].contains("granted") && lines[0].contains(&token), "{lines:?}");
}

#[test]
fn a_session_can_be_watched_to_its_end() {
    let server = Server::start();
    let id = open(&server, "alice");
    let mut watching = Going::start(&mut server.command(["watch", "--session", &id, "--events", "3", "-o", "json"]));
    watching.line();
    let taken = server.run(["acquire", "a", "--session", &id, "-o", "json"]).json();
    server.acquire("b");
    let token = taken["token"].as_str().unwrap();
    server.run(["force-release", "a", token, "--reason", "why not"]);
    server.run(["session", "close", &id]);
    let seen = events(&watching.end());
    let types: Vec<&str> = seen.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["granted", "force_released", "session_lost"], "{seen:?}");
    assert_eq!((&seen[1]["note"], &seen[2]["reason"]), (&json!("why not"), &json!("lease_closed")));
}

/// `| head`: nobody reads, nobody is bothered.
#[test]
fn a_watch_ends_with_its_reader() {
    let server = Server::start();
    let mut watching = Going::start(&mut server.command(["watch"]));
    drop(watching.take_stdout());
    eventually("the end of the watch", || {
        server.acquire(&format!("a-{}", watching.age().as_millis()));
        watching.has_ended()
    });
    let run = watching.end();
    assert_eq!(run.code, 0, "{run:?}");
}

#[test]
fn leaders_and_their_values_are_observed() {
    let server = Server::start();
    let mut observing = Going::start(&mut server.command(["observe", "boss", "--events", "2", "-o", "json"]));
    let taken = server.run(["acquire", "boss", "--owner", "alice", "--value", "10.0.0.7", "-o", "json"]).json();
    let token = taken["token"].as_str().unwrap();
    let leader: Value = serde_json::from_str(&observing.line()).unwrap();
    assert_eq!(
        (&leader["owner"], &leader["value"], &leader["token"]),
        (&json!("alice"), &json!("10.0.0.7"), &json!(token))
    );
    server.run(["set-value", "boss", token, "10.0.0.8", "--version", "0"]);
    let changed: Value = serde_json::from_str(&observing.line()).unwrap();
    assert_eq!((&changed["value"], &changed["version"]), (&json!("10.0.0.8"), &json!(1)));
    assert_eq!(observing.end().code, 0);
    let line = server.run(["observe", "boss", "--events", "1"]).stdout;
    assert!(line.contains("boss  leader alice") && line.contains("10.0.0.8"), "{line}");
}
