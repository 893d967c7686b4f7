//! The only module that turns our types into bytes: bincode behind a version byte, bounded, fully consumed.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Batch, Command, LeaderStamp, LogTime};

/// First byte of everything that this module writes.
pub const VERSION: u8 = 2;
/// Greatest encoded size of one value, in bytes.
pub const VALUE_BYTES_MAX: usize = 16 << 20;
/// Greatest encoded size of one batch, in bytes. The proposer cuts batches well below it.
pub const BATCH_BYTES_MAX: usize = 8 << 20;

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Nothing there.
    #[error("empty input")]
    Empty,
    /// Another version wrote this.
    #[error("format version {found} is unknown; this build reads version {VERSION}")]
    Version {
        /// The first byte.
        found: u8,
    },
    /// Cut short, or damaged.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Something follows the value.
    #[error("{0} bytes follow the value")]
    Trailing(usize),
    /// Larger than any valid value.
    #[error("{found} bytes are more than the {max} allowed")]
    TooLarge {
        /// Size of the input, or of what it announces.
        found: usize,
        /// The bound.
        max: usize,
    },
}

/// Most rows and commands fit into so many bytes: room for them is made once.
const USUAL_BYTES: usize = 192;

type Config = bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<VALUE_BYTES_MAX>,
>;

const fn config() -> Config {
    bincode::config::standard().with_limit::<VALUE_BYTES_MAX>()
}

/// Encodes a value: version byte, then bincode.
///
/// # Panics
/// When serialization fails, which for our own types means a bug.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(USUAL_BYTES);
    out.push(VERSION);
    encode_into(value, &mut out);
    out
}

/// Appends the bare bincode of a value, without the version byte.
fn encode_into<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    bincode::serde::encode_into_std_write(value, out, config()).expect("our own types serialize");
}

/// Decodes what [`encode`] wrote; refuses another version, damage and trailing bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (&version, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if version != VERSION {
        return Err(DecodeError::Version { found: version });
    }
    if rest.len() > VALUE_BYTES_MAX {
        return Err(DecodeError::TooLarge { found: rest.len(), max: VALUE_BYTES_MAX });
    }
    let (value, used) =
        bincode::serde::decode_from_slice(rest, config()).map_err(|e| DecodeError::Malformed(e.to_string()))?;
    if used != rest.len() {
        return Err(DecodeError::Trailing(rest.len() - used));
    }
    Ok(value)
}

/// Encodes one command, once, on the node that took the call.
#[must_use]
pub fn encode_command(command: &Command) -> Bytes {
    Bytes::from(encode(command))
}

/// Decodes one command.
pub fn decode_command(bytes: &[u8]) -> Result<Command, DecodeError> {
    decode(bytes)
}

// A batch: version byte, at, stamping term, stamping node (u64 little endian each), number of commands (u32), then for
// each command its length (u32) and its bytes as `encode_command` made them.
const BATCH_HEAD_BYTES: usize = 1 + 8 + 8 + 8 + 4;

/// Puts commands that are already encoded into the bytes of one log entry.
#[must_use]
pub fn encode_batch(at: LogTime, stamped_by: LeaderStamp, commands: &[Bytes]) -> Bytes {
    let size = BATCH_HEAD_BYTES + commands.iter().map(|c| 4 + c.len()).sum::<usize>();
    assert!(size <= BATCH_BYTES_MAX, "a batch of {size} bytes exceeds {BATCH_BYTES_MAX}");
    let mut out = Vec::with_capacity(size);
    out.push(VERSION);
    out.extend_from_slice(&at.0.to_le_bytes());
    out.extend_from_slice(&stamped_by.term.to_le_bytes());
    out.extend_from_slice(&stamped_by.node.to_le_bytes());
    out.extend_from_slice(&(commands.len() as u32).to_le_bytes());
    for command in commands {
        out.extend_from_slice(&(command.len() as u32).to_le_bytes());
        out.extend_from_slice(command);
    }
    Bytes::from(out)
}

/// Decodes the bytes of one log entry.
pub fn decode_batch(bytes: &[u8]) -> Result<Batch, DecodeError> {
    if bytes.len() > BATCH_BYTES_MAX {
        return Err(DecodeError::TooLarge { found: bytes.len(), max: BATCH_BYTES_MAX });
    }
    let (&version, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if version != VERSION {
        return Err(DecodeError::Version { found: version });
    }
    let mut input = Input(rest);
    let at = LogTime(input.u64()?);
    let stamped_by = LeaderStamp { term: input.u64()?, node: input.u64()? };
    let count = input.u32()? as usize;
    let mut commands = Vec::with_capacity(count.min(4096));
    for _ in 0..count {
        let length = input.u32()? as usize;
        commands.push(decode_command(input.take(length)?)?);
    }
    if !input.0.is_empty() {
        return Err(DecodeError::Trailing(input.0.len()));
    }
    Ok(Batch { at, stamped_by, commands })
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        if self.0.len() < length {
            return Err(DecodeError::Malformed(format!("{length} bytes expected, {} left", self.0.len())));
        }
        let (head, tail) = self.0.split_at(length);
        self.0 = tail;
        Ok(head)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        let bytes = self.take(8)?;
        Ok(u64::from_le_bytes(bytes.try_into().map_err(|_| DecodeError::Empty)?))
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes(bytes.try_into().map_err(|_| DecodeError::Empty)?))
    }
}
