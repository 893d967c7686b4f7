//! What the clients of a run saw: every call, on one clock.

mod journal;
mod record;
mod recorder;

pub use journal::Journal;
pub use record::KINDS;
pub use record::{Acquire, Call, Fault, OpenSession, Record, Release, Renew, Response, SeenHolder};
pub use recorder::{Recorder, Sink, Span};

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

/// Everything that was recorded in one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The calls, in no particular order.
    pub records: Vec<Record>,
    /// What the test did to the cluster meanwhile.
    pub faults: Vec<Fault>,
}

#[derive(Serialize, Deserialize)]
enum Line {
    #[serde(rename = "call")]
    Record(Record),
    #[serde(rename = "fault")]
    Fault(Fault),
}

impl History {
    /// How often what was asked and came of it, for what a workload can do: what never occurred was not tested.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::from(KINDS.map(|kind| (kind, 0)));
        for kind in self.records.iter().flat_map(Record::kinds) {
            *counts.entry(kind).or_default() += 1;
        }
        counts
    }

    /// Writes one JSON object a line.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        let lines = self.records.iter().cloned().map(Line::Record).chain(self.faults.iter().cloned().map(Line::Fault));
        for line in lines {
            serde_json::to_writer(&mut to, &line)?;
            to.write_all(b"\n")?;
        }
        to.flush()
    }

    /// Reads what [`History::write`] wrote.
    pub fn read(from: impl BufRead) -> io::Result<Self> {
        let mut history = Self::default();
        for line in from.lines() {
            match serde_json::from_str(&line?)? {
                Line::Record(record) => history.records.push(record),
                Line::Fault(fault) => history.faults.push(fault),
            }
        }
        Ok(history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;

    #[test]
    fn a_history_survives_json_lines() {
        let recorder = Recorder::new();
        let span = recorder.begin(3, "default/a");
        span.end(
            Call::Renew(Renew { lease: "00ff".into(), token: Some(7), ttl_ms: 1000 }),
            Response::Renewed { left_ms: 1000 },
        );
        let fault = recorder.fault_begins("kill -9", Some(2));
        recorder.fault_ends(fault);
        let history = recorder.take();
        let mut bytes = Vec::new();
        history.write(&mut bytes).unwrap();
        assert_eq!(History::read(bytes.as_slice()).unwrap(), history);
        assert!(history.records[0].invoke > Moment(0));
    }
}
