//! The commands whose authority is a token: `Release`, `SetValue`, `ForceRelease`.

use std::collections::BTreeSet;

use leasehold_state_machine::{
    EventKind, FencingToken, ForceRelease, LossReason, NAMESPACE_BYTES_MAX, Outcome, RELEASES_MAX, Refusal, Release,
    Released, SetValue, ValueSet,
};

use crate::Model;
use crate::check::{BadFields, is_bad_text};
use crate::rows::LockKey;

impl Model {
    /// Refuses a token that was never given out, or is known as another lock's.
    pub(crate) fn check_authority(&self, key: &LockKey, token: u64) -> Result<(), Outcome> {
        let never = token == 0 || token >= self.next_token;
        let of_another = match self.tables.grants.get(&token) {
            Some(grant) => grant.lock != *key,
            None => self.tables.losses.lock_of(token).is_some_and(|lock| lock != key),
        };
        if never || of_another {
            return Err(Outcome::Refused(Refusal::WrongToken { token: FencingToken(token), name: key.1.clone() }));
        }
        Ok(())
    }

    /// Why a token is no longer current, where remembered.
    pub(crate) fn why_lost(&self, key: &LockKey, token: u64) -> Option<LossReason> {
        self.tables.losses.of_lock(key).filter(|loss| loss.token == token).map(|loss| loss.reason)
    }

    fn is_held(&self, token: u64) -> bool {
        self.tables.grants.contains_key(&token)
    }

    pub(crate) fn release(&mut self, release: &Release) -> Outcome {
        if let Some(refused) = self.refuse_bad(&check_release(release)) {
            return refused;
        }
        let named = || release.locks.iter().map(|lock| ((release.namespace.clone(), lock.name.clone()), lock.token.0));
        // All is looked up, one after the other, before anything is released.
        let mut answers = Vec::new();
        for (key, token) in named() {
            self.touch_token(token);
            if let Err(refused) = self.check_authority(&key, token) {
                return refused;
            }
            let released = self.is_held(token);
            let reason = if released { None } else { self.why_lost(&key, token) };
            answers.push(Released { released, reason, still_held: false });
        }
        if release.all_or_nothing && answers.iter().any(|answer| !answer.released) {
            for answer in &mut answers {
                answer.still_held = std::mem::take(&mut answer.released);
            }
        }
        for ((_, token), answer) in named().zip(&answers) {
            if answer.released {
                self.end_grant(token, LossReason::Released, "");
            }
        }
        Outcome::Released(answers)
    }

    pub(crate) fn set_value(&mut self, set: &SetValue) -> Outcome {
        let mut bad = check_lock(&set.namespace, &set.name);
        bad.note(set.value.len() > self.limits_of(&set.namespace).value_bytes_max as usize, "value");
        if let Some(refused) = self.refuse_bad(&bad) {
            return refused;
        }
        let key = (set.namespace.clone(), set.name.clone());
        let token = set.token.0;
        self.touch_token(token);
        if let Err(refused) = self.check_authority(&key, token) {
            return refused;
        }
        let Some(grant) = self.tables.grants.get_mut(&token) else {
            return Outcome::ValueSet(ValueSet::NotHeld { reason: self.why_lost(&key, token) });
        };
        if set.version != grant.version {
            let repeated = set.version.checked_add(1) == Some(grant.version) && set.value == grant.value;
            let version = grant.version;
            return Outcome::ValueSet(if repeated {
                ValueSet::Set { version }
            } else {
                ValueSet::Conflict { version }
            });
        }
        grant.version += 1;
        grant.value = set.value.clone();
        let (version, lease) = (grant.version, grant.lease);
        let kind =
            EventKind::ValueSet { name: set.name.clone(), token: set.token, lease, version, value: set.value.clone() };
        self.emit(&set.namespace, kind);
        Outcome::ValueSet(ValueSet::Set { version })
    }

    pub(crate) fn force_release(&mut self, force: &ForceRelease) -> Outcome {
        let mut bad = check_lock(&force.namespace, &force.name);
        let reason_bytes_max = self.limits_of(&force.namespace).reason_bytes_max as usize;
        bad.note(is_bad_text(&force.reason, reason_bytes_max), "reason");
        if let Some(refused) = self.refuse_bad(&bad) {
            return refused;
        }
        let key = (force.namespace.clone(), force.name.clone());
        let token = force.token.0;
        self.touch_token(token);
        if let Err(refused) = self.check_authority(&key, token) {
            return refused;
        }
        let released = self.is_held(token);
        let reason = if released { None } else { self.why_lost(&key, token) };
        self.end_grant(token, LossReason::Forced, &force.reason);
        Outcome::ForceReleased(Released { released, reason, still_held: false })
    }
}

/// Names are checked only for what no lock can have: a token outlives a limit that was lowered.
fn check_lock(namespace: &str, name: &str) -> BadFields {
    let mut bad = BadFields::default();
    bad.note(is_bad_text(namespace, NAMESPACE_BYTES_MAX), "namespace");
    bad.note(is_bad_text(name, usize::MAX), "name");
    bad
}

fn check_release(release: &Release) -> BadFields {
    let mut bad = BadFields::default();
    bad.note(is_bad_text(&release.namespace, NAMESPACE_BYTES_MAX), "namespace");
    bad.note(release.locks.is_empty() || release.locks.len() > RELEASES_MAX, "locks");
    let mut tokens = BTreeSet::new();
    for (at, lock) in release.locks.iter().enumerate() {
        // A release of one lock has no list, as in the .proto.
        let field =
            |field: &str| if release.locks.len() == 1 { field.to_owned() } else { format!("locks[{at}].{field}") };
        bad.note(is_bad_text(&lock.name, usize::MAX), field("name"));
        bad.note(!tokens.insert(lock.token), field("token"));
    }
    bad
}
