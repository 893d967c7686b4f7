//! What the hosts of one simulation share with whoever watches them: the trace, and what must hold at every step.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use leasehold_consensus::{ApplyObserver, Node};
use leasehold_state_machine::{Event, StateMachine};

use super::clock;

/// Violations after which no more are kept.
const VIOLATIONS_MAX: usize = 20;

/// Everything that happened, in order; two runs of one seed are the same here to the byte.
#[derive(Debug, Default)]
pub(super) struct Trace {
    lines: String,
}

impl Trace {
    fn line(&mut self, what: fmt::Arguments<'_>) {
        use fmt::Write as _;
        // Writing to a string does not fail.
        let _ = writeln!(self.lines, "{:>9} {what}", clock::elapsed().as_micros());
    }
}

#[derive(Default)]
struct Inner {
    trace: Trace,
    violations: Vec<String>,
    /// State hash, log time and first node by log index.
    states: BTreeMap<u64, (u128, u64)>,
    /// The last index that each node told of in its present life.
    applied: BTreeMap<u64, u64>,
    nodes: BTreeMap<u64, Node>,
}

/// Shared by all hosts of a simulation. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Stage(Arc<Mutex<Inner>>);

impl Stage {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, what: fmt::Arguments<'_>) {
        self.inner().trace.line(what);
    }

    pub(super) fn violation(&self, what: String) {
        let mut inner = self.inner();
        inner.trace.line(format_args!("VIOLATION {what}"));
        if inner.violations.len() < VIOLATIONS_MAX {
            inner.violations.push(what);
        }
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.inner().violations.clone()
    }

    pub(super) fn trace(&self) -> String {
        self.inner().trace.lines.clone()
    }

    /// The hash after this log index, and log time, where some node told it.
    pub(super) fn state_after(&self, index: u64) -> Option<(u128, u64)> {
        self.inner().states.get(&index).copied()
    }

    pub(super) fn started(&self, id: u64, node: Node) {
        self.inner().nodes.insert(id, node);
    }

    pub(super) fn ended(&self, id: u64) {
        let mut inner = self.inner();
        inner.nodes.remove(&id);
        inner.applied.remove(&id);
    }

    pub(super) fn node(&self, id: u64) -> Option<Node> {
        self.inner().nodes.get(&id).cloned()
    }

    /// Who leads, by what the nodes themselves say.
    pub(super) fn leaders(&self) -> Vec<u64> {
        let nodes: Vec<(u64, Node)> = self.inner().nodes.iter().map(|(id, node)| (*id, node.clone())).collect();
        nodes.iter().filter(|(id, node)| *node.leader().borrow() == Some(*id)).map(|(id, _)| *id).collect()
    }

    /// Puts itself between a node and whoever hears what it applies.
    pub(super) fn observe(&self, id: u64, inner: Arc<dyn ApplyObserver>) -> Arc<dyn ApplyObserver> {
        Arc::new(Spy { id, stage: self.clone(), inner })
    }

    /// A node's state after an entry: all nodes come to the same, and log time does not go back.
    fn saw(&self, id: u64, state: &StateMachine) {
        let Some(index) = state.applied().map(|entry| entry.index) else { return };
        let (hash, now) = (state.look_at_hash(), state.now().0);
        let mut broken = Vec::new();
        {
            let inner = &mut *self.inner();
            inner.trace.line(format_args!("node {id} applied {index} now {now} hash {hash:032x}"));
            match inner.states.get(&index) {
                Some((known, _)) if *known != hash => broken.push(format!(
                    "C1: node {id} has state {hash:032x} after index {index}, another node had {known:032x}"
                )),
                Some(_) => {}
                None => {
                    let before = inner.states.range(..index).next_back().map(|(_, (_, now))| *now);
                    if before.is_some_and(|before| before > now) {
                        broken.push(format!("C11: log time goes back to {now} ms at index {index}"));
                    }
                    inner.states.insert(index, (hash, now));
                }
            }
            if inner.applied.insert(id, index).is_some_and(|before| before > index) {
                broken.push(format!("C1: node {id} applies index {index} after a later one"));
            }
        }
        broken.into_iter().for_each(|what| self.violation(what));
    }
}

struct Spy {
    id: u64,
    stage: Stage,
    inner: Arc<dyn ApplyObserver>,
}

impl ApplyObserver for Spy {
    fn applied(&self, events: Arc<[Event]>, state: &StateMachine) {
        self.stage.saw(self.id, state);
        self.inner.applied(events, state);
    }

    fn reset(&self, state: &StateMachine) {
        self.stage.saw(self.id, state);
        self.inner.reset(state);
    }
}
