//! Load against real nodes, as an operator runs it.
#![allow(clippy::unwrap_used, reason = "a test that gets no answer has failed")]

use rustix::process::Signal;
use serde_json::Value;

mod support;
use support::{Going, Run, Server, eventually, leasehold, run};

/// Runs a workload for a second.
fn bench(server: &Server, line: &str) -> Value {
    let mut command = server.command(["bench"]);
    command.args(line.split_whitespace()).args(["--seconds", "1", "--warm-up", "100ms", "-o", "json"]);
    let run = run(&mut command);
    assert_eq!(run.code, 0, "{line}: {run:?}");
    run.json()
}

/// What is left in the cluster: locks that anybody holds or awaits, and sessions.
fn left_over(server: &Server) -> (Value, Value) {
    (server.run(["ls", "-o", "json"]).json(), server.run(["session", "ls", "-o", "json"]).json())
}

fn assert_nothing_is_left(server: &Server) {
    let (locks, sessions) = left_over(server);
    assert_eq!((locks.as_array().unwrap().len(), sessions.as_array().unwrap().len()), (0, 0), "{locks} {sessions}");
}

fn assert_worked(report: &Value, measures: &[&str]) {
    assert!(report["count"].as_u64().unwrap() > 0 && report["throughput_per_s"].as_f64().unwrap() > 0.0, "{report}");
    assert_eq!((&report["error_count"], &report["sessions_lost"]), (&0.into(), &0.into()), "{report}");
    let slots = report["over_time"]["counts"].as_array().unwrap();
    assert_eq!(slots.len(), 10, "{report}");
    assert_eq!(slots.iter().map(|slot| slot.as_u64().unwrap()).sum::<u64>(), report["count"].as_u64().unwrap());
    for measure in measures {
        let latency = &report["latency_ms"][measure];
        let at = |key: &str| latency[key].as_f64().unwrap_or_else(|| panic!("{measure} {key} in {report}"));
        assert!(at("count") > 0.0 && at("p50") > 0.0 && at("p50") <= at("p99") && at("p99") <= at("max"), "{report}");
    }
}

#[test]
fn uncontended_callers_on_a_cluster_of_three_leave_nothing_behind() {
    let server = Server::start_three();
    for transport in ["", "--unary"] {
        for target in ["all", "leader", "follower"] {
            let report =
                bench(&server, &format!("uncontended --callers 6 --connections 2 --target {target} {transport}"));
            assert_worked(&report, &["acquire", "release"]);
            let nodes = match target {
                "all" => 3,
                "leader" => 1,
                _ => 2,
            };
            assert_eq!(report["endpoints"].as_array().unwrap().len(), nodes, "{report}");
        }
    }
    assert_nothing_is_left(&server);
}

#[test]
fn every_workload_counts_its_work_and_leaves_nothing_behind() {
    let server = Server::start();
    let svg = server.folder.path().join("contended.svg");
    let draw = format!("--svg {}", svg.display());
    for (line, measures) in [
        (&*format!("contended --locks 2 --callers 8 --connections 2 {draw}"), &["acquire", "release", "handover"][..]),
        ("contended --callers 3 --unary", &["handover"]),
        ("try-busy --locks 70 --callers 8", &["held"]),
        ("mixed --locks 2 --callers 16", &["acquire", "release", "held", "handover", "get"]),
        ("sessions --sessions 50 --ttl 3s --every 100ms --connections 2", &["renew"]),
        ("expiry --ttl 300ms --callers 4 --background 4", &["lag", "background"]),
    ] {
        assert_worked(&bench(&server, line), measures);
        assert_nothing_is_left(&server);
    }
    assert!(std::fs::read_to_string(svg).unwrap().contains("handover"));
}

#[test]
fn a_signal_ends_it_early_and_what_it_held_is_given_back() {
    let server = Server::start();
    let mut command = server.command(["bench", "contended", "--callers", "4", "--seconds", "600"]);
    let going = Going::start(&mut command);
    eventually("the load", || left_over(&server).0.as_array().is_some_and(|locks| !locks.is_empty()));
    going.signal(Signal::INT);
    let ended = going.end();
    assert_eq!((ended.code, &*ended.stdout), (130, ""), "{ended:?}");
    assert_nothing_is_left(&server);
}

