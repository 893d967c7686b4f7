//! The language, and what of it is not understood.

use super::{held, outcome, refused, returned, run};
use crate::{Entry, Reply, Script, sha1};

fn integers(numbers: &[i64]) -> Reply {
    Reply::Array(numbers.iter().map(|number| Reply::Integer(*number)).collect())
}

#[test]
fn values_become_replies_as_in_redis() {
    assert_eq!(returned("return 3.99"), Reply::Integer(3));
    assert_eq!(returned("return -3.99"), Reply::Integer(-3));
    assert_eq!(returned("return 1 % 0"), Reply::Integer(i64::MIN));
    assert_eq!(returned("return 2 ^ 63"), Reply::Integer(i64::MIN));
    assert_eq!(returned("return '3.99'"), Reply::text("3.99"));
    assert_eq!(returned("return true"), Reply::Integer(1));
    assert_eq!(returned("return false"), Reply::Nil);
    assert_eq!(returned("return nil"), Reply::Nil);
    assert_eq!(returned("local x = 1"), Reply::Nil);
    assert_eq!(returned("return {1, 2, nil, 4}"), integers(&[1, 2]));
    assert_eq!(returned("return {1, {2, {ok = 'fine'}}}"), {
        let inner = Reply::Array(vec![Reply::Integer(2), Reply::Status("fine".into())]);
        Reply::Array(vec![Reply::Integer(1), inner])
    });
    assert_eq!(returned("return redis.status_reply('FINE')"), Reply::Status("FINE".into()));
    assert_eq!(returned("return redis.error_reply('BAD thing')"), Reply::Error("BAD thing".into()));
    assert_eq!(returned("return redis.error_reply('bad')"), Reply::Error("ERR bad".into()));
    assert_eq!(returned("return {err = 'BAD thing'}"), Reply::Error("BAD thing".into()));
    assert_eq!(returned("return 1, 2"), Reply::Integer(1));
    assert_eq!(returned("return redis.call"), Reply::Nil);
}

#[test]
fn results_of_commands_become_values_as_in_redis() {
    let body = "return {type(redis.call('GET', KEYS[1])), redis.call('SET', KEYS[1], 'v', 'PX', 5).ok,
        type(redis.call('PTTL', KEYS[1])), #redis.call('MGET', KEYS[1])}";
    let texts = ["boolean", "OK", "number"].map(Reply::text);
    let expected = Reply::Array(texts.into_iter().chain([Reply::Integer(1)]).collect());
    assert_eq!(outcome(body, &[], &[Entry::Absent]).0, expected);
}

#[test]
fn operators_bind_as_in_lua() {
    assert_eq!(returned("return {1 + 2 * 3, (1 + 2) * 3, 2 ^ 3 ^ 2, -2 ^ 2, 7 % 3, -7 % 3, 7 / 2}"), {
        integers(&[7, 9, 512, -4, 1, 2, 3])
    });
    assert_eq!(returned("return '10' + 5 .. ''"), Reply::text("15"));
    assert_eq!(returned("return 'a' .. 1 .. 2.5"), Reply::text("a12.5"));
    assert_eq!(returned("return #'abc' + #{1, 2}"), Reply::Integer(5));
    assert_eq!(returned("return not nil == true"), Reply::Integer(1));
    assert_eq!(returned("return 1 < 2 and 'b' > 'a' and 2 <= 2 and 'x' >= 'x' and 1 ~= '1'"), Reply::Integer(1));
    assert_eq!(returned("return nil and 1 or 'other'"), Reply::text("other"));
    assert_eq!(returned("return 0 and 'zero is true'"), Reply::text("zero is true"));
}

