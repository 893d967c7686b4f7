//! What one lock may do, one operation after the other, without time.

use leasehold_state_machine::Mode;

/// A token's place among those of its lock that anybody has seen, from the smallest.
pub(super) type TokenNumber = u32;
/// A lease or session that held the lock.
pub(super) type LeaseNumber = u32;

/// One operation on one lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    /// The lock was granted, in place of another grant where it is a convert.
    Grant {
        /// Its token.
        token: TokenNumber,
        /// How it is held.
        mode: Mode,
        /// What it hangs on.
        lease: LeaseNumber,
        /// The grant that it replaces.
        replaces: Option<TokenNumber>,
    },
    /// The grant may have ended, for whatever reason; it is over afterwards.
    End(TokenNumber),
    /// A release ended the grant.
    Release(TokenNumber),
    /// The lease or session was closed.
    Close(LeaseNumber),
    /// The token was said to hold the lock.
    Holds(TokenNumber),
    /// The token was said not to hold it any more.
    HoldsNot(TokenNumber),
    /// A lease that hangs on this lock alone was said to live.
    Alive(LeaseNumber),
    /// The lease or session was said to be gone.
    Gone(LeaseNumber),
    /// A try in this mode was told that the lock is held.
    Refused(Mode),
    /// A read showed these holders, in order, and no others.
    Read(Vec<TokenNumber>),
}

impl Operation {
    /// With the tokens' own numbers.
    pub(super) fn in_words(&self, tokens: &[u64]) -> String {
        let token = |number: &TokenNumber| tokens[*number as usize];
        match self {
            Self::Grant { token: granted, mode, replaces, .. } => {
                let replaces =
                    replaces.map(|replaced| format!(" in place of {}", token(&replaced))).unwrap_or_default();
                format!("the grant of token {}{replaces} ({mode:?})", token(granted))
            }
            Self::End(ended) => format!("the end of token {}", token(ended)),
            Self::Release(released) => format!("the release of token {}", token(released)),
            Self::Close(_) => "the closing of a lease".to_owned(),
            Self::Holds(holder) => format!("token {}, which was said to hold it,", token(holder)),
            Self::HoldsNot(holder) => format!("token {}, which was said not to hold it,", token(holder)),
            Self::Alive(_) => "a renewal that found its lease alive".to_owned(),
            Self::Gone(_) => "a renewal that found its lease gone".to_owned(),
            Self::Refused(mode) => format!("a refused try ({mode:?})"),
            Self::Read(holders) => format!("a read of tokens {:?}", holders.iter().map(token).collect::<Vec<_>>()),
        }
    }

    /// Whether it may be that it cannot happen while this one holds the lock, or would do what another operation has to do.
    pub(super) fn is_hindered_by(&self, holder: &Holder) -> bool {
        match self {
            Self::Grant { mode, .. } => !matches!((mode, holder.mode), (Mode::Shared, Mode::Shared)),
            Self::Read(shown) => !shown.contains(&holder.token),
            Self::Gone(lease) | Self::Close(lease) => holder.lease == *lease,
            Self::HoldsNot(token) | Self::End(token) => holder.token == *token,
            Self::Release(_) | Self::Holds(_) | Self::Alive(_) | Self::Refused(_) => false,
        }
    }

    /// Whether it only looks.
    pub(super) fn only_looks(&self) -> bool {
        match self {
            Self::Grant { .. } | Self::End(_) | Self::Release(_) | Self::Close(_) => false,
            Self::Holds(_) | Self::HoldsNot(_) | Self::Alive(_) | Self::Gone(_) | Self::Refused(_) | Self::Read(_) => {
                true
            }
        }
    }
}

/// Who holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Holder {
    pub(super) token: TokenNumber,
    mode: Mode,
    pub(super) lease: LeaseNumber,
}

/// The lock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Lock {
    /// In token order.
    holders: Vec<Holder>,
    /// Tokens come in order: the next one.
    next: TokenNumber,
}

impl Lock {
    /// What the operation makes of the lock; None where it cannot happen now.
    pub(super) fn after(&self, operation: &Operation) -> Option<Self> {
        match operation {
            Operation::Grant { token, mode, lease, replaces } => {
                if *token != self.next || replaces.is_some_and(|replaced| !self.holds(replaced)) {
                    return None;
                }
                let mut after = self.without(|holder| Some(holder.token) == *replaces);
                after.admits(*mode).then(|| {
                    after.holders.push(Holder { token: *token, mode: *mode, lease: *lease });
                    after.next += 1;
                    after
                })
            }
            Operation::End(token) => (*token < self.next).then(|| self.without(|holder| holder.token == *token)),
            Operation::Release(token) => self.holds(*token).then(|| self.without(|holder| holder.token == *token)),
            Operation::Close(lease) => Some(self.without(|holder| holder.lease == *lease)),
            look => self.shows(look).then(|| self.clone()),
        }
    }

    /// Whether an operation that only looks is right now. (Of others it tells nothing.)
    pub(super) fn shows(&self, look: &Operation) -> bool {
        match look {
            Operation::Holds(token) => self.holds(*token),
            Operation::HoldsNot(token) => *token < self.next && !self.holds(*token),
            Operation::Alive(lease) => self.holders.iter().any(|holder| holder.lease == *lease),
            Operation::Gone(lease) => self.holders.iter().all(|holder| holder.lease != *lease),
            Operation::Refused(mode) => !self.admits(*mode),
            Operation::Read(tokens) => self.tokens().eq(tokens.iter().copied()),
            Operation::Grant { .. } | Operation::End(_) | Operation::Release(_) | Operation::Close(_) => false,
        }
    }

    /// Whether the end of a grant would change nothing, now and later.
    pub(super) fn is_over(&self, token: TokenNumber) -> bool {
        token < self.next && !self.holds(token)
    }

    /// Those who hold it.
    pub(super) fn holders(&self) -> impl Iterator<Item = &Holder> {
        self.holders.iter()
    }

    /// The next token.
    pub(super) fn next(&self) -> TokenNumber {
        self.next
    }

    /// The tokens of those who hold it.
    pub(super) fn tokens(&self) -> impl Iterator<Item = TokenNumber> + '_ {
        self.holders.iter().map(|holder| holder.token)
    }

    fn holds(&self, token: TokenNumber) -> bool {
        self.tokens().any(|holder| holder == token)
    }

    fn without(&self, gone: impl Fn(&Holder) -> bool) -> Self {
        let holders = self.holders.iter().filter(|holder| !gone(holder)).copied().collect();
        Self { holders, next: self.next }
    }

    /// Whether one more may hold it in this mode.
    fn admits(&self, mode: Mode) -> bool {
        let mut others = self.holders.iter().map(|holder| holder.mode);
        match mode {
            Mode::Exclusive => others.next().is_none(),
            Mode::Shared => others.all(|other| other == Mode::Shared),
            Mode::Permits { permits, limit } => {
                let mut taken = u64::from(permits);
                others.all(|other| match other {
                    Mode::Permits { permits, .. } => {
                        taken += u64::from(permits);
                        true
                    }
                    Mode::Exclusive | Mode::Shared => false,
                }) && taken <= u64::from(limit)
            }
        }
    }
}
