//! Who is concerned by an event: an index, so that its cost does not grow with the number of watches of other locks.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use leasehold_state_machine::{Event, LeaseId, Revision};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::filter::{Filter, Target};
use super::ring::before;

/// Where a watcher hears that there is something for it.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    /// All that lies between what the watcher has read and this does not concern it.
    pending_after: Mutex<Option<Revision>>,
    pub(crate) rung: Notify,
}

impl Signal {
    /// Something that may concern the watcher follows `revision`; what was said before stands if it lies before.
    pub(crate) fn ring(&self, revision: Revision) {
        {
            let mut pending = self.pending_after.lock();
            *pending = Some(pending.map_or(revision, |earlier| earlier.min(revision)));
        }
        self.rung.notify_one();
    }

    /// What was said since this was asked last.
    pub(crate) fn take(&self) -> Option<Revision> {
        self.pending_after.lock().take()
    }
}

type Signals = BTreeMap<u64, Arc<Signal>>;

/// Watches of one namespace.
#[derive(Debug, Default)]
struct Namespace {
    locks: HashMap<String, Signals>,
    /// Of a prefix, or (None) of everything.
    wide: BTreeMap<u64, (Option<String>, Arc<Signal>)>,
}

/// All watches of a node by what they want.
#[derive(Debug, Default)]
pub(crate) struct Interests {
    namespaces: HashMap<String, Namespace>,
    sessions: HashMap<LeaseId, Signals>,
    last: u64,
    count: usize,
}

impl Interests {
    /// The number of watches.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Adds a watch; its key removes it.
    pub(crate) fn insert(&mut self, filter: &Filter, signal: Arc<Signal>) -> u64 {
        self.last += 1;
        self.count += 1;
        let key = self.last;
        if let Target::Session(session) = &filter.target {
            self.sessions.entry(*session).or_default().insert(key, signal);
            return key;
        }
        let namespace = self.namespaces.entry(filter.namespace.clone()).or_default();
        match &filter.target {
            Target::Lock(name) => drop(namespace.locks.entry(name.clone()).or_default().insert(key, signal)),
            Target::Prefix(prefix) => drop(namespace.wide.insert(key, (Some(prefix.clone()), signal))),
            Target::Namespace | Target::Session(_) => drop(namespace.wide.insert(key, (None, signal))),
        }
        key
    }

    /// Removes a watch.
    pub(crate) fn remove(&mut self, filter: &Filter, key: u64) {
        let removed = match &filter.target {
            Target::Session(session) => remove_from(&mut self.sessions, session, key),
            target => match self.namespaces.get_mut(&filter.namespace) {
                None => false,
                Some(namespace) => {
                    let removed = match target {
                        Target::Lock(name) => remove_from(&mut namespace.locks, name, key),
                        _ => namespace.wide.remove(&key).is_some(),
                    };
                    if namespace.locks.is_empty() && namespace.wide.is_empty() {
                        self.namespaces.remove(&filter.namespace);
                    }
                    removed
                }
            },
        };
        debug_assert!(removed, "a watch is removed once");
        self.count -= usize::from(removed);
    }

    /// Rings those whom an event concerns.
    pub(crate) fn ring(&self, event: &Event) {
        let before = before(event.revision);
        let ring_all =
            |signals: Option<&Signals>| signals.into_iter().flat_map(Signals::values).for_each(|s| s.ring(before));
        if let Some(lease) = event.kind.lease().filter(|_| !self.sessions.is_empty()) {
            ring_all(self.sessions.get(&lease));
        }
        let Some(namespace) = self.namespaces.get(&*event.namespace) else { return };
        if !namespace.locks.is_empty() {
            // Never true: every name is looked at.
            event.kind.names_any(|name| {
                ring_all(namespace.locks.get(name));
                false
            });
        }
        for (prefix, signal) in namespace.wide.values() {
            if prefix.as_ref().is_none_or(|prefix| event.kind.names_any(|name| name.starts_with(prefix))) {
                signal.ring(before);
            }
        }
    }

    /// Rings everybody: nobody knows any more whom what follows `revision` concerns.
    pub(crate) fn ring_everybody(&self, revision: Revision) {
        let locks = self.namespaces.values().flat_map(|namespace| namespace.locks.values()).flat_map(Signals::values);
        let wide = self.namespaces.values().flat_map(|namespace| namespace.wide.values()).map(|(_, signal)| signal);
        let sessions = self.sessions.values().flat_map(Signals::values);
        locks.chain(wide).chain(sessions).for_each(|signal| signal.ring(revision));
    }
}

