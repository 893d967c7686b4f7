//! Giving locks back, and taking them away.

use leasehold_proto::v1;
use leasehold_state_machine::{ForceRelease, Operation, Outcome, Release};

use super::{CallTime, Calls};
use crate::{CallError, convert, validate};

impl Calls {
    /// Releases locks by their tokens.
    pub(crate) async fn release(
        &self,
        message: v1::ReleaseRequest,
        time: CallTime,
    ) -> Result<v1::ReleaseResponse, CallError> {
        self.open()?;
        let listed = !message.locks.is_empty();
        let namespace = validate::namespace(message.namespace.clone())?;
        let locks = validate::releases(&message, &self.limits(&namespace))?;
        // Of one lock it says nothing.
        let all_or_nothing = message.all_or_nothing && locks.len() > 1;
        let count = locks.len();
        let release = Release { namespace, locks, all_or_nothing };
        match self.node.submit(Operation::Release(release), time.deadline()).await? {
            Outcome::Released(released) if released.len() == count => Ok(convert::released(&released, listed)),
            Outcome::Refused(refusal) => Err(refusal.into()),
            _ => Err(CallError::ForeignOutcome { command: "Release" }),
        }
    }

    /// Ends a grant whatever its holder says.
    pub(crate) async fn force_release(
        &self,
        message: v1::ForceReleaseRequest,
        time: CallTime,
    ) -> Result<v1::ForceReleaseResponse, CallError> {
        self.open()?;
        let namespace = validate::namespace(message.namespace)?;
        let limits = self.limits(&namespace);
        validate::lock_name("name", &message.name, &limits)?;
        let token = validate::token("token", message.token)?;
        validate::reason(&message.reason, &limits)?;
        let force = ForceRelease { namespace, name: message.name, token, reason: message.reason };
        match self.node.submit(Operation::ForceRelease(force), time.deadline()).await? {
            Outcome::ForceReleased(released) => Ok(convert::force_released(released)),
            Outcome::Refused(refusal) => Err(refusal.into()),
            _ => Err(CallError::ForeignOutcome { command: "ForceRelease" }),
        }
    }
}
