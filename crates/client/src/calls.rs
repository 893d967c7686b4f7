//! Operations on locks, leases and sessions by their names: what guards do by themselves, and what only tools need.

use std::time::Duration;

use leasehold_proto::v1::{self, answer::Answer, operation::Operation};

use crate::acquire::Wait;
use crate::call::millis;
use crate::client::Client;
use crate::clock::Moment;
use crate::error::Error;
use crate::ids::{LeaseId, SessionId, Token};
use crate::inner::Renewal;
use crate::loss::remembered;
use crate::mode::{LockMode, LockSpec};
use crate::raw::acquire_raw;
use crate::request::{AcquireSpec, LeaseSpec};
use crate::types::{Acquisition, Convert, LeaseClosed, Released, ReleasedLock, Renewed, ValueSet};

/// Entries of one page of a list.
const PAGE_SIZE: u32 = 1_000;

impl Client {
    fn namespace(&self) -> &str {
        &self.options().namespace
    }

    fn call_deadline(&self) -> Moment {
        self.inner().call_deadline()
    }

    async fn ask(&self, operation: Operation) -> Result<(Answer, bool), Error> {
        let reply = self.inner().call(operation, self.call_deadline()).await?;
        Ok((reply.answer, reply.earlier_in_doubt))
    }

    /// Releases a lock by its fencing token. What is no longer held is no error.
    pub async fn release(&self, name: &str, token: Token) -> Result<Released, Error> {
        self.inner().release(self.namespace(), name, token, self.call_deadline()).await
    }

    /// Releases several locks (at most 1,024) by their fencing tokens, in one log entry; none of them, if `all_or_nothing` and
    /// one is no longer held. One answer for each, in the order of `locks`.
    pub async fn release_all(
        &self,
        locks: &[(String, Token)],
        all_or_nothing: bool,
    ) -> Result<Vec<ReleasedLock>, Error> {
        self.inner().release_all(self.namespace(), locks, all_or_nothing, self.call_deadline()).await
    }

    /// Renews a lease or session, to `ttl` from now, or to the ttl that it has: the keep-alive.
    pub async fn renew(&self, lease: &LeaseId, ttl: Option<Duration>) -> Result<Renewed, Error> {
        let ttl_ms = ttl.map_or(0, millis);
        Ok(match self.inner().renew(lease, ttl_ms, self.call_deadline()).await? {
            Renewal::Alive { ttl, .. } => Renewed::Alive { ttl },
            Renewal::Gone(reason) => Renewed::Ended { reason: remembered(reason) },
        })
    }

    /// Ends a lease or session, and every grant and wait under it.
    pub async fn close_lease(&self, lease: &LeaseId) -> Result<LeaseClosed, Error> {
        self.inner().close_lease(lease, self.call_deadline()).await
    }

    /// Opens a session that nobody here keeps alive; says what is left of it. To open it again under the same id, with the
    /// same words, is no error, and renews nothing.
    pub async fn open_session(
        &self,
        id: SessionId,
        ttl: Duration,
        owner: &str,
        metadata: &str,
    ) -> Result<Duration, Error> {
        let request = v1::OpenSessionRequest {
            namespace: self.namespace().to_owned(),
            session: id.to_string(),
            ttl_ms: millis(ttl),
            owner: owner.to_owned(),
            metadata: metadata.to_owned(),
        };
        Ok(self.inner().open_session(request, self.call_deadline()).await?.0)
    }

    /// Converts the grant with this token, without letting go of the lock; the new grant has another token. Only an
    /// upgrade may have to wait. [`Error::NotHeld`] if the grant has ended, also while it waits.
    pub async fn convert_raw(&self, name: &str, token: Token, to: Convert, wait: Wait) -> Result<Acquisition, Error> {
        let mode = match to {
            Convert::ToExclusive => LockMode::Exclusive,
            Convert::ToShared => LockMode::Shared,
        };
        let spec = AcquireSpec {
            namespace: self.namespace().to_owned(),
            locks: vec![LockSpec { name: name.to_owned(), mode }],
            owner: String::new(),
            metadata: String::new(),
            lease: LeaseSpec::Convert(token),
            actor: String::new(),
            lock_delay_ms: 0,
            value: Vec::new(),
        };
        let mut acquisition = acquire_raw(self.inner(), &spec, wait).await?;
        if let Acquisition::Acquired(acquired) = &mut acquisition
            && acquired.lease.as_str().is_empty()
        {
            // Granted when we had given up: the answer that told of the lease was lost.
            let asked = self.inner().clock.now();
            let lock = self.get(name).await?;
            let holder = lock.holders.iter().find(|holder| Token(holder.token) == acquired.token);
            let Some(holder) = holder else { return Err(Error::NotHeld { reason: remembered(lock.last_lost()) }) };
            acquired.lease = LeaseId(holder.lease.clone());
            acquired.ttl = Duration::from_millis(holder.left_ms);
            acquired.deadline = asked.after(self.options().safe_span(acquired.ttl));
        }
        Ok(acquisition)
    }

