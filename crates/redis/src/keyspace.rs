//! The keys of one command, with what the command has done to them so far, and the one effect that it all comes to.

mod effects;
mod sum;
mod values;

use bytes::Bytes;

use crate::{Entry, Refused, Reply, operation::Operation, text::shown};

/// The value that a lock has for Redis while it is in its lock-delay: nobody's.
pub(crate) const DELAYED_OWNER: &str = "leasehold:lock-delay";

/// The keys of one command. Keys are named by their index.
#[derive(Debug)]
pub(crate) struct Keyspace<'a> {
    slots: Vec<Slot<'a>>,
    time_observed: bool,
}

/// A key: what it looked like, and what has been done to it.
#[derive(Debug)]
struct Slot<'a> {
    key: &'a Bytes,
    entry: &'a Entry,
    /// What it looked like made a difference.
    observed: bool,
    /// Its owner was compared with what the client sent, and is that.
    owner_checked: bool,
    change: Change,
}

/// What the command has done to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Nothing,
    /// It was absent.
    Taken {
        value: Bytes,
        ttl_ms: Option<u64>,
    },
    /// It was held.
    Extended {
        ttl_ms: u64,
        unchecked: bool,
    },
    /// It was held.
    Released {
        unchecked: bool,
    },
}

/// What a key looks like now, to the command.
#[derive(Debug)]
enum View<'v> {
    Absent,
    Text {
        owner: &'v [u8],
        /// None: for ever.
        left_ms: Option<u64>,
    },
    Foreign,
}

impl<'a> Keyspace<'a> {
    /// One entry for each key.
    pub(crate) fn new(keys: &'a [Bytes], entries: &'a [Entry]) -> Self {
        let slot = |(key, entry)| Slot { key, entry, observed: false, owner_checked: false, change: Change::Nothing };
        Self { slots: keys.iter().zip(entries).map(slot).collect(), time_observed: false }
    }

    /// Carries an operation out on these keys, as far as this command alone can see. `own_words`: all arguments are the client's own
    /// and none was read from a key.
    pub(crate) fn execute(&mut self, operation: &Operation, keys: &[usize], own_words: bool) -> Result<Reply, Refused> {
        let first = keys.first().copied().unwrap_or_default();
        match operation {
            Operation::Get => Ok(self.get(first)),
            Operation::Mget => Ok(Reply::Array(keys.iter().map(|key| self.mget_one(*key)).collect())),
            Operation::GetRange { start, end } => Ok(self.get_range(first, *start, *end)),
            Operation::Strlen => Ok(self.strlen(first)),
            Operation::Exists => Ok(count(keys.iter().filter(|key| self.exists(**key)).count())),
            Operation::TimeLeft { in_ms } => Ok(self.time_left(first, *in_ms)),
            Operation::Set { value, condition, ttl_ms } => self.set(first, value, *condition, *ttl_ms, own_words),
            Operation::Setnx(value) => self.set_all(&[first], std::slice::from_ref(value)),
            Operation::Mset { values, only_if_all_absent: true } => self.set_all(keys, values),
            Operation::Mset { values, only_if_all_absent: false } => {
                for (key, value) in keys.iter().zip(values) {
                    self.look(*key);
                    self.put(*key, value, None, own_words)?;
                }
                Ok(Reply::ok())
            }
            Operation::Delete => self.delete(keys),
            Operation::Expire { ms, condition } => self.expire(first, *ms, *condition),
        }
    }

    /// The owner of a key was compared with what the client sent, and is that.
    pub(crate) fn owner_is_checked(&mut self, key: usize) {
        self.slots[key].owner_checked = true;
    }

    /// Looks at a key so that what it looks like makes a difference.
    fn look(&mut self, key: usize) -> View<'_> {
        let slot = &mut self.slots[key];
        slot.observed = true;
        slot.view()
    }
}

impl Slot<'_> {
    fn view(&self) -> View<'_> {
        match (&self.change, self.entry) {
            (Change::Taken { value, ttl_ms }, _) => View::Text { owner: value, left_ms: *ttl_ms },
            (Change::Released { .. }, _) | (Change::Nothing, Entry::Absent) => View::Absent,
            (Change::Extended { ttl_ms, .. }, Entry::Held(held)) => {
                View::Text { owner: &held.owner, left_ms: Some(*ttl_ms) }
            }
            (_, Entry::Held(held)) => View::Text { owner: &held.owner, left_ms: Some(held.left_ms) },
            (_, Entry::Delayed { left_ms }) => View::Text { owner: DELAYED_OWNER.as_bytes(), left_ms: Some(*left_ms) },
            (_, Entry::Foreign | Entry::Absent) => View::Foreign,
        }
    }

    /// A refusal that is about this key.
    fn refused(&self, kind: &'static str, text: &str) -> Refused {
        Refused { kind, message: format!("ERR the lock '{}' {text}", shown(self.key)) }
    }
}

fn count(number: usize) -> Reply {
    Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
