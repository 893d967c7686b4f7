//! Watches of hand-made events.

use leasehold_consensus::{ApplyObserver, runtime};
use leasehold_state_machine::{EntryId, EventKind, FencingToken, LeaseId, LogTime, LossReason, Mode, StateMachine};

use super::super::filter::Target;
use super::super::ring::all_of;
use super::*;
use crate::FrontendOptions;

/// A node that applies what a test makes up.
struct Node {
    hub: Arc<Hub>,
    state: StateMachine,
    index: u64,
}

impl Node {
    fn new(watch_events_max: usize) -> Self {
        let options = FrontendOptions { watch_events_max, watches_max: 3, ..FrontendOptions::default() };
        let hub = Hub::new(&options);
        runtime::spawn(Arc::clone(&hub).run());
        Self { hub, state: StateMachine::new(), index: 0 }
    }

    /// Applies an entry in which these locks are lost.
    fn lose(&mut self, names: &[&str]) {
        self.index += 1;
        self.state.apply_blank(EntryId { index: self.index, ..Default::default() });
        let event = |(ordinal, name): (u32, &&str)| Event {
            revision: Revision { index: self.index, ordinal },
            at: LogTime(self.index),
            namespace: "default".into(),
            kind: EventKind::Lost {
                name: (*name).into(),
                token: FencingToken(self.index),
                mode: Mode::Exclusive,
                lease: LeaseId(1),
                owner: "me".into(),
                reason: LossReason::Released,
                note: String::new(),
            },
        };
        let events: Arc<[Event]> = (0..).zip(names).map(event).collect();
        self.hub.applied(events, &self.state);
    }

    fn install_snapshot(&mut self, index: u64) {
        self.index = index;
        self.state.apply_blank(EntryId { index, ..Default::default() });
        self.hub.reset(&self.state);
    }

    async fn settled(&self) {
        while self.hub.rung_through().index < self.index {
            tokio::task::yield_now().await;
        }
    }

    async fn watch_after(&self, target: Target, revision: Revision) -> Result<Watcher, CallError> {
        let filter = Filter { namespace: "default".into(), target };
        let mut watcher = Watcher::enter(&self.hub, filter, Duration::from_millis(20))?;
        watcher.begin_after(revision).await?;
        watcher.begins = None;
        Ok(watcher)
    }

    async fn watch(&self, name: &str) -> Watcher {
        self.watch_after(Target::Lock(name.into()), all_of(self.index)).await.unwrap()
    }
}

/// The next events, by index; progress in between is passed over.
async fn events(watcher: &mut Watcher) -> Vec<u64> {
    loop {
        let message = watcher.next().await.unwrap();
        if message.progress.is_none() {
            return message.events.iter().map(|event| event.revision.unwrap().index).collect();
        }
    }
}

async fn failure(watcher: &mut Watcher) -> CallError {
    loop {
        match watcher.next().await {
            Ok(message) => assert!(message.events.is_empty(), "told of what lies behind a gap: {message:?}"),
            Err(error) => return error,
        }
    }
}

#[tokio::test]
async fn a_quiet_watch_is_not_cut_off_by_what_others_do() {
    let mut node = Node::new(8);
    let mut watcher = node.watch("quiet").await;
    for _ in 0..5 {
        for _ in 0..8 {
            node.lose(&["busy"]);
        }
        node.settled().await;
    }
    node.lose(&["quiet"]);
    assert_eq!(events(&mut watcher).await, [41]);
    node.lose(&["busy"]);
    let progress = watcher.next().await.unwrap().progress;
    assert_eq!(progress, Some(convert::revision(all_of(42))), "it is told how far it would have heard");
}

