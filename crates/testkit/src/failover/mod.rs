//! How long a lock service does not serve when its leader ends, and whether it keeps its word meanwhile: the same load, faults and
//! checks for Leasehold and for etcd.
//!
//! [`Target`] is a cluster of real processes, [`Locker`] one client of it. [`gaps`] kills leaders under a steady load, [`calm`] counts the
//! elections that nobody caused, [`exclusion`] lets clients ([`Competitor`]) compete under faults and judges what they held by
//! times ([`Verdict`]). `chaos` compares by the same clients and the same judgement, under all of its faults.

mod belief;
pub mod calm;
mod competitor;
mod etcd;
mod etcd_wire;
pub mod exclusion;
pub mod gaps;
mod leasehold;
mod load;
mod stages;

pub use belief::Verdict;
pub use competitor::{Competitor, Habits};
pub(crate) use etcd::EtcdSeat;
pub use etcd::{EtcdCluster, EtcdLocker, EtcdTiming};
pub(crate) use etcd_wire::EtcdChannel;
pub use leasehold::{LeaseholdCluster, LeaseholdLocker};
pub use stages::Stages;

use std::future::Future;
use std::time::Duration;

use anyhow::Result;

use crate::clock::Moment;

/// A cluster of three nodes that grants locks.
pub trait Target {
    /// One client of it.
    type Locker: Locker;

    /// What it is called in a report.
    fn name(&self) -> String;

    /// A client of all nodes.
    fn locker(&self, number: usize) -> impl Future<Output = Result<Self::Locker>>;

    /// Waits until all nodes take part and one leads.
    fn settle(&mut self) -> impl Future<Output = Result<u64>>;

    /// The term in force, which grows with every election.
    fn term(&mut self) -> impl Future<Output = Result<u64>>;

    /// kill -9.
    fn kill(&mut self, node: u64) -> Result<()>;

    /// Starts a node that was killed.
    fn start(&mut self, node: u64) -> Result<()>;

    /// SIGSTOP.
    fn pause(&mut self, node: u64) -> Result<()>;

    /// SIGCONT.
    fn resume(&mut self, node: u64);

    /// Where the time went after node `ended` ended at this moment, where the nodes' own words tell.
    fn stages(&self, _ended: u64, _at: Moment) -> Option<Stages> {
        None
    }
}

/// One client that takes locks, each under a lease of its own.
pub trait Locker: Send + 'static {
    /// What it was granted.
    type Hold: Send + Sync + 'static;

    /// Takes a lock, waiting up to `wait`; None when that ended without a grant. Where the lease begins before the wait, it is kept alive
    /// meanwhile if the wait is `attended`.
    fn lock(
        &mut self,
        name: &str,
        ttl: Duration,
        wait: Duration,
        attended: bool,
    ) -> impl Future<Output = Result<Option<Self::Hold>>> + Send;

    /// Renews the lease of a hold; false when it is over.
    fn renew(&mut self, hold: &Self::Hold) -> impl Future<Output = Result<bool>> + Send;

    /// Gives a hold back.
    fn unlock(&mut self, hold: Self::Hold) -> impl Future<Output = Result<()>> + Send;

    /// The number that a guarded resource would compare.
    fn token(hold: &Self::Hold) -> u64;
}
