//! Limits and the format level.

use super::{StateMachine, validate};
use crate::{Limits, Outcome, Refusal, SetLevel, SetLimits};

impl StateMachine {
    pub(super) fn set_limits(&mut self, set: &SetLimits) -> Result<Outcome, Refusal> {
        check_limits(&set.limits)?;
        match &set.namespace {
            None => self.tables.header.limits = set.limits.clone(),
            Some(namespace) => {
                validate::namespace(namespace)?;
                let has_own = self.tables.namespaces.get(namespace.as_str()).is_some_and(|n| n.limits.is_some());
                let max = self.bounds.limited_namespaces_max;
                if !has_own && self.tables.namespaces_limited >= max {
                    return Err(validate::limit_reached("limited_namespaces_max", max as u64));
                }
                self.tables.put_limits(namespace, set.limits.clone());
            }
        }
        Ok(Outcome::Done)
    }

    pub(super) fn set_level(&mut self, set: &SetLevel) -> Result<Outcome, Refusal> {
        let level = self.tables.header.level;
        if set.level < level {
            return Err(Refusal::Level { needed: set.level, level });
        }
        self.tables.header.level = set.level;
        Ok(Outcome::Done)
    }
}

fn check_limits(limits: &Limits) -> Result<(), Refusal> {
    if limits.ttl_ms_min == 0 {
        return Err(validate::invalid("limits.ttl_ms_min", "must be at least 1"));
    }
    if limits.ttl_ms_max < limits.ttl_ms_min {
        let problem = format!("must be at least ttl_ms_min, which is {}", limits.ttl_ms_min);
        return Err(validate::invalid("limits.ttl_ms_max", problem));
    }
    Ok(())
}
