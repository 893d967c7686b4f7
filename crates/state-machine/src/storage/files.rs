//! File access of a node: the one place where files are made durable.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use leasehold_failpoints::failpoint;

/// Greatest payload of a record file, in bytes.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// Why a record file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file system.
    #[error("file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// Another program's file, or another file of ours.
    #[error(
        "file {path} does not begin as Leasehold's file of this name does. If the data folder is the right one, move the file away: the node then says what it misses"
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// Another format version wrote it.
    #[error(
        "file {path} has format version {found}; this build reads {supported}. Start the build that wrote it, or remove this node's data folder and replace the node"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Version in the file.
        found: u8,
        /// Version of this build.
        supported: u8,
    },
    /// Cut short, too long, or altered.
    #[error("file {path} is damaged: {problem}. Remove this node's data folder and replace the node")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// Writes a whole small file so that after a crash either the old or the new content is there: temporary name,
/// fsync, rename, fsync of the directory.
pub fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = with_suffix(path, ".tmp");
    failpoint!("record::create::before")?;
    let mut file = File::create(&temporary)?;
    failpoint!("record::write::before")?;
    file.write_all(content)?;
    failpoint!("record::write::after")?;
    if failpoint!("record::sync::before", step)? {
        file.sync_all()?;
    }
    failpoint!("record::sync::after")?;
    drop(file);
    failpoint!("record::rename::before")?;
    std::fs::rename(&temporary, path)?;
    failpoint!("record::rename::after")?;
    sync_parent(path)
}

/// Makes the directory entry of `path` durable.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// Makes the entries of a directory durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    if failpoint!("folder::sync::before", step)? {
        File::open(dir)?.sync_all()?;
    }
    failpoint!("folder::sync::after")
}

/// `path` with something appended to its last component, extension and all: two files never share a temporary name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    PathBuf::from(name)
}

// A record: magic (8), version (1), payload length (u32 little endian), CRC-32 of all that and of the payload (u32),
// payload.
const RECORD_HEAD_BYTES: usize = 8 + 1 + 4 + 4;

/// Writes a small file of one payload that [`read_record`] can tell from any other file, atomically.
///
/// # Panics
/// When the payload exceeds [`RECORD_BYTES_MAX`].
pub fn write_record(path: &Path, magic: [u8; 8], version: u8, payload: &[u8]) -> Result<(), RecordError> {
    assert!(payload.len() <= RECORD_BYTES_MAX, "a record of {} bytes exceeds {RECORD_BYTES_MAX}", payload.len());
    let mut content = Vec::with_capacity(RECORD_HEAD_BYTES + payload.len());
    content.extend_from_slice(&magic);
    content.push(version);
    content.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    let crc = record_crc(&content, payload);
    content.extend_from_slice(&crc.to_le_bytes());
    content.extend_from_slice(payload);
    write_atomically(path, &content).map_err(|source| RecordError::Io { path: path.to_owned(), source })
}

/// Reads what [`write_record`] wrote; None when there is no such file.
pub fn read_record(path: &Path, magic: [u8; 8], version: u8) -> Result<Option<Vec<u8>>, RecordError> {
    let io_error = |source| RecordError::Io { path: path.to_owned(), source };
    let damaged = |problem: String| RecordError::Damaged { path: path.to_owned(), problem };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(error)),
    };
    let mut content = Vec::new();
    let bound = (RECORD_HEAD_BYTES + RECORD_BYTES_MAX + 1) as u64;
    file.take(bound).read_to_end(&mut content).map_err(io_error)?;

    if content.len() < magic.len() && magic.starts_with(&content) {
        return Err(damaged(format!("it ends after {} bytes", content.len())));
    }
    let Some(rest) = content.strip_prefix(&magic) else {
        return Err(RecordError::NotOurs { path: path.to_owned() });
    };
    let Some((&found, rest)) = rest.split_first() else {
        return Err(damaged("it ends after its magic".to_owned()));
    };
    if found != version {
        return Err(RecordError::Version { path: path.to_owned(), found, supported: version });
    }
    let Some((length, rest)) = rest.split_first_chunk::<4>() else {
        return Err(damaged("it ends within its head".to_owned()));
    };
    let Some((crc, payload)) = rest.split_first_chunk::<4>() else {
        return Err(damaged("it ends within its head".to_owned()));
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length != payload.len() {
        return Err(damaged(format!("it announces {length} bytes, {} are there", payload.len())));
    }
    let computed = record_crc(&content[..RECORD_HEAD_BYTES - 4], payload);
    let recorded = u32::from_le_bytes(*crc);
    if computed != recorded {
        return Err(damaged(format!("its CRC is {computed:08x}, not the recorded {recorded:08x}")));
    }
    Ok(Some(payload.to_vec()))
}

fn record_crc(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}
