//! Programs: as text, and as the generator of the tests writes them from the same bytes.

use bytes::Bytes;
use leasehold_redis::{Effect, Entry, Holding, Script};

#[path = "../../../../crates/redis/tests/support/programs.rs"]
mod programs;

fn evaluate(script: &Script) {
    let keys = [Bytes::from_static(b"k1"), Bytes::from_static(b"k2")];
    let args = [Bytes::from_static(b"me"), Bytes::from_static(b"30000")];
    let held = |owner| Entry::Held(Holding { owner: Bytes::from_static(owner), left_ms: 1000 });
    for entries in [
        [Entry::Absent, Entry::Absent],
        [held(b"me"), held(b"me")],
        [held(b"you"), Entry::Absent],
        [Entry::Delayed { left_ms: 5 }, Entry::Foreign],
    ] {
        let Ok(evaluated) = script.evaluate(&keys, &args, &entries) else { continue };
        let changed = match &evaluated.effect {
            Effect::None => continue,
            Effect::Acquire { keys, .. } | Effect::Extend { keys, .. } | Effect::Release { keys, .. } => keys,
        };
        for key in changed {
            let free = matches!(evaluated.effect, Effect::Acquire { .. });
            assert!(evaluated.observed.contains(key));
            assert!(if free { entries[*key] == Entry::Absent } else { matches!(entries[*key], Entry::Held(_)) });
        }
    }
}

pub fn run(data: &[u8]) -> bool {
    let script = Script::parse(data);
    if let Ok(script) = &script {
        evaluate(script);
    }
    evaluate(&Script::parse(programs::program(data).as_bytes()).expect("the generator writes what is understood"));
    script.is_ok()
}

pub fn seeds() -> Vec<Vec<u8>> {
    let drawn = (0..8u8).map(|seed| programs::program(&[seed.wrapping_mul(37); 60]).into_bytes());
    let written = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";
    drawn.chain([written.as_bytes().to_vec()]).collect()
}
