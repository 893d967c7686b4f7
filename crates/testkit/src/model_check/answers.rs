//! What the outcome of a command tells its sender, and the rules.

use leasehold_state_machine::{Cancelled, Outcome, Refusal, Renewed};

use super::client::{Mail, Phase, Session};
use super::coverage::Seen;
use super::deadlocks;
use super::events::{granted_mail, mail_to};
use super::message::{Kind, Message, RequestKey, session_id};
use super::planted::Planted;
use super::rule::Rule;
use super::run::Run;
use super::state::State;
use super::step::task_of;
use super::tables::Tables;

/// Handles the outcome of a message that arrived. `old`: the machine before.
pub(super) fn of_message(run: &Run, state: &mut State, old: &Tables, message: &Message, steps: u8, outcome: &Outcome) {
    match (&message.kind, outcome) {
        (_, Outcome::Refused(refusal)) => refused(run, state, message, refusal),
        (Kind::Acquire { client, counter, attempt, .. }, _) => {
            let (key, attempt) = ((*client, *counter), u32::from(*attempt));
            of_acquire(run, state, old, (message, steps), (key, attempt), outcome);
        }
        (Kind::Open { client }, Outcome::Opened(opened)) => match state.clients[usize::from(*client)].session {
            Session::Opening { sent } => {
                let through = state.through(&run.world, sent, opened.left_ms);
                state.client_mut(*client).session = Session::Open { through };
            }
            _ => run.coverage.add(Seen::SessionOpenedAgain),
        },
        (Kind::Cancel { .. }, Outcome::Cancelled(cancelled)) => of_cancel(run, state, message, cancelled),
        (Kind::Release { .. }, Outcome::Released(released)) => {
            let any = released.iter().any(|one| one.released);
            run.coverage.add(if any { Seen::Released } else { Seen::ReleasedTooLate });
        }
        (Kind::Renew { client, lease, sent }, Outcome::Renewed(renewed)) => {
            of_renewal(run, state, *client, *lease, *sent, &renewed[0]);
        }
        (Kind::Close { .. }, Outcome::Closed(closed)) => {
            if closed.closed {
                run.coverage.add(Seen::SessionClosed);
            }
        }
        (Kind::Force { .. }, Outcome::ForceReleased(released)) => {
            run.coverage.add(if released.released { Seen::Forced } else { Seen::ForcedTooLate });
        }
        (kind, outcome) => {
            state.break_rule(Rule::HonestCommandsAreServed, || format!("{kind:?} is answered {outcome:?}"));
        }
    }
}

fn refused(run: &Run, state: &mut State, message: &Message, refusal: &Refusal) {
    let misused = matches!(
        refusal,
        Refusal::Invalid { .. }
            | Refusal::BodyMismatch
            | Refusal::WrongToken { .. }
            | Refusal::Level { .. }
            | Refusal::NotFounded
    );
    if misused {
        return state.break_rule(Rule::HonestCommandsAreServed, || format!("{:?} is refused: {refusal}", message.kind));
    }
    match message.kind {
        Kind::Acquire { client, counter, attempt, .. } => {
            let key = (client, counter);
            refused_acquire(run, state, key, u32::from(attempt), refusal);
        }
        Kind::Open { client } => {
            let opening = matches!(state.clients[usize::from(client)].session, Session::Opening { .. });
            if opening && matches!(refusal, Refusal::NoSession { .. }) {
                state.client_mut(client).session = Session::Over;
            }
            if matches!(refusal, Refusal::NoSession { .. }) {
                run.coverage.add(Seen::SessionStayedDead);
            }
        }
        _ if matches!(refusal, Refusal::TooLate { .. }) => run.coverage.add(Seen::AttemptTooLate),
        _ => {
            state.break_rule(Rule::HonestCommandsAreServed, || format!("{:?} is refused: {refusal}", message.kind));
        }
    }
}

fn refused_acquire(run: &Run, state: &mut State, key: RequestKey, attempt: u32, refusal: &Refusal) {
    let current = is_current(state, key, attempt);
    match refusal {
        Refusal::TooLate { .. } => return run.coverage.add(Seen::AttemptTooLate),
        Refusal::Superseded { .. } if !current => return run.coverage.add(Seen::AttemptSuperseded),
        Refusal::AlreadyAnswered { .. } if !current => return run.coverage.add(Seen::AttemptAlreadyAnswered),
        Refusal::Superseded { .. } | Refusal::AlreadyAnswered { .. } => {
            let what = || format!("attempt {attempt} of {key:?}, which its client awaits, is refused: {refusal}");
            return state.break_rule(Rule::HonestCommandsAreServed, what);
        }
        Refusal::LimitConflict { .. } => run.coverage.add(Seen::LimitConflict),
        Refusal::LimitReached { .. } => run.coverage.add(Seen::LimitReached),
        Refusal::NotHeld { .. } => run.coverage.add(Seen::ConvertOfLostGrant),
        _ => {}
    }
    note_applied(state, key, attempt);
    let lost = matches!(refusal, Refusal::NotHeld { .. });
    mail_to(state, key, attempt, Mail::No { lost });
}