fn remove_from<K: std::hash::Hash + Eq>(map: &mut HashMap<K, Signals>, at: &K, key: u64) -> bool {
    let Some(signals) = map.get_mut(at) else { return false };
    let removed = signals.remove(&key).is_some();
    if signals.is_empty() {
        map.remove(at);
    }
    removed
}

#[cfg(test)]
mod tests {
    use leasehold_state_machine::{
        EventKind, FencingToken, Granted, GrantedLock, LogTime, LossReason, Mode, RequestId,
    };

    use super::*;

    fn event(namespace: &str, kind: EventKind) -> Event {
        Event { revision: Revision { index: 7, ordinal: 3 }, at: LogTime(1), namespace: namespace.into(), kind }
    }

    fn some_events() -> Vec<Event> {
        let lock = |name: &str| GrantedLock { name: name.into(), mode: Mode::Shared, token: FencingToken(4) };
        let granted = Granted {
            lease: LeaseId(1 << 90),
            grants: vec![lock("a/1"), lock("b")],
            left_ms: 1,
            confirm: false,
            forced: 0,
        };
        let grant = || EventKind::Granted {
            request: RequestId::default(),
            attempt: 1,
            granted: granted.clone(),
            owner: "me".into(),
        };
        let lost = |name: &str, lease| EventKind::Lost {
            name: name.into(),
            token: FencingToken(4),
            mode: Mode::Exclusive,
            lease: LeaseId(lease),
            owner: "me".into(),
            reason: LossReason::Expired,
            note: String::new(),
        };
        let ended =
            |lease| EventKind::LeaseEnded { lease: LeaseId(lease), owner: "me".into(), reason: LossReason::Expired };
        vec![
            event("default", grant()),
            event("other", grant()),
            event("default", lost("a/1", 1 << 90)),
            event("default", lost("a", 5)),
            event("default", ended(1 << 90)),
            event("default", ended(5)),
            event("default", EventKind::SessionOpened { lease: LeaseId(1 << 91), owner: "me".into() }),
        ]
    }

    #[test]
    fn whoever_is_told_of_an_event_is_rung_for_it() {
        let lock = |name: &str| Target::Lock(name.into());
        let prefix = |name: &str| Target::Prefix(name.into());
        let session = |id| Target::Session(LeaseId(id));
        let targets = [
            lock("a/1"),
            lock("a"),
            lock("b"),
            lock("c"),
            prefix(""),
            prefix("a"),
            prefix("a/"),
            prefix("x"),
            session(1 << 90),
            session(1 << 91),
            session(1 << 92),
            Target::Namespace,
        ];
        for namespace in ["default", "other", "third"] {
            for target in &targets {
                let filter = Filter { namespace: namespace.into(), target: target.clone() };
                for event in some_events() {
                    let mut interests = Interests::default();
                    let signal = Arc::new(Signal::default());
                    let key = interests.insert(&filter, Arc::clone(&signal));
                    interests.ring(&event);
                    let mut told = Vec::new();
                    filter.push(&event, &mut told);
                    let rung = signal.take();
                    assert!(told.is_empty() || rung.is_some(), "{filter:?} misses {event:?}");
                    assert!(rung.is_none_or(|after| after == Revision { index: 7, ordinal: 2 }));
                    interests.remove(&filter, key);
                    assert!(interests.namespaces.is_empty() && interests.sessions.is_empty() && interests.len() == 0);
                }
            }
        }
    }

    #[test]
    fn a_watch_of_one_lock_is_told_of_that_lock_only() {
        let filter = Filter { namespace: "default".into(), target: Target::Lock("b".into()) };
        let mut told = Vec::new();
        some_events().iter().for_each(|event| filter.push(event, &mut told));
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].name.as_str(), told[0].r#type()), ("b", leasehold_proto::v1::EventType::Granted));
    }

    #[test]
    fn the_earliest_word_counts() {
        let signal = Signal::default();
        let at = |index| Revision { index, ordinal: 0 };
        signal.ring(at(5));
        signal.ring(at(9));
        assert_eq!(signal.take(), Some(at(5)));
        assert_eq!(signal.take(), None);
    }
}
