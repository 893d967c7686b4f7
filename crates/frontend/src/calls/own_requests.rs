//! Request ids for callers that bring none.

use std::collections::BTreeSet;
use std::sync::Arc;

use leasehold_state_machine::RequestId;
use parking_lot::Mutex;

/// This node as a client instance of its own: a random id, a counter, and the counters that are still unanswered.
#[derive(Debug)]
pub(crate) struct OwnRequests {
    client: u64,
    counters: Mutex<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    last: u64,
    outstanding: BTreeSet<u64>,
}

/// One request of the instance. It counts as unanswered until this is dropped: after its answer, or after its cancel.
#[derive(Debug)]
pub(crate) struct OwnRequest {
    requests: Arc<OwnRequests>,
    counter: u64,
    lowest_unanswered: u64,
}

impl OwnRequests {
    pub(crate) fn new(client: u64) -> Arc<Self> {
        Arc::new(Self { client, counters: Mutex::default() })
    }

    /// A new id.
    pub(crate) fn begin(self: &Arc<Self>) -> OwnRequest {
        let mut counters = self.counters.lock();
        counters.last += 1;
        let counter = counters.last;
        counters.outstanding.insert(counter);
        let lowest_unanswered = counters.outstanding.first().copied().unwrap_or(counter);
        OwnRequest { requests: Arc::clone(self), counter, lowest_unanswered }
    }
}

impl OwnRequest {
    pub(crate) fn id(&self) -> RequestId {
        RequestId { client: self.requests.client, counter: self.counter }
    }

    /// As it was when this request began: it only grows.
    pub(crate) fn lowest_unanswered(&self) -> u64 {
        self.lowest_unanswered
    }
}

impl Drop for OwnRequest {
    fn drop(&mut self) {
        let known = self.requests.counters.lock().outstanding.remove(&self.counter);
        debug_assert!(known, "a request ends once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_unanswered_counter_waits_for_the_oldest_request() {
        let requests = OwnRequests::new(9);
        let first = requests.begin();
        let second = requests.begin();
        assert_eq!((first.id().counter, second.id().counter), (1, 2));
        assert_eq!(second.lowest_unanswered(), 1);
        drop(second);
        assert_eq!(requests.begin().lowest_unanswered(), 1);
        drop(first);
        let last = requests.begin();
        assert_eq!(last.lowest_unanswered(), last.id().counter);
    }
}