/// Whether a task of the client waits for an answer to this attempt.
fn is_current(state: &State, (client, counter): RequestKey, of: u32) -> bool {
    let waits = |phase: &Phase| match phase {
        Phase::Asking { attempt, .. } | Phase::Cancelling { attempt } => u32::from(*attempt) == of,
        Phase::Ready | Phase::Settled { .. } => false,
    };
    let owner = &state.clients[usize::from(client)];
    !owner.crashed && owner.tasks.iter().any(|task| task.counter == counter && waits(&task.phase))
}

fn note_applied(state: &mut State, key: RequestKey, attempt: u32) {
    if state.ghost.requests.get(&key).is_none_or(|past| past.applied < attempt) {
        state.past_mut(key).applied = attempt;
    }
}

fn of_acquire(
    run: &Run,
    state: &mut State,
    old: &Tables,
    (message, steps): (&Message, u8),
    (key, attempt): (RequestKey, u32),
    outcome: &Outcome,
) {
    let fresh = state.ghost.requests.get(&key).is_none_or(|past| past.applied < attempt);
    note_applied(state, key, attempt);
    let mail = match outcome {
        Outcome::Queued(_) => return,
        Outcome::Granted(granted) => {
            if !fresh {
                run.coverage.add(Seen::GrantedAgain);
            }
            granted_mail(&run.world, state, key, granted)
        }
        Outcome::Held(held) => {
            run.coverage.add(if held.delay_left_ms > 0 { Seen::DelayHeldBack } else { Seen::RefusedAsHeld });
            Mail::No { lost: false }
        }
        Outcome::Ended(ended) => {
            let cancelled = ended.reason == leasehold_state_machine::LossReason::Cancelled;
            run.coverage.add(if cancelled { Seen::AttemptCancelledBefore } else { Seen::AttemptEndedBefore });
            Mail::No { lost: ended.token.is_some() }
        }
        Outcome::Deadlock(deadlock) => {
            if fresh {
                deadlocks::check(run, state, old, (message, steps), deadlock);
            }
            Mail::No { lost: false }
        }
        outcome => {
            return state.break_rule(Rule::HonestCommandsAreServed, || format!("{key:?} is answered {outcome:?}"));
        }
    };
    mail_to(state, key, attempt, mail);
}

fn of_cancel(run: &Run, state: &mut State, message: &Message, cancelled: &Cancelled) {
    let Kind::Cancel { client, task, counter, attempt, by_node } = message.kind else { return };
    run.coverage.add(match cancelled {
        Cancelled::LeftQueue => Seen::CancelLeftQueue,
        Cancelled::UndidGrant => Seen::CancelUndidGrant,
        Cancelled::Kept { .. } => Seen::CancelKeptConvert,
        Cancelled::Superseded => Seen::CancelSuperseded,
        Cancelled::NotFound => Seen::CancelFoundNothing,
    });
    let key = (client, counter);
    let over = matches!(cancelled, Cancelled::LeftQueue | Cancelled::UndidGrant | Cancelled::NotFound);
    if over {
        note_applied(state, key, u32::from(attempt));
        let past = state.past_mut(key);
        past.refused = past.refused.max(u32::from(attempt));
    }
    let owner = &state.clients[usize::from(client)];
    let own = &owner.tasks[usize::from(task)];
    if by_node || owner.crashed || own.counter != counter || own.phase != (Phase::Cancelling { attempt }) {
        return;
    }
    match cancelled {
        Cancelled::Superseded => {
            return state.break_rule(Rule::HonestCommandsAreServed, || format!("the last cancel of {key:?} came late"));
        }
        Cancelled::Kept { token, mode } => {
            let lock = run.world.ask(client, task, own.step).locks[0].0;
            for hold in task_of(state, client, task).holds.iter_mut().filter(|hold| hold.lock == lock) {
                (hold.token, hold.mode) = (token.0, *mode);
            }
        }
        Cancelled::LeftQueue | Cancelled::UndidGrant | Cancelled::NotFound => {}
    }
    // A client that gave up asks under a new id the next time.
    task_of(state, client, task).phase = Phase::Settled { attempt: u8::MAX, got: false };
}

fn of_renewal(run: &Run, state: &mut State, client: u8, lease: u128, sent: u8, renewed: &Renewed) {
    let session = session_id(client).0;
    if let Renewed::Alive { left_ms, .. } = renewed
        && lease == session
        && let Some(until) = state.through(&run.world, state.now, *left_ms)
    {
        state.ghost_mut().sessions_until.insert(client, until);
    }
    if state.clients[usize::from(client)].crashed {
        return;
    }
    match renewed {
        Renewed::Alive { left_ms, forced } => {
            run.coverage.add(Seen::RenewedInTime);
            if *forced > 0 {
                run.coverage.add(Seen::RenewalTellsOfForce);
            }
            let through = state.through(&run.world, sent, *left_ms);
            let held = state.held();
            let owner = state.client_mut(client);
            if run.world.planted != Some(Planted::IgnoresForce) {
                owner.told_of_force(lease, *forced, &held);
            }
            owner.renewed(lease, session, through);
        }
        Renewed::Gone { .. } => {
            run.coverage.add(Seen::RenewedTooLate);
            let owner = state.client_mut(client);
            if lease == session {
                owner.session = Session::Over;
            }
            owner.lose_lease(lease);
        }
        renewed => state.break_rule(Rule::HonestCommandsAreServed, || format!("a renewal is answered {renewed:?}")),
    }
}
