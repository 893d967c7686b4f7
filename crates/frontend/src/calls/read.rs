//! Reads: linearizable unless the caller asks for less.

use leasehold_proto::v1;
use leasehold_state_machine::{LockView, StateMachine, WAITERS_LISTED_MAX};

use super::pages::{self, Page};
use super::{CallTime, Calls};
use crate::{CallError, convert, validate};

/// Locks that are read under one hold of the state: apply waits meanwhile.
const CHUNK: usize = 16;

impl Calls {
    /// One lock.
    pub(crate) async fn get(&self, message: v1::GetRequest, time: CallTime) -> Result<v1::GetResponse, CallError> {
        let namespace = validate::namespace(message.namespace)?;
        validate::lock_name("name", &message.name, &self.limits(&namespace))?;
        self.ready_to_read(message.stale, time).await?;
        let (view, revision) = {
            let state = self.node.state();
            (state.lock_head(&namespace, &message.name, WAITERS_LISTED_MAX), revision(&state))
        };
        let lock = convert::lock(view.unwrap_or_else(|| free(namespace, message.name)), revision);
        Ok(v1::GetResponse { lock: Some(lock) })
    }

    /// A page of the locks of a namespace.
    pub(crate) async fn list(&self, message: v1::ListRequest, time: CallTime) -> Result<v1::ListResponse, CallError> {
        let namespace = validate::namespace(message.namespace)?;
        validate::prefix(&message.prefix, &self.limits(&namespace))?;
        let size = validate::page_size(message.page_size)?;
        let mut after = pages::start(&message.page_token)?;
        self.ready_to_read(message.stale, time).await?;
        let mut page = Page::new(size);
        while let Some(wanted) = page.wanted(CHUNK) {
            let (views, revision) = {
                let state = self.node.state();
                // One more than wanted tells whether a page follows.
                (state.locks(&namespace, &message.prefix, after.as_deref(), wanted + 1), revision(&state))
            };
            let more = views.len() > wanted;
            after = views.iter().take(wanted).next_back().map(|view| view.name.clone()).or(after);
            page.fill(views.into_iter().take(wanted).map(|view| convert::lock(view, revision)), more);
            tokio::task::consume_budget().await;
        }
        let (locks, more) = page.into_parts();
        let next = locks.last().filter(|_| more).map(|lock: &v1::LockInfo| pages::token(&lock.name));
        Ok(v1::ListResponse { locks, next_page_token: next.unwrap_or_default() })
    }

    /// Whether a token is the current one of a lock.
    pub(crate) async fn check_token(
        &self,
        message: v1::CheckTokenRequest,
        time: CallTime,
    ) -> Result<v1::CheckTokenResponse, CallError> {
        let namespace = validate::namespace(message.namespace)?;
        validate::lock_name("name", &message.name, &self.limits(&namespace))?;
        let token = validate::token("token", message.token)?;
        self.ready_to_read(message.stale, time).await?;
        let state = self.node.state();
        Ok(convert::token(state.check_token(&namespace, &message.name, token), revision(&state)))
    }

    /// A read that follows is linearizable, unless the caller asks for less.
    pub(super) async fn ready_to_read(&self, stale: bool, time: CallTime) -> Result<(), CallError> {
        if stale {
            return Ok(());
        }
        self.open()?;
        self.node.read_barrier(time.deadline()).await?;
        Ok(())
    }
}

pub(super) fn revision(state: &StateMachine) -> u64 {
    state.applied().map_or(0, |entry| entry.index)
}

/// A lock that nobody holds, awaits or remembers.
fn free(namespace: String, name: String) -> LockView {
    LockView {
        namespace,
        name,
        holders: Vec::new(),
        waiters: Vec::new(),
        waiter_count: 0,
        delay_left_ms: 0,
        last_lost: None,
    }
}