#[test]
fn a_node_that_cannot_be_reached_is_told_and_the_others_are_measured() {
    let server = Server::start();
    let endpoints = format!("127.0.0.1:1,{}", server.endpoint);
    let mut command = leasehold();
    command.args(["bench", "uncontended", "--endpoints", &endpoints, "--callers", "4", "--connections", "2"]);
    command.args(["--seconds", "1", "--warm-up", "0s", "-o", "json"]);
    let run = run(&mut command);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(run.json()["errors"], serde_json::json!({ "connect: 127.0.0.1:1": 1 }), "{run:?}");
    assert!(run.stderr.contains("connect: 127.0.0.1:1, 1 times"), "{run:?}");
    assert_nothing_is_left(&server);
}

#[test]
fn nodes_that_it_starts_are_ended_with_it() {
    let mut command = leasehold();
    command.args([
        "bench",
        "uncontended",
        "--start",
        "--callers",
        "2",
        "--seconds",
        "1",
        "--warm-up",
        "0s",
        "-o",
        "json",
    ]);
    let run = run(&mut command);
    assert_eq!(run.code, 0, "{run:?}");
    let report = run.json();
    assert!(report["leader_cpu_percent"].as_f64().is_some_and(|percent| percent >= 0.0), "{report}");
    for endpoint in report["endpoints"].as_array().unwrap() {
        assert!(std::net::TcpStream::connect(endpoint.as_str().unwrap()).is_err(), "{report}");
    }
}

/// With nothing on the path.
fn compare(line: &str) -> Run {
    run(leasehold().args(["bench", "compare"]).args(line.split_whitespace()).env("PATH", ""))
}

#[test]
fn a_peer_that_is_not_installed_is_named_with_its_package() {
    for (peer, package) in [("etcd", "etcd-server"), ("redis", "redis-server"), ("zookeeper", "default-jre-headless")] {
        let run = compare(&format!("--peers {peer} --seconds 1 --rounds 1"));
        assert_eq!((run.code, &*run.stdout), (69, ""), "{run:?}");
        assert!(run.stderr.contains(&format!("apt-get install {package}")), "{run:?}");
    }
}

#[test]
fn what_cannot_be_compared_is_refused() {
    for (line, said) in [
        ("--peers zookeeper --workload contended", "--peers: zookeeper"),
        ("--callers 4 --connections 8,64", "--connections: none of them is at most --callers (4)"),
        ("--peers consul", "consul"),
        ("--rounds 0", "--rounds"),
        ("--peers redis --dir /nowhere/at/all", "redis-server is not found"),
    ] {
        let run = compare(line);
        assert!([64, 69].contains(&run.code) && run.stdout.is_empty(), "{line}: {run:?}");
        assert!(run.stderr.contains(said), "{line}: {run:?}");
    }
}

#[test]
fn systems_are_compared_in_rounds_and_end_with_it() {
    let found = |program: &str| {
        std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|path| path.join(program).is_file())
    };
    let peers: Vec<&str> = [("etcd", "etcd"), ("redis", "redis-server")]
        .into_iter()
        .filter(|(_, program)| found(program))
        .map(|(peer, _)| peer)
        .collect();
    if peers.is_empty() {
        eprintln!("SKIPPED: neither etcd nor redis-server is installed; nothing is compared");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = leasehold();
    command.args(["bench", "compare", "--peers", &peers.join(","), "--callers", "8", "--connections", "1,64"]);
    command.args(["--seconds", "1", "--warm-up", "100ms", "--rounds", "2", "-o", "json", "--dir"]).arg(folder.path());
    let run = run(&mut command);
    assert_eq!(run.code, 0, "{run:?}");
    let report = run.json();
    for peer in &peers {
        let ratio =
            |key: &str| report["ratios"][peer][key].as_f64().unwrap_or_else(|| panic!("{peer} {key} in {report}"));
        assert!(ratio("min") > 0.0 && ratio("min") <= ratio("median") && ratio("median") <= ratio("max"), "{report}");
    }
    for system in peers.iter().chain(&["leasehold"]) {
        let of = &report["systems"][system];
        assert_eq!((of["rounds_per_s"].as_array().unwrap().len(), &of["error_count"]), (2, &0.into()), "{report}");
        assert_eq!(
            (of["trials"].as_array().unwrap().len(), &of["connections"]),
            (1, &1.into()),
            "64 are above --callers"
        );
        assert!(of["latency_ms"]["acquire"]["p99"].as_f64().unwrap() > 0.0, "{report}");
        for told in ["version", "durability", "operations"] {
            assert!(!of[told].as_str().unwrap().is_empty(), "{told} of {system} in {report}");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "all data is removed");
}
