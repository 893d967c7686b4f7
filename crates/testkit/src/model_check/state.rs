//! One state of a world.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::client::{Client, Phase, Session, Task};
use super::message::{Message, RequestKey};
use super::rule::{Flaw, Rule};
use super::run::Run;
use super::tables::{self, Tables};
use super::world::{LOCKS, World};

/// The machine, the clients and the network between them.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// The real machine.
    pub(super) tables: Arc<Tables>,
    /// Steps that log time has taken.
    pub(super) now: u8,
    /// In the order of the world's plan.
    pub(super) clients: Vec<Arc<Client>>,
    /// All that was ever sent.
    pub(super) sent: Arc<BTreeSet<Message>>,
    /// What the rules remember of the way here.
    pub(super) ghost: Arc<Ghost>,
    /// The rule that the last step broke.
    pub(super) flaw: Option<Flaw>,
}

/// What the rules remember, beside the machine and without it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Ghost {
    /// Of requests.
    pub(super) requests: BTreeMap<RequestKey, Past>,
    /// Tokens whose grants were ended by force.
    pub(super) forced: BTreeSet<u64>,
    /// Lock-delays by lock: the last step of each.
    pub(super) delays: [Option<u8>; LOCKS.len()],
    /// Sessions that have ended, by client.
    pub(super) ended_sessions: BTreeSet<u8>,
    /// The last step of open sessions, by client.
    pub(super) sessions_until: BTreeMap<u8, u8>,
    /// The greatest token so far.
    pub(super) top_token: u64,
}

/// What the rules remember of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Past {
    /// The greatest attempt that was applied, or cancelled.
    pub(super) applied: u32,
    /// The greatest attempt whose sender was told that it has nothing.
    pub(super) refused: u32,
    /// The last step of its wait.
    pub(super) waits_until: Option<u8>,
    /// The last attempt that was granted.
    pub(super) granted: Option<u32>,
    /// That grant was undone by a cancel.
    pub(super) undone: bool,
}

impl State {
    /// The beginning of a world.
    pub(super) fn first(run: &Run) -> Self {
        let world = &run.world;
        let clients = world.clients.iter().map(|plan| Client {
            crashed: false,
            session: match plan.session {
                None => Session::Absent,
                Some(session) if session.open => Session::Open { through: Some(session.ttl.min(world.steps)) },
                Some(_) => Session::Unopened,
            },
            tasks: vec![Task { step: 0, counter: 0, phase: Phase::Ready, holds: Vec::new() }; plan.tasks.len()],
            renewals: 0,
            forced: false,
            losses: BTreeMap::new(),
            next_counter: 1,
        });
        let open = (0..).zip(&world.clients).filter_map(|(client, plan)| {
            let session = plan.session.filter(|session| session.open)?;
            Some((client, session.ttl.min(world.steps)))
        });
        Self {
            tables: tables::found(run),
            now: 0,
            clients: clients.map(Arc::new).collect(),
            sent: Arc::default(),
            ghost: Arc::new(Ghost { sessions_until: open.collect(), ..Ghost::default() }),
            flaw: None,
        }
    }

    /// The step through which something lasts from `sent` on: none where that has passed, and all those beyond the world's
    /// end are one, so that states that differ in nothing else are the same.
    pub(super) fn through(&self, world: &World, sent: u8, ms: u64) -> Option<u8> {
        let through = u64::from(sent) + ms / world.step_ms;
        let through = through.min(u64::from(world.steps)) as u8;
        (through >= self.now).then_some(through)
    }

    pub(super) fn client_mut(&mut self, client: u8) -> &mut Client {
        Arc::make_mut(&mut self.clients[usize::from(client)])
    }

    pub(super) fn ghost_mut(&mut self) -> &mut Ghost {
        Arc::make_mut(&mut self.ghost)
    }

    /// Tokens of all grants, as one who looks is told.
    pub(super) fn held(&self) -> Vec<u64> {
        self.tables.picture.locks.iter().flat_map(|lock| &lock.holders).map(|holder| holder.token).collect()
    }

    pub(super) fn past_mut(&mut self, request: RequestKey) -> &mut Past {
        self.ghost_mut().requests.entry(request).or_default()
    }

    /// Notes that a rule is broken; the first one stays.
    pub(super) fn break_rule(&mut self, rule: Rule, what: impl FnOnce() -> String) {
        if self.flaw.is_none() {
            self.flaw = Some(Flaw { rule, what: what() });
        }
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.now == other.now
            && self.tables == other.tables
            && self.clients == other.clients
            && self.sent == other.sent
            && self.ghost == other.ghost
            && self.flaw == other.flaw
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.tables.hash(hasher);
        self.clients.hash(hasher);
        self.sent.hash(hasher);
        self.ghost.hash(hasher);
        self.flaw.hash(hasher);
    }
}
