//! What a watch says, carried on across reconnects, nodes and failover.
//!
//! A feed resumes from the last revision that it has taken in. Whole answers are taken in or none of one, so nothing is
//! skipped and nothing comes twice. Where the cluster no longer remembers what followed, the feed says that there is a gap.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use leasehold_proto::v1::answer::Answer;
use leasehold_proto::v1::watch_request::Target;
use leasehold_proto::v1::{self, Revision, WatchEvent};
use tonic::Code;

use crate::backoff::Backoff;
use crate::clock::Moment;
use crate::error::{Error, Verdict};
use crate::inner::Inner;
use crate::runtime::sleep;
use crate::subscription::Subscription;

/// The longest that a feed waits for a usable node before it looks again.
const NODE_WAIT: Duration = Duration::from_secs(60);

/// What happened to a watched lock or session, or to the watch itself.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchItem {
    /// The watch has begun: all events after this revision follow.
    Started {
        /// Where it begins.
        from: Revision,
    },
    /// Something happened.
    Event(WatchEvent),
    /// What happened between these two is no longer remembered: whoever kept a picture from the events reads it anew.
    /// All events after `from` follow.
    Gap {
        /// The last revision before the gap.
        after: Revision,
        /// Where the watch goes on.
        from: Revision,
    },
    /// Nothing of the target lies between the last event and this revision.
    Progress(Revision),
}

/// In the order of the log.
fn order(revision: Revision) -> (u64, u32) {
    (revision.index, revision.ordinal)
}

/// A watch that goes on.
#[derive(Debug)]
pub(crate) struct Feed {
    inner: Arc<Inner>,
    namespace: String,
    target: Option<Target>,
    /// Taken in up to here.
    after: Option<Revision>,
    /// Where a gap began whose end is not known yet.
    lost_after: Option<Revision>,
    started: bool,
    subscription: Option<Subscription>,
    /// No answer of the present subscription has come yet.
    fresh: bool,
    /// The endpoint that failed last.
    avoid: Option<usize>,
    backoff: Backoff,
    not_before: Option<Moment>,
    ready: VecDeque<WatchItem>,
}

impl Feed {
    pub(crate) fn new(inner: Arc<Inner>, namespace: String, target: Option<Target>, after: Option<Revision>) -> Self {
        Self {
            inner,
            namespace,
            target,
            after,
            lost_after: None,
            started: false,
            subscription: None,
            fresh: true,
            avoid: None,
            backoff: Backoff::new(),
            not_before: None,
            ready: VecDeque::new(),
        }
    }

    /// The next item. An error is the end of it: the client was closed, or the watch itself is refused. Dropping the future
    /// loses nothing.
    pub(crate) async fn next(&mut self) -> Result<WatchItem, Error> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(item);
            }
            let stop = self.inner.stop.clone();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(Error::Closed),
                step = self.step() => step?,
            }
        }
    }

    /// What is at hand and has not been taken yet, without waiting.
    pub(crate) fn take_ready(&mut self) -> impl Iterator<Item = WatchItem> {
        self.ready.drain(..)
    }

    /// Whether events of this revision are still to be taken: one that concerns several locks comes once for each.
    pub(crate) fn is_within(&self, revision: Revision) -> bool {
        matches!(self.ready.front(), Some(WatchItem::Event(event)) if event.revision == Some(revision))
    }

    async fn step(&mut self) -> Result<(), Error> {
        let Some(subscription) = &mut self.subscription else {
            self.subscribe().await;
            return Ok(());
        };
        match subscription.next().await {
            Some(Answer::Watch(answer)) => self.take_in(answer),
            Some(Answer::Error(error)) => self.refused(error)?,
            Some(other) => return Err(Error::unexpected(&other)),
            None => self.drop_subscription(Duration::ZERO),
        }
        Ok(())
    }

    async fn subscribe(&mut self) {
        if let Some(moment) = self.not_before {
            sleep(self.inner.left_until(moment)).await;
            self.not_before = None;
        }
        let Some(stream) = self.inner.endpoints.stream(self.avoid, NODE_WAIT).await else { return };
        let request =
            v1::WatchRequest { namespace: self.namespace.clone(), target: self.target.clone(), after: self.after };
        match stream.subscribe(request) {
            Ok(subscription) => {
                self.fresh = true;
                self.subscription = Some(subscription);
            }
            Err(_) => self.pause(Duration::ZERO),
        }
    }

    fn take_in(&mut self, answer: v1::WatchResponse) {
        let v1::WatchResponse { from, events, progress } = answer;
        if self.fresh {
            self.fresh = false;
            self.backoff.reset();
            self.avoid = None;
            let from = from.or(self.after).unwrap_or_default();
            if let Some(after) = self.lost_after.take() {
                self.ready.push_back(WatchItem::Gap { after, from });
            } else if !self.started {
                self.ready.push_back(WatchItem::Started { from });
            }
            self.started = true;
            self.after.get_or_insert(from);
        }
        for event in events {
            let Some(revision) = event.revision else { continue };
            self.advance(revision);
            self.ready.push_back(WatchItem::Event(event));
        }
        if let Some(revision) = progress {
            self.advance(revision);
            self.ready.push_back(WatchItem::Progress(revision));
        }
    }

    fn advance(&mut self, to: Revision) {
        if self.after.is_none_or(|after| order(after) < order(to)) {
            self.after = Some(to);
        }
    }

    fn refused(&mut self, error: v1::Error) -> Result<(), Error> {
        tracing::debug!(error = error.message, reason = error.reason, "a watch was ended");
        let code = Code::from(error.code);
        if code == Code::OutOfRange && self.after.is_some() {
            let after = self.after.take();
            self.lost_after = self.lost_after.or(after);
            self.drop_subscription(Duration::ZERO);
            return Ok(());
        }
        // One that has begun was cut off, which may have been its reader's own doing; a new one is told what is wrong.
        let goes_on = self.started && code == Code::ResourceExhausted;
        match Verdict::from(error) {
            Verdict::Final(error) if !goes_on => Err(error),
            Verdict::Final(_) => {
                self.drop_subscription(Duration::ZERO);
                Ok(())
            }
            Verdict::Again { after, .. } => {
                self.drop_subscription(after);
                Ok(())
            }
        }
    }

    fn drop_subscription(&mut self, at_least: Duration) {
        if let Some(subscription) = self.subscription.take() {
            self.avoid = Some(subscription.endpoint());
        }
        // A watch that had been answered is resumed at once.
        if self.fresh || !at_least.is_zero() {
            self.pause(at_least);
        }
    }

    fn pause(&mut self, at_least: Duration) {
        let pause = self.backoff.step().max(at_least);
        self.not_before = Some(self.inner.clock.now().after(pause));
    }
}
