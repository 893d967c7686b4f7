//! What the events of an entry tell: to the clients whose calls wait, and to the rules.

use leasehold_state_machine::{Event, EventKind, Granted, LossReason};

use super::client::{Mail, Phase, Task};
use super::coverage::Seen;
use super::message::{Kind, RequestKey, request_key, session_id};
use super::picture::{Picture, Standing};
use super::rule::Rule;
use super::run::Run;
use super::state::{Past, State};
use super::world::{AskLease, LOCKS, Lock, SHARED, World};

/// Handles the events of one entry, in their order.
pub(super) fn of_entry(run: &Run, state: &mut State, old: &Picture, events: &[Event]) {
    let world = &run.world;
    let mut waits_granted = 0;
    for event in events {
        match &event.kind {
            EventKind::Granted { request, attempt, granted, .. } => {
                let key = request_key(*request);
                let waited = matches!(old.standing(key), Some(Standing::Waiting { .. }));
                waits_granted += usize::from(waited);
                run.coverage.add(if waited { Seen::GrantAfterWait } else { Seen::GrantAtOnce });
                only_the_living(state, key, granted);
                note_grant(run, state, key, *attempt, granted, waited);
                let mail = granted_mail(world, state, key, granted);
                mail_to(state, key, *attempt, mail);
            }
            EventKind::WaitEnded { request, attempt, reason, timed_out, .. } => {
                let key = request_key(*request);
                state.past_mut(key).waits_until = None;
                if *timed_out {
                    run.coverage.add(Seen::WaitTimedOut);
                } else if *reason == LossReason::Expired && !state.clients[usize::from(key.0)].tasks.is_empty() {
                    run.coverage.add(Seen::SessionExpiredWithWaiter);
                }
                let lost = !timed_out && *reason != LossReason::Cancelled;
                mail_to(state, key, *attempt, Mail::No { lost });
            }
            EventKind::Queued { request, attempt, .. } => {
                note_wait(world, state, request_key(*request));
                if *attempt > 1 {
                    run.coverage.add(Seen::WaitRearmed);
                }
            }
            EventKind::Lost { name, token, reason, .. } => note_loss(world, state, old, name, token.0, *reason),
            EventKind::SessionOpened { lease, .. } => {
                run.coverage.add(Seen::SessionOpened);
                let client = (lease.0 >> 64) as u8 - 1;
                let ttl = world.clients[usize::from(client)].session.map_or(0, |session| session.ttl);
                let until = (state.now + ttl).min(world.steps);
                state.ghost_mut().sessions_until.insert(client, until);
                if state.ghost.ended_sessions.contains(&client) {
                    state.break_rule(Rule::NothingOutlivesItsLease, || format!("session {lease} came back"));
                }
            }
            EventKind::LeaseEnded { lease, reason, .. } => {
                if lease.is_session() {
                    let client = (lease.0 >> 64) as u8 - 1;
                    state.ghost_mut().ended_sessions.insert(client);
                    state.ghost_mut().sessions_until.remove(&client);
                }
                if *reason == LossReason::Expired {
                    run.coverage.add(Seen::LeaseExpired);
                }
            }
            EventKind::Converted { .. } | EventKind::ValueSet { .. } => {}
        }
    }
    if waits_granted > 1 {
        run.coverage.add(Seen::SeveralGrantedInOneEntry);
    }
    note_undone(state);
    note_crashed(run, state, old, events);
}

fn note_wait(world: &World, state: &mut State, key: RequestKey) {
    let Some((task, step)) = ask_of(state, key) else { return };
    let until = state.now + world.ask(key.0, task, step).wait;
    state.past_mut(key).waits_until = Some(until.min(world.steps));
}

/// Neither the wait that this grant ends nor the session that it hangs on is past its deadline.
fn only_the_living(state: &mut State, key: RequestKey, granted: &Granted) {
    let waited_until = state.past_mut(key).waits_until.take();
    let session_until = state.ghost.sessions_until.get(&key.0).copied().filter(|_| granted.lease.is_session());
    let now = state.now;
    for until in [waited_until, session_until].into_iter().flatten().filter(|until| *until < now) {
        state.break_rule(Rule::OnlyTheLivingAreGranted, || format!("{key:?} was granted, and was over after {until}"));
    }
}

/// A grant that was undone by a cancel makes room for one of a later attempt.
fn note_undone(state: &mut State) {
    let undone = |(key, past): (&RequestKey, &Past)| {
        let standing = state.tables.picture.standing(*key);
        let cancelled = matches!(standing, Some(Standing::Ended { reason: LossReason::Cancelled, .. }));
        (cancelled && past.granted.is_some() && !past.undone).then_some(*key)
    };
    let undone: Vec<RequestKey> = state.ghost.requests.iter().filter_map(undone).collect();
    for key in undone {
        state.past_mut(key).undone = true;
    }
}

fn note_crashed(run: &Run, state: &State, old: &Picture, events: &[Event]) {
    let expired = events.iter().filter_map(|event| match &event.kind {
        EventKind::Lost { token, reason: LossReason::Expired, .. } => owner_of(old, token.0),
        _ => None,
    });
    if expired.into_iter().any(|(client, _)| state.clients[usize::from(client)].crashed) {
        run.coverage.add(Seen::LeaseOfCrashedExpired);
    }
}

