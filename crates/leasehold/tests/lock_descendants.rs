//! Nothing that came from a command outlives its lock, whatever happens to whom.
#![allow(clippy::unwrap_used, reason = "a test that gets no answer has failed")]

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

mod support;
use support::processes::{Helper, be_a_helper, children, under, uptime};
use support::{Going, Server, eventually};

/// The share of a lease that a client counts on: the rest is for clocks that drift.
const SAFE: f64 = 0.998;
/// Runs until it is killed.
const STUBBORN: &str = "trap '' TERM INT HUP; while :; do sleep 0.02; done";

#[test]
fn helper() {
    be_a_helper();
}

/// A command under the lock `a`: a shell that starts a helper in a session of its own, says its token, and runs `script`.
struct Scene {
    server: Server,
    helper: Helper,
    going: Going,
    token: String,
}

impl Scene {
    fn start(server: Server, ttl: &str, script: &str) -> Self {
        let helper = Helper::new();
        // What the shell ignores its helper ignores, too.
        let script =
            format!("trap '' TERM INT HUP; {}; trap - TERM INT HUP; echo $LEASEHOLD_TOKEN; {script}", helper.start());
        let mut going = Going::start(&mut server.command(["lock", "a", "--ttl", ttl, "--", "sh", "-c", &script]));
        let token = going.line();
        Self { server, helper, going, token }
    }

    fn reaper(&self) -> Pid {
        match children(self.going.pid()).as_slice() {
            [reaper] => Pid::from_raw(*reaper).unwrap(),
            other => panic!("one child is expected: {other:?}"),
        }
    }

    fn until_nothing_is_left(&self) {
        eventually("the end of everything", || under(&self.server.endpoint, &self.token).is_empty());
    }
}

#[test]
fn a_grandchild_in_a_session_of_its_own_ends_with_the_command() {
    let scene = Scene::start(Server::start(), "30s", "exit 4");
    let (token, server) = (scene.token, scene.server);
    assert_eq!(scene.going.end().code, 4);
    assert!(under(&server.endpoint, &token).is_empty(), "nothing is left when the wrapper has ended");
    assert_eq!(server.holders("a"), 0, "and the lock is free");
}

/// The lock is released after the last descendant has gone: whoever gets it next finds nobody at work.
#[test]
fn the_lock_is_not_given_back_before_all_descendants_are_gone() {
    let mut scene = Scene::start(Server::start(), "30s", "echo end; exit 0");
    assert_eq!(scene.going.line(), "end");
    // The helper ignores TERM, so it takes the reaper a while.
    let next = scene.server.run(["lock", "a", "--", "sh", "-c", "cut -d' ' -f1 /proc/uptime"]);
    assert_eq!(next.code, 0, "{next:?}");
    let taken_at = Duration::from_secs_f64(next.stdout.trim().parse().unwrap());
    assert!(scene.helper.last_alive().unwrap() <= taken_at, "{:?} {taken_at:?}", scene.helper.last_alive());
    assert_eq!(scene.going.end().code, 0);
}

/// Consul #2022: the shell between the wrapper and the command was killed on loss, the command itself ran on.
/// Consul #9788: the command was told to end 90 s after its lock had timed out.
#[test]
fn consul_2022_9788_with_all_nodes_stopped_everything_is_gone_before_the_lease_ends() {
    let scene = Scene::start(Server::start_three(), "6s", STUBBORN);
    scene.server.signal(Signal::STOP);
    // Whatever was renewed was renewed before.
    let end = uptime() + Duration::from_secs(6).mul_f64(SAFE);
    scene.until_nothing_is_left();
    let last = scene.helper.last_alive().unwrap();
    assert!(last < end, "alive at {last:?}, the lease ended at {end:?} at the latest");
    scene.server.signal(Signal::CONT);
    let run = scene.going.end();
    assert_eq!(run.code, 76, "{run:?}");
    assert!(run.stderr.contains("cannot be renewed"), "{run:?}");
}

#[test]
fn when_the_cluster_says_that_the_lock_is_gone_everything_ends_soon() {
    let scene = Scene::start(Server::start(), "60s", STUBBORN);
    let forced = scene.server.run(["force-release", "a", &scene.token, "--reason", "host is gone"]);
    assert_eq!(forced.code, 0, "{forced:?}");
    scene.until_nothing_is_left();
    let run = scene.going.end();
    assert_eq!(run.code, 76, "{run:?}");
    assert!(run.stderr.contains("forced (host is gone)"), "the loser is told why: {run:?}");
}

#[test]
fn when_the_wrapper_is_killed_everything_is_killed() {
    let scene = Scene::start(Server::start(), "60s", STUBBORN);
    scene.going.signal(Signal::KILL);
    scene.until_nothing_is_left();
    assert_eq!(scene.server.holders("a"), 1, "nobody could release it: it runs out by itself");
}

#[test]
fn when_the_reaper_is_killed_the_wrapper_ends_everything_and_gives_the_lock_back() {
    let scene = Scene::start(Server::start(), "60s", STUBBORN);
    // The reaper, the command and the helper at least.
    assert!(under(&scene.server.endpoint, &scene.token).len() >= 3);
    kill_process(scene.reaper(), Signal::KILL).unwrap();
    let run = scene.going.end();
    assert_eq!(run.code, 70, "{run:?}");
    assert!(run.stderr.contains("reaper"), "{run:?}");
    assert!(under(&scene.server.endpoint, &scene.token).is_empty());
    assert_eq!(scene.server.holders("a"), 0);
}

/// Who is stopped renews nothing, and knows nothing of it.
#[test]
fn while_the_wrapper_is_stopped_everything_ends_before_the_lease_does() {
    let scene = Scene::start(Server::start(), "3s", STUBBORN);
    scene.going.signal(Signal::STOP);
    let end = uptime() + Duration::from_secs(3).mul_f64(SAFE);
    scene.until_nothing_is_left();
    let last = scene.helper.last_alive().unwrap();
    assert!(last < end, "alive at {last:?}, the lease ended at {end:?} at the latest");
    scene.going.signal(Signal::CONT);
    assert_eq!(scene.going.end().code, 76);
}

#[test]
fn while_the_reaper_is_stopped_the_wrapper_does_its_work() {
    let scene = Scene::start(Server::start(), "3s", STUBBORN);
    kill_process(scene.reaper(), Signal::STOP).unwrap();
    scene.server.signal(Signal::STOP);
    let end = uptime() + Duration::from_secs(3).mul_f64(SAFE);
    scene.until_nothing_is_left();
    let last = scene.helper.last_alive().unwrap();
    assert!(last < end, "alive at {last:?}, the lease ended at {end:?} at the latest");
    scene.server.signal(Signal::CONT);
    assert_eq!(scene.going.end().code, 76);
}

/// Each process of the chain lives for a moment, and leaves an orphan behind: whoever looks once misses one.
#[test]
fn a_chain_of_orphans_that_fork_on_is_ended() {
    let chain = "next() { [ $1 = 0 ] || (sleep 0.01; next $(($1 - 1)) &) }; next 3000; ";
    let scene = Scene::start(Server::start(), "60s", &format!("{chain}{STUBBORN}"));
    scene.going.signal(Signal::KILL);
    scene.until_nothing_is_left();
}
