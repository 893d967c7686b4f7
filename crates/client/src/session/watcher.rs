//! The task that watches a session: the end of a single lock, and of the session, as the cluster sees it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use leasehold_proto::v1::watch_request::Target;
use tokio_util::sync::CancellationToken;

use super::tracked::Tracked;
use crate::backoff::jitter;
use crate::error::Error;
use crate::feed::{Feed, WatchItem};
use crate::inner::Inner;
use crate::runtime::sleep;

/// Before a watch that was refused is tried again: a node has only so many. Renewals tell, later, of what it would have told.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Watches until the session is lost, or `stop`.
pub(super) async fn watch(inner: Arc<Inner>, tracked: Arc<Tracked>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tracked.lease.lost().cancelled() => {}
        () = follow(&inner, &tracked) => {}
    }
}

async fn follow(inner: &Arc<Inner>, tracked: &Tracked) {
    let target = Some(Target::Session(tracked.lease.lease.0.clone()));
    let mut pause = REFUSED_PAUSE;
    loop {
        let mut feed = Feed::new(inner.clone(), tracked.namespace.clone(), target.clone(), None);
        let error = loop {
            tokio::select! {
                () = tracked.lease.in_doubt.notified() => compare(inner, tracked).await,
                item = feed.next() => match item {
                    Ok(WatchItem::Event(event)) => tracked.take_in(&event),
                    // What happened before this, or within the gap, was not told.
                    Ok(WatchItem::Started { .. } | WatchItem::Gap { .. }) => compare(inner, tracked).await,
                    Ok(WatchItem::Progress(_)) => {}
                    Err(error) => break error,
                }
            }
        };
        if error == Error::Closed {
            return;
        }
        tracing::debug!(session = %tracked.lease.lease, %error, "the watch on a session was refused");
        sleep(jitter(pause)).await;
        pause = (pause * 2).min(REFUSED_PAUSE_MAX);
    }
}

/// Reads what the session holds, and tells the guards of what it does not hold any more.
async fn compare(inner: &Inner, tracked: &Tracked) {
    // Granted before the read is sent, so a linearizable read shows them, unless they have ended.
    let live = tracked.live();
    if live.is_empty() {
        return;
    }
    let session = &tracked.lease.lease;
    let answer = Inner::persist(|| inner.get_session(session)).await;
    let Some(info) = answer.session else {
        return tracked.lease.ended(answer.reason());
    };
    let held: BTreeSet<u64> = info.grants.iter().map(|grant| grant.token).collect();
    for (token, grants) in live {
        let name = grants.grants.iter().find(|grant| grant.token == token).map(|grant| grant.name.as_str());
        let Some(name) = name.filter(|_| !held.contains(&token.0)) else { continue };
        // The list is bounded, and says nothing about why.
        if let Some(loss) = inner.look_for_loss(&tracked.namespace, name, token).await
            && !tracked.is_converting(token)
        {
            tracked.grant_ended(token, loss);
        }
    }
}
