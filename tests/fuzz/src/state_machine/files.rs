//! Files: small records, and snapshots as they come in from a peer.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use leasehold_state_machine::ClusterId;
use leasehold_state_machine::storage::files::{read_record, write_record};
use leasehold_state_machine::storage::{SnapshotError, SnapshotFile, SnapshotReceiver};

use super::rows;
use crate::draw::Draw;

const MAGIC: [u8; 8] = *b"LHIDENT\n";
const VERSION: u8 = 1;
/// Magic, version, length, CRC.
const RECORD_HEAD_BYTES: usize = 17;

/// A folder of one run, removed with it. Point TMPDIR at memory: there an fsync costs nothing.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("leasehold-fuzz-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).expect("a temporary folder");
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A record file; with an odd first byte its length and CRC are put right.
pub fn run_records(data: &[u8]) -> bool {
    let Some((mode, content)) = data.split_first() else { return false };
    let mut content = content.to_vec();
    if mode % 2 == 1 && content.len() >= RECORD_HEAD_BYTES {
        let length = (content.len() - RECORD_HEAD_BYTES) as u32;
        content[9..13].copy_from_slice(&length.to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&content[..13]);
        crc.update(&content[RECORD_HEAD_BYTES..]);
        content[13..17].copy_from_slice(&crc.finalize().to_le_bytes());
    }
    let scratch = Scratch::new();
    let path = scratch.0.join("identity");
    fs::write(&path, &content).expect("a file in a temporary folder");
    let Ok(record) = read_record(&path, MAGIC, VERSION) else { return false };
    let payload = record.expect("the file is there");
    assert_eq!(payload, content[RECORD_HEAD_BYTES..]);
    write_record(&path, MAGIC, VERSION, &payload).expect("a record in a temporary folder");
    assert_eq!(fs::read(&path).expect("the record"), content, "what was read is written otherwise");
    true
}

pub fn seeds_of_records() -> Vec<Vec<u8>> {
    let scratch = Scratch::new();
    let path = scratch.0.join("identity");
    let payloads: [&[u8]; 3] = [b"", b"\x02\x01\xfd\x00", &[7; 300]];
    let seed = |payload: &[u8]| {
        write_record(&path, MAGIC, VERSION, payload).expect("a record in a temporary folder");
        [vec![0], fs::read(&path).expect("the record")].concat()
    };
    payloads.into_iter().map(seed).collect()
}

/// A snapshot that is received. The first byte: whether its CRC is put right, whether it must be of a cluster, whether its
/// pieces come in another order; the second: how long the pieces are.
pub fn run_snapshots(data: &[u8]) -> bool {
    let mut draw = Draw::new(data);
    let (mode, piece) = (draw.byte(), usize::from(draw.byte()) + 1);
    let mut content = draw.rest().to_vec();
    if mode & 1 != 0 && content.len() >= 4 {
        let end = content.len() - 4;
        let crc = crc32fast::hash(&content[..end]);
        content[end..].copy_from_slice(&crc.to_le_bytes());
    }
    let cluster = (mode & 2 != 0).then_some(ClusterId(7));
    let mut pieces: Vec<&[u8]> = content.chunks(piece).collect();
    if mode & 4 != 0 {
        pieces.reverse();
    }
    let arrived = pieces.concat();
    let scratch = Scratch::new();
    let Ok(received) = receive(&scratch, cluster, &pieces) else { return false };
    assert_eq!(received.bytes, arrived.len() as u64);
    assert_eq!(fs::read(&received.path).expect("what was received"), arrived);
    let newest = SnapshotFile::newest(&scratch.0).expect("what was received is whole").expect("and is there");
    assert_eq!(newest.head, received.head);
    let head = received.state_head();
    let Ok(mut state) = received.load() else { return false };
    let head = head.expect("the state has a header");
    assert_eq!((head.applied, head.cluster), (state.applied(), state.cluster()));
    // As long as its own, whatever it is made of.
    let written = SnapshotFile::write_state(&scratch.0, &mut state).expect("a snapshot in a temporary folder");
    assert_eq!(fs::read(written.path).expect("what was written"), arrived, "what was read is written otherwise");
    true
}

fn receive(scratch: &Scratch, cluster: Option<ClusterId>, pieces: &[&[u8]]) -> Result<SnapshotFile, SnapshotError> {
    let mut receiver = SnapshotReceiver::create(&scratch.0, cluster)?;
    let mut bytes = 0;
    for piece in pieces {
        receiver.write_chunk(piece)?;
        bytes += piece.len() as u64;
        assert_eq!(receiver.bytes(), bytes);
    }
    let finished = receiver.finish();
    let left = fs::read_dir(&scratch.0).map_or(0, Iterator::count);
    assert_eq!(left, usize::from(finished.is_ok()), "only a whole snapshot stays");
    finished
}

pub fn seeds_of_snapshots() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (number, mut state) in rows::machines().into_iter().enumerate().step_by(3) {
        let scratch = Scratch::new();
        let file = SnapshotFile::write_state(&scratch.0, &mut state).expect("a snapshot in a temporary folder");
        let head = [u8::try_from(number % 4).unwrap_or(0), 200];
        seeds.push([head.to_vec(), fs::read(file.path).expect("the snapshot")].concat());
    }
    seeds
}
