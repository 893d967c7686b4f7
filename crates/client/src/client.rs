//! The handle that programs hold.

use std::sync::Arc;
use std::time::Duration;

use leasehold_proto::v1::{self, answer::Answer, operation::Operation};

use crate::builder::LockBuilder;
use crate::error::Error;
use crate::guard::Released;
use crate::ids::{LeaseId, Token};
use crate::inner::{Inner, Renewal};
use crate::options::ClientOptions;
use crate::runtime::within;
use crate::types::{Renewed, remembered};

/// A connection to a cluster. Cheap to clone; everything ends when the last clone and the last guard have gone.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

impl Client {
    /// Connects to all endpoints and returns when the first can be used, or `connect_timeout` has passed.
    pub async fn connect(options: ClientOptions) -> Result<Self, Error> {
        options.validate()?;
        let bound = options.connect_timeout;
        let inner = Inner::start(options);
        // A little longer than one attempt may take, so that its own words are told.
        match inner.endpoints.stream(None, bound + Duration::from_millis(50)).await {
            Some(_) => Ok(Self { inner }),
            None => Err(Error::Unavailable { message: inner.endpoints.problems() }),
        }
    }

    /// The options that the client was made with.
    #[must_use]
    pub fn options(&self) -> &ClientOptions {
        &self.inner.options
    }

    /// Starts an acquire of the lock `name`.
    pub fn lock(&self, name: impl Into<String>) -> LockBuilder {
        LockBuilder::new(self.inner.clone(), name.into())
    }

    /// Releases a lock by its fencing token. What is no longer held is no error.
    pub async fn release(&self, name: &str, token: Token) -> Result<Released, Error> {
        let namespace = &self.inner.options.namespace;
        self.inner.release(namespace, name, token, self.inner.call_deadline()).await
    }

    /// Renews a lease, to `ttl` from now, or to the ttl that it has.
    pub async fn renew(&self, lease: &LeaseId, ttl: Option<Duration>) -> Result<Renewed, Error> {
        let ttl_ms = ttl.map_or(0, crate::call::millis);
        Ok(match self.inner.renew(lease, ttl_ms, self.inner.call_deadline()).await? {
            Renewal::Alive { ttl, .. } => Renewed::Alive { ttl },
            Renewal::Gone(reason) => Renewed::Ended { reason: remembered(reason) },
        })
    }

    /// Who holds the lock `name`, who waits for it, and why it was last lost.
    pub async fn get(&self, name: &str) -> Result<v1::LockInfo, Error> {
        let namespace = self.inner.options.namespace.clone();
        let request = v1::GetRequest { namespace, name: name.to_owned(), stale: false };
        let reply = self.inner.call(Operation::Get(request), self.inner.call_deadline()).await?;
        match reply.answer {
            Answer::Get(v1::GetResponse { lock: Some(lock) }) => Ok(lock),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// One page of the locks whose names begin with `prefix`, in name order; `page_token` is empty for the first.
    pub async fn list_page(&self, prefix: &str, page_token: &str) -> Result<v1::ListResponse, Error> {
        let request = v1::ListRequest {
            namespace: self.inner.options.namespace.clone(),
            prefix: prefix.to_owned(),
            page_size: 1_000,
            page_token: page_token.to_owned(),
            stale: false,
        };
        let reply = self.inner.call(Operation::List(request), self.inner.call_deadline()).await?;
        match reply.answer {
            Answer::List(page) => Ok(page),
            other => Err(Error::unexpected(&other)),
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

    /// Waits, up to `bound`, until the releases and cancels that nobody waits for have been answered. Says whether they
    /// have. Worth calling before a process ends.
    pub async fn settle(&self, bound: Duration) -> bool {
        within(bound, self.inner.spawner.errands_done()).await.is_some()
    }

    /// Closes the client: every guard is lost, every call ends. Locks run out by themselves unless released before.
    pub fn close(&self) {
        self.inner.stop.cancel();
    }
}
