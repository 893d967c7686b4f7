//! Random programs: whatever they do, an evaluation ends, and keeps its promises.

#[path = "support/programs.rs"]
mod programs;

use bytes::Bytes;
use leasehold_redis::{Effect, Entry, Holding, Reply, Script};
use proptest::{collection::vec, prelude::*};

fn entry() -> impl Strategy<Value = Entry> {
    let held = |owner| Entry::Held(Holding { owner: Bytes::from_static(owner), left_ms: 40_000 });
    prop_oneof![
        4 => Just(Entry::Absent),
        4 => Just(held(b"me")),
        2 => Just(held(b"you")),
        1 => Just(Entry::Delayed { left_ms: 5 }),
        1 => Just(Entry::Foreign),
    ]
}

fn depth(reply: &Reply) -> usize {
    match reply {
        Reply::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// Words of the language, in any order.
fn nearly_a_program() -> impl Strategy<Value = String> {
    let words = [
        "local",
        "x",
        "=",
        "1",
        "'s'",
        "redis.call",
        "(",
        ")",
        "'GET'",
        ",",
        "KEYS",
        "[",
        "]",
        "if",
        "then",
        "else",
        "elseif",
        "end",
        "for",
        "in",
        "ipairs",
        "do",
        "while",
        "true",
        "nil",
        "return",
        "==",
        "..",
        "and",
        "not",
        "-",
        "#",
        "{",
        "}",
        ".",
        "function",
        "f",
        "break",
        ";",
        "--",
        "[[",
        "]]",
        "\n",
        "\"",
        "\\",
        "0x",
        "1e",
    ];
    vec(proptest::sample::select(words.to_vec()), 0..60).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn programs_end_and_keep_their_promises(bytes in vec(any::<u8>(), 0..200), first in entry(), second in entry()) {
        let body = programs::program(&bytes);
        let script = Script::parse(body.as_bytes()).expect("the generator writes what is understood");
        let keys = [Bytes::from_static(b"k1"), Bytes::from_static(b"k2")];
        let args = [Bytes::from_static(b"me"), Bytes::from_static(b"30000")];
        let entries = [first, second];
        match script.evaluate(&keys, &args, &entries) {
            Ok(evaluated) => {
                let (changed, absent) = match &evaluated.effect {
                    Effect::None => (&vec![], false),
                    Effect::Acquire { keys, .. } => (keys, true),
                    Effect::Extend { keys, .. } | Effect::Release { keys, .. } => (keys, false),
                };
                for key in changed {
                    prop_assert!(evaluated.observed.contains(key));
                    let as_expected = if absent { entries[*key] == Entry::Absent } else { matches!(entries[*key], Entry::Held(_)) };
                    prop_assert!(as_expected, "{:?} on {:?}: {}", evaluated.effect, entries, body);
                }
                prop_assert!(depth(&evaluated.reply) <= 17);
                // The same again is the same.
                prop_assert_eq!(script.evaluate(&keys, &args, &entries), Ok(evaluated));
            }
            Err(refused) => prop_assert!(refused.message.starts_with("ERR "), "{}", refused.message),
        }
    }

    /// An evaluation that did not observe a key comes to the same whatever that key looks like; one that did not observe time comes to
    /// the same whatever time is left.
    #[test]
    fn what_was_not_observed_makes_no_difference(bytes in vec(any::<u8>(), 0..200), entries in [entry(), entry()], other in entry()) {
        let script = Script::parse(programs::program(&bytes).as_bytes()).expect("understood");
        let keys = [Bytes::from_static(b"k1"), Bytes::from_static(b"k2")];
        let args = [Bytes::from_static(b"me"), Bytes::from_static(b"30000")];
        let Ok(evaluated) = script.evaluate(&keys, &args, &entries) else { return Ok(()) };
        for key in 0..2 {
            let mut changed = entries.clone();
            if !evaluated.observed.contains(&key) {
                changed[key] = other.clone();
            } else if let Entry::Held(held) = &mut changed[key] && !evaluated.time_observed {
                held.left_ms = 7;
            }
            prop_assert_eq!(script.evaluate(&keys, &args, &changed), Ok(evaluated.clone()));
        }
    }

    #[test]
    fn any_text_is_understood_or_refused(body in prop_oneof![nearly_a_program(), ".{0,80}"]) {
        if let Ok(script) = Script::parse(body.as_bytes()) {
            let _ = script.evaluate(&[Bytes::from_static(b"k")], &[], &[Entry::Absent]);
        }
    }
}
