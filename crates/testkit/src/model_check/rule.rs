//! What must hold, by name.

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Flaw {
    /// Which.
    pub rule: Rule,
    /// What is wrong.
    pub what: String,
}

/// What must hold in every state, or of every step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The holders of a lock are compatible.
    HoldersAreCompatible,
    /// What a client may count on is so.
    BeliefsAreTrue,
    /// No two clients count on what is not compatible.
    BeliefsAreCompatible,
    /// Every token is greater than all before it.
    TokensGrow,
    /// Nobody waits where nothing is in the way.
    NobodyWaitsInVain,
    /// Nobody is granted a lock past somebody who waits for it and is in the way.
    NobodyIsOvertaken,
    /// No grant ends a wait whose deadline has passed, and none hangs on a session whose deadline has.
    OnlyTheLivingAreGranted,
    /// Holders and waiters hang on leases that are alive, nothing that is due is left, and no session comes back.
    NothingOutlivesItsLease,
    /// An attempt whose sender was told "no" holds and awaits nothing later.
    NoIsFinal,
    /// One effect per request id.
    OneEffectPerRequest,
    /// A deadlock is answered only where waits close a cycle.
    DeadlocksAreReal,
    /// No cycle of waits stands.
    NoCycleStands,
    /// With nothing but time, everything is freed and forgotten.
    TimeFreesEverything,
    /// A lock that was lost by expiry or force is not granted before its lock-delay is over.
    DelaysAreKept,
    /// What an honest client sends is never called malformed, misused or answered before.
    HonestCommandsAreServed,
    /// The machine does not panic, and its rows make it again.
    MachineStands,
}

impl Rule {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HoldersAreCompatible => "holders are compatible",
            Self::BeliefsAreTrue => "beliefs are true",
            Self::BeliefsAreCompatible => "beliefs are compatible",
            Self::TokensGrow => "tokens grow",
            Self::NobodyWaitsInVain => "nobody waits in vain",
            Self::NobodyIsOvertaken => "nobody is overtaken",
            Self::OnlyTheLivingAreGranted => "only the living are granted",
            Self::NothingOutlivesItsLease => "nothing outlives its lease",
            Self::NoIsFinal => "no is final",
            Self::OneEffectPerRequest => "one effect per request",
            Self::DeadlocksAreReal => "deadlocks are real",
            Self::NoCycleStands => "no cycle stands",
            Self::TimeFreesEverything => "time frees everything",
            Self::DelaysAreKept => "delays are kept",
            Self::HonestCommandsAreServed => "honest commands are served",
            Self::MachineStands => "the machine stands",
        }
    }
}
