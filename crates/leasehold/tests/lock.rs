//! `leasehold lock NAME -- CMD` against a real node.
#![allow(clippy::unwrap_used, reason = "a test that gets no answer has failed")]

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

mod support;
use support::{Going, Server, eventually, is_alive};

/// Runs until it is told to end; says so, and when it is ready.
const OBEDIENT: &str = "trap 'echo told; exit 7' TERM INT HUP; echo ready; while :; do sleep 0.02; done";

#[test]
fn the_command_sees_the_lock_and_decides_the_exit_code() {
    let server = Server::start();
    let script = "echo $LEASEHOLD_LOCK $LEASEHOLD_TOKEN $LEASEHOLD_LEASE; cat; exit 3";
    let mut going = Going::start(server.command(["lock", "a", "--", "sh", "-c", script]).stdin(Stdio::piped()));
    going.process.stdin.take().unwrap().write_all(b"from stdin\n").unwrap();
    let line = going.line();
    let run = going.end();
    assert_eq!((run.code, run.stdout.as_str()), (3, "from stdin\n"), "{run:?}");
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!((words.len(), words[0]), (3, "a"));
    words[1].parse::<u64>().unwrap();
    assert_eq!(server.run(["acquire", "a", "--try"]).code, 0, "it was released");
}

#[test]
fn the_lock_is_held_while_the_command_runs() {
    let server = Server::start();
    let mut going = Going::start(&mut server.command(["lock", "a", "--ttl", "3s", "--", "sh", "-c", OBEDIENT]));
    assert_eq!(going.line(), "ready");
    // Longer than a ttl: it is renewed.
    eventually("more than a ttl", || going.age() > Duration::from_secs(5));
    let tried = server.run(["acquire", "a", "--try"]);
    going.signal(Signal::TERM);
    let run = going.end();
    assert_eq!((tried.code, run.code), (75, 7), "{tried:?} {run:?}");
}

#[test]
fn a_command_that_cannot_be_run_gives_the_lock_back() {
    let server = Server::start();
    assert_eq!(server.run(["lock", "a", "--", "/nowhere/at/all"]).code, 127);
    assert_eq!(server.run(["lock", "a", "--", "/"]).code, 126);
    assert_eq!(server.run(["acquire", "a", "--try"]).code, 0);
}

/// Consul #797: the wrapper ended, its command ran on.
#[test]
fn consul_797_signals_reach_the_command() {
    let server = Server::start();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut going = Going::start(&mut server.command(["lock", "a", "--", "sh", "-c", OBEDIENT]));
        assert_eq!(going.line(), "ready");
        going.signal(signal);
        let run = going.end();
        assert_eq!((run.code, run.stdout.as_str()), (7, "told\n"), "{signal:?}: {run:?}");
    }
    let mut going = Going::start(&mut server.command(["lock", "a", "--", "sh", "-c", "echo ready; exec sleep 1000"]));
    assert_eq!(going.line(), "ready");
    going.signal(Signal::TERM);
    assert_eq!(going.end().code, 128 + 15);
}

/// Consul #1210: the wrapper ended with a core, its command ran on.
#[test]
fn consul_1210_a_request_for_a_core_reaches_the_command() {
    let server = Server::start();
    let script = "trap 'echo told; exit 7' QUIT; echo ready; while :; do sleep 0.02; done";
    let mut going = Going::start(&mut server.command(["lock", "a", "--", "sh", "-c", script]));
    assert_eq!(going.line(), "ready");
    going.signal(Signal::QUIT);
    let run = going.end();
    assert_eq!((run.code, run.stdout.as_str()), (7, "told\n"), "{run:?}");
}

#[test]
fn signals_reach_the_whole_process_group_of_the_command() {
    let server = Server::start();
    let script = "trap 'wait; echo parent; exit 7' TERM; \
                  sh -c 'trap \"echo child; exit 0\" TERM; echo ready; while :; do sleep 0.02; done' & wait";
    let mut going = Going::start(&mut server.command(["lock", "a", "--", "sh", "-c", script]));
    assert_eq!(going.line(), "ready");
    going.signal(Signal::TERM);
    let run = going.end();
    assert_eq!((run.code, run.stdout.as_str()), (7, "child\nparent\n"), "{run:?}");
}

