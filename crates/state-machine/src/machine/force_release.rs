use super::StateMachine;
use super::named::Named;
use super::validate;
use crate::{ForceRelease, LossReason, Outcome, Refusal, Released};

impl StateMachine {
    /// Ends the grant that the token names, and no later one. The lock-delay of the grant holds.
    pub(super) fn force_release(&mut self, force: &ForceRelease) -> Result<Outcome, Refusal> {
        validate::existing_lock(&force.namespace, &force.name)?;
        validate::force_reason(&force.reason, self.tables.limits(&force.namespace))?;
        let released = match self.named(&force.namespace, &force.name, force.token)? {
            Named::Gone(reason) => Released { released: false, reason, still_held: false },
            Named::Held => {
                self.end_grant(force.token, LossReason::Forced, &force.reason);
                Released { released: true, reason: None, still_held: false }
            }
        };
        Ok(Outcome::ForceReleased(released))
    }
}
