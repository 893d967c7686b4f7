//! How a caller says what session to open.

use std::sync::Arc;
use std::time::Duration;

use super::{Session, SessionCore, SessionSpec};
use crate::client::ClientCore;
use crate::error::Error;
use crate::ids::SessionId;
use crate::options::{host_name, process_id};

/// A session in the making; see [`Client::session`](crate::Client::session).
#[derive(Debug, Clone)]
#[must_use = "nothing is asked until open"]
pub struct SessionBuilder {
    shared: Arc<ClientCore>,
    id: Option<SessionId>,
    ttl: Duration,
    owner: String,
    note: String,
    metadata: Option<String>,
}

impl SessionBuilder {
    pub(crate) fn new(shared: Arc<ClientCore>) -> Self {
        let options = &shared.inner.options;
        let (ttl, owner, note) = (options.session_ttl, options.owner.clone(), options.session_note.clone());
        Self { shared, id: None, ttl, owner, note, metadata: None }
    }

    /// Time to live between keep-alives. Default: the client's `session_ttl`.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Who opens it: shown to others, and with every lock that names no owner of its own. Default: the client's owner.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = owner.into();
        self
    }

    /// A text that others see in its metadata, beside host and process id. Default: the client's `session_note`.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Instead of host, process id and note: what others see with the session.
    pub fn metadata(mut self, metadata: impl Into<String>) -> Self {
        self.metadata = Some(metadata.into());
        self
    }

    /// Its id; default: a random one, as it should be, for knowing it is the right to use the session.
    pub fn id(mut self, id: SessionId) -> Self {
        self.id = Some(id);
        self
    }

    /// Opens it. Closed in the background if the future is dropped.
    pub async fn open(self) -> Result<Session, Error> {
        let shared = self.shared.clone();
        let core = self.open_core().await?;
        shared.remember(&core);
        Ok(Session::new(shared, core))
    }

    pub(crate) async fn open_core(self) -> Result<Arc<SessionCore>, Error> {
        let Self { shared, id: wished, ttl, owner, note, metadata } = self;
        let metadata = metadata.unwrap_or_else(|| about_this_process(&note));
        let deadline = shared.inner.call_deadline();
        let inner = shared.inner.clone();
        // Whoever waits for the opening may go; the opening itself keeps no client alive.
        drop(shared);
        loop {
            let id = wished.unwrap_or_else(SessionId::random);
            let spec = SessionSpec { id, ttl, owner: owner.clone(), metadata: metadata.clone() };
            match SessionCore::open(&inner, &spec, deadline).await {
                // Opened by a send whose answer was lost, and run out before another one arrived.
                Err(error) if error.is_no_session() && wished.is_none() => {}
                result => return result,
            }
        }
    }
}

fn about_this_process(note: &str) -> String {
    let mut text = format!("host={} pid={}", host_name(), process_id());
    if !note.is_empty() {
        text.push_str(" note=");
        text.push_str(note);
    }
    text
}