    /// Replaces the value on the grant with this token, if the value has this version still.
    pub async fn set_value(
        &self,
        name: &str,
        token: Token,
        version: u64,
        value: impl Into<Vec<u8>>,
    ) -> Result<ValueSet, Error> {
        self.inner().set_value(self.namespace(), name, token, version, value.into()).await
    }

    /// Ends a grant whatever its holder says, and tells it `reason`. Names the token, so it never ends a later grant.
    pub async fn force_release(&self, name: &str, token: Token, reason: &str) -> Result<Released, Error> {
        let request = v1::ForceReleaseRequest {
            namespace: self.namespace().to_owned(),
            name: name.to_owned(),
            token: token.0,
            reason: reason.to_owned(),
        };
        match self.ask(Operation::ForceRelease(request)).await? {
            (Answer::ForceRelease(answer), in_doubt) => {
                // An earlier send of ours, answered to nobody, is what ended it.
                let by_us = in_doubt && answer.reason() == v1::LossReason::Forced;
                let released = answer.released || by_us;
                Ok(Released { released, reason: if released { None } else { remembered(answer.reason()) } })
            }
            (other, _) => Err(Error::unexpected(&other)),
        }
    }

    /// Who holds the lock `name`, who waits for it, and why it was last lost. Linearizable.
    pub async fn get(&self, name: &str) -> Result<v1::LockInfo, Error> {
        self.inner().get(self.namespace(), name).await
    }

    /// Whether a token is the current one of a lock, or how it was lost. Linearizable; true at the moment of the answer.
    pub async fn check_token(&self, name: &str, token: Token) -> Result<v1::CheckTokenResponse, Error> {
        self.inner().check_token(self.namespace(), name, token).await
    }

    /// One page of the locks whose names begin with `prefix`, in name order; `page_token` is empty for the first.
    pub async fn list_page(&self, prefix: &str, page_token: &str) -> Result<v1::ListResponse, Error> {
        let request = v1::ListRequest {
            namespace: self.namespace().to_owned(),
            prefix: prefix.to_owned(),
            page_size: PAGE_SIZE,
            page_token: page_token.to_owned(),
            stale: false,
        };
        match self.ask(Operation::List(request)).await? {
            (Answer::List(page), _) => Ok(page),
            (other, _) => Err(Error::unexpected(&other)),
        }
    }

    /// All locks whose names begin with `prefix`, in name order. Each page is consistent in itself.
    pub async fn list(&self, prefix: &str) -> Result<Vec<v1::LockInfo>, Error> {
        let mut locks = Vec::new();
        let mut page_token = String::new();
        loop {
            let page = self.list_page(prefix, &page_token).await?;
            locks.extend(page.locks);
            if page.next_page_token.is_empty() {
                return Ok(locks);
            }
            page_token = page.next_page_token;
        }
    }

    /// One session, with what it holds, or why it ended. Linearizable.
    pub async fn get_session(&self, id: SessionId) -> Result<v1::GetSessionResponse, Error> {
        self.inner().get_session(&id.into()).await
    }

    /// One page of the open sessions of the namespace, in the order of their ids; `page_token` is empty for the first.
    pub async fn list_sessions_page(&self, page_token: &str) -> Result<v1::ListSessionsResponse, Error> {
        let request = v1::ListSessionsRequest {
            namespace: self.namespace().to_owned(),
            page_size: PAGE_SIZE,
            page_token: page_token.to_owned(),
            stale: false,
        };
        match self.ask(Operation::ListSessions(request)).await? {
            (Answer::ListSessions(page), _) => Ok(page),
            (other, _) => Err(Error::unexpected(&other)),
        }
    }

    /// All open sessions of the namespace, in the order of their ids. Each page is consistent in itself.
    pub async fn list_sessions(&self) -> Result<Vec<v1::SessionInfo>, Error> {
        let mut sessions = Vec::new();
        let mut page_token = String::new();
        loop {
            let page = self.list_sessions_page(&page_token).await?;
            sessions.extend(page.sessions);
            if page.next_page_token.is_empty() {
                return Ok(sessions);
            }
            page_token = page.next_page_token;
        }
    }
}
