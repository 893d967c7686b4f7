//! Random commands over three keys, against a small model of what Redis does with them.

use std::collections::BTreeMap;

use bytes::Bytes;
use leasehold_redis::{Command, Effect, Entry, Evaluated, Holding, Reply, Request, parse};
use proptest::{collection::vec, prelude::*};

const KEYS: [&str; 3] = ["a", "b", "c"];
/// What becomes of a lock that is taken without a time to live: as a policy may cap it.
const CAP_MS: u64 = 7000;

/// Keys as Redis has them: values with the time left.
#[derive(Debug, Default, Clone, PartialEq)]
struct Model(BTreeMap<String, (String, Option<u64>)>);

/// Why Redis would do what a lock service does not.
#[derive(Debug, PartialEq)]
enum Beyond {
    Nothing,
    ChangesOwner,
    RemovesTtl,
    DifferentValues,
}

impl Model {
    fn advance(&mut self, ms: u64) {
        self.0.retain(|_, (_, left)| left.is_none_or(|left| left >= ms));
        self.0.values_mut().for_each(|(_, left)| *left = left.map(|left| left - ms));
    }

    fn put(&mut self, key: &str, value: &str, ttl: Option<u64>) -> Beyond {
        match self.0.insert(key.into(), (value.into(), ttl)) {
            Some((old, _)) if old != value => Beyond::ChangesOwner,
            Some(_) if ttl.is_none() => Beyond::RemovesTtl,
            _ => Beyond::Nothing,
        }
    }

    /// The reply, and what is beyond a lock service in it.
    fn run(&mut self, words: &[&str]) -> (Reply, Beyond) {
        let fine = |reply| (reply, Beyond::Nothing);
        let count = |number: usize| Reply::Integer(number as i64);
        let key = words[1];
        match (words[0], &words[2..]) {
            ("GET", _) => fine(self.0.get(key).map_or(Reply::Nil, |(value, _)| Reply::text(value.clone()))),
            ("STRLEN", _) => fine(count(self.0.get(key).map_or(0, |(value, _)| value.len()))),
            ("EXISTS", _) => fine(count(words[1..].iter().filter(|key| self.0.contains_key(**key)).count())),
            ("DEL" | "UNLINK", _) => fine(count(words[1..].iter().filter_map(|key| self.0.remove(*key)).count())),
            ("PTTL" | "TTL", _) => fine(Reply::Integer(match self.0.get(key) {
                None => -2,
                Some((_, None)) => -1,
                Some((_, Some(left))) if words[0] == "TTL" => (*left as i64 + 500) / 1000,
                Some((_, Some(left))) => *left as i64,
            })),
            ("PEXPIRE" | "EXPIRE", [time]) => {
                let ms = time.parse::<i64>().expect("a number") * if words[0] == "EXPIRE" { 1000 } else { 1 };
                let Some((_, left)) = self.0.get_mut(key) else { return fine(Reply::Integer(0)) };
                *left = u64::try_from(ms).ok();
                if ms <= 0 {
                    self.0.remove(key);
                }
                fine(Reply::Integer(1))
            }
            ("SETNX", [value]) => {
                if self.0.contains_key(key) {
                    return fine(Reply::Integer(0));
                }
                (Reply::Integer(1), self.put(key, value, None))
            }
            ("SET", [value, options @ ..]) => {
                let there = self.0.contains_key(key);
                if options.contains(&"NX") && there || options.contains(&"XX") && !there {
                    return fine(Reply::Nil);
                }
                let time = options.iter().position(|option| matches!(*option, "PX" | "EX"));
                let ttl = time.map(|at| {
                    let number: u64 = options[at + 1].parse().expect("a number");
                    if options[at] == "EX" { number * 1000 } else { number }
                });
                (Reply::ok(), self.put(key, value, ttl))
            }
            ("MSETNX", _) => {
                let pairs: Vec<_> = words[1..].chunks(2).map(|pair| (pair[0], pair[1])).collect();
                if pairs.iter().any(|(key, _)| self.0.contains_key(*key)) {
                    return fine(Reply::Integer(0));
                }
                for (key, value) in &pairs {
                    self.put(key, value, None);
                }
                let final_values: Vec<_> = pairs.iter().map(|(key, _)| &self.0[*key].0).collect();
                let same = final_values.windows(2).all(|two| two[0] == two[1]);
                (Reply::Integer(1), if same { Beyond::Nothing } else { Beyond::DifferentValues })
            }
            _ => panic!("{words:?} is none of the model's commands"),
        }
    }
}

/// Keys as the lock service has them, with the effects carried out.
fn apply(effect: &Effect, named: &[Bytes], entries: &mut BTreeMap<Bytes, Entry>) {
    match effect {
        Effect::None => {}
        Effect::Acquire { keys, value, ttl_ms } => {
            for key in keys {
                let entry = Entry::Held(Holding { owner: value.clone(), left_ms: ttl_ms.unwrap_or(CAP_MS) });
                assert_eq!(entries.insert(named[*key].clone(), entry), Some(Entry::Absent));
            }
        }
        Effect::Extend { keys, ttl_ms, .. } => {
            assert!(*ttl_ms > 0);
            for key in keys {
                let Some(Entry::Held(held)) = entries.get_mut(&named[*key]) else { panic!("{key} is not held") };
                held.left_ms = *ttl_ms;
            }
        }
        Effect::Release { keys, .. } => {
            for key in keys {
                let was = entries.insert(named[*key].clone(), Entry::Absent);
                assert!(matches!(was, Some(Entry::Held(_))), "{key} is not held");
            }
        }
    }
}

