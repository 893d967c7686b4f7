use super::StateMachine;
use super::named::Named;
use super::validate;
use crate::{EventKind, Outcome, Refusal, SetValue, ValueSet};

impl StateMachine {
    /// Replaces the value on a grant, if it is the version that the command names. Sent again, it finds its own value one
    /// version on, and says so.
    pub(super) fn set_value(&mut self, set: &SetValue) -> Result<Outcome, Refusal> {
        validate::existing_lock(&set.namespace, &set.name)?;
        validate::value(&set.value, self.tables.limits(&set.namespace))?;
        if let Named::Gone(reason) = self.named(&set.namespace, &set.name, set.token)? {
            return Ok(Outcome::ValueSet(ValueSet::NotHeld { reason }));
        }
        let grant = self.tables.grants.get(&set.token).expect("a held token has a grant");
        let (version, lease) = (grant.extras.version(), grant.lease);
        let next = set.version.saturating_add(1);
        if version != set.version {
            let again = version == next && grant.extras.value() == set.value;
            let outcome = if again { ValueSet::Set { version } } else { ValueSet::Conflict { version } };
            return Ok(Outcome::ValueSet(outcome));
        }
        self.tables.set_value(set.token, next, &set.value);
        let (name, value) = (set.name.clone(), set.value.clone());
        self.emit(&set.namespace, EventKind::ValueSet { name, token: set.token, lease, version: next, value });
        Ok(Outcome::ValueSet(ValueSet::Set { version: next }))
    }
}
