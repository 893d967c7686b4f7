//! Carries out a command or a script: look at its keys, evaluate, and act by one command over what was looked at.
//!
//! The first look is at what this node has applied, and may be old. That is enough where the evaluation leads to a command which verifies
//! all that the evaluation relied on: locks that were free by being granted, locks that were held by their tokens being current.
//! Everything else (replies without a command, refusals, what looked at more than it acts on) rests on a look after a read barrier.

use std::net::SocketAddr;

use leasehold_proto::v1;
use leasehold_proto::v1::acquire_response::Result as Told;
use leasehold_redis::{Effect, Entry, Evaluated, Holding, KeyCommand, Refused, Reply, Script};
use leasehold_state_machine::{HeldLock, LogTime, Occupant};

use super::accounts::Account;
use super::door::Door;
use super::errors::Failure;
use super::policy::Allowed;
use super::{names, policy};
use crate::calls::{Acted, CallTime, CancelGuard};
use crate::{CallError, validate};

/// Looks, each after a barrier, before a command gives up because its locks go from hand to hand.
const LOOKS_MAX: usize = 16;

/// Who sends a command.
pub(super) struct Caller<'a> {
    pub(super) account: &'a Account,
    pub(super) peer: SocketAddr,
    /// As the client calls its connection.
    pub(super) name: &'a str,
}

/// What is carried out.
pub(super) enum Program<'a> {
    Command(&'a KeyCommand),
    Script { script: &'a Script, keys: &'a [bytes::Bytes], args: &'a [bytes::Bytes] },
}

impl Program<'_> {
    fn keys(&self) -> &[bytes::Bytes] {
        match self {
            Self::Command(command) => command.keys(),
            Self::Script { keys, .. } => keys,
        }
    }

    fn evaluate(&self, entries: &[Entry]) -> Result<Evaluated, Refused> {
        match self {
            Self::Command(command) => command.evaluate(entries),
            Self::Script { script, keys, args } => script.evaluate(keys, args, entries),
        }
    }
}

/// A reply that is not handed out yet: until then a broken connection cancels what was acquired.
pub(super) struct Executed {
    pub(super) reply: Reply,
    pub(super) guard: Option<CancelGuard>,
}

/// What became of the command of an effect.
enum Outcome {
    Done(Option<CancelGuard>),
    /// Nothing was done: the locks are not what they looked like.
    Moved,
    /// Nothing was done: this lock is free, and kept for those who wait for it.
    Reserved(String),
}

/// Executes; the answer comes within the time, or an error does.
pub(super) async fn execute(
    door: &Door,
    caller: &Caller<'_>,
    program: &Program<'_>,
    time: CallTime,
) -> Result<Executed, Failure> {
    let act = Act { door, caller, time, names: lock_names(door, caller, program.keys())? };
    let mut fresh = false;
    let mut reserved = None;
    for _ in 0..=LOOKS_MAX {
        let clock = if fresh { door.calls().barrier(time).await? } else { None };
        let look = Look::new(&act, clock, reserved.as_deref());
        let evaluated = match program.evaluate(&look.entries) {
            Ok(evaluated) => evaluated,
            Err(refused) if fresh => return Err(refused.into()),
            Err(_) => {
                fresh = true;
                continue;
            }
        };
        if evaluated.effect == Effect::None && fresh {
            return Ok(Executed { reply: evaluated.reply, guard: None });
        }
        if !fresh && !verifies_itself(&evaluated) {
            fresh = true;
            continue;
        }
        match act.carry_out(&look, &evaluated.effect, fresh).await? {
            Outcome::Done(guard) => return Ok(Executed { reply: evaluated.reply, guard }),
            Outcome::Moved => reserved = None,
            Outcome::Reserved(name) => reserved = Some(name),
        }
        fresh = true;
    }
    Err(CallError::Moving { looks: LOOKS_MAX }.into())
}

