//! Bytes of a snapshot file, written and read as a stream.
//!
//! ```text
//! magic (8) · format version (1) · head length (u32) · head (codec)
//! { key length (u32) · value length (u32) · key · value } per row
//! u32::MAX · number of rows (u64) · CRC-32 of everything before it (u32)
//! ```
//! Keys ascend. Integers are little endian. The number of rows comes last because a stream knows it last.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{SnapshotError, SnapshotHead};
use crate::{ClusterId, EntryId, StateHead, StateMachine, codec, decode_head};

/// First bytes of every snapshot file.
pub(super) const MAGIC: [u8; 8] = *b"LHSNAPSH";
/// Version of this layout.
pub(super) const VERSION: u8 = 2;
/// Greatest length of a row's key, in bytes: its text came in a batch. A snapshot that announces more is damaged.
pub const ROW_KEY_BYTES_MAX: usize = codec::BATCH_BYTES_MAX;
/// Greatest length of a row's value, in bytes. A snapshot that announces more is damaged.
pub const ROW_VALUE_BYTES_MAX: usize = 1 + codec::VALUE_BYTES_MAX;
const HEAD_BYTES_MAX: usize = 1 << 20;
const END_OF_ROWS: u32 = u32::MAX;
const BUFFER_BYTES: usize = 256 << 10;
/// Dirty bytes after which the file is synced while it is written: one fsync of gigabytes at the end would hold up
/// those of the Raft log beside it.
const SYNC_EVERY_BYTES: usize = 8 << 20;

/// What the rows of a snapshot file are of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) cluster: Option<ClusterId>,
    pub(super) last: Option<EntryId>,
    pub(super) membership: Option<(EntryId, Vec<u8>)>,
}

impl Head {
    pub(super) fn of(state: &StateMachine) -> Self {
        Self {
            cluster: state.cluster(),
            last: state.applied(),
            membership: state.membership().map(|(entry, encoded)| (entry, encoded.to_vec())),
        }
    }

    /// From the header row of the tables.
    pub(super) fn decode(header_row: &[u8]) -> Result<Self, codec::DecodeError> {
        let StateHead { cluster, applied, membership, .. } = decode_head(header_row)?;
        Ok(Self { cluster, last: applied, membership })
    }

    pub(super) fn with_rows(self, rows: u64) -> SnapshotHead {
        SnapshotHead { cluster: self.cluster, last: self.last, membership: self.membership, rows }
    }
}

/// Writes the layout, front to back.
pub(super) struct Writer {
    file: BufWriter<File>,
    crc: crc32fast::Hasher,
    rows: u64,
    last_key: Vec<u8>,
    bytes: u64,
    unsynced_bytes: usize,
}

impl Writer {
    pub(super) fn new(file: File, head: &Head) -> io::Result<Self> {
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        let mut writer =
            Self { file, crc: crc32fast::Hasher::new(), rows: 0, last_key: Vec::new(), bytes: 0, unsynced_bytes: 0 };
        let head = codec::encode(head);
        assert!(head.len() <= HEAD_BYTES_MAX, "a snapshot head of {} bytes exceeds {HEAD_BYTES_MAX}", head.len());
        writer.put(&MAGIC)?;
        writer.put(&[VERSION])?;
        writer.put(&(head.len() as u32).to_le_bytes())?;
        writer.put(&head)?;
        Ok(writer)
    }

    /// Writes the next row. Keys ascend.
    pub(super) fn row(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        assert!(key.len() <= ROW_KEY_BYTES_MAX, "a row key of {} bytes exceeds {ROW_KEY_BYTES_MAX}", key.len());
        assert!(value.len() <= ROW_VALUE_BYTES_MAX, "a row of {} bytes exceeds {ROW_VALUE_BYTES_MAX}", value.len());
        assert!(self.rows == 0 || *key > *self.last_key, "rows come in key order");
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        self.rows += 1;
        self.put(&(key.len() as u32).to_le_bytes())?;
        self.put(&(value.len() as u32).to_le_bytes())?;
        self.put(key)?;
        self.put(value)?;
        if self.unsynced_bytes >= SYNC_EVERY_BYTES {
            self.unsynced_bytes = 0;
            self.file.flush()?;
            self.file.get_ref().sync_data()?;
        }
        Ok(())
    }

    /// Ends the rows. Returns the file, not yet synced, the number of rows and the size in bytes.
    pub(super) fn finish(mut self) -> io::Result<(File, u64, u64)> {
        let rows = self.rows;
        self.put(&END_OF_ROWS.to_le_bytes())?;
        self.put(&rows.to_le_bytes())?;
        let crc = self.crc.clone().finalize();
        self.put(&crc.to_le_bytes())?;
        let bytes = self.bytes;
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok((file, rows, bytes))
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.bytes += bytes.len() as u64;
        self.unsynced_bytes += bytes.len();
        self.file.write_all(bytes)
    }
}

/// Reads the layout, front to back, and checks it. Only after the last row is it known to be whole.
pub(super) struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    crc: crc32fast::Hasher,
    rows: u64,
    last_key: Vec<u8>,
    bytes: u64,
}

