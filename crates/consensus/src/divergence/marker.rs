//! The mark that a node leaves in its data folder when its tables differ from its cluster's.

use std::path::Path;

use leasehold_state_machine::storage::files::{self, RecordError};

use crate::StartError;

const FILE: &str = "diverged";
const MAGIC: [u8; 8] = *b"LHDIVERG";
const VERSION: u8 = 1;

/// Leaves the mark, durably.
pub(crate) fn leave(data_dir: &Path, why: &str) -> Result<(), RecordError> {
    files::write_record(&data_dir.join(FILE), MAGIC, VERSION, why.as_bytes())
}

/// Refuses a folder that has the mark, a damaged one too.
pub(crate) fn check(data_dir: &Path) -> Result<(), StartError> {
    let path = data_dir.join(FILE);
    let why = match files::read_record(&path, MAGIC, VERSION) {
        Ok(None) => return Ok(()),
        Ok(Some(why)) => String::from_utf8_lossy(&why).into_owned(),
        Err(error) => error.to_string(),
    };
    Err(StartError::Diverged(format!("this node stopped before, and left {}: {why}", path.display())))
}
