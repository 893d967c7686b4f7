//! Operations that read.

use bytes::Bytes;

use super::{Keyspace, View, count};
use crate::Reply;

impl Keyspace<'_> {
    pub(super) fn get(&mut self, key: usize) -> Reply {
        match self.text(key) {
            Ok(text) => text.map_or(Reply::Nil, Reply::Bulk),
            Err(wrong_type) => wrong_type,
        }
    }

    /// To `MGET`, what is no string is nothing.
    pub(super) fn mget_one(&mut self, key: usize) -> Reply {
        self.text(key).ok().flatten().map_or(Reply::Nil, Reply::Bulk)
    }

    pub(super) fn strlen(&mut self, key: usize) -> Reply {
        self.text(key).map_or_else(|wrong_type| wrong_type, |text| count(text.unwrap_or_default().len()))
    }

    pub(super) fn get_range(&mut self, key: usize, start: i64, end: i64) -> Reply {
        match self.text(key) {
            Ok(text) => Reply::Bulk(range(&text.unwrap_or_default(), start, end)),
            Err(wrong_type) => wrong_type,
        }
    }

    pub(super) fn exists(&mut self, key: usize) -> bool {
        !matches!(self.look(key), View::Absent)
    }

    /// `TTL` and `PTTL`.
    pub(super) fn time_left(&mut self, key: usize, in_ms: bool) -> Reply {
        let left_ms = match self.look(key) {
            View::Absent => return Reply::Integer(-2),
            View::Text { left_ms: None, .. } => return Reply::Integer(-1),
            View::Text { left_ms: Some(left_ms), .. } => left_ms,
            View::Foreign => return wrong_type(),
        };
        self.time_observed = true;
        let left = if in_ms { left_ms } else { left_ms.saturating_add(500) / 1000 };
        Reply::Integer(i64::try_from(left).unwrap_or(i64::MAX))
    }

    /// The string that a key is; an error reply where it is none.
    fn text(&mut self, key: usize) -> Result<Option<Bytes>, Reply> {
        match self.look(key) {
            View::Absent => Ok(None),
            View::Text { owner, .. } => Ok(Some(Bytes::copy_from_slice(owner))),
            View::Foreign => Err(wrong_type()),
        }
    }
}

fn wrong_type() -> Reply {
    let why = "the lock is held in another mode (shared, or permits) through the native API";
    Reply::Error(format!("WRONGTYPE Operation against a key holding the wrong kind of value: {why}"))
}

/// The bytes from `start` to `end`, both counted in; negative ones count from behind.
fn range(text: &Bytes, start: i64, end: i64) -> Bytes {
    let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let from_front = |index: i64| if index < 0 { index.saturating_add(length).max(0) } else { index };
    let both_behind = start < 0 && end < 0 && start > end;
    let (start, end) = (from_front(start), from_front(end).min(length - 1));
    if both_behind || start > end {
        return Bytes::new();
    }
    let index = |index: i64| usize::try_from(index).unwrap_or_default();
    text.slice(index(start)..=index(end))
}
