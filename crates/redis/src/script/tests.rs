//! What programs come to. They have the shapes of what lock libraries send.

mod bounds;
mod language;

use bytes::Bytes;

use super::{Script, sha1};
use crate::{Effect, Entry, Evaluated, Holding, Refused, Reply};

fn held(owner: &'static str) -> Entry {
    Entry::Held(Holding { owner: Bytes::from_static(owner.as_bytes()), left_ms: 9000 })
}

/// Runs a script over as many keys as there are entries: `k0`, `k1`, …
fn run(body: &str, args: &[&str], entries: &[Entry]) -> Result<Evaluated, Refused> {
    let keys: Vec<_> = (0..entries.len()).map(|index| Bytes::from(format!("k{index}"))).collect();
    let args: Vec<_> = args.iter().map(|arg| Bytes::copy_from_slice(arg.as_bytes())).collect();
    Script::parse(body.as_bytes())?.evaluate(&keys, &args, entries)
}

fn outcome(body: &str, args: &[&str], entries: &[Entry]) -> (Reply, Effect) {
    let evaluated = run(body, args, entries).expect("not refused");
    (evaluated.reply, evaluated.effect)
}

/// What a script without keys returns.
fn returned(body: &str) -> Reply {
    outcome(body, &[], &[]).0
}

fn refused(body: &str, args: &[&str], entries: &[Entry]) -> Refused {
    run(body, args, entries).expect_err("refused")
}

const RELEASE: &str = "
    local owner = redis.call('GET', KEYS[1])
    if owner == false then return -1 end
    if owner ~= ARGV[1] then return -2 end
    return redis.call('DEL', KEYS[1])";

const EXTEND: &str = "
    if redis.call('get', KEYS[1]) == ARGV[1] then
        return redis.call('pexpire', KEYS[1], ARGV[2])
    end
    return 0";

const ACQUIRE_ALL: &str = "
    for _, name in ipairs(KEYS) do
        if redis.call('exists', name) == 1 then return 0 end
    end
    for i = 1, #KEYS do redis.call('set', KEYS[i], ARGV[1], 'PX', ARGV[2]) end
    return #KEYS";

#[test]
fn the_owner_releases_and_nobody_else() {
    assert_eq!(outcome(RELEASE, &["me"], &[Entry::Absent]), (Reply::Integer(-1), Effect::None));
    assert_eq!(outcome(RELEASE, &["me"], &[held("you")]), (Reply::Integer(-2), Effect::None));
    let release = Effect::Release { keys: vec![0], unchecked: vec![] };
    let evaluated = run(RELEASE, &["me"], &[held("me")]).expect("not refused");
    assert_eq!((evaluated.reply, evaluated.effect), (Reply::Integer(1), release));
    assert_eq!((evaluated.observed, evaluated.time_observed), (vec![0], false));
}

#[test]
fn the_owner_extends_to_a_shorter_time_too() {
    let extend = |ttl_ms| Effect::Extend { keys: vec![0], ttl_ms, unchecked: vec![] };
    assert_eq!(outcome(EXTEND, &["me", "30000"], &[held("me")]), (Reply::Integer(1), extend(30_000)));
    assert_eq!(outcome(EXTEND, &["me", "5"], &[held("me")]), (Reply::Integer(1), extend(5)));
    assert_eq!(outcome(EXTEND, &["me", "5"], &[held("you")]), (Reply::Integer(0), Effect::None));
    assert_eq!(outcome(EXTEND, &["me", "5"], &[Entry::Delayed { left_ms: 5 }]).1, Effect::None);
}

#[test]
fn a_time_that_was_read_and_added_to_is_observed() {
    let body = "local left = redis.call('PTTL', KEYS[1])
        if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
        redis.call('PEXPIRE', KEYS[1], ARGV[2] + left)
        return redis.call('PTTL', KEYS[1])";
    let evaluated = run(body, &["me", "1000"], &[held("me")]).expect("not refused");
    assert_eq!(evaluated.reply, Reply::Integer(10_000));
    assert_eq!(evaluated.effect, Effect::Extend { keys: vec![0], ttl_ms: 10_000, unchecked: vec![] });
    assert!(evaluated.time_observed);
}

