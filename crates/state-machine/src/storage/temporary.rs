//! Files that get their name only once they are whole.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use leasehold_failpoints::failpoint;

use super::files::sync_parent;

/// End of the name of a file that is not whole yet.
const SUFFIX: &str = ".tmp";
/// Tells temporary files of one process apart.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A file under a temporary name, removed on drop unless it was given its own. It is locked while it is written, so that
/// what an ended process left can be told from what another thread is at.
#[derive(Debug)]
pub(super) struct TemporaryFile {
    path: PathBuf,
    lock: File,
    renamed: bool,
}

impl TemporaryFile {
    /// Makes an empty file `PREFIX….tmp` in `dir`, and the directory if need be.
    pub(super) fn create(dir: &Path, prefix: &str) -> io::Result<(Self, File)> {
        failpoint!("snapshot::create::before")?;
        std::fs::create_dir_all(dir)?;
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = dir.join(format!("{prefix}{}-{number}{SUFFIX}", std::process::id()));
            let file = match File::options().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            file.lock()?;
            let lock = file.try_clone()?;
            failpoint!("snapshot::create::after")?;
            return Ok((Self { path, lock, renamed: false }, file));
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the content durable, then gives the file its name, durably.
    pub(super) fn rename(mut self, to: &Path) -> io::Result<()> {
        if failpoint!("snapshot::sync::before", step)? {
            self.lock.sync_all()?;
        }
        failpoint!("snapshot::sync::after")?;
        failpoint!("snapshot::rename::before")?;
        std::fs::rename(&self.path, to)?;
        self.renamed = true;
        failpoint!("snapshot::rename::after")?;
        sync_parent(to)
    }

    /// Removes what processes that ended have left in `dir`; files that are being written stay.
    pub(super) fn remove_left_over(dir: &Path, prefix: &str) -> io::Result<()> {
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !(name.starts_with(prefix) && name.ends_with(SUFFIX)) {
                continue;
            }
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            match file.try_lock() {
                Ok(()) => {
                    failpoint!("snapshot::left_over::before")?;
                    tracing::info!(path = %path.display(), "a snapshot that was not finished is removed");
                    remove_if_there(&path)?;
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if !self.renamed
            && let Err(error) = remove_if_there(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "a temporary file cannot be removed");
        }
    }
}

pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
