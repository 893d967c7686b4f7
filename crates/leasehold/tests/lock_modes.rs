//! `leasehold lock` of several locks, of shared ones and permits, under a session, and `leasehold elect`.
#![allow(clippy::unwrap_used, reason = "a test that gets no answer has failed")]

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

mod support;
use support::{Going, Server, eventually};

#[test]
fn several_locks_are_taken_at_once_and_told_line_by_line() {
    let server = Server::start();
    let script = "echo \"$LEASEHOLD_LOCK\" ${LEASEHOLD_TOKEN-none}; \
                  echo \"$LEASEHOLD_TOKENS\" | while read -r token name; do leasehold check \"$name\" $token; done";
    let path = format!("{}:{}", binary_folder(), std::env::var("PATH").unwrap());
    let mut command = server.command(["lock", "b", "a c", "--", "sh", "-c", script]);
    let run = support::run(command.env("PATH", path).env("LEASEHOLD_TOKEN", "inherited"));
    assert_eq!(run.code, 0, "{run:?}");
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines[..2], ["b", "a c none"], "{run:?}");
    let held = |line: &str, name: &str| line.starts_with(name) && line.contains("yes") && line.contains("exclusive");
    assert!(held(lines[3], "b") && held(lines[5], "a c"), "{run:?}");
    assert_eq!(server.run(["ls", "-o", "json"]).stdout.trim(), "[]", "both were released");
}

#[test]
fn of_several_locks_none_is_held_until_all_are() {
    let server = Server::start();
    let (token, _) = server.acquire("b");
    let tried = server.run(["lock", "a", "b", "--try", "--", "echo", "ran"]);
    assert_eq!((tried.code, tried.stdout.as_str()), (75, ""), "{tried:?}");
    assert!(tried.stderr.contains("b is held"), "{tried:?}");
    let waiting = Going::start(&mut server.command(["lock", "a", "b", "--", "echo", "ran"]));
    eventually("both queues", || server.waiters("a") == 1 && server.waiters("b") == 1);
    assert_eq!(server.holders("a"), 0);
    assert_eq!(server.run(["release", "b", &token]).code, 0);
    let run = waiting.end();
    assert_eq!((run.code, run.stdout.as_str()), (0, "ran\n"), "{run:?}");
}

#[test]
fn of_several_locks_the_loss_of_one_ends_the_command() {
    let server = Server::start();
    let script = "echo \"$LEASEHOLD_TOKENS\"; while :; do sleep 0.02; done";
    let mut going = Going::start(&mut server.command(["lock", "a", "b", "--", "sh", "-c", script]));
    assert!(going.line().ends_with(" a"));
    let second = going.line();
    let (token, name) = second.split_once(' ').unwrap();
    assert_eq!(name, "b");
    assert_eq!(server.run(["force-release", "b", token, "--reason", "why not"]).code, 0);
    let run = going.end();
    assert_eq!(run.code, 76, "{run:?}");
    assert!(run.stderr.contains("b: the cluster says that it has ended: forced (why not)"), "{run:?}");
    assert_eq!(server.holders("a"), 0, "the other one was given back");
}

#[test]
fn readers_run_together_and_permits_run_out() {
    let server = Server::start();
    let hold = ["--", "sh", "-c", "echo ready; read end"];
    let start = |flags: &[&str]| {
        let mut command = server.command(["lock"]);
        let mut going = Going::start(command.args(flags).args(hold).stdin(Stdio::piped()));
        assert_eq!(going.line(), "ready");
        going
    };
    let (mut one, mut two) = (start(&["r", "--shared"]), start(&["r", "--shared"]));
    assert_eq!(server.run(["lock", "r", "--try", "--", "true"]).code, 75, "no writer beside readers");
    let (mut three, mut four) =
        (start(&["p", "--permits", "2", "--limit", "3"]), start(&["p", "--permits", "1", "--limit", "3"]));
    let full = server.run(["lock", "p", "--permits", "1", "--limit", "3", "--try", "--", "true"]);
    assert_eq!(full.code, 75, "{full:?}");
    for going in [&mut one, &mut two, &mut three, &mut four] {
        going.process.stdin.take();
    }
    for going in [one, two, three, four] {
        // `read` met the end of its input.
        assert_eq!(going.end().code, 1);
    }
}

#[test]
fn a_lock_under_a_session_ends_with_that() {
    let server = Server::start();
    let session = server.run(["session", "open", "--ttl", "5s", "-o", "json"]).json();
    let session = session["session"].as_str().unwrap();
    assert_eq!(server.run(["lock", "a", "--session", session, "--", "true"]).code, 0);
    assert_eq!(server.run(["session", "get", session]).code, 0, "it is somebody else's, and goes on");
    let script = "echo $LEASEHOLD_LEASE; while :; do sleep 0.02; done";
    let mut going = Going::start(&mut server.command(["lock", "a", "--session", session, "--", "sh", "-c", script]));
    assert_eq!(going.line(), session);
    // The wrapper keeps the session alive.
    eventually("more than a ttl", || going.age() > Duration::from_secs(7));
    assert_eq!(server.holders("a"), 1);
    assert_eq!(server.run(["session", "close", session]).code, 0);
    let run = going.end();
    assert_eq!(run.code, 76, "{run:?}");
    assert!(run.stderr.contains("session has ended"), "{run:?}");
}

#[test]
fn who_leads_runs_the_command_and_resigns_after_it() {
    let server = Server::start();
    let script = "echo $LEASEHOLD_LOCK $LEASEHOLD_TOKEN; read end; exit 5";
    let elect = |value: &str| {
        let mut command =
            server.command(["elect", "boss", "--owner", value, "--value", value, "--", "sh", "-c", script]);
        Going::start(command.stdin(Stdio::piped()))
    };
    let mut first = elect("one");
    let line = first.line();
    let second = elect("two");
    eventually("the other candidate", || server.waiters("boss") == 1);
    let leader = server.run(["observe", "boss", "--events", "1", "-o", "json"]).json();
    assert_eq!((&leader["owner"], &leader["value"]), (&"one".into(), &"one".into()));
    assert_eq!(line, format!("boss {}", leader["token"].as_str().unwrap()));
    first.process.stdin.take().unwrap().write_all(b"now\n").unwrap();
    assert_eq!(first.end().code, 5);
    let leader = server.run(["observe", "boss", "--events", "1", "-o", "json"]).json();
    assert_eq!(leader["owner"], "two");
    let mut second = second;
    assert_eq!(second.line(), format!("boss {}", leader["token"].as_str().unwrap()));
    assert_eq!(server.run(["force-release", "boss", leader["token"].as_str().unwrap(), "--reason", "deposed"]).code, 0);
    let run = second.end();
    assert_eq!(run.code, 76, "{run:?}");
    assert!(run.stderr.contains("the leadership of boss was lost") && run.stderr.contains("deposed"), "{run:?}");
}

fn binary_folder() -> String {
    std::path::Path::new(env!("CARGO_BIN_EXE_leasehold")).parent().unwrap().display().to_string()
}