#[test]
fn several_locks_are_taken_as_one() {
    let value = Bytes::from_static(b"me");
    let acquire = Effect::Acquire { keys: vec![0, 1], value, ttl_ms: Some(5000) };
    let free = [Entry::Absent, Entry::Absent];
    assert_eq!(outcome(ACQUIRE_ALL, &["me", "5000"], &free), (Reply::Integer(2), acquire));
    let one_held = run(ACQUIRE_ALL, &["me", "5000"], &[Entry::Absent, held("you")]).expect("not refused");
    assert_eq!((one_held.reply, one_held.effect), (Reply::Integer(0), Effect::None));
    assert_eq!(one_held.observed, [0, 1]);
}

#[test]
fn later_commands_see_what_earlier_ones_did() {
    let body = "if redis.call('MSETNX', KEYS[1], ARGV[1], KEYS[2], ARGV[1]) == 0 then return redis.error_reply('BUSY taken') end
        for _, k in ipairs(KEYS) do redis.call('PEXPIRE', k, 700) end
        return {redis.call('GET', KEYS[2]), redis.call('PTTL', KEYS[1]), redis.call('SET', KEYS[1], 'x', 'NX')}";
    let (reply, effect) = outcome(body, &["me"], &[Entry::Absent, Entry::Absent]);
    assert_eq!(reply, Reply::Array(vec![Reply::text("me"), Reply::Integer(700), Reply::Nil]));
    let value = Bytes::from_static(b"me");
    assert_eq!(effect, Effect::Acquire { keys: vec![0, 1], value, ttl_ms: Some(700) });
    assert_eq!(outcome(body, &["me"], &[Entry::Absent, held("you")]).0, Reply::Error("BUSY taken".into()));
}

#[test]
fn what_is_taken_and_released_again_comes_to_nothing() {
    let body = "redis.call('SET', KEYS[1], 'x', 'PX', 5) return redis.call('DEL', KEYS[1])";
    let evaluated = run(body, &[], &[Entry::Absent]).expect("not refused");
    assert_eq!((evaluated.reply, evaluated.effect), (Reply::Integer(1), Effect::None));
    assert_eq!(evaluated.observed, [0]);
}

#[test]
fn effects_that_do_not_fit_together_are_refused_whole() {
    let mixed = "redis.call('DEL', KEYS[1]) redis.call('SET', KEYS[2], 'x', 'PX', 5)";
    assert_eq!(refused(mixed, &[], &[held("x"), Entry::Absent]).kind, "mixed_effects");
    let again = "redis.call('DEL', KEYS[1]) redis.call('SET', KEYS[1], 'x', 'PX', 5)";
    assert_eq!(refused(again, &[], &[held("x")]).kind, "mixed_effects");
    let times = "redis.call('PEXPIRE', KEYS[1], 5) redis.call('PEXPIRE', KEYS[2], 6)";
    assert_eq!(refused(times, &[], &[held("x"), held("x")]).kind, "different_values");
    let owners = "redis.call('SET', KEYS[1], 'a', 'PX', 5) redis.call('SET', KEYS[2], 'b', 'PX', 5)";
    assert_eq!(refused(owners, &[], &[Entry::Absent, Entry::Absent]).kind, "different_values");
    let other = refused("redis.pcall('SET', KEYS[1], 'a', 'PX', 5)", &[], &[held("x")]);
    assert_eq!(other.kind, "changes_owner");
}

