//! The verbs on the cluster itself, and those that need none.
#![allow(clippy::unwrap_used, reason = "a test that gets no answer has failed")]

use serde_json::json;

mod support;
use support::{Server, keys, leasehold, run};

#[test]
fn the_cluster_shows_itself() {
    let server = Server::start();
    let status = server.run(["cluster", "status", "-o", "json"]).json();
    for key in ["leader", "nodes", "term", "level", "cluster_id", "version"] {
        assert!(keys(&status).contains(&key), "{key} in {status}");
    }
    let node = &status["nodes"][0];
    for key in ["address", "applied", "id", "role", "up", "level_max", "agreed_at", "differs_at"] {
        assert!(keys(node).contains(&key), "{key} in {node}");
    }
    assert_eq!((&status["leader"], &node["id"], &node["role"]), (&json!(1), &json!(1), &json!("leader")));
    assert_eq!((&node["address"], &node["up"]), (&json!(server.endpoint), &json!(true)));
    assert!(server.run(["cluster", "status"]).stdout.contains("leader"));
}

/// A cluster that was founded when not every node could do all of it.
#[test]
fn the_level_is_raised_by_one_command_and_not_above_what_all_support() {
    let server = Server::start();
    let level = server.run(["cluster", "status", "-o", "json"]).json()["level"].as_u64().unwrap();
    let raised = server.run(["cluster", "raise-level", "-o", "json"]);
    assert_eq!((raised.code, raised.json()), (0, json!({ "level": level, "level_before": level })), "nothing to do");
    let above = (level + 1).to_string();
    let refused = server.run(["cluster", "raise-level", "--level", &above]);
    assert_eq!(refused.code, 65, "{refused:?}");
    assert!(refused.stderr.contains("not supported by node 1"), "{refused:?}");

    let old = Server::start_with(&["--level-max", "1"]);
    assert_eq!(old.run(["cluster", "status", "-o", "json"]).json()["level"], 1);
    let shared = old.run(["acquire", "a", "--shared"]);
    assert_eq!(shared.code, 65, "{shared:?}");
    assert!(shared.stderr.contains("level"), "{shared:?}");
    assert_eq!(old.run(["acquire", "a"]).code, 0, "what every build can do goes on");
    assert_eq!(old.run(["lock", "b", "--", "true"]).code, 0, "a command can be run under a lock at every level");
    assert_eq!(old.run(["cluster", "raise-level", "--level", "2"]).code, 65);
}

#[test]
fn completions_know_every_verb() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(leasehold().args(["completions", shell]));
        assert_eq!(script.code, 0, "{script:?}");
        for word in ["force-release", "lock-delay", "keep-alive", "raise-level"] {
            assert!(script.stdout.contains(word), "{shell}: {word}");
        }
        assert!(!script.stdout.contains("reaper"), "{shell}: what is hidden stays hidden");
    }
    let unknown = run(leasehold().args(["completions", "ksh"]));
    assert_eq!(unknown.code, 64, "{unknown:?}");
    // Bash takes it as it is.
    let script = run(leasehold().args(["completions", "bash"])).stdout;
    let checked = std::process::Command::new("bash").args(["-n", "-c", &script]).output();
    if let Ok(checked) = checked {
        assert!(checked.status.success(), "{checked:?}");
    }
}

#[test]
fn the_manual_has_a_page_for_every_verb() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("man1");
    let run_into = run(leasehold().arg("man").arg("--dir").arg(&dir));
    assert_eq!((run_into.code, run_into.stdout.as_str()), (0, ""), "{run_into:?}");
    for page in ["leasehold", "leasehold-lock", "leasehold-force-release", "leasehold-session-keep-alive"] {
        let text = std::fs::read_to_string(dir.join(format!("{page}.1"))).unwrap();
        assert!(text.contains(".TH") && text.contains(".SH NAME"), "{page}");
    }
    assert!(!dir.join("leasehold-reaper.1").exists());
    let all = run(leasehold().arg("man"));
    let pages = std::fs::read_dir(&dir).unwrap().count();
    assert_eq!(all.stdout.matches(".TH").count(), pages, "stdout has all of them");
    let nowhere = run(leasehold().args(["man", "--dir", "/proc/nowhere"]));
    assert_eq!(nowhere.code, 64, "{nowhere:?}");
    assert!(nowhere.stderr.contains("--dir"), "{nowhere:?}");
}
