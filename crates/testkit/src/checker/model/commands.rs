//! What the model makes of each command, held against the outcome in the log.

use super::Why;
use super::tables::{Request, State, Tables};
use crate::checker::facts::lock_of;
use crate::dump::{Acquire, Command, LeaseRequest, Operation, Outcome, RenewLease, Renewed, Wait};

type Verdict = Result<(), String>;

impl Tables {
    /// Runs one command and compares.
    pub(super) fn run(&mut self, command: &Command, outcome: &Outcome) -> Verdict {
        let verdict = self.run_one(command, outcome);
        self.hand_over();
        verdict.map_err(|why| format!("{:?} came to {outcome:?}, but {why}", command.operation))
    }

    fn run_one(&mut self, command: &Command, outcome: &Outcome) -> Verdict {
        if let Outcome::Refused(refusal) = outcome {
            self.remember_refusal_at_a_limit(command, refusal);
            return self.refused(command, &name_of(refusal));
        }
        if let Some(not_after) = command.not_after.filter(|not_after| *not_after < self.now) {
            return Err(format!("it was not to be applied after {not_after}, and log time is {}", self.now));
        }
        if let Operation::Found { counter_start } = command.operation {
            if !self.founded {
                (self.next_token, self.next_lease) = (counter_start.max(1), counter_start.max(1));
            }
            self.founded = true;
            return expect(outcome, &Outcome::Founded);
        }
        if !self.founded {
            return Err("the cluster is not founded".into());
        }
        match &command.operation {
            Operation::Acquire(acquire) => self.acquire(acquire, outcome),
            Operation::CancelAcquire { request, attempt } => self.cancel(*request, *attempt, outcome),
            Operation::Release { namespace, name, token } => self.release(&lock_of(namespace, name), *token, outcome),
            Operation::Renew { leases } => self.renew_all(leases, outcome),
            Operation::CloseLease { lease } => {
                let grants = self.leases.get(lease).map(|row| row.grants.len());
                self.end_lease(*lease, Why::LeaseClosed);
                let grants_ended = u32::try_from(grants.unwrap_or(0)).unwrap_or(u32::MAX);
                expect(outcome, &Outcome::Closed { closed: grants.is_some(), grants_ended })
            }
            Operation::Found { .. } | Operation::Tick | Operation::SetLimits(_) | Operation::SetLevel(_) => {
                expect(outcome, &Outcome::Done)
            }
        }
    }

    /// A refusal at a limit is remembered like that of a try: an earlier attempt that comes later has no effect.
    fn remember_refusal_at_a_limit(&mut self, command: &Command, refusal: &serde_json::Value) {
        let limit = refusal.pointer("/LimitReached/limit").and_then(serde_json::Value::as_str);
        if let (Operation::Acquire(acquire), Some("leases_max" | "waiters_per_lock_max")) = (&command.operation, limit)
        {
            let mark = self.marks.entry(acquire.request.client).or_default();
            *mark = (*mark).max(acquire.lowest_unanswered);
            self.put_state(acquire, State::Refused);
        }
    }

    /// Other refusals change nothing. Those that follow from the model's tables must follow from them.
    fn refused(&self, command: &Command, refusal: &str) -> Verdict {
        let plausible = match refusal {
            "NotFounded" => !self.founded,
            "TooLate" => command.not_after.is_some_and(|not_after| not_after < self.now),
            "AlreadyAnswered" => matches!(&command.operation, Operation::Acquire(acquire)
                if self.marks.get(&acquire.request.client).is_some_and(|mark| acquire.request.counter < *mark)),
            "Superseded" => matches!(&command.operation, Operation::Acquire(acquire)
                if self.requests.get(&acquire.request).is_some_and(|known| acquire.attempt < known.attempt)),
            "WrongToken" => matches!(&command.operation, Operation::Release { namespace, name, token }
                if self.holders.get(&lock_of(namespace, name)) != Some(token)),
            _ => true,
        };
        if plausible { Ok(()) } else { Err("by the model there is no reason for that refusal".into()) }
    }

