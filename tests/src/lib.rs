//! What the integration tests share: a run is a cluster, clients at work, faults, and the verdict of the checker.

pub mod document;
mod run;

pub use run::{Run, alone, seed};
