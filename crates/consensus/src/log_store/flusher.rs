//! Group commit: one fsync serves all appends that wait for one.
//!
//! An append that finds no fsync under way starts one at once; those that come while it runs share the next.

use std::io;
use std::sync::Arc;

use leasehold_failpoints::failpoint;
use openraft::storage::IOFlushed;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::mark::{Mark, MarkFile};
use super::record::StoredLogId;
use super::wal::Wal;
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

/// Who is told when a sync of the log is done. Dropped untold, it reports that the log is gone.
pub struct Synced {
    waiting: Vec<Waiting>,
    /// What the log has once this fsync is done, and how often it had been cut back when the fsync began.
    durable: Mark,
    cuts: u64,
    flusher: Arc<Flusher>,
}

impl raft_log::Callback for Synced {
    fn send(self, result: Result<(), io::Error>) {
        self.report(result);
    }
}

impl Synced {
    /// The sync is done, or failed.
    pub fn report(mut self, result: io::Result<()>) {
        let result = result.and_then(|()| failpoint!("log::sync::after"));
        let result = result.and_then(|()| self.flusher.note(self.durable, self.cuts));
        for waiting in self.waiting.drain(..) {
            waiting.complete(copy(&result));
        }
        self.flusher.landed(result);
    }
}

impl Drop for Synced {
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
    marked: Mutex<Marked>,
    next: mpsc::UnboundedSender<()>,
}

struct Marked {
    file: MarkFile,
    /// How often the log was cut back.
    cuts: u64,
}

impl Flusher {
    /// `log` is shared with the log store; fsyncs after the first are started by a task of their own, because the worker
    /// that reports the end of one must not wait for the log.
    pub(super) fn start(log: &Arc<Mutex<Box<dyn Wal>>>, file: MarkFile) -> Arc<Self> {
        let (next, mut wake) = mpsc::unbounded_channel();
        let marked = Mutex::new(Marked { file, cuts: 0 });
        let flusher = Arc::new(Self { queue: Mutex::default(), marked, next });
        let (log, weak) = (Arc::downgrade(log), Arc::downgrade(&flusher));
        spawn(async move {
            while wake.recv().await.is_some() {
                let (Some(log), Some(flusher)) = (log.upgrade(), weak.upgrade()) else { break };
                flusher.flush(&mut **log.lock());
            }
        });
        flusher
    }

    /// Has `waiting` told when everything that was written to `log` so far is on disk.
    pub(crate) fn sync(self: &Arc<Self>, log: &mut dyn Wal, waiting: Waiting) {
        let idle = {
            let mut queue = self.queue.lock();
            queue.waiting.push(waiting);
            !queue.in_flight
        };
        if idle {
            self.flush(log);
        }
    }

    fn flush(self: &Arc<Self>, log: &mut dyn Wal) {
        if !failpoint!("log::flush::before", skip) {
            return;
        }
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
        let state = log.state();
        let durable = Mark { last: state.last, vote: state.vote };
        let cuts = self.marked.lock().cuts;
        let synced = Synced { waiting, durable, cuts, flusher: Arc::clone(self) };
        if let Err(error) = log.sync(synced) {
            self.landed(Err(error));
        }
    }

    /// Notes what the log has now, before anybody is told.
    fn note(&self, durable: Mark, cuts: u64) -> io::Result<()> {
        failpoint!("log::mark::before")?;
        let mut marked = self.marked.lock();
        let known = marked.file.get();
        // The log was cut back while this fsync ran: what it had then says nothing about what it has to have.
        let last = if cuts == marked.cuts { durable.last } else { known.last };
        let mark = Mark { last, vote: durable.vote };
        if mark.vote == known.vote { marked.file.set(mark) } else { marked.file.set_durably(mark) }?;
        failpoint!("log::mark::after")
    }

    /// To be called before the log is cut back to `last`: from then on no more than that has to be there.
    pub(super) fn cut_back(&self, last: Option<StoredLogId>) -> io::Result<()> {
        let mut marked = self.marked.lock();
        marked.cuts += 1;
        let known = marked.file.get();
        marked.file.set_durably(Mark { last: known.last.min(last), ..known })
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
