//! The value on a grant.

use leasehold_proto::v1;
use leasehold_state_machine::{Operation, Outcome, SetValue};

use super::{CallTime, Calls};
use crate::{CallError, convert, validate};

impl Calls {
    /// Replaces the value on a grant, by token and version.
    pub(crate) async fn set_value(
        &self,
        message: v1::SetValueRequest,
        time: CallTime,
    ) -> Result<v1::SetValueResponse, CallError> {
        self.open()?;
        let namespace = validate::namespace(message.namespace)?;
        let limits = self.limits(&namespace);
        validate::lock_name("name", &message.name, &limits)?;
        let token = validate::token("token", message.token)?;
        validate::value(&message.value, &limits)?;
        let (name, version, value) = (message.name, message.version, message.value.into());
        let set = SetValue { namespace, name, token, version, value };
        match self.node.submit(Operation::SetValue(set), time.deadline()).await? {
            Outcome::ValueSet(set) => Ok(convert::value_set(set)),
            Outcome::Refused(refusal) => Err(refusal.into()),
            _ => Err(CallError::ForeignOutcome { command: "SetValue" }),
        }
    }
}
