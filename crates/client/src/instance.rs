//! This client instance as the cluster knows it: a random id, a counter, and which requests are still unanswered.

use std::collections::BTreeSet;

use leasehold_platform::random;
use leasehold_proto::v1;
use parking_lot::Mutex;
use rand::Rng;

use crate::error::Error;

/// Acquires of one client that may be unanswered at once.
pub const ACQUIRES_MAX: usize = 65_536;

/// Makes request ids, and remembers which have no answer yet.
#[derive(Debug)]
pub(crate) struct Instance {
    client: u64,
    counters: Mutex<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    last: u64,
    unanswered: BTreeSet<u64>,
}

impl Instance {
    pub(crate) fn new() -> Self {
        // Zero would read as "no instance".
        Self { client: random::rng().random_range(1..=u64::MAX), counters: Mutex::default() }
    }

    /// A new request id; unanswered until [`Instance::answered`].
    pub(crate) fn begin(&self) -> Result<u64, Error> {
        let mut counters = self.counters.lock();
        if counters.unanswered.len() >= ACQUIRES_MAX {
            return Err(Error::TooMany { limit: ACQUIRES_MAX });
        }
        counters.last += 1;
        let counter = counters.last;
        counters.unanswered.insert(counter);
        Ok(counter)
    }

    /// The request will not be sent again: what it did is known, cancelled, or given up.
    pub(crate) fn answered(&self, counter: u64) {
        self.counters.lock().unanswered.remove(&counter);
    }

    /// The lowest counter still unanswered. 0, "this one", if there is none.
    pub(crate) fn lowest_unanswered(&self) -> u64 {
        self.counters.lock().unanswered.first().copied().unwrap_or(0)
    }

    pub(crate) fn request_id(&self, counter: u64) -> v1::RequestId {
        v1::RequestId { client: self.client, counter }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_unanswered_moves_on_only_past_answered_ones() {
        let instance = Instance::new();
        let [one, two, three] = [(); 3].map(|()| instance.begin().unwrap());
        assert_eq!(instance.lowest_unanswered(), one);
        instance.answered(two);
        assert_eq!(instance.lowest_unanswered(), one);
        instance.answered(one);
        assert_eq!(instance.lowest_unanswered(), three);
        instance.answered(three);
        assert_eq!(instance.lowest_unanswered(), 0);
        assert!(instance.begin().unwrap() > three);
    }

    #[test]
    fn unanswered_requests_are_bounded() {
        let instance = Instance::new();
        for _ in 0..ACQUIRES_MAX {
            instance.begin().unwrap();
        }
        assert_eq!(instance.begin(), Err(Error::TooMany { limit: ACQUIRES_MAX }));
    }
}
