//! The watches of one stream: operations with many answers.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt};
use leasehold_proto::v1;
use tokio_util::sync::CancellationToken;

use crate::CallError;
use crate::calls::{CallTime, Calls};
use crate::watch::Watcher;

/// Messages of all watches of a stream that wait to be sent: past it no watch is read. None has more than one.
const NEWS_QUEUED_MAX: usize = 4;

/// The next message of a watch, or why it ended.
pub(super) struct News {
    pub(super) id: u64,
    pub(super) message: Result<v1::WatchResponse, CallError>,
    /// To go on with once the message is handed out; None when it was the last one.
    pub(super) watcher: Option<Watcher>,
}

/// None: it was stopped.
type Step = Pin<Box<dyn Future<Output = Option<News>> + Send>>;

#[derive(Default)]
pub(super) struct Watches {
    /// What each waits for. A stopped one stays until it is looked at.
    steps: FuturesUnordered<Step>,
    news: VecDeque<News>,
    /// All that have not ended, by operation id.
    running: BTreeMap<u64, CancellationToken>,
}

impl Watches {
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.news.is_empty()
    }

    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Whether [`Watches::hear`] has something to wait for, and room for it.
    pub(super) fn may_hear(&self) -> bool {
        self.news.len() < NEWS_QUEUED_MAX && !self.steps.is_empty()
    }

    /// Begins one under an id that no other has.
    pub(super) fn begin(&mut self, id: u64, calls: Arc<Calls>, message: v1::WatchRequest, time: CallTime) {
        let stop = CancellationToken::new();
        self.running.insert(id, stop.clone());
        self.step(stop, async move {
            match calls.watch(message, time).await {
                Ok(watcher) => next(id, watcher).await,
                Err(error) => News { id, message: Err(error), watcher: None },
            }
        });
    }

    /// Goes on with one whose message was handed out.
    pub(super) fn go_on(&mut self, id: u64, watcher: Watcher) {
        if let Some(stop) = self.running.get(&id) {
            self.step(stop.clone(), next(id, watcher));
        }
    }

    /// Waits for the next message of any of them.
    pub(super) async fn hear(&mut self) {
        if let Some(Some(news)) = self.steps.next().await {
            self.news.push_back(news);
        }
    }

    /// A message to hand out. If it is not the last one, [`Watches::go_on`] follows.
    pub(super) fn take_news(&mut self) -> Option<News> {
        let news = self.news.pop_front()?;
        if news.watcher.is_none() {
            self.running.remove(&news.id);
        }
        Some(news)
    }

    /// Ends one, with what it has not told yet; false when there is none of this id, or its end is on its way.
    pub(super) fn stop(&mut self, id: u64) -> bool {
        if self.news.iter().any(|news| news.id == id && news.watcher.is_none()) {
            return false;
        }
        let Some(stop) = self.running.remove(&id) else { return false };
        stop.cancel();
        self.news.retain(|news| news.id != id);
        true
    }

    fn step(&mut self, stop: CancellationToken, step: impl Future<Output = News> + Send + 'static) {
        self.steps.push(Box::pin(async move { stop.run_until_cancelled_owned(step).await }));
    }
}

async fn next(id: u64, mut watcher: Watcher) -> News {
    match watcher.next().await {
        Ok(message) => News { id, message: Ok(message), watcher: Some(watcher) },
        Err(error) => News { id, message: Err(error), watcher: None },
    }
}
