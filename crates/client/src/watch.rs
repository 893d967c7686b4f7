//! Watching locks and sessions.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{BoxStream, StreamExt, unfold};
use leasehold_proto::v1::Revision;
use leasehold_proto::v1::watch_request::Target;

use crate::error::Error;
use crate::feed::{Feed, WatchItem};
use crate::ids::SessionId;

/// What to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchTarget {
    /// The lock of this name.
    Lock(String),
    /// All locks whose names begin so.
    Prefix(String),
    /// The grants, waits and end of one session.
    Session(SessionId),
    /// All locks and sessions of the namespace.
    Namespace,
}

impl WatchTarget {
    pub(crate) fn to_wire(&self) -> Option<Target> {
        match self {
            Self::Lock(name) => Some(Target::Name(name.clone())),
            Self::Prefix(prefix) => Some(Target::Prefix(prefix.clone())),
            Self::Session(session) => Some(Target::Session(session.to_string())),
            Self::Namespace => None,
        }
    }
}

/// A watch: a stream of [`WatchItem`]s that goes on across reconnects, nodes and failover until it is dropped or the client
/// is closed. An error is its last item.
///
/// Who reads slowly loses nothing as long as the cluster remembers: the watch resumes from what was read. Otherwise a
/// [`WatchItem::Gap`] says so.
#[must_use = "a watch says nothing unless it is read"]
pub struct Watch {
    /// Each with the revision that is complete with it, if one is.
    items: BoxStream<'static, Result<(WatchItem, Option<Revision>), Error>>,
    revision: Option<Revision>,
}

impl Watch {
    pub(crate) fn new(feed: Feed) -> Self {
        let items = unfold(Some(feed), |feed| async {
            let mut feed = feed?;
            Some(match feed.next().await {
                Ok(item) => {
                    let complete = position(&item).filter(|revision| !feed.is_within(*revision));
                    (Ok((item, complete)), Some(feed))
                }
                Err(error) => (Err(error), None),
            })
        });
        Self { items: items.boxed(), revision: None }
    }

    /// The next item; `None` after an error. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<WatchItem, Error>> {
        StreamExt::next(self).await
    }

    /// Up to where everything was read: another watch can go on after it.
    #[must_use]
    pub fn revision(&self) -> Option<Revision> {
        self.revision
    }
}

impl futures_util::Stream for Watch {
    type Item = Result<WatchItem, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.items.poll_next_unpin(cx).map(|next| {
            next.map(|item| {
                item.map(|(item, complete)| {
                    self.revision = complete.or(self.revision);
                    item
                })
            })
        })
    }
}

fn position(item: &WatchItem) -> Option<Revision> {
    match item {
        WatchItem::Started { from } | WatchItem::Gap { from, .. } => Some(*from),
        WatchItem::Event(event) => event.revision,
        WatchItem::Progress(revision) => Some(*revision),
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("revision", &self.revision).finish_non_exhaustive()
    }
}
