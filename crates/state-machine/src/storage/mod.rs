//! What the state machine keeps on disk: the checkpoint in sled, and snapshot files. Only this module knows sled.
//!
//! Everything here blocks: call it off the async threads. The data folder belongs to one process; who opens it first
//! makes sure of that.

mod bounded_batch;
mod checkpoint;
mod checkpoint_error;
pub mod files;
mod gate;
mod pages;
mod receiver;
mod row_store;
mod snapshot;
mod snapshot_format;
mod store;
mod temporary;
#[cfg(test)]
mod tests;

pub use checkpoint::*;
pub use checkpoint_error::*;
pub use gate::{HOLD_CHANGED_ROWS_MAX, HOLD_MS_MAX};
pub use receiver::*;
pub use row_store::*;
pub use snapshot::*;
pub use snapshot_format::{ROW_KEY_BYTES_MAX, ROW_VALUE_BYTES_MAX};
