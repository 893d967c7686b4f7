//! What readers see of a machine: all that the rules know of it.

use leasehold_state_machine::{HolderView, LeaseId, LossReason, Mode, RequestView, StateMachine, WaiterView};

use super::message::{RequestKey, request_id, request_key, session_id};
use super::tables::NAMESPACE;
use super::world::{LOCKS, World};

/// What readers see of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Picture {
    /// In the order of [`LOCKS`].
    pub(super) locks: [LockPicture; LOCKS.len()],
    /// Requests that are known.
    pub(super) requests: Vec<(RequestKey, Standing)>,
    /// Leases of holders and waiters, and sessions, that are alive.
    pub(super) leases: Vec<u128>,
    /// Something is due that has not expired.
    pub(super) due: bool,
    /// Something will expire.
    pub(super) pending: bool,
}

/// One lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LockPicture {
    /// In grant order.
    pub(super) holders: Vec<Holder>,
    /// In queue order.
    pub(super) waiters: Vec<Waiting>,
}

/// One holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    /// Its token.
    pub(super) token: u64,
    /// Its lease.
    pub(super) lease: u128,
    /// How it holds.
    pub(super) mode: Mode,
    /// Its actor; empty: none.
    pub(super) actor: String,
}

/// One waiter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Its request.
    pub(super) request: RequestKey,
    /// How it wants to hold.
    pub(super) mode: Mode,
    /// Its session, or the lease of what it converts.
    pub(super) lease: Option<u128>,
    /// Its actor; empty: none.
    pub(super) actor: String,
    /// Token of the grant that it converts.
    pub(super) converts: Option<u64>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    Waiting { attempt: u32 },
    Granted { attempt: u32, tokens: Vec<u64> },
    Ended { attempt: u32, reason: LossReason },
}

impl Picture {
    pub(super) fn standing(&self, request: RequestKey) -> Option<&Standing> {
        self.requests.iter().find(|(key, _)| *key == request).map(|(_, standing)| standing)
    }

    /// Nothing is held or awaited, and no session is open.
    pub(super) fn is_idle(&self) -> bool {
        self.leases.is_empty() && self.locks.iter().all(|lock| lock.holders.is_empty() && lock.waiters.is_empty())
    }
}

/// What readers see of a machine. Every lock and request is asked for by name.
pub(super) fn picture(world: &World, machine: &StateMachine) -> Picture {
    let mut picture = Picture::default();
    for (lock, name) in picture.locks.iter_mut().zip(LOCKS) {
        let Some(view) = machine.lock(NAMESPACE, name) else { continue };
        assert_eq!(view.waiter_count, view.waiters.len(), "small queues are seen whole");
        let holder =
            |h: &HolderView| Holder { token: h.token.0, lease: h.lease.0, mode: h.mode, actor: h.actor.clone() };
        let waiting = |w: &WaiterView| Waiting {
            request: request_key(w.request),
            mode: w.mode,
            lease: w.lease.map(|lease| lease.0),
            actor: w.actor.clone(),
            converts: w.converts.map(|token| token.0),
        };
        lock.holders = view.holders.iter().map(holder).collect();
        lock.waiters = view.waiters.iter().map(waiting).collect();
    }
    for (client, plan) in (0..).zip(&world.clients) {
        let asks: usize = plan.tasks.iter().map(|task| task.asks.len()).sum();
        for counter in 1..=asks as u8 {
            let standing = match machine.request(request_id((client, counter))) {
                RequestView::Unknown => continue,
                RequestView::Waiting { attempt } => Standing::Waiting { attempt },
                RequestView::Granted { attempt, granted } => {
                    Standing::Granted { attempt, tokens: granted.grants.iter().map(|grant| grant.token.0).collect() }
                }
                RequestView::Ended { attempt, ended } => Standing::Ended { attempt, reason: ended.reason },
            };
            picture.requests.push(((client, counter), standing));
        }
    }
    picture.leases = leases(world, machine, &picture);
    let earliest = machine.earliest_deadline();
    picture.due = earliest.is_some_and(|earliest| earliest < machine.now());
    picture.pending = earliest.is_some();
    picture
}

fn leases(world: &World, machine: &StateMachine, picture: &Picture) -> Vec<u128> {
    let holders = picture.locks.iter().flat_map(|lock| &lock.holders).map(|holder| holder.lease);
    let waiters = picture.locks.iter().flat_map(|lock| &lock.waiters).filter_map(|waiter| waiter.lease);
    let sessions = (0..world.clients.len() as u8).map(|client| session_id(client).0);
    let mut leases: Vec<u128> = holders.chain(waiters).chain(sessions).collect();
    leases.sort_unstable();
    leases.dedup();
    leases.retain(|lease| machine.lease_left_ms(LeaseId(*lease)).is_some());
    leases
}
