//! Faults on real processes: nodes and clients in network namespaces, a schedule that follows from a seed, the checker over all
//! that they leave behind.
//!
//! [`run`] is one run: an [`Arena`](arena::Arena) of nodes, disks, network and client processes; a [`Plan`] of
//! faults, drawn towards the cells of the matrix fault × role × phase that were not hit yet ([`Coverage`]); a driver that brings
//! them about ([`strike`]) at the moment when a lock comes into the phase; healing; then the verdict. [`target`] is what is under
//! test ([`etcd`] for comparison), [`client_process`] what works on it. [`machine`] tells how much of it others take, [`many`]
//! makes several runs side by side.
//!
//! What a machine does not let us do is left out, loudly ([`Abilities`]).

pub mod abilities;
pub mod arena;
pub mod client;
pub mod client_process;
pub mod coverage;
mod driver;
pub mod etcd;
pub mod fault;
mod judge;
pub mod leadership;
pub mod machine;
pub mod many;
pub mod net;
pub mod node;
mod panics;
pub mod phase;
pub mod plan;
mod recording;
pub mod report;
pub mod resource;
pub mod run;
mod shell;
pub mod strike;
pub mod target;

pub use abilities::Abilities;
pub use coverage::Coverage;
pub use judge::judge_again;
pub use plan::Plan;

/// To whoever watches a run: all of it goes to the standard error.
#[expect(clippy::print_stderr, reason = "what a run does belongs to its output")]
pub fn say(line: &str) {
    eprintln!("{line}");
}
