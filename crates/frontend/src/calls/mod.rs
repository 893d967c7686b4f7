//! What every call does, whether it comes alone or on a `Connect` stream: check, submit, wait, answer.

mod acquire;
mod by_owner;
mod cancel;
mod cluster;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod lease;
mod own_requests;
mod pages;
mod read;
mod release;
mod renewals;
mod session;
mod submit;
mod time;
mod value;
mod waits;
mod watch;

use std::sync::Arc;

use leasehold_consensus::Node;
use leasehold_platform::random;
use leasehold_state_machine::Limits;
use rand::Rng;
use tokio_util::sync::CancellationToken;

pub(crate) use self::acquire::acquire_name;
pub(crate) use self::by_owner::{Acted, Unlocked};
pub(crate) use self::cancel::CancelGuard;
use self::cancel::Cancels;
use self::own_requests::OwnRequests;
use self::renewals::Renewals;
pub(crate) use self::time::CallTime;
pub(crate) use self::waits::WaitEnd;
pub(crate) use self::waits::Waits;
use crate::gate::Gate;
use crate::watch::Hub;
use crate::{CallError, FrontendOptions};

/// The handler of all calls of one node.
pub(crate) struct Calls {
    node: Node,
    options: Arc<FrontendOptions>,
    gate: Gate,
    waits: Arc<Waits>,
    hub: Arc<Hub>,
    own_requests: Arc<OwnRequests>,
    cancels: Cancels,
    renewals: Renewals,
}

impl Calls {
    /// Starts the tasks that cancel and renew for the calls; they end with `stop`.
    pub(crate) fn start(
        node: Node,
        options: Arc<FrontendOptions>,
        gate: Gate,
        (waits, hub): (Arc<Waits>, Arc<Hub>),
        stop: &CancellationToken,
    ) -> Arc<Self> {
        let cancels = Cancels::start(node.clone(), options.call_default, options.call_max, stop.clone());
        let renewals = Renewals::start(node.clone(), stop.clone());
        let own_requests = OwnRequests::new(random::rng().random());
        Arc::new(Self { node, options, gate, waits, hub, own_requests, cancels, renewals })
    }

    /// Bounds of this node.
    pub(crate) fn options(&self) -> &FrontendOptions {
        &self.options
    }

    /// The limits in force for a namespace.
    pub(crate) fn limits(&self, namespace: &str) -> Limits {
        self.node.state().limits(namespace).clone()
    }

    /// Refuses calls while the node takes none.
    fn open(&self) -> Result<(), CallError> {
        self.gate.check()
    }
}
