//! Who leads, as it changes.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{BoxStream, StreamExt, unfold};
use leasehold_proto::v1::EventType;

use crate::backoff::Backoff;
use crate::client::Client;
use crate::election::Leader;
use crate::error::Error;
use crate::feed::{Feed, WatchItem};
use crate::inner::Inner;
use crate::runtime::sleep;
use crate::watch::WatchTarget;

/// A stream of [`Leader`]s; see [`Election::observe`](crate::Election::observe). It goes on until it is dropped or the client
/// is closed. An error is its last item.
#[must_use = "nothing is observed unless it is read"]
pub struct Observe {
    leaders: BoxStream<'static, Result<Leader, Error>>,
}

impl Observe {
    pub(crate) fn new(client: &Client, name: &str) -> Self {
        let inner = client.inner().clone();
        let namespace = inner.options.namespace.clone();
        let target = WatchTarget::Lock(name.to_owned()).to_wire();
        let feed = Feed::new(inner.clone(), namespace, target, None);
        let eye = Eye { feed, name: name.to_owned(), last: None, look: false };
        let leaders = unfold(Some((inner, eye)), |state| async {
            let (inner, mut eye) = state?;
            Some(match eye.next(&inner).await {
                Ok(leader) => (Ok(leader), Some((inner, eye))),
                Err(error) => (Err(error), None),
            })
        });
        Self { leaders: leaders.boxed() }
    }

    /// The next leader, or the next value of the same one; `None` after an error. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Leader, Error>> {
        self.leaders.next().await
    }
}

impl futures_util::Stream for Observe {
    type Item = Result<Leader, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.leaders.poll_next_unpin(cx)
    }
}

impl fmt::Debug for Observe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observe")
    }
}

struct Eye {
    feed: Feed,
    name: String,
    /// Token and version told last.
    last: Option<(u64, u64)>,
    /// Something happened since the last look.
    look: bool,
}

impl Eye {
    async fn next(&mut self, inner: &Inner) -> Result<Leader, Error> {
        let mut backoff = Backoff::new();
        loop {
            while !self.look {
                let item = self.feed.next().await?;
                self.look = tells_of_leader(&item);
            }
            // What is at hand already is seen by the same look.
            self.feed.take_ready().for_each(drop);
            match inner.get(&inner.options.namespace, &self.name).await {
                Ok(lock) => {
                    self.look = false;
                    if let Some(leader) = Leader::of(lock).filter(|leader| self.is_news(leader)) {
                        return Ok(leader);
                    }
                }
                Err(error) if error.is_retryable() => sleep(backoff.step()).await,
                Err(error) => return Err(error),
            }
        }
    }

    fn is_news(&mut self, leader: &Leader) -> bool {
        let seen = (leader.token.0, leader.version);
        let news = self.last.is_none_or(|last| seen > last);
        if news {
            self.last = Some(seen);
        }
        news
    }
}

/// Whether the one who leads, or its value, may be another one now.
fn tells_of_leader(item: &WatchItem) -> bool {
    match item {
        WatchItem::Started { .. } | WatchItem::Gap { .. } => true,
        WatchItem::Progress(_) => false,
        WatchItem::Event(event) => {
            matches!(event.r#type(), EventType::Granted | EventType::Converted | EventType::ValueSet)
        }
    }
}
