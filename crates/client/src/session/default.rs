//! The session that a client's locks hang on if nothing else is said.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{SessionBuilder, SessionCore};
use crate::client::ClientCore;
use crate::error::Error;
use crate::runtime::within;

type Opened = Option<Result<Arc<SessionCore>, Error>>;

/// Opened by the first who needs it, for all; opened anew once it was lost.
#[derive(Debug, Default)]
pub(crate) struct DefaultSession(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    Opening(watch::Receiver<Opened>),
    Open(Arc<SessionCore>),
    /// The client is being shut down: no more sessions.
    Over,
}

impl DefaultSession {
    /// The session, which is alive; waits up to `bound` for it to be opened.
    pub(crate) async fn get(&self, shared: &Arc<ClientCore>, bound: Duration) -> Result<Arc<SessionCore>, Error> {
        let mut opening = {
            let mut state = self.0.lock();
            match &*state {
                State::Open(core) if core.is_alive() => return Ok(core.clone()),
                State::Over => return Err(Error::Closed),
                // Of a task that was ended with its runtime nothing comes any more.
                State::Opening(opening) if opening.has_changed().is_ok() => opening.clone(),
                State::Opening(_) | State::Open(_) | State::Closed => {
                    let (opened, opening) = watch::channel(None);
                    *state = State::Opening(opening.clone());
                    drop(state);
                    start(shared, opened);
                    opening
                }
            }
        };
        let opened = within(bound, opening.wait_for(Option::is_some)).await;
        match opened.as_ref().map(|result| result.as_deref()) {
            Some(Ok(Some(result))) => result.clone(),
            Some(Ok(None) | Err(_)) => Err(Error::Closed),
            None => {
                Err(Error::Unavailable { message: format!("no session yet; {}", shared.inner.endpoints.problems()) })
            }
        }
    }

    /// Takes it out of use, for good. One that is being opened is closed when it is open.
    pub(crate) fn retire(&self) {
        *self.0.lock() = State::Over;
    }

    fn opened(&self, result: &Result<Arc<SessionCore>, Error>) {
        let mut state = self.0.lock();
        *state = match (&*state, result) {
            (State::Over, _) => State::Over,
            (_, Ok(core)) => State::Open(core.clone()),
            (_, Err(_)) => State::Closed,
        };
    }
}

/// Opens a session in a task of its own: whoever waits for it may lose patience, the others still want it.
fn start(shared: &Arc<ClientCore>, opened: watch::Sender<Opened>) {
    let opening = SessionBuilder::new(shared.clone()).open_core();
    let (spawner, shared): (_, Weak<ClientCore>) = (shared.inner.spawner.clone(), Arc::downgrade(shared));
    spawner.spawn_errand(async move {
        let result = opening.await;
        // With its last handle gone, the client wants no session: dropped, it is closed.
        let Some(shared) = shared.upgrade() else { return };
        if let Ok(core) = &result {
            shared.remember(core);
        }
        shared.default.opened(&result);
        opened.send_replace(Some(result));
    });
}
