//! Bad input to each verb: exit code 64, a message that names the flag and the limit, no data, and nothing has changed.
#![allow(clippy::unwrap_used, reason = "a test that gets no answer has failed")]

use serde_json::json;

mod support;
use support::{Server, run};

/// The message must contain all of `words`.
fn refused(server: &Server, arguments: &[&str], words: &[&str]) {
    let run = run(server.command([]).args(arguments));
    assert_eq!(run.code, 64, "{arguments:?}: {run:?}");
    assert!(run.stdout.is_empty(), "{arguments:?}: {run:?}");
    for word in words {
        assert!(run.stderr.contains(word), "{arguments:?} says nothing of {word}: {run:?}");
    }
}

fn nothing_has_changed(server: &Server) {
    assert_eq!(server.run(["ls", "-o", "json"]).json(), json!([]));
    assert_eq!(server.run(["session", "ls", "-o", "json"]).json(), json!([]));
}

#[test]
fn of_acquire_and_lock() {
    let server = Server::start();
    let (name, owner, actor) = ("x".repeat(513), "o".repeat(257), "a".repeat(129));
    let (metadata, value) = ("m".repeat(1_025), "v".repeat(4_097));
    let many: Vec<String> = (0..65).map(|number| number.to_string()).collect();
    let many: Vec<&str> = ["acquire"].into_iter().chain(many.iter().map(String::as_str)).collect();
    let session = "00000000000000010000000000000001";
    refused(&server, &["acquire"], &["<NAME>"]);
    refused(&server, &["acquire", ""], &["NAME", "empty"]);
    refused(&server, &["acquire", &name], &["NAME", "513", "512"]);
    refused(&server, &["acquire", "a\u{7}b"], &["NAME", "control"]);
    refused(&server, &["acquire", "a", "b", "a"], &["NAME 3", "twice"]);
    refused(&server, &many, &["NAME", "65", "64"]);
    refused(&server, &["acquire", "a", "--try", "--wait", "1s"], &["--try", "--wait"]);
    refused(&server, &["acquire", "a", "--wait", "0s"], &["--wait", "0"]);
    refused(&server, &["acquire", "a", "--ttl", "soon"], &["--ttl", "soon", "30s"]);
    refused(&server, &["acquire", "a", "--ttl", "0s"], &["--ttl", "100"]);
    refused(&server, &["acquire", "a", "--ttl", "30days"], &["--ttl", "86400000"]);
    refused(&server, &["acquire", "a", "--owner", ""], &["--owner"]);
    refused(&server, &["acquire", "a", "--owner", &owner], &["--owner", "257", "256"]);
    refused(&server, &["acquire", "a", "--metadata", &metadata], &["--metadata", "1025", "1024"]);
    refused(&server, &["acquire", "a", "--value", &value], &["--value", "4097", "4096"]);
    refused(&server, &["acquire", "a", "--lock-delay", "61s"], &["--lock-delay", "61000", "60000"]);
    refused(&server, &["acquire", "a", "--shared", "--permits", "1", "--limit", "2"], &["--shared", "--permits"]);
    refused(&server, &["acquire", "a", "--permits", "1"], &["--limit"]);
    refused(&server, &["acquire", "a", "--limit", "1"], &["--permits"]);
    refused(&server, &["acquire", "a", "--permits", "0", "--limit", "1"], &["--permits", "0"]);
    refused(&server, &["acquire", "a", "--permits", "4", "--limit", "3"], &["--permits", "4", "3"]);
    refused(&server, &["acquire", "a", "--permits", "many", "--limit", "3"], &["--permits", "many"]);
    refused(&server, &["acquire", "a", "--session", "12"], &["--session", "32"]);
    refused(&server, &["acquire", "a", "--session", "0000000000000000ffffffffffffffff"], &["--session", "zero"]);
    refused(&server, &["acquire", "a", "--session", session, "--ttl", "9s"], &["--session", "--ttl"]);
    refused(&server, &["acquire", "a", "--actor", "me"], &["--session"]);
    refused(&server, &["acquire", "a", "--session", session, "--actor", &actor], &["--actor", "129", "128"]);
    refused(&server, &["acquire", "a", "-o", "xml"], &["--output", "xml"]);
    refused(&server, &["acquire", "a", "--namespace", "n\u{7}"], &["--namespace", "control"]);
    refused(&server, &["acquire", "a", "--endpoints", "nonsense"], &["endpoints", "nonsense"]);
    refused(&server, &["acquire", "a", "--timeout", "0s"], &["timeout"]);
    refused(&server, &["lock", "a"], &["CMD"]);
    refused(&server, &["lock", "--", "true"], &["<NAME>"]);
    refused(&server, &["lock", "", "--", "echo", "ran"], &["NAME", "empty"]);
    refused(&server, &["lock", "a", "--ttl", "1ms", "--", "echo", "ran"], &["--ttl", "100"]);
    refused(&server, &["lock", "a", "--permits", "4", "--limit", "3", "--", "echo", "ran"], &["--permits", "3"]);
    refused(&server, &["elect", "a"], &["CMD"]);
    refused(&server, &["elect", "a", "--value", &value, "--", "echo", "ran"], &["--value", "4096"]);
    refused(&server, &["elect", "a", "b", "--", "echo", "ran"], &["'b'"]);
    nothing_has_changed(&server);
}

