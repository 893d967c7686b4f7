//! Deadlock by the definition: the whole graph is built, then searched.
//!
//! Nodes are (lease, actor). There is an edge for every waiting request that named an actor, to every holder and to every
//! waiter ahead of it at the same lock that named one, where the two modes do not go together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use leasehold_state_machine::{DEADLOCK_CYCLE_MAX, Deadlock, DeadlockStep, LeaseId, Mode, Outcome};

use crate::Model;
use crate::queue::fits;
use crate::tables::{LockKey, Want};

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
        let shortest = shortest_cycle(&graph, &start)?;
        match &self.told {
            Some(Outcome::Deadlock(told)) if is_cycle(&graph, &start, told) => Some(told.clone()),
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
                // TEMP
                let skip = usize::from(new.converts().is_some() && new.keys().any(|wanted| wanted == key));
                let Some(from) = node(waiting) else { continue };
                let mode = waiting.mode_at(&key.1);
                let holders = self.tables.holders(&key).filter(|(token, _)| Some(*token) != waiting.converts());
                let holders = holders.map(|(_, grant)| (grant.mode, grant.lease, grant.actor.clone()));
                let ahead = queue.iter().take(place).skip(skip);
                let ahead = ahead.filter_map(|w| Some((w.mode_at(&key.1), w.lease()?, w.actor.clone())));
                for (other, lease, actor) in holders.chain(ahead) {
                    if let Some(actor) = actor.filter(|_| !go_together(mode, other)) {
                        let of_new = waiting.request == new.request;
                        let edge = Edge { step: step(waiting, &key.1), to: (lease, actor), of_new };
                        graph.entry(from.clone()).or_default().push(edge);
                    }
                }
            }
        }
        graph
    }
}

fn go_together(a: Mode, b: Mode) -> bool {
    fits(std::iter::once(a), b)
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

/// Breadth first, from the new request back to its own node.
fn shortest_cycle(graph: &Graph, start: &Node) -> Option<Deadlock> {
    let of_new = graph.get(start).into_iter().flatten().filter(|edge| edge.of_new);
    let mut paths: VecDeque<(&Node, Vec<DeadlockStep>)> =
        of_new.map(|edge| (&edge.to, vec![edge.step.clone()])).collect();
    let mut reached: BTreeSet<&Node> = BTreeSet::new();
    while let Some((node, path)) = paths.pop_front() {
        if node == start {
            return Some(Deadlock { cycle: path });
        }
        if path.len() < DEADLOCK_CYCLE_MAX && reached.insert(node) {
            for edge in graph.get(node).into_iter().flatten() {
                let longer = path.iter().cloned().chain([edge.step.clone()]);
                paths.push_back((&edge.to, longer.collect()));
            }
        }
    }
    None
}

/// Whether each step waits for the next one, the last for the first, and nobody stands in it twice.
fn is_cycle(graph: &Graph, start: &Node, told: &Deadlock) -> bool {
    let nodes: Vec<Node> = told.cycle.iter().map(|step| (step.lease, step.actor.clone())).collect();
    let distinct = nodes.iter().collect::<BTreeSet<_>>().len() == nodes.len();
    let waits = |(at, step): (usize, &DeadlockStep)| {
        let next = &nodes[(at + 1) % nodes.len()];
        let edges = graph.get(&nodes[at]).into_iter().flatten();
        edges.into_iter().any(|edge| (at > 0 || edge.of_new) && edge.step == *step && edge.to == *next)
    };
    distinct
        && nodes.first() == Some(start)
        && nodes.len() <= DEADLOCK_CYCLE_MAX
        && told.cycle.iter().enumerate().all(waits)
}
