//! Group commit: one fsync serves all appends that wait for one.
//!
//! An append that finds no fsync under way starts one at once; those that come while it runs share the next.

use std::io;
use std::sync::Arc;

use openraft::storage::IOFlushed;
use parking_lot::Mutex;
use raft_log::RaftLog;
use raft_log::api::raft_log_writer::RaftLogWriter;
use tokio::sync::{mpsc, oneshot};

use super::record::LogTypes;
use crate::runtime::spawn;
use crate::types::TypeConfig;

/// Who waits for an fsync.
pub(crate) enum Waiting {
    /// An append of openraft.
    Append(IOFlushed<TypeConfig>),
    /// A vote, or anything else that is awaited.
    Task(oneshot::Sender<io::Result<()>>),
}

impl Waiting {
    fn complete(self, result: io::Result<()>) {
        match self {
            Self::Append(flushed) => flushed.io_completed(result),
            // A task that went away does not want to know.
            Self::Task(done) => drop(done.send(result)),
        }
    }
}

/// Called by raft-log's worker when an fsync is done.
pub(crate) struct Flushed {
    waiting: Vec<Waiting>,
    flusher: Arc<Flusher>,
}

impl raft_log::Callback for Flushed {
    fn send(mut self, result: Result<(), io::Error>) {
        for waiting in self.waiting.drain(..) {
            waiting.complete(copy(&result));
        }
        self.flusher.landed(result);
    }
}

impl Drop for Flushed {
    /// Not called, so the worker is gone: nobody may wait for it for ever.
    fn drop(&mut self) {
        for waiting in self.waiting.drain(..) {
            waiting.complete(Err(io::Error::other("the log's worker has stopped")));
        }
    }
}

/// `io::Error` cannot be cloned.
fn copy(result: &io::Result<()>) -> io::Result<()> {
    result.as_ref().copied().map_err(|error| io::Error::new(error.kind(), error.to_string()))
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    in_flight: bool,
    /// An fsync failed: nothing after it may be acknowledged, whatever the disk says then.
    failed: Option<String>,
}

/// Starts fsyncs, one at a time.
pub(crate) struct Flusher {
    queue: Mutex<Queue>,
    next: mpsc::UnboundedSender<()>,
}

impl Flusher {
    /// `log` is shared with the log store; fsyncs after the first are started by a task of their own, because the worker
    /// that reports the end of one must not wait for the log.
    pub(crate) fn start(log: Arc<Mutex<RaftLog<LogTypes>>>) -> Arc<Self> {
        let (next, mut wake) = mpsc::unbounded_channel();
        let flusher = Arc::new(Self { queue: Mutex::default(), next });
        let weak = Arc::downgrade(&flusher);
        spawn(async move {
            while wake.recv().await.is_some() {
                let Some(flusher) = weak.upgrade() else { break };
                flusher.flush(&mut log.lock());
            }
        });
        flusher
    }

    /// Has `waiting` told when everything that was written to `log` so far is on disk.
    pub(crate) fn sync(self: &Arc<Self>, log: &mut RaftLog<LogTypes>, waiting: Waiting) {
        let idle = {
            let mut queue = self.queue.lock();
            queue.waiting.push(waiting);
            !queue.in_flight
        };
        if idle {
            self.flush(log);
        }
    }

    fn flush(self: &Arc<Self>, log: &mut RaftLog<LogTypes>) {
        let mut queue = self.queue.lock();
        let waiting = std::mem::take(&mut queue.waiting);
        if let Some(failed) = &queue.failed {
            let result = Err(io::Error::other(failed.clone()));
            drop(queue);
            return waiting.into_iter().for_each(|waiting| waiting.complete(copy(&result)));
        }
        if waiting.is_empty() || queue.in_flight {
            queue.waiting = waiting;
            return;
        }
        queue.in_flight = true;
        drop(queue);
        if let Err(error) = log.flush(true, Some(Flushed { waiting, flusher: Arc::clone(self) })) {
            self.landed(Err(error));
        }
    }

    fn landed(&self, result: io::Result<()>) {
        let mut queue = self.queue.lock();
        queue.in_flight = false;
        if let Err(error) = result {
            tracing::error!(%error, "the log could not be synced; this node stops");
            queue.failed.get_or_insert_with(|| format!("an earlier fsync of the log failed: {error}"));
        }
        if !queue.waiting.is_empty() {
            // The receiver ends only with the log store.
            let _ = self.next.send(());
        }
    }
}