/// Whether the command of the effect fails unless all is as the evaluation took it to be.
fn verifies_itself(evaluated: &Evaluated) -> bool {
    let keys = match &evaluated.effect {
        Effect::None => return false,
        Effect::Acquire { keys, .. } | Effect::Extend { keys, .. } | Effect::Release { keys, .. } => keys,
    };
    !evaluated.time_observed && evaluated.observed.iter().all(|key| keys.contains(key))
}

fn lock_names(door: &Door, caller: &Caller<'_>, keys: &[bytes::Bytes]) -> Result<Vec<String>, Failure> {
    let limits = door.calls().limits(&caller.account.namespace);
    let one = |key: &bytes::Bytes| {
        let name = names::lock_name(key).map_err(|problem| CallError::invalid("key", problem))?;
        validate::lock_name("key", name, &limits)?;
        Ok(name.to_owned())
    };
    keys.iter().map(one).collect()
}

/// The locks of a program as they were at one moment.
struct Look {
    occupants: Vec<Occupant>,
    entries: Vec<Entry>,
}

impl Look {
    fn new(act: &Act<'_>, clock: Option<LogTime>, reserved: Option<&str>) -> Self {
        let occupants = act.door.calls().occupants(&act.caller.account.namespace, &act.names, clock);
        let entry = |(name, occupant): (&String, &Occupant)| match occupant {
            // An acquire found it kept for waiters a moment ago: it exists, and is nobody's.
            Occupant::Nobody if reserved == Some(name) => Entry::Delayed { left_ms: 1 },
            Occupant::Nobody => Entry::Absent,
            Occupant::Delayed { left_ms } => Entry::Delayed { left_ms: *left_ms },
            Occupant::One(holding) => {
                Entry::Held(Holding { owner: names::value(&holding.owner), left_ms: holding.left_ms })
            }
            Occupant::Several { .. } => Entry::Foreign,
        };
        let entries = act.names.iter().zip(&occupants).map(entry).collect();
        Self { occupants, entries }
    }

    /// The holding of a key that an effect is about.
    fn holding(&self, key: usize) -> Result<&leasehold_state_machine::Holding, Failure> {
        match self.occupants.get(key) {
            Some(Occupant::One(holding)) => Ok(holding),
            // A defect of the evaluation: nothing was done, and the client is told.
            _ => Err(Failure::refused("internal", format!("internal error: key {key} is acted on and not held"))),
        }
    }
}

/// One execution.
struct Act<'a> {
    door: &'a Door,
    caller: &'a Caller<'a>,
    time: CallTime,
    names: Vec<String>,
}

