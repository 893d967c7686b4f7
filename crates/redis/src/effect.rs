use bytes::Bytes;

use crate::Reply;

/// What a command does, beside its reply. Keys are named by their index among the keys of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Takes the locks of keys that are [`crate::Entry::Absent`], all or nothing.
    Acquire {
        /// Distinct, at least one.
        keys: Vec<usize>,
        /// The owner.
        value: Bytes,
        /// None: without a time to live, which is subject to a policy.
        ttl_ms: Option<u64>,
    },
    /// Sets the time left of keys that are [`crate::Entry::Held`], to exactly that, all or nothing.
    Extend {
        /// Distinct, at least one.
        keys: Vec<usize>,
        /// From now on; at least 1.
        ttl_ms: u64,
        /// Those whose owner was not compared, and that have more time left now: subject to a policy.
        unchecked: Vec<usize>,
    },
    /// Releases keys that are [`crate::Entry::Held`], all or nothing.
    Release {
        /// Distinct, at least one.
        keys: Vec<usize>,
        /// Those whose owner was not compared: subject to a policy.
        unchecked: Vec<usize>,
    },
}

/// What an evaluation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluated {
    /// What the client is told once the effect is carried out.
    pub reply: Reply,
    /// At most one.
    pub effect: Effect,
    /// Indices of the keys whose entries made a difference, ascending. Where all of them are keys of the effect, and `time_observed` is
    /// false, the effect's own command verifies all that the evaluation relied on: absent keys by being granted, held ones by their
    /// tokens being current.
    pub observed: Vec<usize>,
    /// The time left of a key made a difference.
    pub time_observed: bool,
}

impl Evaluated {
    /// Gives each key the index that it has in `names`.
    pub(crate) fn rename_keys(&mut self, names: &[usize]) {
        let rename = |keys: &mut Vec<usize>| keys.iter_mut().for_each(|key| *key = names[*key]);
        rename(&mut self.observed);
        match &mut self.effect {
            Effect::None => {}
            Effect::Acquire { keys, .. } => rename(keys),
            Effect::Extend { keys, unchecked, .. } | Effect::Release { keys, unchecked } => {
                rename(keys);
                rename(unchecked);
            }
        }
    }
}

/// A command or script that was understood and is refused all the same: it had no effect. A refusal by an evaluation may rest on what
/// the entries looked like: whoever looked without a read barrier looks again before it is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// One word for a counter: `not_understood`, `changes_owner`, `mixed_effects`, `undeclared_key`, `steps`, …
    pub kind: &'static str,
    /// The text of the error reply, with its Redis code first ("ERR …").
    pub message: String,
}
