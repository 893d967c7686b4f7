//! What is malformed whatever the tables hold. Which of several bad fields an answer names is left open.

use leasehold_state_machine::{Acquire, LeaseRequest, Limits, Mode, NAMESPACE_BYTES_MAX, Outcome, Refusal, Wait};

use crate::{Model, invalid};

/// Empty, too long, or with control characters.
pub(crate) fn is_bad_text(text: &str, bytes_max: usize) -> bool {
    text.is_empty() || text.len() > bytes_max || text.chars().any(char::is_control)
}

pub(crate) fn is_bad_wait(wait_ms: u64, limits: &Limits) -> bool {
    wait_ms == 0 || wait_ms > limits.wait_ms_max
}

/// Names of fields that are bad.
#[derive(Default)]
pub(crate) struct BadFields(Vec<String>);

impl BadFields {
    pub(crate) fn note(&mut self, is_bad: bool, field: impl Into<String>) {
        if is_bad {
            self.0.push(field.into());
        }
    }
}

impl Model {
    /// The refusal of a command with bad fields: names the one that the log names, or the first.
    pub(crate) fn refuse_bad(&self, bad: &BadFields) -> Option<Outcome> {
        let told = match &self.told {
            Some(Outcome::Refused(Refusal::Invalid { field, .. })) => bad.0.iter().find(|bad| *bad == field),
            _ => None,
        };
        told.or(bad.0.first()).map(|field| invalid(field.as_str()))
    }

    /// Everything that can be wrong with an acquire by itself.
    pub(crate) fn check_acquire(&self, acquire: &Acquire) -> BadFields {
        let limits = self.limits_of(&acquire.namespace);
        let mut bad = BadFields::default();
        check_locks(acquire, limits, &mut bad);
        if is_convert(acquire) {
            // A convert keeps what its grant has, and says nothing about it.
            bad.note(!acquire.owner.is_empty(), "owner");
            bad.note(!acquire.metadata.is_empty(), "metadata");
            bad.note(acquire.lock_delay_ms != 0, "lock_delay_ms");
            bad.note(!acquire.value.is_empty(), "value");
        } else {
            let no_owner = matches!(acquire.lease, LeaseRequest::Session { .. }) && acquire.owner.is_empty();
            bad.note(!no_owner && is_bad_text(&acquire.owner, limits.owner_bytes_max as usize), "owner");
            bad.note(acquire.metadata.len() > limits.metadata_bytes_max as usize, "metadata");
            bad.note(acquire.lock_delay_ms > limits.lock_delay_ms_max, "lock_delay_ms");
            bad.note(acquire.value.len() > limits.value_bytes_max as usize, "value");
        }
        if let LeaseRequest::Own { ttl_ms } = acquire.lease {
            bad.note(ttl_ms < limits.ttl_ms_min || ttl_ms > limits.ttl_ms_max, "ttl_ms");
            bad.note(acquire.actor.is_some(), "actor");
        }
        let bad_actor = |actor: &String| is_bad_text(actor, limits.actor_bytes_max as usize);
        bad.note(acquire.actor.as_ref().is_some_and(bad_actor), "actor");
        if let Wait::For { wait_ms } = acquire.wait {
            bad.note(is_bad_wait(wait_ms, limits), "wait_ms");
        }
        bad
    }
}

fn is_convert(acquire: &Acquire) -> bool {
    matches!(acquire.lease, LeaseRequest::Convert { .. })
}

fn check_locks(acquire: &Acquire, limits: &Limits, bad: &mut BadFields) {
    bad.note(is_bad_text(&acquire.namespace, NAMESPACE_BYTES_MAX), "namespace");
    let locks = &acquire.locks;
    let most = limits.locks_per_acquire_max.min(limits.locks_per_lease_max) as usize;
    let most = if is_convert(acquire) { 1 } else { most };
    bad.note(locks.is_empty() || locks.len() > most, "locks");
    for (at, lock) in locks.iter().enumerate() {
        let twice = locks[..at].iter().any(|other| other.name == lock.name);
        bad.note(twice || is_bad_text(&lock.name, limits.name_bytes_max as usize), format!("locks[{at}].name"));
        if let Mode::Permits { permits, limit } = lock.mode {
            bad.note(permits == 0 || permits > limit, format!("locks[{at}].permits"));
            bad.note(is_convert(acquire), format!("locks[{at}].mode"));
        }
    }
}