/// The request whose grant has this token.
pub(super) fn owner_of(picture: &Picture, token: u64) -> Option<RequestKey> {
    let owns = |standing: &Standing| matches!(standing, Standing::Granted { tokens, .. } if tokens.contains(&token));
    picture.requests.iter().find(|(_, standing)| owns(standing)).map(|(key, _)| *key)
}

/// Which task and ask of its client a request is.
pub(super) fn ask_of(state: &State, key: RequestKey) -> Option<(u8, u8)> {
    state.sent.iter().find_map(|message| match message.kind {
        Kind::Acquire { client, task, step, counter, .. } if (client, counter) == key => Some((task, step)),
        _ => None,
    })
}

fn lock_number(name: &str) -> Lock {
    LOCKS.iter().position(|lock| *lock == name).map_or(Lock::MAX, |at| at as Lock)
}

fn note_grant(run: &Run, state: &mut State, key: RequestKey, attempt: u32, granted: &Granted, waited: bool) {
    let Some((task, step)) = ask_of(state, key) else {
        return state.break_rule(Rule::OneEffectPerRequest, || format!("{key:?} was granted, and never asked"));
    };
    let ask = run.world.ask(key.0, task, step);
    let downgrade = ask.lease == AskLease::Convert && ask.locks[0].1 == SHARED;
    if ask.lease == AskLease::Convert {
        run.coverage.add(match (downgrade, waited) {
            (true, _) => Seen::Downgraded,
            (false, false) => Seen::Upgraded,
            (false, true) => Seen::UpgradedAfterWait,
        });
    }
    for grant in &granted.grants {
        let (token, top) = (grant.token.0, state.ghost.top_token);
        if token <= top {
            state.break_rule(Rule::TokensGrow, || format!("token {token} was given out after {top}"));
        }
        state.ghost_mut().top_token = top.max(token);
        let delay = state.ghost.delays[usize::from(lock_number(&grant.name))];
        if delay >= Some(state.now) && !downgrade {
            let name = &grant.name;
            state.break_rule(Rule::DelaysAreKept, || format!("{name} was granted within its lock-delay: {delay:?}"));
        }
    }
    let past = state.past_mut(key);
    let (before, undone) = (past.granted.replace(attempt), std::mem::take(&mut past.undone));
    match before {
        Some(before) if !undone || before >= attempt => state.break_rule(Rule::OneEffectPerRequest, || {
            format!("{key:?} was granted to attempt {before}, and again to attempt {attempt}")
        }),
        Some(_) => run.coverage.add(Seen::GrantAfterCancel),
        None => {}
    }
}

fn note_loss(world: &World, state: &mut State, old: &Picture, name: &str, token: u64, reason: LossReason) {
    if reason == LossReason::Forced {
        state.ghost_mut().forced.insert(token);
    }
    let lasts = matches!(reason, LossReason::Forced | LossReason::Expired);
    let owner = owner_of(old, token).or_else(|| owner_of(&state.tables.picture, token));
    let Some((key, (task, step))) = owner.and_then(|key| Some((key, ask_of(state, key)?))) else { return };
    // A convert keeps the lock-delay of what it converts.
    let step = if world.ask(key.0, task, step).lease == AskLease::Convert { 0 } else { step };
    let delay = world.ask(key.0, task, step).lock_delay;
    if lasts && delay > 0 {
        let until = Some(state.now + delay);
        let last = &mut state.ghost_mut().delays[usize::from(lock_number(name))];
        *last = (*last).max(until);
    }
}

/// What a granted call is answered.
pub(super) fn granted_mail(world: &World, state: &State, key: RequestKey, granted: &Granted) -> Mail {
    let grants = granted.grants.iter().map(|grant| (lock_number(&grant.name), grant.mode, grant.token.0)).collect();
    let sent =
        state.clients[usize::from(key.0)].tasks.iter().find(|task| task.counter == key.1).map(|task| &task.phase);
    let of_session = granted.lease == session_id(key.0);
    let through = match sent {
        Some(Phase::Asking { sent, .. }) if !granted.confirm && !of_session => {
            state.through(world, *sent, granted.left_ms)
        }
        _ => None,
    };
    Mail::Granted { lease: granted.lease.0, grants, through, forced: granted.forced }
}

/// Puts an answer on its way. A call is answered once, and only the client's last call is listened to.
pub(super) fn mail_to(state: &mut State, (client, counter): RequestKey, of: u32, answer: Mail) {
    let awaits = |task: &Task| task.counter == counter && matches!(task.phase, Phase::Asking { mail: None, .. });
    let owner = &state.clients[usize::from(client)];
    if owner.crashed || !owner.tasks.iter().any(awaits) {
        return;
    }
    for task in state.client_mut(client).tasks.iter_mut().filter(|task| task.counter == counter) {
        if let Phase::Asking { attempt, mail: mail @ None, .. } = &mut task.phase
            && u32::from(*attempt) == of
        {
            *mail = Some(answer.clone());
        }
    }
}
