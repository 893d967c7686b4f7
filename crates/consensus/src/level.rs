//! Format levels: what this node may put into the log, and what it may take out of it (DESIGN section 4).
//!
//! Nothing above the level in force is proposed, so a node that supports that level can always follow. Should an entry or
//! a snapshot go beyond what this node supports nevertheless, the node stops before it applies it: it would diverge.

use std::path::Path;

use leasehold_state_machine::{Batch, LEVEL_FIRST, LEVEL_MAX, Operation, StateMachine};
use parking_lot::Mutex;

/// Something needs a format level that this node does not support.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} needs format level {needed}, this node supports level {level_max}: it cannot follow its cluster. Start a build \
     that supports level {needed} on this data folder (this one was built for levels up to {built}), or replace this node"
)]
pub(crate) struct AboveLevel {
    pub(crate) what: String,
    pub(crate) needed: u32,
    pub(crate) level_max: u32,
    pub(crate) built: u32,
}

/// The highest format level that this node applies, and what went beyond it.
#[derive(Debug)]
pub(crate) struct LevelGuard {
    level_max: u32,
    /// The first refusal: why the node stops. openraft passes errors on as text only.
    refused: Mutex<Option<AboveLevel>>,
}

impl LevelGuard {
    pub(crate) fn new(level_max: u32) -> Self {
        Self { level_max, refused: Mutex::default() }
    }

    pub(crate) fn level_max(&self) -> u32 {
        self.level_max
    }

    /// Refuses an entry that this node must not apply to `state`.
    pub(crate) fn check_batch(&self, index: u64, batch: &Batch, state: &StateMachine) -> Result<(), AboveLevel> {
        let founded = state.cluster().is_some();
        let needed = batch.commands.iter().map(|command| needed_to_apply(&command.operation, founded)).max();
        self.check(needed.unwrap_or(LEVEL_FIRST), || format!("log entry {index}"))
    }

    /// Refuses tables of a level that this node cannot go on with. To be asked before they are read.
    pub(crate) fn check_tables(&self, what: &str, path: &Path, level: u32) -> Result<(), AboveLevel> {
        self.check(level, || format!("{what} {}", path.display()))
    }

    /// What was refused first.
    pub(crate) fn refused(&self) -> Option<AboveLevel> {
        self.refused.lock().clone()
    }

    fn check(&self, needed: u32, what: impl FnOnce() -> String) -> Result<(), AboveLevel> {
        if needed <= self.level_max {
            return Ok(());
        }
        let refusal = AboveLevel { what: what(), needed, level_max: self.level_max, built: LEVEL_MAX };
        self.refused.lock().get_or_insert_with(|| refusal.clone());
        Err(refusal)
    }
}

/// The level that a node must support to apply an operation.
fn needed_to_apply(operation: &Operation, founded: bool) -> u32 {
    match operation {
        // From here on entries of that level may follow.
        Operation::SetLevel(set) => set.level,
        // Only the first one counts.
        Operation::Found(found) if !founded => found.level,
        other => other.level(),
    }
}

#[cfg(test)]
mod tests {
    use leasehold_state_machine::{Command, LeaderStamp, LogTime, OpenSession, SetLevel};

    use super::*;

    fn batch(operation: Operation) -> Batch {
        let command = Command { principal: None, not_after: None, operation };
        Batch { at: LogTime(1), stamped_by: LeaderStamp::default(), commands: vec![command] }
    }

    fn open() -> Operation {
        Operation::OpenSession(OpenSession {
            session: leasehold_state_machine::LeaseId(1 << 100),
            namespace: "default".into(),
            ttl_ms: 1_000,
            owner: "me".into(),
            metadata: String::new(),
        })
    }

    #[test]
    fn an_entry_above_the_supported_level_is_refused_and_remembered() {
        let guard = LevelGuard::new(1);
        let state = StateMachine::new();
        assert_eq!(guard.check_batch(6, &batch(Operation::Tick), &state), Ok(()));
        assert_eq!(guard.refused(), None);
        for operation in [open(), Operation::SetLevel(SetLevel { level: 2 })] {
            let error = guard.check_batch(7, &batch(operation), &state).unwrap_err();
            assert_eq!((error.needed, error.level_max), (2, 1));
        }
        let text = guard.refused().unwrap().to_string();
        assert!(text.starts_with("log entry 7 needs format level 2, this node supports level 1"), "{text}");
        let able = LevelGuard::new(2);
        assert_eq!(able.check_batch(7, &batch(open()), &state), Ok(()));
    }
}
