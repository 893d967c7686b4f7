//! Whatever a script does, it ends soon, and takes little memory and stack.

use bytes::Bytes;

use super::{Script, outcome, refused, returned};
use crate::{Entry, Reply};

#[test]
fn endless_loops_end() {
    for body in ["while true do end", "for i = 2, 1, 0 do end", "local function f() return f() end return f()"] {
        let kind = refused(body, &[], &[]).kind;
        assert!(matches!(kind, "steps" | "depth" | "memory"), "{body}: {kind}");
    }
    assert_eq!(refused("while true do end", &[], &[]).kind, "steps");
}

#[test]
fn memory_is_bounded_whatever_it_is_made_of() {
    for body in [
        "local s = 'xxxxxxxxxxxxxxxx' while true do s = s .. s end",
        "local t = {} while true do t = {t} end",
        "local t = {} while true do table.insert(t, 1) end",
        "local t = {} local i = 0 while true do i = i + 2 t[i] = i end",
        "local t = {} for i = 1, 16 do t = {t, t, t, t} end return t",
        "local s = '0123456789' for i = 1, 12 do s = s .. s end local t = {} for i = 1, 500 do t[i] = s end return t",
        "return {unpack({}, 1, 100000000)}",
        "local t = {} t[1] = t return t",
    ] {
        let kind = refused(body, &[], &[]).kind;
        assert!(matches!(kind, "memory" | "steps" | "depth"), "{body}: {kind}");
    }
}

#[test]
fn long_strings_cost_steps_wherever_they_are_looked_at() {
    let long = "x".repeat(512 * 1024);
    for look in ["a == b", "a < b", "t[a]", "string.upper(a)", "redis.pcall('GET', KEYS[1])"] {
        let body = format!("local a, b, t = ARGV[1], ARGV[2], {{}} for i = 1, 1000 do local x = {look} end");
        let script = Script::parse(body.as_bytes()).expect("understood");
        let [key, a, b] = [&long; 3].map(|text| Bytes::copy_from_slice(text.as_bytes()));
        let refused = script.evaluate(&[key], &[a, b], &[Entry::Absent]).expect_err("refused");
        assert!(matches!(refused.kind, "steps" | "memory"), "{look}: {refused}");
    }
    // A number has few digits, so nobody looks at the rest.
    let body = "local n = 0 for i = 1, 1000 do n = n + (tonumber(ARGV[1]) or 1) end return n";
    assert_eq!(outcome(body, &[&"1".repeat(512 * 1024)], &[]).0, Reply::Integer(1000));
}

#[test]
fn a_script_over_as_many_keys_as_a_request_has_is_well_within_the_bounds() {
    let entries = vec![Entry::Absent; 1000];
    let body = "for i, k in ipairs(KEYS) do if redis.call('EXISTS', k) == 1 then return 0 end end
        for i, k in ipairs(KEYS) do redis.call('SET', k, ARGV[1], 'PX', ARGV[2]) end return #KEYS";
    assert_eq!(outcome(body, &["me", "5"], &entries).0, Reply::Integer(1000));
}

/// Half of what the threads have that this runs on.
const STACK_BYTES: usize = 1 << 20;

fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run).expect("a thread");
    thread.join().expect("no panic");
}

#[test]
fn nesting_is_refused_before_the_stack_is_at_its_end() {
    on_a_small_stack(|| {
        let repeated =
            |before: &str, part: &str, behind: &str| format!("{before}{}{behind}", part.repeat(16_000 / part.len()));
        for body in [
            repeated("return ", "(", "1"),
            repeated("return ", "{", "}"),
            repeated("return ", "not ", "1"),
            repeated("return ", "- ", "1"),
            repeated("return 1", " + 1", ""),
            repeated("return 1", " .. 1", ""),
            repeated("return 1", " and 1", ""),
            repeated("return KEYS", "[1]", ""),
            repeated("return redis.call", "('GET')", ""),
            repeated("", "do ", ""),
            repeated("", "if 1 then ", ""),
            repeated("", "while 1 do ", ""),
            repeated("if 1 then ", "else if 1 then ", ""),
            repeated("", "local function f() ", ""),
            repeated("return ", "function() return ", ""),
        ] {
            let message = Script::parse(body.as_bytes()).expect_err("refused").message;
            assert!(message.contains("40 levels"), "{message}");
        }
    });
}

#[test]
fn running_deep_is_refused_before_the_stack_is_at_its_end() {
    on_a_small_stack(|| {
        let nested = format!("{}f(n + 1){}", "(1 + ".repeat(10), ")".repeat(10));
        for body in [
            "local function f(n) return 1 + f(n + 1) end return f(1)".to_owned(),
            format!("local function f(n) if n then do return {nested} end end end return f(1)"),
            "local function f(n) return {f({n, {f(n)}})} end return f(1)".to_owned(),
        ] {
            assert_eq!(refused(&body, &[], &[]).kind, "depth", "{body}");
        }
    });
}

#[test]
fn recursion_as_deep_as_anybody_needs_works() {
    let body = "local function sum(n) if n == 0 then return 0 end return n + sum(n - 1) end return sum(20)";
    assert_eq!(returned(body), Reply::Integer(210));
}
