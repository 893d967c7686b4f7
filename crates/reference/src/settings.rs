//! `Found`, `SetLimits`, `SetLevel`.

use leasehold_state_machine::{Found, Limits, NAMESPACE_BYTES_MAX, Outcome, Refusal, SetLimits};

use crate::check::is_bad_text;
use crate::{Model, invalid, limit_reached};

impl Model {
    pub(crate) fn found(&mut self, found: &Found) -> Outcome {
        if !self.founded {
            self.founded = true;
            self.next_token = found.counter_start.max(1);
            self.next_lease = found.counter_start.max(1);
            self.limits = found.limits.clone();
            self.level = found.level;
        }
        Outcome::Founded
    }

    pub(crate) fn set_level(&mut self, level: u32) -> Outcome {
        if level < self.level {
            return Outcome::Refused(Refusal::Level { needed: level, level: self.level });
        }
        self.level = level;
        Outcome::Done
    }

    pub(crate) fn set_limits(&mut self, set: &SetLimits) -> Outcome {
        if set.limits.ttl_ms_min == 0 {
            return invalid("limits.ttl_ms_min");
        }
        if set.limits.ttl_ms_max < set.limits.ttl_ms_min {
            return invalid("limits.ttl_ms_max");
        }
        let Some(namespace) = &set.namespace else {
            self.limits = set.limits.clone();
            return Outcome::Done;
        };
        if is_bad_text(namespace, NAMESPACE_BYTES_MAX) {
            return invalid("namespace");
        }
        let max = self.bounds.limited_namespaces_max;
        if !self.own_limits.contains_key(namespace) && self.own_limits.len() >= max {
            return limit_reached("limited_namespaces_max", max as u64);
        }
        self.own_limits.insert(namespace.clone(), set.limits.clone());
        Outcome::Done
    }

    /// Limits in force for a namespace.
    #[must_use]
    pub fn limits_of(&self, namespace: &str) -> &Limits {
        self.own_limits.get(namespace).unwrap_or(&self.limits)
    }
}
