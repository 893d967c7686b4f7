//! When the format level may be raised.

use leasehold_state_machine::Refusal;

use crate::{NodeState, ReadError, SubmitError};

/// The level was raised, or was there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaisedLevel {
    /// In force now.
    pub level: u32,
    /// In force before.
    pub before: u32,
}

/// The level was not raised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RaiseLevelError {
    /// Members that did not answer: they might not be able to follow.
    #[error("the level is not raised: {} cannot be asked which level it supports; nothing was done", nodes(.silent))]
    Silent {
        /// Their ids.
        silent: Vec<u64>,
    },
    /// Members that could not follow.
    #[error("level {level} is not supported by {}; nothing was done", supported(.by))]
    Unsupported {
        /// The level that was asked for.
        level: u32,
        /// Their ids, and what each supports.
        by: Vec<(u64, u32)>,
    },
    /// A level is never lowered.
    #[error("the cluster is at level {level}, it cannot go back to {asked}; nothing was done")]
    Lower {
        /// The level that was asked for.
        asked: u32,
        /// The level in force.
        level: u32,
    },
    /// The members could not be looked up.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The command did not come back.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The state machine refused the command.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

fn nodes(ids: &[u64]) -> String {
    ids.iter().map(|id| format!("node {id}")).collect::<Vec<_>>().join(", ")
}

fn supported(by: &[(u64, u32)]) -> String {
    let one = |(id, max): &(u64, u32)| format!("node {id} (up to {max})");
    by.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The level to raise to: what was asked for, or the highest that all of `members` support.
pub(crate) fn target(asked: Option<u32>, level: u32, members: &[NodeState]) -> Result<u32, RaiseLevelError> {
    let silent: Vec<u64> = members.iter().filter(|member| !member.up).map(|member| member.id).collect();
    if !silent.is_empty() {
        return Err(RaiseLevelError::Silent { silent });
    }
    let highest = members.iter().map(|member| member.level_max).min().unwrap_or(level);
    // A member that does not even support the present level has stopped, or is about to.
    let target = asked.unwrap_or(highest.max(level));
    if target < level {
        return Err(RaiseLevelError::Lower { asked: target, level });
    }
    let unable = members.iter().filter(|member| member.level_max < target);
    let by: Vec<(u64, u32)> = unable.map(|member| (member.id, member.level_max)).collect();
    if by.is_empty() { Ok(target) } else { Err(RaiseLevelError::Unsupported { level: target, by }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    fn member(id: u64, level_max: u32) -> NodeState {
        let up = level_max > 0;
        let (address, peer_address) = (String::new(), String::new());
        NodeState { id, address, peer_address, role: Role::Follower, applied: 0, level_max, agreement: None, up }
    }

    #[test]
    fn the_lowest_member_decides() {
        let members = [member(1, 5), member(2, 3), member(3, 4)];
        assert_eq!(target(None, 1, &members), Ok(3));
        assert_eq!(target(Some(2), 1, &members), Ok(2));
        assert_eq!(target(Some(3), 3, &members), Ok(3));
        let refused = target(Some(4), 1, &members).unwrap_err();
        assert_eq!(refused, RaiseLevelError::Unsupported { level: 4, by: vec![(2, 3)] });
        assert!(refused.to_string().contains("level 4 is not supported by node 2 (up to 3)"), "{refused}");
    }

    #[test]
    fn a_silent_member_holds_it_up_and_nothing_lowers_it() {
        let refused = target(Some(2), 1, &[member(1, 2), member(2, 0), member(3, 0)]).unwrap_err();
        assert_eq!(refused, RaiseLevelError::Silent { silent: vec![2, 3] });
        assert!(refused.to_string().contains("node 2, node 3"), "{refused}");
        assert_eq!(target(Some(1), 2, &[member(1, 2)]), Err(RaiseLevelError::Lower { asked: 1, level: 2 }));
    }
}
