//! Operations that change keys.

use bytes::Bytes;

use super::{Change, Keyspace, View, count};
use crate::{
    Entry, Refused, Reply,
    operation::{ExpireCondition, SetCondition},
};

impl Keyspace<'_> {
    pub(super) fn set(
        &mut self,
        key: usize,
        value: &Bytes,
        condition: SetCondition,
        ttl_ms: Option<u64>,
        own_words: bool,
    ) -> Result<Reply, Refused> {
        match (self.exists(key), condition) {
            (true, SetCondition::IfAbsent) | (false, SetCondition::IfPresent) => Ok(Reply::Nil),
            _ => self.put(key, value, ttl_ms, own_words).map(|()| Reply::ok()),
        }
    }

    /// `SETNX` and `MSETNX`: all of them, or none.
    pub(super) fn set_all(&mut self, keys: &[usize], values: &[Bytes]) -> Result<Reply, Refused> {
        if keys.iter().any(|key| self.exists(*key)) {
            return Ok(Reply::Integer(0));
        }
        for (key, value) in keys.iter().zip(values) {
            self.put(*key, value, None, true)?;
        }
        Ok(Reply::Integer(1))
    }

    /// Gives a key that was looked at a value. A lock that is held has the value that it has: that can only be said again.
    pub(super) fn put(
        &mut self,
        key: usize,
        value: &Bytes,
        ttl_ms: Option<u64>,
        own_words: bool,
    ) -> Result<(), Refused> {
        let slot = &mut self.slots[key];
        match (&slot.change, slot.entry) {
            (Change::Nothing | Change::Taken { .. }, Entry::Absent) => {
                slot.change = Change::Taken { value: value.clone(), ttl_ms };
                Ok(())
            }
            (Change::Released { .. }, _) => {
                Err(slot.refused("mixed_effects", "is released and then taken again: only one of the two can be done"))
            }
            (_, Entry::Held(held)) if held.owner != value => {
                Err(slot.refused("changes_owner", "is held by another owner: SET does not give it to somebody else"))
            }
            (_, Entry::Held(_)) => {
                let Some(ttl_ms) = ttl_ms else {
                    return Err(slot.refused("removes_ttl", "is held: its time to live can be set, not removed"));
                };
                slot.owner_checked |= own_words;
                self.extend(key, ttl_ms);
                Ok(())
            }
            _ => Err(self.unchangeable(key)),
        }
    }

    pub(super) fn delete(&mut self, keys: &[usize]) -> Result<Reply, Refused> {
        let mut deleted = 0;
        for key in keys {
            if self.exists(*key) {
                self.release(*key)?;
                deleted += 1;
            }
        }
        Ok(count(deleted))
    }

    pub(super) fn expire(&mut self, key: usize, ms: i64, condition: ExpireCondition) -> Result<Reply, Refused> {
        let left_ms = match self.look(key) {
            View::Absent => return Ok(Reply::Integer(0)),
            View::Text { left_ms, .. } => left_ms,
            View::Foreign => return Err(self.unchangeable(key)),
        };
        self.time_observed |= condition.longer || condition.shorter;
        // What lives for ever lives longer than anything.
        let is_longer = left_ms.is_some_and(|left| i128::from(ms) > i128::from(left));
        let is_shorter = left_ms.is_none_or(|left| i128::from(ms) < i128::from(left));
        if (condition.without_ttl && left_ms.is_some())
            || (condition.with_ttl && left_ms.is_none())
            || (condition.longer && !is_longer)
            || (condition.shorter && !is_shorter)
        {
            return Ok(Reply::Integer(0));
        }
        match u64::try_from(ms) {
            Err(_) | Ok(0) => self.release(key)?,
            Ok(ms) => {
                let slot = &mut self.slots[key];
                match (&mut slot.change, slot.entry) {
                    (Change::Taken { ttl_ms, .. }, _) => *ttl_ms = Some(ms),
                    (_, Entry::Held(_)) => self.extend(key, ms),
                    _ => return Err(self.unchangeable(key)),
                }
            }
        }
        Ok(Reply::Integer(1))
    }

    /// Sets the time left of a key that is held.
    fn extend(&mut self, key: usize, ttl_ms: u64) {
        let slot = &mut self.slots[key];
        let mut unchecked = false;
        if let Entry::Held(held) = slot.entry
            && !slot.owner_checked
        {
            // Whether it is shortened decides what the policy says, and that hangs on the time left now.
            self.time_observed = true;
            unchecked = ttl_ms < held.left_ms;
        }
        slot.change = Change::Extended { ttl_ms, unchecked };
    }

    /// Lets go of a key that exists.
    fn release(&mut self, key: usize) -> Result<(), Refused> {
        let slot = &mut self.slots[key];
        slot.change = match (&slot.change, slot.entry) {
            // Taken and released by one command: nothing happened to it.
            (Change::Taken { .. }, _) => Change::Nothing,
            (_, Entry::Held(_)) => Change::Released { unchecked: !slot.owner_checked },
            _ => return Err(self.unchangeable(key)),
        };
        Ok(())
    }

    fn unchangeable(&self, key: usize) -> Refused {
        let slot = &self.slots[key];
        match slot.entry {
            Entry::Delayed { .. } => slot.refused("lock_delay", "is in its lock-delay: nobody can change or delete it"),
            _ => {
                let text = "is held in another mode (shared, or permits): only the native API changes it";
                slot.refused("other_mode", text)
            }
        }
    }
}
