use super::StateMachine;
use crate::{CloseLease, Closed, LossReason, Outcome};

impl StateMachine {
    /// Ends a lease with all that hangs on it. Of what is already gone it says so.
    pub(super) fn close_lease(&mut self, close: &CloseLease) -> Outcome {
        self.touch_lease(close.lease);
        let closed = self.tables.leases.contains_key(&close.lease);
        let grants_ended = self.end_lease(close.lease, LossReason::LeaseClosed);
        Outcome::Closed(Closed { closed, grants_ended })
    }
}
