use bytes::Bytes;

use crate::{Command, Effect, Entry, Evaluated, Holding, Refused, Reply, Request, parse};

fn held(owner: &'static str, left_ms: u64) -> Entry {
    Entry::Held(Holding { owner: Bytes::from_static(owner.as_bytes()), left_ms })
}

/// Evaluates a command whose keys, in their order, look so.
fn run(line: &str, entries: &[Entry]) -> Result<Evaluated, Refused> {
    let words = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    match parse(&Request { words }).expect("understood") {
        Command::Keys(command) => command.evaluate(entries),
        other => panic!("{other:?} has no keys"),
    }
}

fn evaluated(line: &str, entries: &[Entry]) -> Evaluated {
    run(line, entries).expect("not refused")
}

fn kind(line: &str, entries: &[Entry]) -> &'static str {
    let refused = run(line, entries).expect_err("refused");
    assert!(refused.message.starts_with("ERR the lock '"), "{}", refused.message);
    refused.kind
}

fn outcome(line: &str, entry: Entry) -> (Reply, Effect) {
    let evaluated = evaluated(line, &[entry]);
    (evaluated.reply, evaluated.effect)
}

fn acquire(ttl_ms: Option<u64>) -> Effect {
    Effect::Acquire { keys: vec![0], value: Bytes::from_static(b"me"), ttl_ms }
}

fn extend(ttl_ms: u64, unchecked: &[usize]) -> Effect {
    Effect::Extend { keys: vec![0], ttl_ms, unchecked: unchecked.to_vec() }
}

#[test]
fn set_takes_a_free_lock() {
    assert_eq!(outcome("SET k me NX PX 30000", Entry::Absent), (Reply::ok(), acquire(Some(30_000))));
    assert_eq!(outcome("SET k me EX 30 NX", Entry::Absent), (Reply::ok(), acquire(Some(30_000))));
    assert_eq!(outcome("SET k me", Entry::Absent), (Reply::ok(), acquire(None)));
    assert_eq!(outcome("SETNX k me", Entry::Absent), (Reply::Integer(1), acquire(None)));
    assert_eq!(outcome("SET k me XX PX 5", Entry::Absent), (Reply::Nil, Effect::None));
}

#[test]
fn set_nx_takes_nothing_from_anybody() {
    for entry in [held("you", 5), held("me", 5), Entry::Delayed { left_ms: 5 }, Entry::Foreign] {
        assert_eq!(outcome("SET k me NX PX 9", entry.clone()), (Reply::Nil, Effect::None));
        assert_eq!(outcome("SETNX k me", entry.clone()), (Reply::Integer(0), Effect::None));
        let all = evaluated("MSETNX a me k me", &[Entry::Absent, entry]);
        assert_eq!((all.reply, all.effect), (Reply::Integer(0), Effect::None));
    }
}

#[test]
fn set_with_the_same_value_extends_and_is_a_check_by_itself() {
    assert_eq!(outcome("SET k me XX PX 9", held("me", 500)), (Reply::ok(), extend(9, &[])));
    assert_eq!(outcome("SET k me PX 9", held("me", 500)), (Reply::ok(), extend(9, &[])));
    assert!(!evaluated("SET k me PX 9", &[held("me", 500)]).time_observed);
}

#[test]
fn set_never_changes_an_owner_nor_takes_a_time_away() {
    assert_eq!(kind("SET k me PX 9", &[held("you", 5)]), "changes_owner");
    assert_eq!(kind("SET k me XX PX 9", &[held("you", 5)]), "changes_owner");
    assert_eq!(kind("MSET k me", &[held("you", 5)]), "changes_owner");
    assert_eq!(kind("SET k me", &[held("me", 5)]), "removes_ttl");
    assert_eq!(kind("SET k me XX", &[Entry::Delayed { left_ms: 5 }]), "lock_delay");
    assert_eq!(kind("SET k me", &[Entry::Foreign]), "other_mode");
}

#[test]
fn deletes_release_what_is_held_without_a_check() {
    let entries = [held("me", 5), Entry::Absent, held("you", 7)];
    let deleted = evaluated("DEL a b c a", &entries);
    assert_eq!(deleted.reply, Reply::Integer(2));
    assert_eq!(deleted.effect, Effect::Release { keys: vec![0, 2], unchecked: vec![0, 2] });
    assert_eq!(deleted.observed, [0, 1, 2]);
    assert_eq!(kind("UNLINK k", &[Entry::Foreign]), "other_mode");
    assert_eq!(kind("DEL k", &[Entry::Delayed { left_ms: 5 }]), "lock_delay");
}

