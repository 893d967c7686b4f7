//! Why locks were lost last: the youngest losses, one for each lock.
//!
//! A loss is a row under its age, not under its lock: neighbours by age come and go together, and numbers are found faster than names.

use std::collections::BTreeMap;

use super::keys::LockKey;
use super::restore::{RestoreError, inconsistent};
use super::rows::Loss;
use crate::FencingToken;

#[derive(Debug, Default)]
pub(super) struct Losses {
    by_age: BTreeMap<u64, (LockKey, Loss)>,
    ages_by_lock: BTreeMap<LockKey, u64>,
    ages_by_token: BTreeMap<FencingToken, u64>,
}

impl Losses {
    pub(super) fn len(&self) -> usize {
        self.by_age.len()
    }

    pub(super) fn of_lock(&self, lock: &LockKey) -> Option<&Loss> {
        self.row(*self.ages_by_lock.get(lock)?).map(|(_, loss)| loss)
    }

    /// The loss that was of this token, with its lock.
    pub(super) fn of_token(&self, token: FencingToken) -> Option<&(LockKey, Loss)> {
        self.row(*self.ages_by_token.get(&token)?)
    }

    /// The lowest age.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.by_age.first_key_value().map(|(age, _)| *age)
    }

    pub(super) fn row(&self, age: u64) -> Option<&(LockKey, Loss)> {
        self.by_age.get(&age)
    }

    pub(super) fn ages(&self) -> impl Iterator<Item = u64> + '_ {
        self.by_age.keys().copied()
    }

    /// Puts in a loss of a new age and token; returns the age of the one that the lock had before, which is to be removed.
    #[must_use]
    pub(super) fn insert(&mut self, lock: LockKey, loss: Loss) -> Option<u64> {
        let before = self.ages_by_lock.insert(lock.clone(), loss.number);
        self.ages_by_token.insert(loss.token, loss.number);
        self.by_age.insert(loss.number, (lock, loss));
        before
    }

    pub(super) fn remove(&mut self, age: u64) -> Option<(LockKey, Loss)> {
        let (lock, loss) = self.by_age.remove(&age)?;
        self.ages_by_token.remove(&loss.token);
        // Another one has taken its place when the lock was lost again.
        if self.ages_by_lock.get(&lock) == Some(&age) {
            self.ages_by_lock.remove(&lock);
        }
        Some((lock, loss))
    }

    /// Takes a row in.
    pub(super) fn restore(&mut self, age: u64, (lock, loss): (LockKey, Loss)) -> Result<(), RestoreError> {
        let known = self.ages_by_lock.contains_key(&lock) || self.ages_by_token.contains_key(&loss.token);
        if known || loss.number != age {
            return Err(inconsistent(format!("loss {age} has the lock, token or number of another")));
        }
        let before = self.insert(lock, loss);
        debug_assert_eq!(before, None);
        Ok(())
    }
}
