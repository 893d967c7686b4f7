//! What Leasehold's tests are made of: real clusters, recorded histories, and one checker for all of them.
//!
//! [`cluster`] runs processes of the real binary. [`workload`] drives them through the client crate and records every
//! call on one clock ([`history`]). [`dump`] reads what the nodes' logs say afterwards. [`checker`] holds both against
//! the invariants C1 to C13 of TESTING.md, one file each, with a reference model of its own. [`model_check`] needs no cluster:
//! it goes through every state of small worlds over the real lock table; [`sim`] runs whole nodes on one thread with a simulated
//! network, disks and clocks. [`disk`], [`damage`] and [`failpoints`] are faults of one node; [`chaos`] brings them, and all
//! others, on real processes, on a schedule from a seed. [`clients`] runs published clients of
//! other systems, [`numbers`] are what is measured, and [`failover`] measures what
//! the end of a leader costs, beside etcd. [`synthetic`] makes evidence of any size, to measure the checker with.

pub mod chaos;
pub mod checker;
pub mod clients;
pub mod clock;
pub mod cluster;
pub mod damage;
pub mod disk;
pub mod dump;
pub mod failover;
pub mod failpoints;
pub mod history;
pub mod model_check;
pub mod numbers;
pub mod planted;
mod processors;
pub mod sim;
pub mod synthetic;
pub mod workload;
