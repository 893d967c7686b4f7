//! The recent events of a node, bounded in number and bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use leasehold_state_machine::{Event, EventKind, Revision};

/// What the ring may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RingBounds {
    pub(crate) events_max: usize,
    pub(crate) bytes_max: usize,
}

/// The events of one entry.
#[derive(Debug)]
struct Entry {
    index: u64,
    bytes: usize,
    events: Arc<[Event]>,
}

/// Events by revision, oldest first. The newest entry that has any stays whatever its size.
#[derive(Debug)]
pub(crate) struct Ring {
    bounds: RingBounds,
    entries: VecDeque<Entry>,
    events: usize,
    bytes: usize,
    /// What follows this is complete: it is the greatest revision that a watch may resume after and that may be missing here.
    oldest: Revision,
    /// Where the ring began when it began last: what lies before was skipped, not dropped.
    began: Revision,
    /// All events of entries up to this index are here, or were.
    through: u64,
}

/// Part of the ring.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    /// By entry, in order. Those of the first may lie at or before where the reader is.
    pub(crate) entries: Vec<Arc<[Event]>>,
    /// Everything up to this was read.
    pub(crate) through: Revision,
    /// More follows.
    pub(crate) more: bool,
}

/// What was asked for is not here (any more).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone {
    /// The oldest revision after which a watch may begin.
    pub(crate) oldest: Revision,
    /// It lay before the ring's beginning: it was never here, or was before a snapshot replaced the state.
    pub(crate) skipped: bool,
}

/// The whole of an entry.
pub(crate) fn all_of(index: u64) -> Revision {
    Revision { index, ordinal: u32::MAX }
}

/// The revision right before one.
pub(crate) fn before(revision: Revision) -> Revision {
    match revision.ordinal.checked_sub(1) {
        Some(ordinal) => Revision { ordinal, ..revision },
        None => all_of(revision.index.saturating_sub(1)),
    }
}

impl Ring {
    pub(crate) fn new(bounds: RingBounds) -> Self {
        // No event has this revision: a watch from the very beginning says it.
        let began = Revision::default();
        Self { bounds, entries: VecDeque::new(), events: 0, bytes: 0, oldest: began, began, through: 0 }
    }

    /// Forgets everything and begins after an entry.
    pub(crate) fn begin_after(&mut self, index: u64) {
        let began = if index == 0 { Revision::default() } else { all_of(index) };
        *self = Self { oldest: began, began, through: index, ..Self::new(self.bounds) };
    }

    /// Appends what the next entry did.
    pub(crate) fn push(&mut self, index: u64, events: Arc<[Event]>) {
        self.through = index;
        if events.is_empty() {
            return;
        }
        let bytes = events.iter().map(bytes_of).sum();
        self.events += events.len();
        self.bytes += bytes;
        self.entries.push_back(Entry { index, bytes, events });
        while (self.events > self.bounds.events_max || self.bytes > self.bounds.bytes_max) && self.entries.len() > 1 {
            let Some(dropped) = self.entries.pop_front() else { return };
            self.events -= dropped.events.len();
            self.bytes -= dropped.bytes;
            self.oldest = dropped.events.last().map_or(self.oldest, |event| event.revision);
        }
    }

    /// What follows a revision, at most `entries_max` entries.
    pub(crate) fn after(&self, revision: Revision, entries_max: usize) -> Result<Chunk, Gone> {
        if revision < self.oldest {
            return Err(Gone { oldest: self.oldest, skipped: revision < self.began });
        }
        let start = self.entries.partition_point(|entry| all_of(entry.index) <= revision);
        let entries: Vec<_> =
            self.entries.range(start..).take(entries_max).map(|entry| Arc::clone(&entry.events)).collect();
        let more = start + entries.len() < self.entries.len();
        let last = if more { self.entries.get(start + entries.len() - 1).map(|entry| entry.index) } else { None };
        Ok(Chunk { entries, through: all_of(last.unwrap_or(self.through)).max(revision), more })
    }
}

