//! What the state machine keeps on disk: the checkpoint in sled, and snapshot files. Only this module knows sled.
//!
//! Everything here blocks: call it off the async threads.

mod checkpoint;
pub mod files;
mod snapshot;

pub use checkpoint::*;
pub use snapshot::*;
