//! What Leasehold's tests are made of: real clusters, recorded histories, and one checker for all of them.
//!
//! [`cluster`] runs processes of the real binary. [`workload`] drives them through the client crate and records every
//! call on one clock ([`history`]). [`dump`] reads what the nodes' logs say afterwards. [`checker`] holds both against
//! the invariants C1 to C12 of TESTING.md, one file each, with a reference model of its own. [`model_check`] needs no cluster:
//! it goes through every state of small worlds over the real lock table. [`clients`] runs published clients of other systems, and [`numbers`] are
//! what is measured.

pub mod checker;
pub mod clients;
pub mod clock;
pub mod cluster;
pub mod dump;
pub mod history;
pub mod model_check;
pub mod numbers;
pub mod planted;
pub mod sim;
pub mod synthetic;
pub mod workload;
