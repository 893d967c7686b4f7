//! Snapshot files: what is written comes back, what was altered is refused.

use std::io::Read;

use super::super::SnapshotReceiver;
use super::super::temporary::TemporaryFile;
use super::*;

#[test]
fn a_snapshot_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    for rows in
        [Table::new(), table(1, 1), table(5_000, 1), Table::from([(vec![], vec![]), (vec![1], vec![9; 100_000])])]
    {
        let written = write_snapshot(dir.path(), 7, 2, &rows);
        let opened = SnapshotFile::open(&written.path).unwrap();
        assert_eq!(opened.head, written.head);
        assert_eq!(opened.head.rows, rows.len() as u64);
        assert_eq!((opened.bytes, written.bytes), (written.bytes, std::fs::metadata(&written.path).unwrap().len()));
        assert_eq!(rows_of_file(&opened).unwrap(), rows);
        assert_eq!(names_in(dir.path()).len(), 1);
    }
}

#[test]
fn every_flipped_byte_and_every_cut_is_detected() {
    let dir = tempfile::tempdir().unwrap();
    let written = write_snapshot(dir.path(), 7, 2, &table(6, 1));
    let good = std::fs::read(&written.path).unwrap();
    for at in 0..good.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            std::fs::write(&written.path, &bad).unwrap();
            let error = SnapshotFile::open(&written.path).unwrap_err();
            match at {
                8 => assert!(matches!(error, SnapshotError::Version { supported: 2, .. }), "byte {at}: {error}"),
                _ => assert!(matches!(error, SnapshotError::Damaged { .. }), "byte {at}: {error}"),
            }
            assert!(error.to_string().contains(written.path.to_str().unwrap()), "{error}");
            assert!(rows_of_file(&written).is_err(), "byte {at} while the rows are read");
        }
        std::fs::write(&written.path, &good[..at]).unwrap();
        let error = SnapshotFile::open(&written.path).unwrap_err();
        assert!(matches!(error, SnapshotError::Damaged { .. }), "cut to {at}: {error}");
        let mut zeroed = good.clone();
        zeroed[at..].fill(0);
        if zeroed != good {
            std::fs::write(&written.path, &zeroed).unwrap();
            assert!(SnapshotFile::open(&written.path).is_err(), "zeroed from {at}");
        }
    }
    std::fs::write(&written.path, [&good[..], &[0]].concat()).unwrap();
    assert!(matches!(SnapshotFile::open(&written.path), Err(SnapshotError::Damaged { .. })));
}

#[test]
fn an_announced_giant_row_is_damage_and_not_an_allocation() {
    let dir = tempfile::tempdir().unwrap();
    let written = write_snapshot(dir.path(), 7, 2, &table(1, 1));
    let good = std::fs::read(&written.path).unwrap();
    let row = good.windows(4).rposition(|bytes| bytes == 0_u32.to_be_bytes()).unwrap() - 8;
    for (at, length) in [(row, 1 << 30), (row + 4, u32::MAX - 1), (9, u32::MAX), (row + 4, 16 << 20)] {
        let mut bad = good.clone();
        bad[at..at + 4].copy_from_slice(&u32::to_le_bytes(length));
        std::fs::write(&written.path, &bad).unwrap();
        let error = SnapshotFile::open(&written.path).unwrap_err();
        assert!(matches!(error, SnapshotError::Damaged { .. }), "{error}");
    }
}

#[test]
fn the_newest_snapshot_is_the_last_by_log_index_then_term() {
    let dir = tempfile::tempdir().unwrap();
    assert!(SnapshotFile::newest(&dir.path().join("missing")).unwrap().is_none());
    assert!(SnapshotFile::newest(dir.path()).unwrap().is_none());
    for (index, term) in [(9, 9), (100, 1), (100, 2), (11, 50)] {
        write_snapshot(dir.path(), index, term, &table(3, 1));
    }
    std::fs::write(dir.path().join("snapshot-notes.txt"), "kept").unwrap();
    let newest = SnapshotFile::newest(dir.path()).unwrap().unwrap();
    assert_eq!(newest.head.last, Some(entry(100, 2)));
    assert_eq!(names_in(dir.path())[..4].last(), Some(&newest.path.file_name().unwrap().to_str().unwrap().to_owned()));
    newest.remove_older(dir.path()).unwrap();
    assert_eq!(names_in(dir.path()).len(), 2);
    assert_eq!(SnapshotFile::newest(dir.path()).unwrap().unwrap().head, newest.head);
}

