//! Collects the records of concurrent clients.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Call, Fault, History, Record, Response};
use crate::clock::Moment;

/// Where records go that a client makes itself.
pub trait Sink: fmt::Debug + Send + Sync + 'static {
    /// Adds one.
    fn push(&self, record: Record);
}

impl Sink for Recorder {
    fn push(&self, record: Record) {
        Self::push(self, record);
    }
}

/// Collects records from any number of tasks. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Arc<Mutex<History>>);

/// A call that has begun. Dropped without [`Span::end`] it leaves no record: end every call that was sent.
#[derive(Debug)]
#[must_use = "a call that is not ended is not recorded"]
pub struct Span {
    recorder: Recorder,
    worker: u32,
    lock: Arc<str>,
    invoke: Moment,
    first_send: Option<Moment>,
}

impl Recorder {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A call begins now.
    pub fn begin(&self, worker: u32, lock: impl Into<Arc<str>>) -> Span {
        Span { recorder: self.clone(), worker, lock: lock.into(), invoke: Moment::now(), first_send: None }
    }

    /// Adds a record that was put together elsewhere.
    pub fn push(&self, record: Record) {
        self.with(|history| history.records.push(record));
    }

    /// A fault begins now. Returns its number, for [`Recorder::fault_ends`].
    pub fn fault_begins(&self, what: &str, node: Option<u64>) -> usize {
        let fault = Fault { what: what.to_owned(), node, begin: Moment::now(), end: None };
        self.with(|history| {
            history.faults.push(fault);
            history.faults.len() - 1
        })
    }

    /// The cluster serves again after that fault.
    pub fn fault_ends(&self, fault: usize) {
        self.with(|history| {
            if let Some(fault) = history.faults.get_mut(fault) {
                fault.end = Some(Moment::now());
            }
        });
    }

    /// How many calls were answered with a grant so far.
    #[must_use]
    pub fn grants(&self) -> usize {
        self.with(|history| history.records.iter().filter(|record| record.granted().is_some()).count())
    }

    /// Takes everything recorded so far.
    #[must_use]
    pub fn take(&self) -> History {
        self.with(mem::take)
    }

    fn with<T>(&self, work: impl FnOnce(&mut History) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Span {
    /// When the call began.
    #[must_use]
    pub fn invoked(&self) -> Moment {
        self.invoke
    }

    /// The request left at `moment` for the first time. Later calls change nothing.
    pub fn sent_at(&mut self, moment: Moment) {
        self.first_send.get_or_insert(moment);
    }

    /// The call is over now.
    pub fn end(self, call: Call, response: Response) {
        let complete = match &response {
            Response::Unknown => None,
            _ => Some(Moment::now()),
        };
        let Self { recorder, worker, lock, invoke, first_send } = self;
        recorder.push(Record { worker, lock, invoke, first_send, complete, call, response });
    }
}