    fn acquire(&mut self, acquire: &Acquire, outcome: &Outcome) -> Verdict {
        let id = acquire.request;
        if let Some(mark) = self.marks.get(&id.client).filter(|mark| id.counter < **mark) {
            return Err(format!("its counter is below the instance's mark {mark}"));
        }
        let mark = self.marks.entry(id.client).or_default();
        *mark = (*mark).max(acquire.lowest_unanswered);
        let Some(known) = self.requests.get(&id).copied() else { return self.acquire_anew(acquire, outcome) };
        let later = acquire.attempt > known.attempt;
        match known.state {
            State::Over { why: Why::Cancelled, .. } | State::Over { token: None, .. } | State::Refused if later => {
                self.acquire_anew(acquire, outcome)
            }
            State::Over { why: Why::Cancelled, .. } => self.ended(outcome, Why::Cancelled),
            _ if acquire.attempt < known.attempt => Err(format!("attempt {} came before it", known.attempt)),
            State::Over { why, .. } => {
                self.note_attempt(acquire);
                self.ended(outcome, why)
            }
            State::Refused => same(matches!(outcome, Outcome::Held { .. }), "the same attempt was refused before"),
            State::Granted(lease) => {
                self.note_attempt(acquire);
                self.is_granted(lease, outcome)
            }
            State::Waiting(waiter) => self.wait_again(acquire, waiter, later, outcome),
        }
    }

    fn wait_again(&mut self, acquire: &Acquire, waiter: u64, later: bool, outcome: &Outcome) -> Verdict {
        self.note_attempt(acquire);
        match acquire.wait {
            Wait::Try if later => {
                self.end_wait(waiter, Why::Cancelled);
                self.hand_over();
                self.put_state(acquire, State::Refused);
                same(matches!(outcome, Outcome::Held { .. }), "a later try gives up the wait")
            }
            Wait::For { wait_ms } if later => {
                self.rearm(waiter, self.now + wait_ms);
                self.is_queued(waiter, outcome)
            }
            Wait::Try | Wait::For { .. } => self.is_queued(waiter, outcome),
        }
    }

    fn acquire_anew(&mut self, acquire: &Acquire, outcome: &Outcome) -> Verdict {
        let locks: Vec<String> = acquire.locks.iter().map(|lock| lock_of(&acquire.namespace, &lock.name)).collect();
        let LeaseRequest::Own { ttl_ms } = acquire.lease;
        let obstacle = locks.iter().find_map(|lock| self.obstacle(lock, None));
        match (obstacle, acquire.wait) {
            (None, _) => {
                self.put_state(acquire, State::Refused);
                let lease = self.grant(acquire.request, locks, ttl_ms, false);
                self.is_granted(lease, outcome)
            }
            (Some(obstacle), Wait::Try) => {
                self.put_state(acquire, State::Refused);
                same(matches!(outcome, Outcome::Held { .. }), &obstacle)
            }
            (Some(obstacle), Wait::For { wait_ms }) => {
                let deadline = self.now + wait_ms;
                self.put_state(acquire, State::Refused);
                let ahead = locks.iter().map(|lock| self.queue(lock).len()).max().unwrap_or(0);
                self.enqueue(acquire.request, locks, ttl_ms, deadline);
                let queued = Outcome::Queued { ahead: u32::try_from(ahead).unwrap_or(u32::MAX), deadline };
                same(*outcome == queued, &format!("{obstacle}: {queued:?} was expected"))
            }
        }
    }

    fn is_granted(&self, id: crate::dump::Lease, outcome: &Outcome) -> Verdict {
        let row = &self.leases[&id];
        let left = if row.confirm { 0 } else { row.deadline - self.now };
        let agrees = matches!(outcome, Outcome::Granted { lease, grants, left_ms, confirm }
            if (*lease, *left_ms, *confirm) == (id, left, row.confirm)
                && grants.iter().map(|grant| grant.token).eq(row.grants.iter().map(|(_, token)| *token)));
        same(
            agrees,
            &format!("it holds {:?} under lease {id:?} with {left} ms left, confirm {}", row.grants, row.confirm),
        )
    }

    fn is_queued(&self, waiter: u64, outcome: &Outcome) -> Verdict {
        let until = self.waiters[&waiter].deadline;
        let agrees = matches!(outcome, Outcome::Queued { deadline, .. } if *deadline == until);
        same(agrees, &format!("it waits until {until}"))
    }