#[tokio::test]
async fn a_watch_that_does_not_read_is_cut_off_and_told_where_it_was() {
    let mut node = Node::new(8);
    let mut watcher = node.watch("a").await;
    node.lose(&["a"]);
    assert_eq!(events(&mut watcher).await, [1]);
    for _ in 0..30 {
        node.lose(&["a"]);
    }
    let error = failure(&mut watcher).await;
    let oldest = Revision { index: 23, ordinal: 0 };
    assert_eq!(error, CallError::WatchTooSlow { revision: all_of(1), oldest });
    drop(watcher);
    assert_eq!(node.hub.watches(), 0, "its place is free again");
    let mut resumed = node.watch_after(Target::Lock("a".into()), oldest).await.unwrap();
    assert_eq!(events(&mut resumed).await, (24..=31).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_long_entry_comes_in_parts_and_each_event_once() {
    let mut node = Node::new(10_000);
    let mut watcher = node.watch_after(Target::Prefix("a".into()), all_of(0)).await.unwrap();
    let names = vec!["a"; 600];
    node.lose(&names);
    node.lose(&["b"]);
    node.lose(&["a"]);
    let mut ordinals = Vec::new();
    while ordinals.len() < 601 {
        let message = watcher.next().await.unwrap();
        assert!(message.events.len() <= EVENTS_PER_MESSAGE);
        ordinals.extend(message.events.iter().map(|event| event.revision.unwrap().ordinal));
    }
    assert_eq!(ordinals, (0..600).chain([0]).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_snapshot_ends_watches_that_missed_what_it_skipped() {
    let mut node = Node::new(100);
    let (mut behind, mut quiet) = (node.watch("a").await, node.watch("b").await);
    node.lose(&["a"]);
    node.settled().await;
    node.install_snapshot(500);
    node.lose(&["a", "b"]);
    for watcher in [&mut behind, &mut quiet] {
        match failure(watcher).await {
            CallError::RevisionGone { oldest, .. } => assert_eq!(oldest, all_of(500)),
            other => panic!("{other:?}"),
        }
    }
    let mut anew = node.watch_after(Target::Namespace, all_of(500)).await.unwrap();
    assert_eq!(events(&mut anew).await, [501, 501]);
}

#[tokio::test]
async fn places_are_bounded_and_a_closed_hub_ends_its_watches() {
    let node = Node::new(100);
    let mut watchers = [node.watch("a").await, node.watch("a").await, node.watch("b").await];
    let refused = node.watch_after(Target::Namespace, all_of(0)).await.unwrap_err();
    assert_eq!(refused, CallError::LimitReached { limit: "watches_max", max: 3 });
    node.hub.close();
    for watcher in &mut watchers {
        assert_eq!(failure(watcher).await, CallError::Stopping);
    }
    assert_eq!(node.watch_after(Target::Namespace, all_of(0)).await.unwrap_err(), CallError::Stopping);
}

#[tokio::test]
async fn a_watch_that_begins_in_the_past_has_read_what_does_not_concern_it() {
    let mut node = Node::new(8);
    // Nobody is rung while nobody watches.
    let other = node.watch("other").await;
    node.lose(&["busy"]);
    node.settled().await;
    drop(other);
    let mut watcher = node.watch_after(Target::Lock("quiet".into()), all_of(0)).await.unwrap();
    // Its client takes its time.
    for _ in 0..5 {
        for _ in 0..8 {
            node.lose(&["busy"]);
        }
        node.settled().await;
    }
    node.lose(&["quiet"]);
    assert_eq!(events(&mut watcher).await, [42]);
}

#[tokio::test]
async fn apply_wakes_nobody_while_nobody_watches() {
    let mut node = Node::new(100);
    node.lose(&["a"]);
    // The task that would take the word does not run before this one waits.
    assert!(!node.hub.is_woken());
    let mut watcher = node.watch_after(Target::Lock("a".into()), all_of(0)).await.unwrap();
    node.lose(&["a"]);
    assert!(node.hub.is_woken());
    node.lose(&["b"]);
    assert_eq!(events(&mut watcher).await, [1, 2]);
    node.settled().await;
    drop(watcher);
    node.lose(&["a"]);
    assert!(!node.hub.is_woken());
    // What nobody was rung for is told all the same to one who comes later.
    let mut late = node.watch_after(Target::Lock("a".into()), all_of(2)).await.unwrap();
    assert_eq!(events(&mut late).await, [4]);
    node.lose(&["a"]);
    assert_eq!(events(&mut late).await, [5]);
}
