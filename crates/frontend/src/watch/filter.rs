//! What a watch is about.

use leasehold_proto::v1;
use leasehold_state_machine::{Event, LeaseId};

use crate::convert;

/// The events that one watch wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Not looked at for a session, which has its own.
    pub(crate) namespace: String,
    pub(crate) target: Target,
}

/// See [`Filter`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// One lock.
    Lock(String),
    /// All locks whose names begin so.
    Prefix(String),
    /// What hangs on a session, and its end.
    Session(LeaseId),
    /// All locks and sessions of the namespace.
    Namespace,
}

impl Filter {
    /// Appends what this watch is told of an event.
    pub(crate) fn push(&self, event: &Event, out: &mut Vec<v1::WatchEvent>) {
        match &self.target {
            Target::Session(session) => {
                if event.kind.lease() == Some(*session) {
                    convert::push_watch_events(event, |_| true, out);
                }
            }
            _ if *event.namespace != *self.namespace => {}
            Target::Namespace => convert::push_watch_events(event, |_| true, out),
            Target::Lock(name) => {
                if event.kind.names_any(|other| other == name) {
                    convert::push_watch_events(event, |other| other == name, out);
                }
            }
            Target::Prefix(prefix) => {
                if event.kind.names_any(|name| name.starts_with(prefix)) {
                    convert::push_watch_events(event, |name| name.starts_with(prefix), out);
                }
            }
        }
    }
}