#[test]
fn statements_do_as_in_lua() {
    assert_eq!(returned("local a, b, c = 1, 2 a, b = b, a return {a, b, c}"), integers(&[2, 1]));
    assert_eq!(returned("local s = 0 for i = 10, 1, -3 do s = s + i end return s"), Reply::Integer(22));
    assert_eq!(
        returned("local s = 0 while true do s = s + 1 if s == 5 then break end end return s"),
        Reply::Integer(5)
    );
    assert_eq!(returned("local x = 1 do local x = 2 end return x"), Reply::Integer(1));
    assert_eq!(returned("if nil then return 1 elseif false then return 2 else return 3 end"), Reply::Integer(3));
    assert_eq!(
        returned("local s = 0 for i, v in ipairs({5, 6, nil, 7}) do s = s + i * v end return s"),
        Reply::Integer(17)
    );
    assert_eq!(returned("local n = 0 for k, v in pairs({1, 2, x = 3}) do n = n + v end return n"), Reply::Integer(6));
    assert_eq!(returned("return 1;"), Reply::Integer(1));
    assert_eq!(returned("-- a comment\n--[[ two\nlines ]] return [[x]] --[==[ y ]==]"), Reply::text("x"));
}

#[test]
fn functions_capture_and_call_themselves() {
    let factorial = "local function f(n) if n < 2 then return 1 end return n * f(n - 1) end return f(5)";
    assert_eq!(returned(factorial), Reply::Integer(120));
    let counter = "local n = 0 local function up(by) n = n + (by or 1) return n, 'more' end up() up(5) return {up()}";
    let expected = Reply::Array(vec![Reply::Integer(7), Reply::text("more")]);
    assert_eq!(returned(counter), expected);
    let each_its_own = "local fs = {} for i = 1, 3 do fs[i] = function() i = i + 10 return i end end
        fs[1]() return {fs[1](), fs[2](), (fs[3]())}";
    assert_eq!(returned(each_its_own), integers(&[21, 12, 13]));
    let middle =
        "local x = 1 local function a() local function b() x = x + 1 return x end return b() end a() return a()";
    assert_eq!(returned(middle), Reply::Integer(3));
}

#[test]
fn tables_grow_shrink_and_have_fields() {
    assert_eq!(returned("local t = {} t[2] = 2 t[1] = 1 table.insert(t, 3) table.insert(t, 1, 0) return t"), {
        integers(&[0, 1, 2, 3])
    });
    assert_eq!(returned("local t = {1, 2, 3} t[3] = nil return #t"), Reply::Integer(2));
    assert_eq!(returned("local t = {a = {b = 1}, ['c d'] = 2} return t.a.b + t['c d']"), Reply::Integer(3));
    assert_eq!(returned("return {unpack({1, 2, 3}, 2)}"), integers(&[2, 3]));
    assert_eq!(returned("return {table.unpack({1, 2}), 3}"), integers(&[1, 3]));
    assert_eq!(returned("local t = {} t[-0.0] = 1 return t[0]"), Reply::Integer(1));
}

#[test]
fn functions_of_the_libraries_do_as_in_lua() {
    assert_eq!(returned("return tonumber(' 0x10 ') + tonumber('1e2') + (tonumber('x') or 1)"), Reply::Integer(117));
    assert_eq!(returned("return tostring(nil) .. tostring(true) .. tostring(1.50)"), Reply::text("niltrue1.5"));
    assert_eq!(returned("return string.sub('abcdef', 2, -2) .. string.sub('abc', -1) .. string.sub('abc', 4)"), {
        Reply::text("bcdec")
    });
    assert_eq!(returned("return string.format('%s-%d%%', 'a', 7.9)"), Reply::text("a-7%"));
    assert_eq!(returned("return string.len('abc') + math.max(1, 5, 3) + math.min(2, 4) + math.floor(1.9)"), {
        Reply::Integer(11)
    });
    assert_eq!(returned("return type(type) .. type('') .. type({})"), Reply::text("functionstringtable"));
    assert_eq!(returned("local call = redis.call return type(call)"), Reply::text("function"));
}