#[test]
fn an_owner_counts_as_checked_only_by_what_the_client_knew() {
    let unchecked = |body: &str| match outcome(body, &["me"], &[held("me"), held("me")]).1 {
        Effect::Release { unchecked, .. } | Effect::Extend { unchecked, .. } => unchecked,
        other => panic!("{other:?} has no checks"),
    };
    let none: [usize; 0] = [];
    assert_eq!(unchecked("if ARGV[1] == redis.call('GET', KEYS[1]) then redis.call('DEL', KEYS[1]) end"), none);
    assert_eq!(
        unchecked("if redis.call('MGET', KEYS[2], KEYS[1])[2] == 'me' then redis.call('DEL', KEYS[1]) end"),
        none
    );
    assert_eq!(
        unchecked("if redis.call('GETRANGE', KEYS[1], 0, 1) ~= 'me' then return 0 end redis.call('DEL', KEYS[1])"),
        none
    );
    // Never compared, compared with itself, with another key, with a part of nothing, or too late.
    assert_eq!(unchecked("redis.call('DEL', KEYS[1])"), [0]);
    assert_eq!(unchecked("if redis.call('GET', KEYS[1]) then redis.call('DEL', KEYS[1]) end"), [0]);
    let itself = "local a, b = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[1]) .. ''
        if a == b then redis.call('DEL', KEYS[1]) end";
    assert_eq!(unchecked(itself), [0]);
    let another = "if redis.call('GET', KEYS[1]) == redis.call('GET', KEYS[2]) then redis.call('DEL', KEYS[1]) end";
    assert_eq!(unchecked(another), [0]);
    assert_eq!(unchecked("if redis.call('GETRANGE', KEYS[1], 5, 9) == '' then redis.call('DEL', KEYS[1]) end"), [0]);
    assert_eq!(unchecked("redis.call('DEL', KEYS[1]) return redis.call('GET', KEYS[1]) == ARGV[1]"), [0]);
    let said_back = "return redis.call('SET', KEYS[1], redis.call('GET', KEYS[1]), 'PX', 5)";
    assert_eq!(unchecked(said_back), [0]);
}

#[test]
fn an_error_of_a_command_ends_the_script_without_any_effect() {
    let body = "redis.call('DEL', KEYS[1])\nreturn redis.call('PEXPIRE', KEYS[2], 'soon')";
    let (reply, effect) = outcome(body, &[], &[held("x"), held("x")]);
    let name = sha1(body.as_bytes());
    let text = format!("ERR value is not an integer or out of range script: {name}, on @user_script:2.");
    assert_eq!((reply, effect), (Reply::Error(text), Effect::None));
}

#[test]
fn a_protected_call_gives_the_error_as_a_value() {
    let body = "local r = redis.pcall('GET', KEYS[1]) if r.err then return {1, r.err} end return r";
    let Reply::Array(items) = outcome(body, &[], &[Entry::Foreign]).0 else { panic!("no array") };
    assert!(matches!(&items[1], Reply::Bulk(text) if text.starts_with(b"WRONGTYPE ")));
    let whole =
        outcome("redis.call('DEL', KEYS[2]) return redis.pcall('GET', KEYS[1])", &[], &[Entry::Foreign, held("x")]);
    assert!(matches!(whole.0, Reply::Error(text) if text.starts_with("WRONGTYPE ")));
    assert_eq!(whole.1, Effect::Release { keys: vec![1], unchecked: vec![1] });
}

#[test]
fn keys_that_were_not_declared_are_refused() {
    let refused = refused("return redis.call('GET', 'k' .. '9')", &[], &[Entry::Absent]);
    assert_eq!(refused.kind, "undeclared_key");
    assert!(refused.message.contains("'k9'") && refused.message.contains("KEYS"), "{}", refused.message);
}

#[test]
fn a_key_that_is_named_twice_is_one_key() {
    let script = Script::parse(ACQUIRE_ALL.as_bytes()).expect("understood");
    let keys = [Bytes::from_static(b"a"), Bytes::from_static(b"b"), Bytes::from_static(b"a")];
    let args = [Bytes::from_static(b"me"), Bytes::from_static(b"5")];
    let evaluated = script.evaluate(&keys, &args, &[Entry::Absent, Entry::Absent, Entry::Absent]).expect("not refused");
    assert_eq!(evaluated.reply, Reply::Integer(3));
    assert!(matches!(evaluated.effect, Effect::Acquire { keys, .. } if keys == [0, 1]));
    assert_eq!(evaluated.observed, [0, 1]);
}