impl Reader {
    /// Reads the head.
    pub(super) fn open(path: &Path) -> Result<(Self, Head), SnapshotError> {
        let file = File::open(path).map_err(|source| SnapshotError::Io { path: path.to_owned(), source })?;
        let file = BufReader::with_capacity(BUFFER_BYTES, file);
        let mut reader = Self {
            path: path.to_owned(),
            file,
            crc: crc32fast::Hasher::new(),
            rows: 0,
            last_key: Vec::new(),
            bytes: 0,
        };
        let magic = reader.take::<8>("its magic")?;
        if magic != MAGIC {
            return Err(reader.damaged("it does not begin as a snapshot does".to_owned()));
        }
        let [found] = reader.take::<1>("its version")?;
        if found != VERSION {
            return Err(SnapshotError::Version { path: path.to_owned(), found, supported: VERSION });
        }
        let length = u32::from_le_bytes(reader.take("its head")?) as usize;
        if length > HEAD_BYTES_MAX {
            return Err(reader.damaged(format!("it announces a head of {length} bytes")));
        }
        let mut head = Vec::new();
        reader.fill(&mut head, length, "its head")?;
        let head = codec::decode(&head).map_err(|error| reader.damaged(format!("its head: {error}")))?;
        Ok((reader, head))
    }

    /// Reads the next row into two buffers; false after the last one, when everything has been checked.
    pub(super) fn row(&mut self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> Result<bool, SnapshotError> {
        let key_length = u32::from_le_bytes(self.take("a row")?);
        if key_length == END_OF_ROWS {
            self.end()?;
            return Ok(false);
        }
        let (key_length, value_length) = (key_length as usize, u32::from_le_bytes(self.take("a row")?) as usize);
        if key_length > ROW_KEY_BYTES_MAX || value_length > ROW_VALUE_BYTES_MAX {
            return Err(self.damaged(format!(
                "row {} announces {key_length} + {value_length} bytes, at most {ROW_KEY_BYTES_MAX} + {ROW_VALUE_BYTES_MAX} are written",
                self.rows
            )));
        }
        self.fill(key, key_length, "a row")?;
        self.fill(value, value_length, "a row")?;
        if self.rows > 0 && *key <= self.last_key {
            return Err(self.damaged(format!("row {} is not in key order", self.rows)));
        }
        self.last_key.clone_from(key);
        self.rows += 1;
        Ok(true)
    }

    /// Rows read so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn damaged(&self, problem: String) -> SnapshotError {
        SnapshotError::Damaged { path: self.path.clone(), problem }
    }

    fn end(&mut self) -> Result<(), SnapshotError> {
        let rows = u64::from_le_bytes(self.take("its end")?);
        let computed = self.crc.clone().finalize();
        let recorded = u32::from_le_bytes(self.take("its end")?);
        if computed != recorded {
            return Err(self.damaged(format!("its CRC is {computed:08x}, not the recorded {recorded:08x}")));
        }
        if rows != self.rows {
            return Err(self.damaged(format!("it holds {} rows, not the recorded {rows}", self.rows)));
        }
        match self.file.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.damaged("something follows its end".to_owned())),
            Err(source) => Err(SnapshotError::Io { path: self.path.clone(), source }),
        }
    }

    fn take<const N: usize>(&mut self, what: &str) -> Result<[u8; N], SnapshotError> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).map_err(|error| self.failed(error, what))?;
        self.crc.update(&bytes);
        self.bytes += N as u64;
        Ok(bytes)
    }

    /// Fills a buffer, which grows only with what is really there.
    fn fill(&mut self, buffer: &mut Vec<u8>, length: usize, what: &str) -> Result<(), SnapshotError> {
        buffer.clear();
        buffer.reserve(length.min(BUFFER_BYTES));
        let read = self.file.by_ref().take(length as u64).read_to_end(buffer);
        match read {
            Ok(read) if read == length => {}
            Ok(_) => return Err(self.failed(io::ErrorKind::UnexpectedEof.into(), what)),
            Err(error) => return Err(self.failed(error, what)),
        }
        self.crc.update(buffer);
        self.bytes += length as u64;
        Ok(())
    }

    fn failed(&self, source: io::Error, what: &str) -> SnapshotError {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            self.damaged(format!("it ends within {what}"))
        } else {
            SnapshotError::Io { path: self.path.clone(), source }
        }
    }
}

/// Iterator over the rows of a file, ending after its first error.
pub(super) struct FileRows {
    reader: Option<Reader>,
}

impl FileRows {
    pub(super) fn new(reader: Reader) -> Self {
        Self { reader: Some(reader) }
    }
}

impl Iterator for FileRows {
    type Item = Result<(Vec<u8>, Vec<u8>), SnapshotError>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_mut()?;
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let next = match reader.row(&mut key, &mut value) {
            Ok(true) => return Some(Ok((key, value))),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        };
        self.reader = None;
        next
    }
}
