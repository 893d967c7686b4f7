//! The one effect that all changes of a command come to.

use super::{Change, Keyspace, Slot};
use crate::{Effect, Evaluated, Refused, Reply};

const MIXED: &str =
    "is changed in another way than other locks of the script: it may take, or extend, or release, and not mix them";

impl Keyspace<'_> {
    /// What it all came to: the reply, and the one effect.
    pub(crate) fn finish(self, reply: Reply) -> Result<Evaluated, Refused> {
        let mut effect = Effect::None;
        for (key, slot) in self.slots.iter().enumerate() {
            add(&mut effect, key, slot)?;
        }
        Ok(self.evaluated(reply, effect))
    }

    /// What a script came to that ended in an error. What it had done until then would stay done in Redis; here it is not done at all.
    pub(crate) fn fail(self, error: String) -> Evaluated {
        self.evaluated(Reply::Error(error), Effect::None)
    }

    fn evaluated(self, reply: Reply, effect: Effect) -> Evaluated {
        let observed = (0..self.slots.len()).filter(|key| self.slots[*key].observed).collect();
        Evaluated { reply, effect, observed, time_observed: self.time_observed }
    }
}

fn add(effect: &mut Effect, key: usize, slot: &Slot<'_>) -> Result<(), Refused> {
    if matches!(slot.change, Change::Nothing) {
        return Ok(());
    }
    if *effect == Effect::None {
        *effect = begin(slot);
    }
    match (effect, &slot.change) {
        (Effect::Acquire { value: first, ttl_ms: first_ms, .. }, Change::Taken { value, ttl_ms })
            if (value, ttl_ms) != (first, first_ms) =>
        {
            Err(slot.refused("different_values", "is taken with another owner or time than the locks before it"))
        }
        (Effect::Acquire { keys, .. }, Change::Taken { .. }) => {
            keys.push(key);
            Ok(())
        }
        (Effect::Extend { ttl_ms: first_ms, .. }, Change::Extended { ttl_ms, .. }) if ttl_ms != first_ms => {
            Err(slot.refused("different_values", "is extended by another time than the locks before it"))
        }
        (Effect::Extend { keys, unchecked: all, .. }, Change::Extended { unchecked, .. })
        | (Effect::Release { keys, unchecked: all }, Change::Released { unchecked }) => {
            keys.push(key);
            all.extend(unchecked.then_some(key));
            Ok(())
        }
        _ => Err(slot.refused("mixed_effects", MIXED)),
    }
}

/// The effect that a change is of, with no keys yet.
fn begin(slot: &Slot<'_>) -> Effect {
    match &slot.change {
        Change::Nothing => Effect::None,
        Change::Taken { value, ttl_ms } => Effect::Acquire { keys: vec![], value: value.clone(), ttl_ms: *ttl_ms },
        Change::Extended { ttl_ms, .. } => Effect::Extend { keys: vec![], ttl_ms: *ttl_ms, unchecked: vec![] },
        Change::Released { .. } => Effect::Release { keys: vec![], unchecked: vec![] },
    }
}