#[test]
fn expire_extends_shortens_or_releases() {
    assert_eq!(outcome("PEXPIRE k 900", held("me", 5)), (Reply::Integer(1), extend(900, &[])));
    assert_eq!(outcome("EXPIRE k 1", held("me", 5000)), (Reply::Integer(1), extend(1000, &[0])));
    let release = Effect::Release { keys: vec![0], unchecked: vec![0] };
    assert_eq!(outcome("PEXPIRE k 0", held("me", 5)), (Reply::Integer(1), release.clone()));
    assert_eq!(outcome("EXPIRE k -1", held("me", 5)), (Reply::Integer(1), release));
    assert_eq!(outcome("PEXPIRE k 5", Entry::Absent), (Reply::Integer(0), Effect::None));
    assert_eq!(kind("PEXPIRE k 5", &[Entry::Delayed { left_ms: 5 }]), "lock_delay");
    assert_eq!(kind("PEXPIRE k 5", &[Entry::Foreign]), "other_mode");
    // Whether it is shortened hangs on the time left, and a policy hangs on that.
    assert!(evaluated("PEXPIRE k 900", &[held("me", 5)]).time_observed);
}

#[test]
fn conditions_of_expire_are_kept() {
    let nothing = (Reply::Integer(0), Effect::None);
    assert_eq!(outcome("PEXPIRE k 900 NX", held("me", 5)), nothing);
    assert_eq!(outcome("PEXPIRE k 900 XX", held("me", 5)).0, Reply::Integer(1));
    assert_eq!(outcome("PEXPIRE k 900 GT", held("me", 900)), nothing);
    assert_eq!(outcome("PEXPIRE k 901 GT", held("me", 900)).0, Reply::Integer(1));
    assert_eq!(outcome("PEXPIRE k 900 LT", held("me", 900)), nothing);
    assert!(evaluated("PEXPIRE k 900 LT", &[held("me", 900)]).time_observed);
}

#[test]
fn values_and_times_are_read() {
    assert_eq!(outcome("GET k", held("me", 5)).0, Reply::text("me"));
    assert_eq!(outcome("GET k", Entry::Absent).0, Reply::Nil);
    assert_eq!(outcome("STRLEN k", held("me", 5)).0, Reply::Integer(2));
    let mget = evaluated("MGET a b c a", &[held("me", 5), Entry::Absent, Entry::Foreign]);
    let me = || Reply::text("me");
    assert_eq!(mget.reply, Reply::Array(vec![me(), Reply::Nil, Reply::Nil, me()]));
    assert_eq!(outcome("EXISTS k", Entry::Foreign).0, Reply::Integer(1));
    assert_eq!(evaluated("EXISTS k k b", &[held("me", 5), Entry::Absent]).reply, Reply::Integer(2));
    assert_eq!(outcome("PTTL k", held("me", 1499)).0, Reply::Integer(1499));
    assert_eq!(outcome("TTL k", held("me", 1499)).0, Reply::Integer(1));
    assert_eq!(outcome("TTL k", held("me", 1500)).0, Reply::Integer(2));
    assert_eq!(outcome("PTTL k", Entry::Absent).0, Reply::Integer(-2));
    assert!(evaluated("TTL k", &[held("me", 5)]).time_observed);
    assert!(!evaluated("TTL k", &[Entry::Absent]).time_observed);
}

#[test]
fn parts_of_a_value_are_read_as_in_redis() {
    let part = |range: &str| outcome(&format!("GETRANGE k {range}"), held("abcdef", 5)).0;
    for (range, expected) in [
        ("0 2", "abc"),
        ("0 -1", "abcdef"),
        ("-3 -2", "de"),
        ("4 99", "ef"),
        ("3 1", ""),
        ("-2 -3", ""),
        ("9 12", ""),
        ("-99 0", "a"),
    ] {
        assert_eq!(part(range), Reply::text(expected), "{range}");
    }
    assert_eq!(outcome("SUBSTR k 0 -1", Entry::Absent).0, Reply::text(""));
}

#[test]
fn a_lock_in_its_delay_is_nobodys() {
    let delayed = Entry::Delayed { left_ms: 70 };
    assert_eq!(outcome("GET k", delayed.clone()).0, Reply::text("leasehold:lock-delay"));
    assert_eq!(outcome("EXISTS k", delayed.clone()).0, Reply::Integer(1));
    assert_eq!(outcome("PTTL k", delayed).0, Reply::Integer(70));
}

#[test]
fn a_lock_in_another_mode_is_no_string() {
    for line in ["GET k", "STRLEN k", "GETRANGE k 0 1", "PTTL k"] {
        let Reply::Error(text) = outcome(line, Entry::Foreign).0 else { panic!("{line} is no error") };
        assert!(text.starts_with("WRONGTYPE ") && text.contains("native API"), "{text}");
    }
}

#[test]
fn msetnx_takes_all_or_nothing_and_mset_refuses_different_owners() {
    let taken = evaluated("MSETNX a me b me", &[Entry::Absent, Entry::Absent]);
    let keys = vec![0, 1];
    assert_eq!(taken.effect, Effect::Acquire { keys, value: Bytes::from_static(b"me"), ttl_ms: None });
    assert_eq!(kind("MSETNX a me b you", &[Entry::Absent, Entry::Absent]), "different_values");
    assert_eq!(evaluated("MSET a you a me", &[Entry::Absent]).effect, acquire(None));
}
