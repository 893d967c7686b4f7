//! Deadlock by the definition: the whole graph is built, then searched.
//!
//! Nodes are (lease, actor). There is an edge for every waiting request that named an actor, to every holder and to every
//! waiter ahead of it at the same lock that named one, where the two modes do not go together. A request closes a cycle if
//! one of its edges is new: what it waits for. Of an upgrade, any cycle through its actor counts: others wait for it from
//! now on, and an actor that asks for several things at once may stand in a cycle already (see `Tables::deadlock`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use leasehold_state_machine::{DEADLOCK_CYCLE_MAX, Deadlock, DeadlockStep, LeaseId, Outcome};

use crate::Model;
use crate::queue::go_together;
use crate::rows::{LockKey, Want};

type Node = (LeaseId, String);

/// One request, at one lock, waits for a node.
struct Edge {
    step: DeadlockStep,
    to: Node,
    /// Of the request that is about to queue.
    of_new: bool,
}

type Graph = BTreeMap<Node, Vec<Edge>>;

impl Model {
    /// The cycle that a request would close if it queued. Of several the one that the log names, if it is one of them;
    /// otherwise a shortest one.
    pub(crate) fn deadlock(&self, want: &Want) -> Option<Deadlock> {
        let start = node(want)?;
        let graph = self.graph(want);
        let upgrade = want.converts().is_some();
        let shortest = way_back(&graph, &start, |edge| upgrade || edge.of_new)?;
        match &self.told {
            Some(Outcome::Deadlock(told)) if is_cycle(&graph, &start, told, upgrade) => Some(told.clone()),
            _ => Some(shortest),
        }
    }

    /// Two upgrades of one lock wait for each other, whoever they are.
    pub(crate) fn rival_upgrade(&self, want: &Want) -> Option<Deadlock> {
        want.converts()?;
        let key = want.keys().next()?;
        let (_, rival) = self.tables.queue(&key).find(|(_, waiter)| waiter.want.converts().is_some())?;
        Some(Deadlock { cycle: vec![step(want, &key.1), step(&rival.want, &key.1)] })
    }

    /// With the new request in its place: at the end of its queues, or ahead of all.
    fn graph(&self, new: &Want) -> Graph {
        let mut graph = Graph::new();
        let mut locks: BTreeSet<LockKey> = self.tables.queued.clone();
        locks.extend(new.keys());
        for key in locks {
            let mut queue: VecDeque<&Want> = self.tables.queue(&key).map(|(_, waiter)| &waiter.want).collect();
            if new.keys().any(|wanted| wanted == key) {
                if new.converts().is_some() { queue.push_front(new) } else { queue.push_back(new) }
            }
            for (place, waiting) in queue.iter().enumerate() {
                let Some(from) = node(waiting) else { continue };
                let mode = waiting.mode_at(&key.1);
                let holders = self.tables.holders(&key).filter(|(token, _)| Some(*token) != waiting.converts());
                let holders = holders.filter_map(|(_, grant)| Some((grant.mode, (grant.lease, grant.actor.clone()?))));
                let ahead = queue.iter().take(place);
                let ahead = ahead.filter_map(|want| Some((want.mode_at(&key.1), node(want)?)));
                for (_, to) in holders.chain(ahead).filter(|(other, _)| !go_together(mode, *other)) {
                    let of_new = waiting.request == new.request;
                    let edge = Edge { step: step(waiting, &key.1), to, of_new };
                    graph.entry(from.clone()).or_default().push(edge);
                }
            }
        }
        graph
    }
}

/// None: it named no actor, or hangs on nothing yet.
fn node(want: &Want) -> Option<Node> {
    Some((want.lease()?, want.actor.clone()?))
}

fn step(want: &Want, name: &str) -> DeadlockStep {
    DeadlockStep {
        lease: want.lease().unwrap_or_default(),
        actor: want.actor.clone().unwrap_or_default(),
        owner: want.owner.clone(),
        name: name.to_owned(),
    }
}

/// A shortest way from a node back to itself, breadth first.
fn way_back(graph: &Graph, start: &Node, may_begin: impl Fn(&Edge) -> bool) -> Option<Deadlock> {
    let edges = |node: &Node| graph.get(node).into_iter().flatten();
    let first = edges(start).filter(|edge| may_begin(edge));
    let mut paths: VecDeque<(&Edge, Vec<DeadlockStep>)> = first.map(|edge| (edge, vec![edge.step.clone()])).collect();
    let mut reached: BTreeSet<&Node> = BTreeSet::new();
    while let Some((last, path)) = paths.pop_front() {
        if last.to == *start {
            return Some(Deadlock { cycle: path });
        }
        if path.len() < DEADLOCK_CYCLE_MAX && reached.insert(&last.to) {
            for edge in edges(&last.to) {
                let longer = path.iter().cloned().chain([edge.step.clone()]);
                paths.push_back((edge, longer.collect()));
            }
        }
    }
    None
}

/// Whether each step waits for the next one, the last for the first, nobody stands in it twice, and, but for an upgrade, the
/// first edge is new.
fn is_cycle(graph: &Graph, start: &Node, told: &Deadlock, upgrade: bool) -> bool {
    let nodes: Vec<Node> = told.cycle.iter().map(|step| (step.lease, step.actor.clone())).collect();
    let distinct = nodes.iter().collect::<BTreeSet<_>>().len() == nodes.len();
    let edges = |at: usize| {
        let next = nodes[(at + 1) % nodes.len()].clone();
        let edges = graph.get(&nodes[at]).into_iter().flatten();
        edges.filter(move |edge| edge.step == told.cycle[at] && edge.to == next)
    };
    if nodes.is_empty() {
        return false;
    }
    let is_new = upgrade || edges(0).any(|edge| edge.of_new);
    let waits = (0..nodes.len()).all(|at| edges(at).next().is_some());
    nodes[0] == *start && distinct && nodes.len() <= DEADLOCK_CYCLE_MAX && waits && is_new
}