    fn ended(&self, outcome: &Outcome, why: Why) -> Verdict {
        let agrees = matches!(outcome, Outcome::Ended { reason, .. } if *reason == format!("{why:?}"));
        same(agrees, &format!("it had ended: {why:?}"))
    }

    fn cancel(&mut self, id: leasehold_state_machine::RequestId, attempt: u32, outcome: &Outcome) -> Verdict {
        let known = self.requests.get(&id).copied();
        let live = known.is_some_and(|known| matches!(known.state, State::Waiting(_) | State::Granted(_)));
        if !live && self.marks.get(&id.client).is_some_and(|mark| id.counter < *mark) {
            // The instance's mark refuses whatever may still come of this id: it need not be remembered any more.
            let agrees = matches!(outcome, Outcome::Cancelled(did) if did == "NotFound" || did == "Superseded");
            return same(agrees, "the instance's mark covers it");
        }
        if known.is_some_and(|known| attempt < known.attempt) {
            return expect(outcome, &Outcome::Cancelled("Superseded".into()));
        }
        let (did, before) = match known.map(|known| known.state) {
            Some(State::Waiting(waiter)) => {
                self.end_wait(waiter, Why::Cancelled);
                ("LeftQueue", None)
            }
            Some(State::Granted(lease)) => {
                self.end_lease(lease, Why::Cancelled);
                ("UndidGrant", self.requests.get(&id).map(|known| known.state))
            }
            Some(over @ State::Over { token: Some(_), .. }) => ("NotFound", Some(over)),
            Some(State::Over { .. } | State::Refused) | None => ("NotFound", None),
        };
        let state = before.unwrap_or(State::Over { why: Why::Cancelled, token: None });
        self.requests.insert(id, Request { attempt, state });
        expect(outcome, &Outcome::Cancelled(did.into()))
    }

    fn release(&mut self, lock: &str, token: u64, outcome: &Outcome) -> Verdict {
        let held = self.holders.get(lock) == Some(&token);
        if held {
            self.end_grant(token, Why::Released);
        }
        let agrees = matches!(outcome, Outcome::Released { released, .. } if *released == held);
        same(agrees, &format!("by the model token {token} {} {lock}", if held { "held" } else { "did not hold" }))
    }

    fn renew_all(&mut self, asked: &[RenewLease], outcome: &Outcome) -> Verdict {
        let Outcome::Renewed(renewed) = outcome else { return Err("it is a renewal".into()) };
        same(asked.len() == renewed.len(), "it names another number of leases")?;
        for (asked, renewed) in asked.iter().zip(renewed) {
            if matches!(renewed, Renewed::TtlOutOfRange { .. }) && asked.ttl_ms.is_some() {
                continue;
            }
            let left = self.renew(asked.lease, asked.ttl_ms);
            let agrees = match renewed {
                Renewed::Alive { left_ms } => left == Some(*left_ms),
                Renewed::Gone { .. } => left.is_none(),
                Renewed::TtlOutOfRange { .. } => false,
            };
            same(agrees, &format!("by the model lease {:?} has {left:?} ms left", asked.lease))?;
        }
        Ok(())
    }

    fn note_attempt(&mut self, acquire: &Acquire) {
        if let Some(known) = self.requests.get_mut(&acquire.request) {
            known.attempt = known.attempt.max(acquire.attempt);
        }
    }

    fn put_state(&mut self, acquire: &Acquire, state: State) {
        self.requests.insert(acquire.request, Request { attempt: acquire.attempt, state });
    }
}

/// The name of a refusal: a bare string, or the key of an object.
fn name_of(refusal: &serde_json::Value) -> String {
    let key = refusal.as_object().and_then(|object| object.keys().next()).map(String::as_str);
    refusal.as_str().or(key).unwrap_or_default().to_owned()
}

fn same(agrees: bool, expected: &str) -> Verdict {
    if agrees { Ok(()) } else { Err(expected.to_owned()) }
}

fn expect(outcome: &Outcome, expected: &Outcome) -> Verdict {
    same(outcome == expected, &format!("{expected:?} was expected"))
}