#[test]
fn of_the_other_verbs_on_locks() {
    let server = Server::start();
    let (reason, value) = ("r".repeat(513), "v".repeat(4_097));
    refused(&server, &["release", "a"], &["TOKEN"]);
    refused(&server, &["release", "a", "not-a-token"], &["TOKEN", "not-a-token"]);
    refused(&server, &["release", "a", "-1"], &["-1"]);
    refused(&server, &["release", "a", "0"], &["TOKEN", "0"]);
    refused(&server, &["release", "a", "1", "b"], &["TOKEN", "\"b\""]);
    refused(&server, &["release", "", "1"], &["NAME", "empty"]);
    refused(&server, &["renew", "zz"], &["LEASE", "16 or 32"]);
    refused(&server, &["convert", "a", "1"], &["--to"]);
    refused(&server, &["convert", "a", "1", "--to", "permits"], &["--to", "permits", "shared", "exclusive"]);
    refused(&server, &["convert", "a", "0", "--to", "shared"], &["TOKEN"]);
    refused(&server, &["convert", "a", "one", "--to", "shared"], &["<TOKEN>", "one"]);
    refused(&server, &["convert", "a", "1", "--to", "shared", "--try", "--wait", "1s"], &["--try", "--wait"]);
    refused(&server, &["force-release", "a", "1"], &["--reason"]);
    refused(&server, &["force-release", "a", "1", "--reason", ""], &["--reason", "empty"]);
    refused(&server, &["force-release", "a", "1", "--reason", &reason], &["--reason", "513", "512"]);
    refused(&server, &["force-release", "a", "0", "--reason", "x"], &["TOKEN"]);
    refused(&server, &["check", "a"], &["<TOKEN>"]);
    refused(&server, &["check", "", "1"], &["NAME", "empty"]);
    refused(&server, &["check", "a", "0"], &["TOKEN"]);
    refused(&server, &["set-value", "a", "1", "v"], &["--version"]);
    refused(&server, &["set-value", "a", "1", "v", "--version", "-1"], &["-1"]);
    refused(&server, &["set-value", "a", "1", &value, "--version", "0"], &["VALUE", "4097", "4096"]);
    refused(&server, &["get", ""], &["NAME", "empty"]);
    refused(&server, &["ls", "a\u{7}"], &["PREFIX", "control"]);
    refused(&server, &["watch", "a", "--name", "b"], &["PREFIX", "--name"]);
    refused(
        &server,
        &["watch", "--name", "b", "--session", "00000000000000010000000000000001"],
        &["--name", "--session"],
    );
    refused(&server, &["watch", "--session", "12"], &["--session", "32"]);
    refused(&server, &["watch", "--after", "yesterday"], &["--after", "yesterday", "INDEX.ORDINAL"]);
    refused(&server, &["watch", "--name", ""], &["NAME", "empty"]);
    refused(&server, &["watch", "--events", "0"], &["--events", "0"]);
    refused(&server, &["observe"], &["<NAME>"]);
    refused(&server, &["observe", "", "--events", "1"], &["NAME", "empty"]);
    nothing_has_changed(&server);
}

#[test]
fn of_the_verbs_on_sessions_and_the_cluster() {
    let server = Server::start();
    let (owner, metadata) = ("o".repeat(257), "m".repeat(1_025));
    refused(&server, &["session"], &["Usage"]);
    refused(&server, &["session", "open", "--ttl", "1ms"], &["--ttl", "100"]);
    refused(&server, &["session", "open", "--owner", ""], &["--owner"]);
    refused(&server, &["session", "open", "--owner", &owner], &["--owner", "257", "256"]);
    refused(&server, &["session", "open", "--metadata", &metadata], &["--metadata", "1025", "1024"]);
    refused(&server, &["session", "open", "--id", "nonsense"], &["--id", "32"]);
    refused(&server, &["session", "keep-alive"], &["<ID>"]);
    refused(&server, &["session", "keep-alive", "12"], &["<ID>", "32"]);
    refused(&server, &["session", "close", "12"], &["<ID>", "32"]);
    refused(&server, &["session", "get", "12"], &["<ID>", "32"]);
    refused(&server, &["session", "ls", "all"], &["'all'"]);
    refused(&server, &["cluster", "raise-level", "--level", "0"], &["--level", "0"]);
    refused(&server, &["cluster", "raise-level", "--level", "high"], &["--level", "high"]);
    refused(&server, &["completions"], &["<SHELL>"]);
    nothing_has_changed(&server);
}

#[test]
fn of_a_renewal() {
    let server = Server::start();
    let (token, lease) = server.acquire("a");
    refused(&server, &["renew", &lease, "--ttl", "1ms"], &["--ttl", "1 is not between 100"]);
    refused(&server, &["renew", &lease, "--ttl", "soon"], &["--ttl", "soon"]);
    assert_eq!(server.run(["check", "a", &token]).code, 0, "the lease is as it was");
}

/// Over a limit that has nothing to do with the words of the request, and of things that are not there: not a usage error.
#[test]
fn what_is_not_there_is_refused_with_65() {
    let server = Server::start();
    let session = "00000000000000010000000000000001";
    let cases: [&[&str]; 7] = [
        &["acquire", "a", "--session", session],
        &["lock", "a", "--session", session, "--", "echo", "ran"],
        &["session", "keep-alive", session],
        &["session", "get", session],
        &["convert", "a", "7", "--to", "shared"],
        &["renew", session],
        &["check", "a", "7"],
    ];
    for arguments in cases {
        let run = run(server.command([]).args(arguments));
        assert_eq!(run.code, 65, "{arguments:?}: {run:?}");
        assert!(!run.stderr.is_empty() && !run.stdout.contains("ran"), "{arguments:?}: {run:?}");
    }
}