#[test]
fn a_damaged_newest_gives_way_to_an_older_valid_one() {
    let dir = tempfile::tempdir().unwrap();
    let older = write_snapshot(dir.path(), 10, 1, &table(3, 1));
    let newer = write_snapshot(dir.path(), 20, 1, &table(3, 2));
    let whole = std::fs::read(&newer.path).unwrap();
    std::fs::write(&newer.path, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(SnapshotFile::newest(dir.path()).unwrap().unwrap().head, older.head);
    std::fs::remove_file(&older.path).unwrap();
    let error = SnapshotFile::newest(dir.path()).unwrap_err();
    assert!(matches!(&error, SnapshotError::Damaged { path, .. } if *path == newer.path), "{error}");
    assert!(newer.path.exists(), "damage is never removed silently");
}

#[test]
fn a_renamed_snapshot_is_not_taken_for_a_newer_one() {
    let dir = tempfile::tempdir().unwrap();
    let older = write_snapshot(dir.path(), 10, 1, &table(3, 1));
    std::fs::copy(&older.path, dir.path().join("snapshot-00000000000000000030-00000000000000000001.snap")).unwrap();
    assert_eq!(SnapshotFile::newest(dir.path()).unwrap().unwrap().path, older.path);
}

#[test]
fn a_snapshot_of_an_unknown_version_stops_the_search() {
    let dir = tempfile::tempdir().unwrap();
    write_snapshot(dir.path(), 10, 1, &table(3, 1));
    let newer = write_snapshot(dir.path(), 20, 1, &table(3, 2));
    let mut bytes = std::fs::read(&newer.path).unwrap();
    bytes[8] = 3;
    std::fs::write(&newer.path, bytes).unwrap();
    let error = SnapshotFile::newest(dir.path()).unwrap_err();
    assert!(matches!(error, SnapshotError::Version { found: 3, .. }), "{error}");
    assert!(error.to_string().contains("Start the build that wrote it"), "{error}");
}

#[test]
fn what_an_interrupted_write_left_is_removed_and_what_is_being_written_stays() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("snapshot-4711-0.tmp"), "half of a snapsh").unwrap();
    let (at_work, _file) = TemporaryFile::create(dir.path(), "snapshot-").unwrap();
    let whole = write_snapshot(dir.path(), 10, 1, &table(3, 1));
    assert_eq!(SnapshotFile::newest(dir.path()).unwrap().unwrap().head, whole.head);
    assert_eq!(names_in(dir.path()).len(), 2);
    assert!(at_work.path().exists());
    drop(at_work);
    assert_eq!(names_in(dir.path()).len(), 1);
}

#[test]
fn a_snapshot_travels_in_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let sent = write_snapshot(&dir.path().join("from"), 10, 3, &table(2_000, 1));
    let mut reader = sent.reader().unwrap();
    std::fs::remove_file(&sent.path).unwrap();
    let to = dir.path().join("to");
    let mut receiver = SnapshotReceiver::create(&to, Some(CLUSTER)).unwrap();
    let mut chunk = [0; 997];
    loop {
        let read = reader.read(&mut chunk).unwrap();
        if read == 0 {
            break;
        }
        receiver.write_chunk(&chunk[..read]).unwrap();
    }
    assert_eq!(receiver.bytes(), sent.bytes);
    assert!(SnapshotFile::newest(&to).unwrap().is_none(), "not before it is whole");
    let received = receiver.finish().unwrap();
    assert_eq!((&received.head, received.bytes), (&sent.head, sent.bytes));
    assert_eq!(rows_of_file(&received).unwrap(), table(2_000, 1));
    assert_eq!(SnapshotFile::newest(&to).unwrap().unwrap().path, received.path);
}

#[test]
fn a_received_snapshot_that_is_cut_foreign_or_dropped_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let sent = write_snapshot(&dir.path().join("from"), 10, 3, &table(20, 1));
    let bytes = std::fs::read(&sent.path).unwrap();
    let to = dir.path().join("to");

    let mut cut = SnapshotReceiver::create(&to, None).unwrap();
    cut.write_chunk(&bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(cut.finish(), Err(SnapshotError::Damaged { .. })));

    let mut foreign = SnapshotReceiver::create(&to, Some(ClusterId(1))).unwrap();
    foreign.write_chunk(&bytes).unwrap();
    let error = foreign.finish().unwrap_err();
    assert!(matches!(error, SnapshotError::Cluster { found: Some(CLUSTER), expected: ClusterId(1), .. }), "{error}");

    let mut dropped = SnapshotReceiver::create(&to, None).unwrap();
    dropped.write_chunk(&bytes).unwrap();
    drop(dropped);
    assert!(names_in(&to).is_empty());
}
