//! One stream of appends: its requests, its answers, and what its end means.

use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::{Stream, StreamExt, stream};
use leasehold_failpoints::failpoint;
use leasehold_proto::peer as pb;
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;

use crate::convert;
use crate::network::{APPEND_TIMEOUT, Rpc, broken, unreachable};
use crate::types::TypeConfig;

/// What one end of an append stream knows of it. Dropped, it ends the requests.
pub(crate) struct AppendExchange {
    progress: Arc<Progress>,
    /// The HTTP/2 connection holds on to the requests of a stream whose answers nobody reads any more. openraft makes the requests of all
    /// streams to a peer from one state: those of the old stream would take what is meant for the next one.
    abandoned: CancellationToken,
    _abandon: DropGuard,
}

#[derive(Default)]
struct Progress {
    /// Requests that were sent and not answered yet.
    due: AtomicUsize,
    /// There are no more requests.
    all_sent: AtomicBool,
}

impl AppendExchange {
    pub(crate) fn new() -> Self {
        let abandoned = CancellationToken::new();
        Self { progress: Arc::default(), _abandon: abandoned.clone().drop_guard(), abandoned }
    }

    /// The requests as they go out.
    pub(crate) fn requests<S>(&self, input: S) -> impl Stream<Item = pb::AppendRequest> + Send + use<S>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + 'static,
    {
        let (sent, end) = (Arc::clone(&self.progress), Arc::clone(&self.progress));
        let requests = input.map(move |request| {
            failpoint!("peer_append::send::before", pass);
            sent.due.fetch_add(1, Ordering::AcqRel);
            Some(convert::append_to_pb(request))
        });
        let end = stream::once(async move {
            end.all_sent.store(true, Ordering::Release);
            None
        });
        requests.chain(end).filter_map(ready).take_until(self.abandoned.clone().cancelled_owned())
    }

    /// The next answer, or the end of the stream. Too long a silence while answers are due is an error. So is an end that comes before
    /// all requests were made and answered, as when the peer stops: openraft takes an end without an error for the end of what it sent,
    /// and goes on with what it last was to send, however long ago that was. Entries among it may be purged meanwhile; it would wait for
    /// them for ever, and never send what comes after the snapshot that it sent instead.
    pub(crate) async fn next(
        &self,
        answers: &mut tonic::Streaming<pb::AppendResponse>,
    ) -> Option<Rpc<StreamAppendResult<TypeConfig>>> {
        let mut next = pin!(answers.message());
        let answer = loop {
            let was_due = self.progress.due.load(Ordering::Acquire) > 0;
            match tokio::time::timeout(APPEND_TIMEOUT, &mut next).await {
                Ok(answer) => break answer,
                Err(_) if was_due => return Some(Err(broken("no answer to an append in time"))),
                Err(_) => {}
            }
        };
        match answer {
            Ok(Some(response)) => {
                self.progress.due.fetch_sub(1, Ordering::AcqRel);
                failpoint!("peer_append::answer::after", pass);
                Some(convert::append_result_from_pb(response).map_err(broken))
            }
            Ok(None) if self.is_complete() => None,
            Ok(None) => Some(Err(unreachable(&Status::unavailable("the peer ended an append stream")))),
            Err(status) => Some(Err(unreachable(&status))),
        }
    }

    fn is_complete(&self) -> bool {
        self.progress.all_sent.load(Ordering::Acquire) && self.progress.due.load(Ordering::Acquire) == 0
    }
}

#[cfg(test)]
mod tests;