/// What every evaluation promises, whatever it is of.
fn check_promises(evaluated: &Evaluated, keys: usize) {
    let (changed, unchecked): (&[usize], &[usize]) = match &evaluated.effect {
        Effect::None => (&[], &[]),
        Effect::Acquire { keys, .. } => (keys, &[]),
        Effect::Extend { keys, unchecked, .. } | Effect::Release { keys, unchecked } => (keys, unchecked),
    };
    assert!(evaluated.observed.is_sorted() && evaluated.observed.iter().all(|key| *key < keys));
    assert!(changed.iter().all(|key| evaluated.observed.contains(key)), "{evaluated:?}");
    assert!(unchecked.iter().all(|key| changed.contains(key)), "{evaluated:?}");
    assert!(changed.windows(2).all(|two| two[0] < two[1]), "{evaluated:?}");
    assert_eq!(changed.is_empty(), evaluated.effect == Effect::None);
}

fn command() -> impl Strategy<Value = String> {
    let key = || proptest::sample::select(&KEYS[..]);
    let keys = || vec(key(), 1..4).prop_map(|keys| keys.join(" "));
    let value = || proptest::sample::select(&["me", "you"][..]);
    let time = || proptest::sample::select(&["PX 1", "PX 900", "PX 5000", "EX 2", "EX 9"][..]);
    let condition = || proptest::sample::select(&["", " NX", " XX"][..]);
    prop_oneof![
        2 => key().prop_map(|key| format!("GET {key}")),
        1 => key().prop_map(|key| format!("STRLEN {key}")),
        1 => keys().prop_map(|keys| format!("EXISTS {keys}")),
        2 => keys().prop_map(|keys| format!("DEL {keys}")),
        1 => keys().prop_map(|keys| format!("UNLINK {keys}")),
        2 => key().prop_map(|key| format!("PTTL {key}")),
        1 => key().prop_map(|key| format!("TTL {key}")),
        2 => (key(), -1_i64..3000).prop_map(|(key, ms)| format!("PEXPIRE {key} {ms}")),
        1 => (key(), -1_i64..5).prop_map(|(key, s)| format!("EXPIRE {key} {s}")),
        1 => (key(), value()).prop_map(|(key, value)| format!("SETNX {key} {value}")),
        6 => (key(), value(), time(), condition()).prop_map(|(k, v, time, nx)| format!("SET {k} {v} {time}{nx}")),
        1 => (key(), value(), condition()).prop_map(|(key, value, nx)| format!("SET {key} {value}{nx}")),
        2 => vec((key(), value()), 1..4).prop_map(|pairs| {
            let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!(" {key} {value}")).collect();
            format!("MSETNX{}", pairs.concat())
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn commands_do_what_redis_does_or_are_refused_for_a_reason(steps in vec((command(), 0_u64..1500), 1..40)) {
        let mut model = Model::default();
        let mut entries: BTreeMap<Bytes, Entry> = KEYS.iter().map(|key| (Bytes::from(*key), Entry::Absent)).collect();
        for (line, ms) in steps {
            model.advance(ms);
            for entry in entries.values_mut() {
                *entry = match &*entry {
                    Entry::Held(held) if held.left_ms >= ms => {
                        Entry::Held(Holding { owner: held.owner.clone(), left_ms: held.left_ms - ms })
                    }
                    _ => Entry::Absent,
                };
            }
            let words: Vec<_> = line.split(' ').collect();
            let request = Request { words: words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect() };
            let Ok(Command::Keys(command)) = parse(&request) else { panic!("{line} is not understood") };
            let looked: Vec<_> = command.keys().iter().map(|key| entries[key].clone()).collect();
            let before = model.clone();
            let (reply, beyond) = model.run(&words);
            match command.evaluate(&looked) {
                Ok(evaluated) => {
                    prop_assert_eq!(&beyond, &Beyond::Nothing, "{} was carried out", line);
                    prop_assert_eq!(&evaluated.reply, &reply, "{}", line);
                    check_promises(&evaluated, looked.len());
                    apply(&evaluated.effect, command.keys(), &mut entries);
                    model.0.values_mut().for_each(|(_, left)| *left = left.or(Some(CAP_MS)));
                }
                Err(refused) => {
                    let kind = match beyond {
                        Beyond::Nothing => "none",
                        Beyond::ChangesOwner => "changes_owner",
                        Beyond::RemovesTtl => "removes_ttl",
                        Beyond::DifferentValues => "different_values",
                    };
                    prop_assert_eq!(refused.kind, kind, "{}", line);
                    model = before;
                }
            }
            for key in KEYS {
                let expected = model.0.get(key).map_or(Entry::Absent, |(value, left)| {
                    Entry::Held(Holding { owner: Bytes::copy_from_slice(value.as_bytes()), left_ms: left.unwrap_or_default() })
                });
                prop_assert_eq!(&entries[key.as_bytes()], &expected, "{} after {}", key, line);
            }
        }
    }
}