/// Who runs it under `nohup`, or from a script's background, wants the command to ignore what was ignored.
#[test]
fn what_was_ignored_stays_ignored_by_the_wrapper_and_by_the_command() {
    let server = Server::start();
    let wrapper = format!("trap '' HUP INT; exec {} lock a -- sh -c \"$SCRIPT\"", env!("CARGO_BIN_EXE_leasehold"));
    let script = "kill -HUP $$; kill -INT $$; echo ready; read end; echo done";
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &wrapper]).env("SCRIPT", script).env("LEASEHOLD_ENDPOINTS", &server.endpoint);
    let mut going = Going::start(shell.stdin(Stdio::piped()));
    assert_eq!(going.line(), "ready");
    going.signal(Signal::HUP);
    going.signal(Signal::INT);
    going.process.stdin.take().unwrap().write_all(b"now\n").unwrap();
    let run = going.end();
    assert_eq!((run.code, run.stdout.as_str()), (0, "done\n"), "{run:?}");
}

/// It is the command's own descriptor: what it does not read is left to whoever reads next.
#[test]
fn stdin_is_passed_through_as_it_is() {
    let server = Server::start();
    let lines = server.folder.path().join("lines");
    std::fs::write(&lines, "one\ntwo\n").unwrap();
    let script = format!("{} lock a -- sh -c 'read x; echo 1=$x'; read y; echo 2=$y", env!("CARGO_BIN_EXE_leasehold"));
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]).env("LEASEHOLD_ENDPOINTS", &server.endpoint);
    shell.stdin(std::fs::File::open(lines).unwrap());
    let run = support::run(&mut shell);
    assert_eq!(run.stdout, "1=one\n2=two\n", "{run:?}");
}

/// Consul #4439: who waited for the lock could not be stopped.
#[test]
fn consul_4439_a_signal_while_waiting_gives_up_the_wait() {
    let server = Server::start();
    let (token, _) = server.acquire("a");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let going = Going::start(&mut server.command(["lock", "a", "--", "echo", "ran"]));
        eventually("the queue", || server.waiters("a") == 1);
        going.signal(signal);
        let run = going.end();
        assert_eq!((run.code, run.stdout.as_str()), (code, ""), "{run:?}");
        assert_eq!(server.waiters("a"), 0, "the wait was cancelled before the process ended");
    }
    assert_eq!(server.run(["release", "a", &token]).code, 0);
}

#[test]
fn what_is_not_acquired_exits_75_and_runs_nothing() {
    let server = Server::start();
    server.acquire("a");
    for how in [&["--try"][..], &["--wait", "200ms"]] {
        let run = support::run(server.command(["lock", "a"]).args(how).args(["--", "echo", "ran"]));
        assert_eq!((run.code, run.stdout.as_str()), (75, ""), "{run:?}");
        assert!(!run.stderr.is_empty());
    }
}

#[test]
fn what_a_command_leaves_behind_ends_before_the_lock_does() {
    let server = Server::start();
    let run = server.run(["lock", "a", "--", "sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(!is_alive(run.stdout.trim().parse().unwrap()));
}

#[test]
fn an_obedient_command_gets_its_time_to_end_on_loss() {
    let server = Server::start();
    let mut going = Going::start(&mut server.command(["lock", "a", "--ttl", "6s", "--", "sh", "-c", OBEDIENT]));
    assert_eq!(going.line(), "ready");
    server.signal(Signal::STOP);
    assert_eq!(going.line(), "told");
    server.signal(Signal::CONT);
    assert_eq!(going.end().code, 76, "its own exit code says nothing about the lock");
}

#[test]
fn a_lock_that_was_released_by_others_is_lost() {
    let server = Server::start();
    // It takes a renewal to notice.
    let script = "trap 'echo told; exit 0' TERM; echo $LEASEHOLD_TOKEN; while :; do sleep 0.02; done";
    let mut going = Going::start(&mut server.command(["lock", "a", "--ttl", "3s", "--", "sh", "-c", script]));
    let token = going.line();
    assert_eq!(server.run(["release", "a", &token]).code, 0);
    let run = going.end();
    assert_eq!((run.code, run.stdout.as_str()), (76, "told\n"), "{run:?}");
}
