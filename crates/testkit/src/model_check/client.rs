//! A client: what it has asked for, what it was told, and what it may count on by that.

use std::collections::BTreeMap;

use leasehold_state_machine::Mode;

use super::world::Lock;

/// One client. All times are steps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Client {
    /// It does nothing any more, and hears nothing.
    pub(super) crashed: bool,
    /// Its session.
    pub(super) session: Session,
    /// In the order of its plan.
    pub(super) tasks: Vec<Task>,
    /// Renewals that it has sent.
    pub(super) renewals: u8,
    /// It has ended a grant by force.
    pub(super) forced: bool,
    /// Leases that it knows to have lost grants by force, and how many.
    pub(super) losses: BTreeMap<u128, u64>,
    /// Counter of its next request.
    pub(super) next_counter: u8,
}

/// See [`Client::session`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Session {
    /// It has none.
    Absent,
    /// Not asked for yet.
    Unopened,
    /// Asked for at this step.
    Opening { sent: u8 },
    /// It was told that it is open, and counts on it through this step.
    Open { through: Option<u8> },
    /// It has closed it, or was told that it has ended.
    Over,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Task {
    /// Which ask it is at.
    pub(super) step: u8,
    /// Counter of that ask's request; 0 before its first send.
    pub(super) counter: u8,
    /// How far that is.
    pub(super) phase: Phase,
    /// What it holds, as far as it knows.
    pub(super) holds: Vec<Hold>,
}

/// See [`Task::phase`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// Not sent.
    Ready,
    /// Sent at this step; `mail` is on its way back.
    Asking { attempt: u8, sent: u8, mail: Option<Mail> },
    /// A cancel was sent, and is not answered.
    Cancelling { attempt: u8 },
    /// Answered.
    Settled { attempt: u8, got: bool },
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Mail {
    /// Granted, with what can be counted on, and how many grants of its lease were ended by force.
    Granted { lease: u128, grants: Vec<(Lock, Mode, u64)>, through: Option<u8>, forced: u64 },
    /// Not granted. `lost`: what was to be converted is gone too.
    No { lost: bool },
}

/// A lock that a client holds, as far as it knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Hold {
    /// The lease it hangs on.
    pub(super) lease: u128,
    /// Which lock.
    pub(super) lock: Lock,
    /// The mode in which the client may use it.
    pub(super) mode: Mode,
    /// Its token.
    pub(super) token: u64,
    /// Through which step it counts on a lease of its own; None: on nothing.
    pub(super) through: Option<u8>,
    /// Of which ask it is.
    pub(super) step: u8,
}

impl Client {
    /// Whether it may use its session.
    pub(super) fn has_session(&self) -> bool {
        matches!(self.session, Session::Open { .. })
    }

    /// The lowest counter that it has no answer for, or that of a new request.
    pub(super) fn lowest_unanswered(&self) -> u8 {
        let open = |task: &&Task| matches!(task.phase, Phase::Asking { .. } | Phase::Cancelling { .. });
        let counters = self.tasks.iter().filter(open).map(|task| task.counter);
        counters.min().unwrap_or(self.next_counter)
    }

    /// Leases that it may renew.
    pub(super) fn leases(&self, session: u128) -> Vec<u128> {
        let own = self.tasks.iter().flat_map(|task| &task.holds).map(|hold| hold.lease);
        let mut leases: Vec<u128> = own.filter(|lease| *lease != session).collect();
        if self.has_session() {
            leases.push(session);
        }
        leases.sort_unstable();
        leases.dedup();
        leases
    }

    /// Forgets what is no longer counted on, so that states that differ in nothing else are the same.
    pub(super) fn settle_times(&mut self, now: u8) {
        let still = |through: &mut Option<u8>| *through = through.filter(|through| *through >= now);
        if let Session::Open { through } = &mut self.session {
            still(through);
        }
        for task in &mut self.tasks {
            if let Phase::Asking { mail: Some(Mail::Granted { through, .. }), .. } = &mut task.phase {
                still(through);
            }
            for hold in &mut task.holds {
                still(&mut hold.through);
            }
        }
    }

    /// It stops for ever. What it holds it may go on using for as long as it counts on it.
    pub(super) fn crash(&mut self, session: u128) {
        self.crashed = true;
        let of_session = self.counts_on(session, session, None).is_some();
        for task in &mut self.tasks {
            task.phase = Phase::Settled { attempt: 0, got: false };
            task.holds.retain(|hold| if hold.lease == session { of_session } else { hold.through.is_some() });
        }
    }

    /// Through which step it counts on a lease: its session's time is kept in one place, that of others with each hold.
    pub(super) fn counts_on(&self, lease: u128, session: u128, own: Option<u8>) -> Option<u8> {
        match self.session {
            Session::Open { through } if lease == session => through,
            _ => own,
        }
    }

    /// It was told how many grants of a lease were ended by force. Unless it knew, it must look which are still there:
    /// then it keeps only those that are `held`. Whether it must.
    pub(super) fn told_of_force(&mut self, lease: u128, losses: u64, held: &[u64]) -> bool {
        let known = self.losses.get(&lease).copied().unwrap_or(0);
        if losses > known {
            self.losses.insert(lease, losses);
            for task in &mut self.tasks {
                task.holds.retain(|hold| hold.lease != lease || held.contains(&hold.token));
            }
        }
        losses != known
    }

    /// A renewal was answered: the lease is alive.
    pub(super) fn renewed(&mut self, lease: u128, session: u128, through: Option<u8>) {
        if let Session::Open { through: known } = &mut self.session
            && lease == session
        {
            *known = (*known).max(through);
        }
        for hold in self.tasks.iter_mut().flat_map(|task| &mut task.holds).filter(|hold| hold.lease == lease) {
            hold.through = if lease == session { None } else { hold.through.max(through) };
        }
    }

    /// Drops what hangs on a lease that has ended.
    pub(super) fn lose_lease(&mut self, lease: u128) {
        for task in &mut self.tasks {
            task.holds.retain(|hold| hold.lease != lease);
        }
    }
}

impl Task {
    /// It was granted these locks.
    pub(super) fn take(&mut self, lease: u128, grants: &[(Lock, Mode, u64)], through: Option<u8>) {
        let step = self.step;
        let hold = |&(lock, mode, token): &(Lock, Mode, u64)| Hold { lease, lock, mode, token, through, step };
        self.holds.extend(grants.iter().map(hold));
    }

    /// What it holds of a lock was converted to `grant`, unless it knows that the lease has ended since; None: that is gone
    /// already.
    pub(super) fn convert(&mut self, lease: u128, lock: Lock, grant: Option<(Lock, Mode, u64)>, through: Option<u8>) {
        let Some((_, mode, token)) = grant else {
            self.holds.retain(|hold| hold.lock != lock);
            return;
        };
        for hold in self.holds.iter_mut().filter(|hold| hold.lease == lease && hold.lock == lock) {
            (hold.mode, hold.token, hold.through) = (mode, token, hold.through.max(through));
        }
    }
}
