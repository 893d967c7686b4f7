//! What the binary says without a cluster.
#![allow(clippy::unwrap_used, reason = "a test that gets no answer has failed")]

use std::time::Duration;

use leasehold_client::clock::Clock;

mod support;
use support::{Server, leasehold, run};

/// A port that nobody listens on: the lowest is for root's multiplexer, which nobody runs.
const NOBODY: &str = "127.0.0.1:1";

#[test]
fn help_and_version_are_data() {
    for flag in ["--help", "--version"] {
        let run = run(leasehold().arg(flag));
        assert_eq!(run.code, 0);
        assert!(run.stdout.contains("leasehold"), "{run:?}");
    }
    for verb in ["acquire", "renew", "release", "get", "ls", "lock", "demo", "serve", "dev", "cluster", "debug"] {
        assert_eq!(run(leasehold().args([verb, "--help"])).code, 0, "{verb}");
    }
}

#[test]
fn mistakes_on_the_command_line_exit_64_and_print_no_data() {
    let mistakes: [&[&str]; 14] = [
        &[],
        &["frobnicate"],
        &["acquire"],
        &["acquire", "a", "--try", "--wait", "1s"],
        &["acquire", "a", "--ttl", "soon"],
        &["acquire", "a", "-o", "xml"],
        &["acquire", "a", "--endpoints", "nonsense"],
        &["acquire", "a", "--timeout", "0s"],
        &["release", "a"],
        &["release", "a", "not-a-token"],
        &["release", "a", "-1"],
        &["lock", "a"],
        &["demo", "--nodes", "2"],
        &["debug", "log", "--data-dir", "/nowhere/at/all"],
    ];
    for mistake in mistakes {
        let run = run(leasehold().args(mistake));
        assert_eq!(run.code, 64, "{mistake:?}: {run:?}");
        assert!(run.stdout.is_empty() && !run.stderr.is_empty(), "{mistake:?}: {run:?}");
    }
}

#[test]
fn without_a_cluster_every_verb_says_unavailable_in_time() {
    let verbs: [&[&str]; 7] = [
        &["acquire", "a"],
        &["renew", "0000000000000001"],
        &["release", "a", "1"],
        &["get", "a"],
        &["ls"],
        &["cluster", "status"],
        &["lock", "a", "--", "true"],
    ];
    for verb in verbs {
        let (name, rest) = verb.split_at(if verb[0] == "cluster" { 2 } else { 1 });
        let clock = Clock::system();
        let start = clock.now();
        let run = run(leasehold().args(name).args(["--endpoints", NOBODY, "--timeout", "300ms"]).args(rest));
        assert_eq!(run.code, 69, "{verb:?}: {run:?}");
        assert!(run.stderr.contains("unavailable") && run.stderr.contains(NOBODY), "{run:?}");
        assert!(clock.now().since(start) < Duration::from_secs(10), "{verb:?}");
    }
}

#[test]
fn without_a_quorum_verbs_say_unavailable_in_time() {
    let server = Server::start_some_of(1, 3, &[]);
    let verbs: [&[&str]; 4] = [&["acquire", "a", "--try"], &["acquire", "a"], &["get", "a"], &["release", "a", "1"]];
    for verb in verbs {
        let run = run(server.command([]).args(verb).args(["--timeout", "1s"]));
        assert_eq!(run.code, 69, "{verb:?}: {run:?}");
    }
}
