//! The demonstration, as a newcomer runs it.
#![allow(clippy::unwrap_used, reason = "a test that gets no answer has failed")]

use rustix::process::Signal;

mod support;
use support::{Going, eventually, leasehold, run};

#[test]
fn it_shows_a_lock_that_survives_its_leader_and_leaves_nothing_behind() {
    let run = run(leasehold().args(["demo", "--exit"]));
    assert_eq!(run.code, 0, "{run:?}");
    let steps =
        ["elected leader", "alice took", "says the same", "bob waits", "kill -9", "leads now", "released", "caught up"];
    let mut rest = run.stdout.as_str();
    for step in steps {
        let at = rest.find(step).unwrap_or_else(|| panic!("{step:?} is not next in {run:?}"));
        rest = &rest[at..];
    }
    let folder = run.stdout.lines().next().unwrap().rsplit(' ').next().unwrap();
    assert!(!std::path::Path::new(folder).exists(), "{folder}");
}

#[test]
fn it_leaves_the_cluster_running_until_told_to_end() {
    let mut going = Going::start(leasehold().arg("demo"));
    let export = going.line_with("export LEASEHOLD_ENDPOINTS=");
    let endpoints = export.split_once('=').unwrap().1.to_owned();
    let status = run(leasehold().args(["cluster", "status", "--endpoints", &endpoints]));
    assert_eq!(status.code, 0, "{status:?}");
    going.signal(Signal::INT);
    assert_eq!(going.end().code, 130);
    let first = endpoints.split(',').next().unwrap().to_owned();
    eventually("the end of the nodes", || std::net::TcpStream::connect(&first).is_err());
}
