//! Behaviour of the storage, mostly on raw rows.

use std::collections::BTreeMap;
use std::path::Path;

use super::snapshot::NewSnapshot;
use super::snapshot_format::Head;
use super::{Checkpoint, CheckpointError, SnapshotError, SnapshotFile};
use crate::{Changes, ClusterId, EntryId, LeaderStamp, RowChange};

mod checkpoint;
mod crash;
mod damage;
mod files;
mod gate;
mod snapshot;
mod tables;

type Table = BTreeMap<Vec<u8>, Vec<u8>>;

const CLUSTER: ClusterId = ClusterId(0x1234_5678_9abc_def0);

/// `count` rows whose values tell `generation`.
fn table(count: u32, generation: u32) -> Table {
    (0..count).map(|n| (n.to_be_bytes().to_vec(), format!("row {n} of generation {generation}").into_bytes())).collect()
}

fn changes(table: &Table) -> Changes {
    let rows = table.iter().map(|(key, value)| RowChange { key: key.clone(), value: Some(value.clone()) }).collect();
    Changes { rows, ..Changes::default() }
}

fn rows_of(checkpoint: &Checkpoint) -> Result<Table, CheckpointError> {
    checkpoint.load_rows()?.collect()
}

fn entry(index: u64, term: u64) -> EntryId {
    EntryId { leader: LeaderStamp { term, node: 1 }, index }
}

fn head(index: u64, term: u64) -> Head {
    Head {
        cluster: Some(CLUSTER),
        last: Some(entry(index, term)),
        membership: Some((entry(1, 1), b"three nodes".to_vec())),
    }
}

fn write_snapshot(dir: &Path, index: u64, term: u64, table: &Table) -> SnapshotFile {
    let mut new = NewSnapshot::create(dir, head(index, term)).unwrap();
    for (key, value) in table {
        new.row(key, value).unwrap();
    }
    new.finish().unwrap()
}

fn rows_of_file(file: &SnapshotFile) -> Result<Table, SnapshotError> {
    file.rows()?.1.collect()
}

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