#[test]
fn mistakes_at_run_time_are_errors_that_redis_would_give() {
    let text = |body: &str| match outcome(body, &[], &[held("x")]).0 {
        Reply::Error(text) => text,
        other => panic!("{other:?} is no error"),
    };
    let body = "local n\nreturn n + 1";
    let expected = "ERR user_script:2: attempt to perform arithmetic on a nil value script: ";
    assert_eq!(text(body), format!("{expected}{}, on @user_script:2.", sha1(body.as_bytes())));
    assert!(text("return 1 < 'x'").contains("attempt to compare number with string"));
    assert!(text("return {} .. ''").contains("attempt to concatenate a table value"));
    assert!(text("local t return t.x").contains("attempt to index a nil value"));
    assert!(text("local f = 1 return f()").contains("attempt to call a number value"));
    assert!(text("return #5").contains("attempt to get length of a number value"));
    assert!(text("return redis.call('GET')").starts_with("ERR Wrong number of args calling Redis command from script"));
    assert!(text("return redis.call('SET', KEYS[1], nil)").contains("arguments must be strings or integers"));
    assert!(text("for i = 1, 'x' do end").contains("'for' limit must be a number"));
    assert!(text("local t = {} t[nil] = 1").contains("table index is nil"));
    assert_eq!(text("return redis.status_reply(1)"), "ERR wrong number or type of arguments");
    assert!(text("return redis.call()").contains("Please specify at least one argument"));
}

#[test]
fn what_is_not_understood_is_named_with_line_and_script() {
    for (body, line, word) in [
        ("return cjson.encode(KEYS)", 1, "'cjson'"),
        ("local a = 1\nx = a", 2, "'x': a variable that is not local"),
        ("\n\nfunction f() end", 3, "a function that is not local"),
        ("return redis.call('HGET', KEYS[1], 'f')", 1, "the command 'HGET'"),
        ("return redis.call('TIME')", 1, "the command 'TIME'"),
        ("return redis.pcall('eval', '', 0)", 1, "the command 'eval'"),
        ("return redis.sha1hex('x')", 1, "'redis.sha1hex'"),
        ("repeat local x until true", 1, "'repeat'"),
        ("local s = 'x'\nreturn s:len()", 2, "calls of methods"),
        ("local function f(...) end", 1, "'...'"),
        ("for k in next, {} do end", 1, "'next' where 'ipairs' or 'pairs' belongs"),
        ("goto done", 1, "'goto'"),
        ("return 1 return 2", 1, "'return' behind 'return'"),
        ("KEYS[1]", 1, "the end behind an expression that is no statement"),
        ("return 'x\ny'", 1, "a string that does not end on its line"),
        ("return 3x", 1, "the number '3x'"),
        ("return @", 1, "'@'"),
        ("#!lua name=x\nreturn 1", 1, "'!'"),
        ("if true then", 1, "the end where 'end' belongs"),
        ("(KEYS) = 2", 1, "an assignment to what is no variable and no field"),
    ] {
        let refused = refused(body, &[], &[]);
        assert_eq!(refused.kind, "not_understood");
        let expected = format!("ERR script {} is not understood: line {line}: ", sha1(body.as_bytes()));
        assert!(refused.message.starts_with(&expected), "{body}: {}", refused.message);
        assert!(refused.message.contains(word), "{body}: {}", refused.message);
    }
}

#[test]
fn commands_with_names_that_are_made_are_refused_where_they_are_called() {
    let body = "redis.call('DEL', KEYS[1]) local c = 'H' .. 'GET' return redis.pcall(c, KEYS[1], 'f')";
    let refused = refused(body, &[], &[held("x")]);
    assert_eq!(refused.kind, "not_understood");
    assert!(refused.message.contains("'HGET'"), "{}", refused.message);
    let option = run("return redis.pcall('SET', KEYS[1], 'x', 'GET')", &[], &[Entry::Absent]).expect_err("refused");
    assert!(option.message.contains("the option GET of SET"), "{}", option.message);
}

#[test]
fn a_script_that_is_too_long_is_refused() {
    let body = " ".repeat(Script::BYTES_MAX + 1);
    assert_eq!(Script::parse(body.as_bytes()).expect_err("refused").kind, "script_length");
}
