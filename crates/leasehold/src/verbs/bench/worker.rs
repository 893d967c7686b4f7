//! The caller of `uncontended`, `contended`, `try-busy` and `mixed`: one action after another, each to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leasehold_client::clock::Moment;
use leasehold_proto::v1::acquire_response::Result as Acquired;
use leasehold_proto::v1::answer::Answer;
use leasehold_proto::v1::operation::Operation;
use leasehold_proto::v1::{AcquireResponse, GetRequest, Granted};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::caller::{
    Caller, Context, Phase, RequestIds, Step, Under, WAIT_MS, acquire, close_lease, open_session, release, session_id,
    unexpected,
};
use super::record::Measure;

/// What a worker does, over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// Acquires and releases a lock of its own.
    Own,
    /// The same, as load beside what is measured.
    Background,
    /// Waits for one of the contended locks, and releases it at once.
    Contended,
    /// Tries one of the locks that another holds.
    Busy,
    /// Of a hundred: 70 own locks, 15 tries of held ones, 10 waits for contended ones, 5 reads.
    Mixed,
}

/// What all workers of a run share.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) namespace: String,
    /// Time to live of a lease that is not renewed, in ms.
    pub(super) ttl_ms: u64,
    /// Time to live of a session, in ms: longer than the run, so that nobody has to renew it.
    pub(super) session_ttl_ms: u64,
    /// Begins the name of every lock.
    pub(super) prefix: String,
    /// Locks that many wait for.
    pub(super) contended: Vec<Contended>,
    /// Locks that stay held.
    pub(super) busy: Vec<String>,
    /// Where times that are shared are counted from.
    pub(super) origin: Moment,
}

/// A lock that many wait for.
#[derive(Debug)]
pub(super) struct Contended {
    pub(super) name: String,
    /// When its last release was sent, in ns since the origin; 0: none was.
    released_ns: AtomicU64,
}

impl Contended {
    pub(super) fn new(name: String) -> Self {
        Self { name, released_ns: AtomicU64::new(0) }
    }

