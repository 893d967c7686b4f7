//! The commands whose authority is a token: `Release`, `SetValue`, `ForceRelease`.

use std::collections::BTreeSet;

use leasehold_state_machine::{
    EventKind, FencingToken, ForceRelease, LossReason, NAMESPACE_BYTES_MAX, Outcome, RELEASES_MAX, Refusal, Release,
    Released, SetValue, ValueSet,
};

use super::check::is_bad_text;
use super::tables::LockKey;
use super::{Model, invalid};

impl Model {
    /// Refuses a token that was never given out, or is known as another lock's.
    pub(super) fn check_token(&self, key: &LockKey, token: u64) -> Result<(), Outcome> {
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
    pub(super) fn why_lost(&self, key: &LockKey, token: u64) -> Option<LossReason> {
        self.tables.losses.of_lock(key).filter(|loss| loss.token == token).map(|loss| loss.reason)
    }

    fn is_held(&self, token: u64) -> bool {
        self.tables.grants.contains_key(&token)
    }

    pub(super) fn release(&mut self, release: &Release) -> Outcome {
        if let Some(field) = bad_release(release) {
            return invalid(field);
        }
        let named = || release.locks.iter().map(|lock| ((release.namespace.clone(), lock.name.clone()), lock.token.0));
        for (_, token) in named() {
            self.touch_token(token);
        }
        for (key, token) in named() {
            if let Err(refused) = self.check_token(&key, token) {
                return refused;
            }
        }
        let none = release.all_or_nothing && named().any(|(_, token)| !self.is_held(token));
        let mut released = Vec::new();
        for (key, token) in named() {
            let held = self.is_held(token);
            let reason = if held { None } else { self.why_lost(&key, token) };
            if held && !none {
                self.end_grant(token, LossReason::Released, "");
            }
            released.push(Released { released: held && !none, reason, still_held: held && none });
        }
        Outcome::Released(released)
    }

    pub(super) fn set_value(&mut self, set: &SetValue) -> Outcome {
        if let Some(field) = bad_lock(&set.namespace, &set.name) {
            return invalid(field);
        }
        if set.value.len() > self.limits_of(&set.namespace).value_bytes_max as usize {
            return invalid("value");
        }
        let key = (set.namespace.clone(), set.name.clone());
        let token = set.token.0;
        self.touch_token(token);
        if let Err(refused) = self.check_token(&key, token) {
            return refused;
        }
        let Some(grant) = self.tables.grants.get_mut(&token) else {
            return Outcome::ValueSet(ValueSet::NotHeld { reason: self.why_lost(&key, token) });
        };
        if set.version != grant.version {
            let repeated = set.version.checked_add(1) == Some(grant.version) && set.value == grant.value;
            let version = grant.version;
            return Outcome::ValueSet(if repeated { ValueSet::Set { version } } else { ValueSet::Conflict { version } });
        }
        grant.version += 1;
        grant.value = set.value.clone();
        let (version, lease) = (grant.version, grant.lease);
        let kind =
            EventKind::ValueSet { name: set.name.clone(), token: set.token, lease, version, value: set.value.clone() };
        self.emit(&set.namespace, kind);
        Outcome::ValueSet(ValueSet::Set { version })
    }

    pub(super) fn force_release(&mut self, force: &ForceRelease) -> Outcome {
        if let Some(field) = bad_lock(&force.namespace, &force.name) {
            return invalid(field);
        }
        if is_bad_text(&force.reason, self.limits_of(&force.namespace).reason_bytes_max as usize) {
            return invalid("reason");
        }
        let key = (force.namespace.clone(), force.name.clone());
        let token = force.token.0;
        self.touch_token(token);
        if let Err(refused) = self.check_token(&key, token) {
            return refused;
        }
        let released = self.is_held(token);
        let reason = if released { None } else { self.why_lost(&key, token) };
        self.end_grant(token, LossReason::Forced, &force.reason);
        Outcome::ForceReleased(Released { released, reason, still_held: false })
    }
}

/// Names are checked only for what no lock can have: a token outlives a limit that was lowered.
fn bad_lock(namespace: &str, name: &str) -> Option<&'static str> {
    if is_bad_text(namespace, NAMESPACE_BYTES_MAX) {
        Some("namespace")
    } else if is_bad_text(name, usize::MAX) {
        Some("name")
    } else {
        None
    }
}

fn bad_release(release: &Release) -> Option<String> {
    if is_bad_text(&release.namespace, usize::MAX) {
        return Some("namespace".into());
    }
    if release.locks.is_empty() || release.locks.len() > RELEASES_MAX {
        return Some("locks".into());
    }
    let mut tokens = BTreeSet::new();
    for (at, lock) in release.locks.iter().enumerate() {
        if is_bad_text(&lock.name, usize::MAX) {
            return Some(format!("locks[{at}].name"));
        }
        if !tokens.insert(lock.token) {
            return Some(format!("locks[{at}].token"));
        }
    }
    None
}
