use super::StateMachine;
use crate::{Found, LEVEL_FIRST, Outcome};

impl StateMachine {
    /// Founds the cluster. Only the first one counts; the answer to a later one is the same.
    pub(super) fn found(&mut self, found: &Found) -> Outcome {
        let header = &mut self.tables.header;
        if header.cluster.is_none() {
            header.cluster = Some(found.cluster);
            header.level = found.level.max(LEVEL_FIRST);
            // Token 0 is never given out.
            header.next_token = found.counter_start.max(1);
            header.next_lease = found.counter_start.max(1);
            header.limits = found.limits.clone();
        }
        Outcome::Founded
    }
}