    /// It was granted to a caller that releases it at once. Says how long ago the release before was sent, if there was one.
    pub(super) fn passed_on(&self, origin: Moment, now: Moment) -> Option<Duration> {
        let now_ns = u64::try_from(now.since(origin).as_nanos()).unwrap_or(u64::MAX).max(1);
        let before = self.released_ns.swap(now_ns, Ordering::Relaxed);
        (before != 0).then(|| Duration::from_nanos(now_ns.saturating_sub(before)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Own,
    Contended(usize),
    Busy(usize),
}

#[derive(Debug, Clone, Copy)]
enum Doing {
    Nothing,
    Acquiring(Action, Moment),
    Releasing(Action, u64, Moment),
    Looking(Moment),
}

pub(super) struct Worker {
    common: Arc<Common>,
    habit: Habit,
    /// Its number among the workers.
    number: usize,
    own: String,
    session: Option<String>,
    ids: RequestIds,
    random: StdRng,
    doing: Doing,
}

impl Worker {
    pub(super) fn new(common: &Arc<Common>, habit: Habit, number: usize) -> Self {
        let session = matches!(habit, Habit::Contended | Habit::Mixed).then(session_id);
        Self {
            own: format!("{}own-{number}", common.prefix),
            common: Arc::clone(common),
            habit,
            number,
            session,
            ids: RequestIds::new(),
            random: StdRng::seed_from_u64(number as u64),
            doing: Doing::Nothing,
        }
    }

    fn choose(&mut self) -> Option<Action> {
        let (busy, contended) = (self.common.busy.len().max(1), self.common.contended.len().max(1));
        match self.habit {
            Habit::Own | Habit::Background => Some(Action::Own),
            Habit::Contended => Some(Action::Contended(self.number % contended)),
            Habit::Busy => Some(Action::Busy(self.number % busy)),
            Habit::Mixed => match self.random.random_range(0..100) {
                0..70 => Some(Action::Own),
                70..85 => Some(Action::Busy(self.random.random_range(0..busy))),
                85..95 => Some(Action::Contended(self.random.random_range(0..contended))),
                _ => None,
            },
        }
    }

    fn name(&self, action: Action) -> &String {
        match action {
            Action::Own => &self.own,
            Action::Contended(lock) => &self.common.contended[lock].name,
            Action::Busy(lock) => &self.common.busy[lock],
        }
    }

    /// Begins the next action, or sends again what got no answer.
    fn next(&mut self, context: &Context<'_>) -> Step {
        if let Doing::Nothing = self.doing {
            if context.ending {
                return Step::Done;
            }
            self.ids.fresh();
            self.doing = match self.choose() {
                Some(action) => Doing::Acquiring(action, context.now),
                None => Doing::Looking(context.now),
            };
        }
        Step::Send(self.operation())
    }

    fn operation(&mut self) -> Operation {
        let common = Arc::clone(&self.common);
        match self.doing {
            Doing::Releasing(action, token, _) => release(&common.namespace, self.name(action), token),
            Doing::Acquiring(action, _) => {
                let names = std::slice::from_ref(self.name(action));
                let request = match (action, &self.session) {
                    (Action::Contended(_), Some(session)) => {
                        acquire(&common.namespace, names, Under::Session(session), Some(WAIT_MS))
                    }
                    _ => acquire(&common.namespace, names, Under::OwnLease(common.ttl_ms), None),
                };
                self.ids.mark(request)
            }
            Doing::Looking(_) | Doing::Nothing => {
                Operation::Get(GetRequest { namespace: common.namespace.clone(), name: self.own.clone(), stale: false })
            }
        }
    }

    fn answered(&mut self, context: &mut Context<'_>, answer: Answer) -> Step {
        match (self.doing, answer) {
            (Doing::Acquiring(action, sent), Answer::Acquire(AcquireResponse { result: Some(result) })) => {
                self.acquired(context, action, sent, result)
            }
            (Doing::Releasing(action, _, sent), Answer::Release(released)) => {
                if !released.released {
                    context.record.error("a lock was lost before its release");
                }
                let took = context.now.since(sent);
                if self.habit != Habit::Background {
                    context.record.took(Measure::Release, took, context.now);
                }
                if action == Action::Own && self.habit != Habit::Background {
                    context.record.worked(1, context.now);
                }
                self.doing = Doing::Nothing;
                self.next(context)
            }
            (Doing::Looking(sent), Answer::Get(_)) => {
                context.record.took(Measure::Get, context.now.since(sent), context.now);
                context.record.worked(1, context.now);
                self.doing = Doing::Nothing;
                self.next(context)
            }
            (_, answer) => unexpected(context, &answer),
        }
    }

    fn acquired(&mut self, context: &mut Context<'_>, action: Action, sent: Moment, result: Acquired) -> Step {
        let took = context.now.since(sent);
        match (result, action) {
            (Acquired::Granted(granted), action) => self.granted(context, action, sent, &granted),
            (Acquired::Held(_), Action::Busy(_)) => {
                context.record.took(Measure::Held, took, context.now);
                context.record.worked(1, context.now);
                self.doing = Doing::Nothing;
                self.next(context)
            }
            // The same id again keeps the place in the queue; at the end it is given up with the session.
            (Acquired::WaitEnded(_), Action::Contended(_)) if context.ending => {
                self.doing = Doing::Nothing;
                Step::Done
            }
            (Acquired::WaitEnded(_), Action::Contended(_)) => Step::Send(self.operation()),
            (Acquired::Ended(_), _) => {
                context.record.error("a lock was lost before its grant was told");
                self.doing = Doing::Nothing;
                self.next(context)
            }
            (other, _) => {
                self.ids.fresh();
                unexpected(context, &Answer::Acquire(AcquireResponse { result: Some(other) }))
            }
        }
    }

    fn granted(&mut self, context: &mut Context<'_>, action: Action, sent: Moment, granted: &Granted) -> Step {
        let now = context.now;
        let measure = if self.habit == Habit::Background { Measure::Background } else { Measure::Acquire };
        match action {
            Action::Own => context.record.took(measure, now.since(sent), now),
            Action::Contended(lock) => {
                context.record.worked(1, now);
                if let Some(took) = self.common.contended[lock].passed_on(self.common.origin, now) {
                    context.record.took(Measure::Handover, took, now);
                }
                context.record.took(measure, now.since(sent), now);
            }
            Action::Busy(_) => context.record.error("a lock that is held was granted"),
        }
        let token = granted.grants.first().map_or(0, |grant| grant.token);
        self.doing = Doing::Releasing(action, token, now);
        Step::Send(self.operation())
    }
}

impl Caller for Worker {
    fn step(&mut self, context: &mut Context<'_>, answer: Option<Answer>) -> Step {
        match (context.phase, answer, &self.session) {
            (Phase::Run, Some(answer), _) => self.answered(context, answer),
            (Phase::Run, None, _) => self.next(context),
            (_, Some(_), _) | (_, None, None) => Step::Done,
            (Phase::Prepare, None, Some(session)) => {
                Step::Send(open_session(&self.common.namespace, session, self.common.session_ttl_ms))
            }
            (Phase::CleanUp, None, Some(session)) => Step::Send(close_lease(session)),
        }
    }
}
