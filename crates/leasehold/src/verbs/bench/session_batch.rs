//! The caller of `sessions`: many sessions, opened one after another and renewed together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use leasehold_client::clock::Moment;
use leasehold_proto::v1::answer::Answer;
use leasehold_proto::v1::operation::Operation;
use leasehold_proto::v1::{RenewLease, RenewRequest, RenewResponse};

use super::caller::{Caller, Context, Phase, Step, close_lease, open_session, session_id, unexpected};
use super::record::Measure;

/// Most sessions that one message renews.
const BATCH_MAX: usize = 500;
/// Batches of a connection, where there are too few sessions to fill larger ones.
const BATCHES_PER_CONNECTION: usize = 4;
/// How often a caller that has nothing due looks whether the run is to end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What all batches of a run share.
#[derive(Debug)]
pub(super) struct SessionPlan {
    pub(super) namespace: String,
    pub(super) ttl_ms: u64,
    /// Between two renewals of a session.
    pub(super) every: Duration,
    /// Batches in all, and those whose sessions are all open.
    pub(super) batches: usize,
    pub(super) opened: AtomicUsize,
}

/// How many sessions a batch has.
pub(super) fn batch_size(sessions: usize, connections: usize) -> usize {
    sessions.div_ceil(BATCHES_PER_CONNECTION * connections.max(1)).clamp(1, BATCH_MAX)
}

pub(super) struct SessionBatch {
    plan: Arc<SessionPlan>,
    /// Its number among the batches: they renew in turn, not all at once.
    number: usize,
    sessions: Vec<String>,
    /// Of these sessions, how many are open.
    open: usize,
    counted: bool,
    due: Option<Moment>,
    sent: Option<Moment>,
}

impl SessionBatch {
    pub(super) fn new(plan: &Arc<SessionPlan>, number: usize, sessions: usize) -> Self {
        let sessions = (0..sessions).map(|_| session_id()).collect();
        Self { plan: Arc::clone(plan), number, sessions, open: 0, counted: false, due: None, sent: None }
    }

    fn renewal(&self) -> Operation {
        let lease = |lease: &String| RenewLease { lease: lease.clone(), ttl_ms: 0, exact_for_token: 0 };
        let leases = self.sessions[..self.open].iter().map(lease).collect();
        Operation::Renew(RenewRequest { leases, all_or_nothing: false })
    }

    /// Sends the renewal if it is due; else says when to look again.
    fn keep_alive(&mut self, now: Moment) -> Step {
        let due = *self.due.get_or_insert_with(|| {
            let share = u32::try_from(self.number).unwrap_or(0);
            let all = u32::try_from(self.plan.batches).unwrap_or(1).max(1);
            now.after(self.plan.every * share / all)
        });
        if self.open == 0 || now < due {
            return Step::At(due.min(now.after(LOOK_EVERY)));
        }
        self.sent.get_or_insert(now);
        Step::Send(self.renewal())
    }

    fn renewed(&mut self, context: &mut Context<'_>, response: &RenewResponse) {
        let now = context.now;
        if let Some(sent) = self.sent.take() {
            context.record.took(Measure::Renew, now.since(sent), now);
            // Counted from the send, so that a slow answer does not thin the load out.
            self.due = Some(sent.after(self.plan.every));
        }
        let mut alive = response.leases.iter().map(|lease| {
            if let Some(error) = &lease.error {
                context.record.error(&error.reason);
            }
            lease.alive || lease.error.is_some()
        });
        let before = self.sessions.len();
        self.sessions.retain(|_| alive.next().unwrap_or(true));
        let gone = before - self.sessions.len();
        self.open -= gone;
        context.record.lost += gone as u64;
        context.record.worked(self.open as u64, now);
    }

    fn prepare(&mut self, context: &mut Context<'_>, answer: Option<Answer>) -> Step {
        match answer {
            None => {}
            Some(Answer::OpenSession(_)) => self.open += 1,
            Some(Answer::Renew(response)) => self.renewed(context, &response),
            Some(other) => return unexpected(context, &other),
        }
        // Those that are open have to live until the others are.
        if let Step::Send(renewal) = self.keep_alive(context.now) {
            return Step::Send(renewal);
        }
        if let Some(session) = self.sessions.get(self.open) {
            return Step::Send(open_session(&self.plan.namespace, session, self.plan.ttl_ms));
        }
        if !self.counted {
            self.counted = true;
            self.plan.opened.fetch_add(1, Ordering::Relaxed);
        }
        if self.plan.opened.load(Ordering::Relaxed) >= self.plan.batches {
            return Step::Done;
        }
        Step::At(context.now.after(LOOK_EVERY))
    }
}

impl Caller for SessionBatch {
    fn step(&mut self, context: &mut Context<'_>, answer: Option<Answer>) -> Step {
        match (context.phase, answer) {
            (Phase::Prepare, answer) => self.prepare(context, answer),
            (Phase::Run, Some(Answer::Renew(response))) => {
                self.renewed(context, &response);
                if context.ending { Step::Done } else { self.keep_alive(context.now) }
            }
            (Phase::Run, Some(other)) => unexpected(context, &other),
            (Phase::Run, None) if context.ending => Step::Done,
            (Phase::Run, None) => self.keep_alive(context.now),
            (Phase::CleanUp, answer) => {
                if answer.is_some() {
                    self.sessions.pop();
                }
                self.sessions.last().map_or(Step::Done, |session| Step::Send(close_lease(session)))
            }
        }
    }
}
