//! One watch.

use std::sync::Arc;
use std::time::Duration;

use leasehold_consensus::clock::deadline_after;
use leasehold_proto::v1;
use leasehold_state_machine::{Event, Revision};
use prost::Message;
use tokio::time::Instant;

use super::filter::Filter;
use super::hub::{Hub, Place};
use super::ring::{Chunk, Gone, before};
use crate::{CallError, convert};

/// A message of events is sent once it has so many …
const EVENTS_PER_MESSAGE: usize = 256;
/// … or is so long. The events of one revision always come together: a watch resumes after revisions.
const MESSAGE_BYTES: usize = 256 << 10;

/// A watch with its place in the events. It costs nothing while its client does not read, or while nothing concerns it.
#[derive(Debug)]
pub(crate) struct Watcher {
    place: Place,
    /// Everything up to this was told, or does not concern this watch.
    cursor: Revision,
    /// What the first message, which is still to come, tells: where the watch begins.
    begins: Option<Revision>,
    progress_every: Duration,
    next_progress: Instant,
}

impl Watcher {
    /// Takes a place. From here on the watch hears of news; it is of no use before [`Watcher::begin_after`].
    pub(crate) fn enter(hub: &Arc<Hub>, filter: Filter, progress_every: Duration) -> Result<Self, CallError> {
        let place = hub.enter(filter)?;
        let next_progress = deadline_after(progress_every);
        Ok(Self { place, cursor: Revision::default(), begins: None, progress_every, next_progress })
    }

    /// Begins with what follows `revision`, if all of that is remembered.
    pub(crate) async fn begin_after(&mut self, revision: Revision) -> Result<(), CallError> {
        (self.cursor, self.begins) = (revision, Some(revision));
        let gone = |Gone { oldest, .. }| CallError::RevisionGone { revision, oldest };
        loop {
            let chunk = self.place.hub().after(self.cursor).map_err(gone)?;
            // Up to the first event that concerns this watch it is as good as read: that must not fall out of the ring.
            if let Some(first) = self.first_of(&chunk) {
                self.place.signal().ring(before(first));
                return Ok(());
            }
            self.cursor = chunk.through;
            if !chunk.more {
                return Ok(());
            }
            tokio::task::consume_budget().await;
        }
    }

    /// The first event of a chunk that concerns this watch.
    fn first_of(&self, chunk: &Chunk) -> Option<Revision> {
        let mut told = Vec::new();
        let mut events = chunk.entries.iter().flat_map(|entry| entry.iter());
        let first = events.find(|event| {
            if event.revision > self.cursor {
                self.place.filter().push(event, &mut told);
            }
            !told.is_empty()
        });
        first.map(|event| event.revision)
    }

    /// The next message. Nothing is lost when this is dropped before it resolves.
    pub(crate) async fn next(&mut self) -> Result<v1::WatchResponse, CallError> {
        if let Some(from) = self.begins.take() {
            return Ok(v1::WatchResponse { from: Some(convert::revision(from)), ..Default::default() });
        }
        loop {
            if let Some(message) = self.read()? {
                return Ok(message);
            }
            tokio::select! {
                biased;
                () = self.place.hub().closed() => return Err(CallError::Stopping),
                () = self.place.signal().rung.notified() => {}
                () = tokio::time::sleep_until(self.next_progress) => {
                    if let Some(message) = self.read()? {
                        return Ok(message);
                    }
                    self.next_progress = deadline_after(self.progress_every);
                    let progress = Some(convert::revision(self.cursor));
                    return Ok(v1::WatchResponse { progress, ..Default::default() });
                }
            }
            tokio::task::consume_budget().await;
        }
    }

    /// Moves on to what concerns this watch, without waiting. None: nothing of what was read does; more may follow, and has
    /// rung then.
    fn read(&mut self) -> Result<Option<v1::WatchResponse>, CallError> {
        // In this order: what is rung between the two is seen by the second.
        let quiet_through = self.place.hub().rung_through();
        let Some(pending_after) = self.place.signal().take() else {
            self.cursor = self.cursor.max(quiet_through);
            return Ok(None);
        };
        self.cursor = self.cursor.max(pending_after);
        let chunk = self.place.hub().after(self.cursor).map_err(|gone| self.fell_out(gone))?;
        let events = self.take(&chunk);
        if events.is_empty() {
            return Ok(None);
        }
        self.next_progress = deadline_after(self.progress_every);
        Ok(Some(v1::WatchResponse { events, ..Default::default() }))
    }

    /// What of a chunk is told in the next message.
    fn take(&mut self, chunk: &Chunk) -> Vec<v1::WatchEvent> {
        let mut events: Vec<v1::WatchEvent> = Vec::new();
        let mut bytes = 0;
        let (read, entries) = (self.cursor, chunk.entries.iter().flat_map(|entry| entry.iter()));
        for event in entries.filter(|event: &&Event| event.revision > read) {
            if events.len() >= EVENTS_PER_MESSAGE || bytes >= MESSAGE_BYTES {
                // The rest is for the next message.
                self.place.signal().ring(self.cursor);
                return events;
            }
            let told = events.len();
            self.place.filter().push(event, &mut events);
            bytes += events.iter().skip(told).map(Message::encoded_len).sum::<usize>();
            self.cursor = event.revision;
        }
        self.cursor = chunk.through;
        if chunk.more {
            self.place.signal().ring(self.cursor);
        }
        events
    }

    fn fell_out(&self, gone: Gone) -> CallError {
        let (revision, oldest) = (self.cursor, gone.oldest);
        if gone.skipped {
            CallError::RevisionGone { revision, oldest }
        } else {
            CallError::WatchTooSlow { revision, oldest }
        }
    }
}

#[cfg(test)]
#[path = "watcher_tests.rs"]
mod tests;
