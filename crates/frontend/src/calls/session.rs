//! Sessions: leases that clients open themselves. They are kept alive and closed as all leases are.

use leasehold_proto::v1;
use leasehold_state_machine::{LeaseId, OpenSession, Operation, Outcome, Refusal};

use super::pages::{self, Page};
use super::read::revision;
use super::{CallTime, Calls};
use crate::{CallError, convert, validate};

/// Sessions that are read under one hold of the state: each tells what hangs on it, and apply waits meanwhile.
const CHUNK: usize = 16;

impl Calls {
    /// Opens a session, or finds it open.
    pub(crate) async fn open_session(
        &self,
        message: v1::OpenSessionRequest,
        time: CallTime,
    ) -> Result<v1::OpenSessionResponse, CallError> {
        self.open()?;
        let namespace = validate::namespace(message.namespace.clone())?;
        let limits = self.limits(&namespace);
        let open: OpenSession = validate::open_session(message, namespace, &limits)?;
        let session = open.session;
        match self.node.submit(Operation::OpenSession(open), time.deadline()).await? {
            Outcome::Opened(opened) => Ok(v1::OpenSessionResponse { ttl_ms: opened.left_ms }),
            Outcome::Refused(Refusal::BodyMismatch) => Err(CallError::SessionMismatch { session }),
            Outcome::Refused(refusal) => Err(refusal.into()),
            _ => Err(CallError::ForeignOutcome { command: "OpenSession" }),
        }
    }

    /// One session.
    pub(crate) async fn get_session(
        &self,
        message: v1::GetSessionRequest,
        time: CallTime,
    ) -> Result<v1::GetSessionResponse, CallError> {
        let id = validate::session_id("session", &message.session)?;
        self.ready_to_read(message.stale, time).await?;
        let (view, end, revision) = {
            let state = self.node.state();
            (state.session(id), state.lease_end(id), revision(&state))
        };
        let reason = if view.is_some() { None } else { end };
        Ok(v1::GetSessionResponse {
            session: view.map(convert::session),
            reason: convert::loss_reason(reason).into(),
            revision,
        })
    }

    /// A page of the sessions of a namespace.
    pub(crate) async fn list_sessions(
        &self,
        message: v1::ListSessionsRequest,
        time: CallTime,
    ) -> Result<v1::ListSessionsResponse, CallError> {
        let namespace = validate::namespace(message.namespace)?;
        let size = validate::page_size(message.page_size)?;
        let mut after = page_start(&message.page_token)?;
        self.ready_to_read(message.stale, time).await?;
        let mut page = Page::new(size);
        while let Some(wanted) = page.wanted(CHUNK) {
            // One more than wanted tells whether a page follows.
            let views = self.node.state().sessions(&namespace, after, wanted + 1);
            let more = views.len() > wanted;
            after = views.iter().take(wanted).next_back().map(|view| view.session).or(after);
            page.fill(views.into_iter().take(wanted).map(convert::session), more);
            tokio::task::consume_budget().await;
        }
        let (sessions, more) = page.into_parts();
        let next = sessions.last().filter(|_| more).map(|session: &v1::SessionInfo| pages::token(&session.session));
        Ok(v1::ListSessionsResponse { sessions, next_page_token: next.unwrap_or_default() })
    }
}

fn page_start(token: &str) -> Result<Option<LeaseId>, CallError> {
    pages::start(token)?.map(|id| id.parse().map_err(|_| pages::foreign())).transpose()
}