/// What an event takes in memory, about.
fn bytes_of(event: &Event) -> usize {
    /// A small string or vector beside its content.
    const EACH: usize = 32;
    let names = |names: &mut dyn Iterator<Item = usize>| names.map(|length| EACH + length).sum::<usize>();
    let kind = match &event.kind {
        EventKind::Granted { granted, owner, .. } => {
            owner.len() + names(&mut granted.grants.iter().map(|lock| 16 + lock.name.len()))
        }
        EventKind::Queued { locks, owner, .. } => owner.len() + names(&mut locks.iter().map(|lock| lock.name.len())),
        EventKind::WaitEnded { names: ended, owner, .. } => owner.len() + names(&mut ended.iter().map(String::len)),
        EventKind::Lost { name, owner, note, .. } => name.len() + owner.len() + note.len(),
        EventKind::Converted { name, owner, .. } => name.len() + owner.len(),
        EventKind::ValueSet { name, value, .. } => name.len() + value.len(),
        EventKind::SessionOpened { owner, .. } | EventKind::LeaseEnded { owner, .. } => owner.len(),
    };
    size_of::<Event>() + event.namespace.len() + kind
}

#[cfg(test)]
mod tests {
    use leasehold_state_machine::{LeaseId, LogTime};

    use super::*;

    fn events(index: u64, count: u32) -> Arc<[Event]> {
        let kind = || EventKind::SessionOpened { lease: LeaseId(1), owner: "".into() };
        let event = |ordinal| Event {
            revision: Revision { index, ordinal },
            at: LogTime(index),
            namespace: "".into(),
            kind: kind(),
        };
        (0..count).map(event).collect()
    }

    fn ring(events_max: usize) -> Ring {
        Ring::new(RingBounds { events_max, bytes_max: 1 << 20 })
    }

    fn indexes(chunk: &Chunk) -> Vec<u64> {
        chunk.entries.iter().map(|events| events[0].revision.index).collect()
    }

    #[test]
    fn what_follows_a_revision_is_complete_or_gone() {
        let mut ring = ring(4);
        for index in [3, 5, 6] {
            ring.push(index, events(index, 2));
        }
        ring.push(9, events(9, 0));
        // The two events of entry 3 made room.
        let last_dropped = Revision { index: 3, ordinal: 1 };
        assert_eq!(
            ring.after(Revision { index: 3, ordinal: 0 }, 9).unwrap_err(),
            Gone { oldest: last_dropped, skipped: false }
        );
        let chunk = ring.after(last_dropped, 9).unwrap();
        assert_eq!((indexes(&chunk), chunk.through, chunk.more), (vec![5, 6], all_of(9), false));
        let chunk = ring.after(Revision { index: 5, ordinal: 0 }, 1).unwrap();
        assert_eq!(
            (indexes(&chunk), chunk.through, chunk.more),
            (vec![5], all_of(5), true),
            "the rest of 5 comes again"
        );
        let chunk = ring.after(all_of(9), 9).unwrap();
        assert_eq!((indexes(&chunk), chunk.through), (vec![], all_of(9)));
        let ahead = all_of(12);
        assert_eq!(ring.after(ahead, 9).unwrap().through, ahead, "a reader is never taken back");
    }

    #[test]
    fn an_entry_larger_than_the_ring_is_kept_until_the_next() {
        let mut ring = ring(4);
        ring.push(1, events(1, 50));
        assert_eq!(ring.after(all_of(0), 9).unwrap().entries[0].len(), 50);
        ring.push(2, events(2, 1));
        assert_eq!(ring.after(all_of(0), 9).unwrap_err().oldest, Revision { index: 1, ordinal: 49 });
    }

    #[test]
    fn a_watch_from_the_very_beginning_misses_nothing() {
        let mut ring = ring(4);
        ring.begin_after(0);
        ring.push(1, events(1, 1));
        assert_eq!(indexes(&ring.after(Revision::default(), 9).unwrap()), [1]);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut ring = Ring::new(RingBounds { events_max: 1_000, bytes_max: 10_000 });
        for index in 1..=200 {
            ring.push(index, events(index, 1));
        }
        assert!(ring.bytes <= 10_000 && ring.entries.len() < 100 && ring.entries.len() > 10, "{}", ring.entries.len());
    }

    #[test]
    fn after_a_snapshot_what_lies_before_was_skipped() {
        let mut ring = ring(100);
        ring.push(3, events(3, 1));
        ring.begin_after(40);
        ring.push(41, events(41, 1));
        assert_eq!(ring.after(all_of(39), 9).unwrap_err(), Gone { oldest: all_of(40), skipped: true });
        assert_eq!(indexes(&ring.after(all_of(40), 9).unwrap()), [41]);
    }
}
