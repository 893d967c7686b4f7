//! Evidence of a run that never was: the real lock table under simulated clients on a simulated clock, one entry a
//! millisecond. As large as wanted, and the same for the same seed: what the checker's speed is measured with.

mod client;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use leasehold_state_machine::{
    Batch, ClusterId, Command, EntryId, Event, EventKind, Found, LEVEL_MAX, LeaderStamp, Limits, LogTime, Operation,
    Outcome, RequestId, StateMachine,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::client::Client;
use crate::checker::{Bounds, Evidence};
use crate::clock::Moment;
use crate::dump::{Entry, Kind, NodeLog};
use crate::history::{History, Record};

/// How large it is.
#[derive(Debug, Clone)]
pub struct Size {
    /// Calls of clients.
    pub calls: usize,
    /// Locks that they compete for.
    pub locks: u32,
    /// Clients.
    pub clients: u32,
    /// Nodes whose logs there are.
    pub nodes: u64,
    /// What all random choices follow from.
    pub seed: u64,
}

/// Evidence, and what it took to make it.
#[derive(Debug)]
pub struct Made {
    /// As a run would have left it.
    pub evidence: Evidence,
    /// Time spent in applying entries.
    pub apply: Duration,
    /// Time spent in taking the state hash after every 64th.
    pub hash: Duration,
}

/// Log time lags behind the clients' clock by this.
const LAG_MS: u64 = 1;
const LEADER: LeaderStamp = LeaderStamp { term: 1, node: 1 };

/// What happens at a moment.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A client does its next thing.
    Step(u32),
    /// A command of a client reaches the log.
    Arrives(u32),
}

struct World {
    random: StdRng,
    machine: StateMachine,
    due: BinaryHeap<Reverse<(u64, Due)>>,
    clients: Vec<Client>,
    waiting: BTreeMap<RequestId, u32>,
    records: Vec<Record>,
    entries: Vec<Arc<Entry>>,
    apply: Duration,
    hash: Duration,
}

/// Makes evidence.
#[must_use]
pub fn make(size: &Size) -> Made {
    let mut world = World::new(size);
    let mut now_us = 1_000;
    while world.records.len() < size.calls {
        // One entry a millisecond, as long as anything arrives.
        let mut commands = Vec::new();
        let mut callers = Vec::new();
        let end_us = now_us + 1_000;
        while let Some(Reverse((at, _))) = world.due.peek()
            && *at < end_us
        {
            let Some(Reverse((at, due))) = world.due.pop() else { break };
            match due {
                Due::Step(client) => world.step(client, at),
                Due::Arrives(client) => {
                    commands.push(world.clients[client as usize].take_command());
                    callers.push(client);
                }
            }
        }
        if !commands.is_empty() {
            world.enter(end_us, commands, &callers);
        }
        now_us = end_us;
    }
    let World { records, entries, apply, hash, .. } = world;
    let nodes = (1..=size.nodes).map(|node| NodeLog { node, entries: entries.clone(), snapshot: None }).collect();
    let evidence = Evidence { history: History { records, faults: Vec::new() }, nodes, bounds: Bounds::default() };
    Made { evidence, apply, hash }
}

impl World {
    fn new(size: &Size) -> Self {
        let random = StdRng::seed_from_u64(size.seed);
        let names: Vec<Arc<str>> = (0..size.locks).map(|lock| format!("default/lock-{lock:05}").into()).collect();
        let names: Arc<[Arc<str>]> = names.into();
        let clients = (0..size.clients).map(|number| Client::new(number, Arc::clone(&names))).collect();
        let due = (0..size.clients).map(|client| Reverse((2_000 + u64::from(client), Due::Step(client)))).collect();
        let mut world = Self {
            random,
            machine: StateMachine::new(),
            due,
            clients,
            waiting: BTreeMap::new(),
            records: Vec::with_capacity(size.calls + size.clients as usize),
            entries: Vec::new(),
            apply: Duration::ZERO,
            hash: Duration::ZERO,
        };
        let found = Found { cluster: ClusterId(1), counter_start: 1, limits: Limits::default(), level: LEVEL_MAX };
        world.enter(1_000, vec![Operation::Found(found)], &[]);
        world
    }

    /// A client sends its next command, or reads.
    fn step(&mut self, number: u32, at_us: u64) {
        let client = &mut self.clients[number as usize];
        if client.choose(&mut self.random, at_us) {
            let arrives = at_us + self.random.random_range(100..3_000);
            self.due.push(Reverse((arrives, Due::Arrives(number))));
        } else {
            let index = self.entries.len() as u64;
            let record = client.read(&self.machine, index, at_us, at_us + self.random.random_range(50..1_000));
            self.records.push(record);
            self.rest(number, at_us + 1_000);
        }
    }

    /// The client's next step comes after a pause.
    fn rest(&mut self, number: u32, from_us: u64) {
        let pause = self.random.random_range(0..20_000);
        self.due.push(Reverse((from_us + pause, Due::Step(number))));
    }

    /// One entry is written and applied, and its outcomes go to their callers.
    fn enter(&mut self, at_us: u64, operations: Vec<Operation>, callers: &[u32]) {
        let index = self.entries.len() as u64 + 1;
        let at = LogTime((at_us / 1_000).saturating_sub(LAG_MS));
        let command = |operation| Command { principal: None, not_after: None, operation };
        let commands: Vec<Command> = operations.into_iter().map(command).collect();
        let batch = Batch { at, stamped_by: LEADER, commands };
        let id = EntryId { leader: LEADER, index };
        let started = Moment::now();
        let effects = self.machine.apply(id, &batch);
        self.apply += started.elapsed();
        let mut hash = 0;
        if index.is_multiple_of(64) {
            let started = Moment::now();
            hash = self.machine.state_hash();
            self.hash += started.elapsed();
        }
        for (caller, outcome) in callers.iter().zip(&effects.outcomes) {
            self.answer(*caller, outcome, at_us);
        }
        for event in effects.events {
            self.tell(event, at_us);
        }
        self.entries.push(Arc::new(Entry {
            index,
            term: LEADER.term,
            leader: LEADER.node,
            kind: Kind::Normal,
            at: Some(at.0),
            stamped: Some(LEADER),
            committed: true,
            commands: batch.commands,
            outcomes: effects.outcomes,
            now: self.machine.now().0,
            hash: format!("{hash:032x}"),
        }));
    }

    fn answer(&mut self, number: u32, outcome: &Outcome, at_us: u64) {
        let done = at_us + self.random.random_range(50..3_000);
        let client = &mut self.clients[number as usize];
        if matches!(outcome, Outcome::Queued(_)) {
            self.waiting.extend(client.request().map(|request| (request, number)));
            return;
        }
        let lost = self.random.random_bool(0.01);
        self.records.push(client.answered(outcome, done, lost));
        self.rest(number, done);
    }

    /// Ends of waits go to those who wait.
    fn tell(&mut self, event: Event, at_us: u64) {
        let (request, granted) = match event.kind {
            EventKind::Granted { request, granted, .. } => (request, Some(granted)),
            EventKind::WaitEnded { request, .. } => (request, None),
            _ => return,
        };
        let Some(number) = self.waiting.remove(&request) else { return };
        let done = at_us + self.random.random_range(50..3_000);
        let record = self.clients[number as usize].waited(granted, done);
        self.records.push(record);
        self.rest(number, done);
    }
}