impl Act<'_> {
    /// Submits the one command of an effect. What is refused here is refused only after a fresh look.
    async fn carry_out(&self, look: &Look, effect: &Effect, fresh: bool) -> Result<Outcome, Failure> {
        let options = self.door.options();
        let allowed = match policy::unchecked(effect, options) {
            Err(_) if !fresh => return Ok(Outcome::Moved),
            allowed => allowed?,
        };
        let outcome = match effect {
            Effect::None => Outcome::Done(None),
            Effect::Acquire { keys, value, ttl_ms } => {
                return Box::pin(self.acquire(keys, &names::owner(value), *ttl_ms, fresh)).await;
            }
            Effect::Extend { keys, ttl_ms, .. } => match self.extend(look, keys, *ttl_ms).await {
                Err(Failure::Refused(_)) if !fresh => Outcome::Moved,
                outcome => outcome?,
            },
            Effect::Release { keys, .. } => self.release(look, keys).await?,
        };
        if let (Outcome::Done(_), Some((what, keys))) = (&outcome, allowed) {
            for key in keys {
                let holding = look.holding(*key)?;
                policy::audit(what, self.caller, &self.names[*key], holding.token.0, &holding.owner);
            }
        }
        Ok(outcome)
    }

    async fn acquire(&self, keys: &[usize], owner: &str, ttl_ms: Option<u64>, fresh: bool) -> Result<Outcome, Failure> {
        let namespace = &self.caller.account.namespace;
        let calls = self.door.calls();
        let limits = calls.limits(namespace);
        let (ttl_ms, allowed) = match policy::ttl(ttl_ms, self.door.options(), &limits) {
            Err(_) if !fresh => return Ok(Outcome::Moved),
            ttl => ttl?,
        };
        if ttl_ms == 0 {
            // To the call this would mean its own default.
            return Err(CallError::invalid("ttl_ms", "must be at least 1").into());
        }
        let lock = |key: &usize| v1::LockRequest { name: self.names[*key].clone(), ..Default::default() };
        let request = v1::AcquireRequest {
            namespace: namespace.clone(),
            locks: keys.iter().map(lock).collect(),
            owner: owner.to_owned(),
            ttl_ms,
            metadata: self.metadata(limits.metadata_bytes_max as usize),
            ..Default::default()
        };
        let (response, guard) = calls.acquire(request, self.time).await?.into_parts();
        match response.result {
            Some(Told::Granted(granted)) => {
                self.audit_grants(allowed, &granted, owner);
                Ok(Outcome::Done(guard))
            }
            Some(Told::Held(held)) if held.holders.is_empty() && held.delay_left_ms == 0 => {
                Ok(Outcome::Reserved(held.name))
            }
            Some(Told::Held(_)) => Ok(Outcome::Moved),
            _ => Err(CallError::ForeignOutcome { command: "Acquire" }.into()),
        }
    }

    fn audit_grants(&self, allowed: Option<Allowed>, granted: &v1::Granted, owner: &str) {
        if let Some(allowed) = allowed {
            for grant in &granted.grants {
                policy::audit(allowed, self.caller, &grant.name, grant.token, owner);
            }
        }
    }

    async fn release(&self, look: &Look, keys: &[usize]) -> Result<Outcome, Failure> {
        let held = |key: &usize| Ok(HeldLock { name: self.names[*key].clone(), token: look.holding(*key)?.token });
        let locks = keys.iter().map(held).collect::<Result<Vec<_>, Failure>>()?;
        let acted = self.door.calls().release_compared(&self.caller.account.namespace, locks, self.time).await?;
        Ok(outcome(acted))
    }

    async fn extend(&self, look: &Look, keys: &[usize], ttl_ms: u64) -> Result<Outcome, Failure> {
        let holdings = keys.iter().map(|key| look.holding(*key)).collect::<Result<Vec<_>, _>>()?;
        for (key, holding) in keys.iter().zip(&holdings) {
            let name = &self.names[*key];
            if holding.session {
                let problem =
                    format!("'{name}' is held under a session: it is renewed where that was opened, not by key");
                return Err(Failure::refused("session", problem));
            }
            let named = holdings.iter().filter(|other| other.lease == holding.lease).count();
            if named < holding.lease_grants {
                let problem = format!(
                    "'{name}' was taken together with others, {} locks in all, and locks that were taken together are extended \
                     together: name all of them",
                    holding.lease_grants
                );
                return Err(Failure::refused("partial_extend", problem));
            }
        }
        let grants: Vec<_> = holdings.iter().map(|holding| (holding.lease, holding.token)).collect();
        Ok(outcome(self.door.calls().renew_compared(&grants, ttl_ms, self.time).await?))
    }

    /// Who came, as `leasehold get` shows it.
    fn metadata(&self, bytes_max: usize) -> String {
        let Caller { peer, name, .. } = self.caller;
        let separator = if name.is_empty() { "" } else { " " };
        let mut metadata = format!("{} {peer}{separator}{name}", crate::metrics::Door::Redis.name());
        // Names of clients are ASCII.
        metadata.truncate(bytes_max);
        metadata
    }
}

fn outcome(acted: Acted) -> Outcome {
    match acted {
        Acted::Done => Outcome::Done(None),
        Acted::Moved => Outcome::Moved,
    }
}
