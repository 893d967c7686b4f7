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
    let verbs = "acquire bench check cluster completions convert debug demo dev elect force-release get lock ls man observe \
                 release renew serve session set-value watch";
    let listed = run(leasehold().arg("--help")).stdout;
    for verb in verbs.split_whitespace() {
        assert_eq!(run(leasehold().args([verb, "--help"])).code, 0, "{verb}");
        assert!(listed.contains(&format!("\n  {verb} ")), "{verb} in {listed}");
    }
    assert!(!listed.contains("reaper") && !listed.contains("launch"), "what is hidden is not listed: {listed}");
}

#[test]
fn mistakes_on_the_command_line_exit_64_and_print_no_data() {
    let mistakes: [&[&str]; 6] = [
        &[],
        &["frobnicate"],
        &["acquire"],
        &["demo", "--nodes", "2"],
        &["serve", "--level-max", "9", "--node-id", "1", "--data-dir", "/nowhere", "--peers", "1=127.0.0.1:7401"],
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
    let verbs = "acquire a | renew 0000000000000001 | release a 1 | release a 1 b 2 | get a | ls | check a 1 | lock a -- true \
                 | elect a -- true | convert a 1 --to shared | force-release a 1 --reason x | set-value a 1 v --version 0 \
                 | watch | observe a | session open | session ls | session close 00000000000000010000000000000001 \
                 | session get 00000000000000010000000000000001 | session keep-alive 00000000000000010000000000000001 \
                 | cluster status | cluster raise-level | bench uncontended | bench contended --locks 2";
    for verb in verbs.split('|') {
        let verb: Vec<&str> = verb.split_whitespace().collect();
        let (name, rest) = verb.split_at(if ["bench", "cluster", "session"].contains(&verb[0]) { 2 } else { 1 });
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
