//! What a checkpoint keeps, refuses and replaces.

use proptest::prelude::*;

use super::super::checkpoint::WRITE_ROWS_MAX;
use super::*;

#[test]
fn a_new_folder_has_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert!(checkpoint.load().unwrap().is_none());
    drop(checkpoint);
    let reopened = Checkpoint::open(dir.path()).unwrap();
    assert!(reopened.load().unwrap().is_none());
}

#[test]
fn rows_are_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let mut expected = table(500, 1);
    checkpoint.write(changes(&expected)).unwrap();
    let gone = expected.pop_first().unwrap().0;
    let mut second = changes(&Table::from([(b"new".to_vec(), vec![7; 3_000])]));
    second.rows.push(RowChange { key: gone, value: None });
    expected.insert(b"new".to_vec(), vec![7; 3_000]);
    checkpoint.write(second).unwrap();
    drop(checkpoint);
    assert_eq!(rows_of(&Checkpoint::open(dir.path()).unwrap()).unwrap(), expected);
}

#[test]
fn replacing_leaves_nothing_of_the_old_rows() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    checkpoint.write(changes(&table(2_500, 1))).unwrap();
    let expected = table(1_200, 2);
    checkpoint.replace(expected.clone()).unwrap();
    assert_eq!(rows_of(&checkpoint).unwrap(), expected);
    checkpoint.write(changes(&table(1, 3))).unwrap();
    drop(checkpoint);
    let mut expected = expected;
    expected.extend(table(1, 3));
    assert_eq!(rows_of(&Checkpoint::open(dir.path()).unwrap()).unwrap(), expected);
}

#[test]
fn an_interrupted_replacement_is_no_checkpoint_until_it_is_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    checkpoint.write(changes(&table(2_500, 1))).unwrap();

    // Ends while rows come in.
    let rows = table(2_500, 2)
        .into_iter()
        .enumerate()
        .map(|(n, row)| if n < 1_500 { Ok(row) } else { Err(CheckpointError::InUse { path: "cut".into() }) });
    assert!(matches!(checkpoint.replace_all(rows), Err(CheckpointError::InUse { .. })));
    for _ in 0..2 {
        assert!(checkpoint.load().unwrap().is_none());
        assert!(checkpoint.hold().head().unwrap().is_none(), "no snapshot is made from it");
        assert!(matches!(checkpoint.write(changes(&table(1, 3))), Err(CheckpointError::Replacing { .. })));
        checkpoint.flush().unwrap();
    }
    drop(checkpoint);

    let reopened = Checkpoint::open(dir.path()).unwrap();
    assert!(reopened.load().unwrap().is_none());
    assert!(matches!(reopened.write(changes(&table(1, 3))), Err(CheckpointError::Replacing { .. })));
    reopened.replace(table(10, 4)).unwrap();
    assert_eq!(rows_of(&reopened).unwrap(), table(10, 4));
    reopened.write(changes(&table(1, 5))).unwrap();
}

#[test]
fn very_many_rows_are_written_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let (old, mut new) = (table(10, 1), table(u32::try_from(WRITE_ROWS_MAX).unwrap() + 1, 2));
    checkpoint.write(changes(&old)).unwrap();
    checkpoint.write(changes(&new)).unwrap();
    assert!(!checkpoint.is_replacing());
    assert_eq!(rows_of(&checkpoint).unwrap(), new);
    let gone = new.iter().skip(1).map(|(key, _)| RowChange { key: key.clone(), value: None }).collect();
    checkpoint.write(Changes { rows: gone, applied: None }).unwrap();
    drop(checkpoint);
    let reopened = Checkpoint::open(dir.path()).unwrap();
    assert!(!reopened.is_replacing());
    new.retain(|key, _| *key == 0_u32.to_be_bytes());
    assert_eq!(rows_of(&reopened).unwrap(), new);
}

#[test]
fn installing_a_snapshot_replaces_all_rows() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(&dir.path().join("checkpoint")).unwrap();
    checkpoint.write(changes(&table(50, 1))).unwrap();
    let snapshot = write_snapshot(&dir.path().join("snapshots"), 9, 2, &table(3_000, 2));
    checkpoint.install(&snapshot).unwrap();
    assert_eq!(rows_of(&checkpoint).unwrap(), table(3_000, 2));
}

#[test]
fn installing_a_damaged_snapshot_leaves_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(&dir.path().join("checkpoint")).unwrap();
    checkpoint.write(changes(&table(50, 1))).unwrap();
    let snapshot = write_snapshot(&dir.path().join("snapshots"), 9, 2, &table(3_000, 2));
    let mut bytes = std::fs::read(&snapshot.path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&snapshot.path, bytes).unwrap();
    assert!(matches!(checkpoint.install(&snapshot), Err(SnapshotError::Damaged { .. })));
    assert!(checkpoint.load().unwrap().is_none());
}

#[test]
fn an_unknown_version_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    drop(Checkpoint::open(dir.path()).unwrap());
    let db = open_sled(dir.path());
    db.insert("m/version", &[9]).unwrap();
    drop(db);
    let error = Checkpoint::open(dir.path()).unwrap_err();
    assert!(matches!(error, CheckpointError::Version { found: 9, supported: 2, .. }), "{error}");
    assert!(error.is_discardable());
    let text = error.to_string();
    assert!(text.contains(dir.path().to_str().unwrap()) && text.contains("Remove the folder"), "{text}");
}

#[test]
fn rows_without_a_version_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let db = open_sled(dir.path());
    db.insert("something", "else").unwrap();
    drop(db);
    assert!(matches!(Checkpoint::open(dir.path()), Err(CheckpointError::Restore { .. })));
}

#[test]
fn a_folder_in_use_is_not_called_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let _open = Checkpoint::open(dir.path()).unwrap();
    let error = Checkpoint::open(dir.path()).unwrap_err();
    assert!(matches!(error, CheckpointError::InUse { .. }), "{error}");
    assert!(!error.is_discardable());
}

#[test]
fn discarding_makes_room_for_a_new_checkpoint() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("checkpoint");
    Checkpoint::discard(&dir).unwrap();
    let checkpoint = Checkpoint::open(&dir).unwrap();
    checkpoint.write(changes(&table(10, 1))).unwrap();
    drop(checkpoint);
    Checkpoint::discard(&dir).unwrap();
    assert!(names_in(parent.path()).is_empty());
    assert!(rows_of(&Checkpoint::open(&dir).unwrap()).unwrap().is_empty());
}

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<(u8, Option<Vec<u8>>)>),
    Replace(BTreeMap<u8, Vec<u8>>),
    Reopen,
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    // Short ones mostly; some that split a page of sled.
    prop_oneof![9 => prop::collection::vec(any::<u8>(), 0..40), 1 => (any::<u8>(), 1_000..40_000_usize).prop_map(|(b, n)| vec![b; n])]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec((any::<u8>(), prop::option::weighted(0.7, value())), 0..60).prop_map(Step::Write),
        1 => prop::collection::btree_map(any::<u8>(), value(), 0..60).prop_map(Step::Replace),
        2 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn reopened_rows_equal_what_was_written(steps in prop::collection::vec(step(), 1..25)) {
        let dir = tempfile::tempdir().unwrap();
        let mut checkpoint = Checkpoint::open(dir.path()).unwrap();
        let mut model = Table::new();
        for step in steps {
            match step {
                Step::Write(rows) => {
                    let mut written = Changes::default();
                    for (key, value) in rows.into_iter().collect::<BTreeMap<_, _>>() {
                        match &value {
                            Some(value) => drop(model.insert(vec![key], value.clone())),
                            None => drop(model.remove(&vec![key])),
                        }
                        written.rows.push(RowChange { key: vec![key], value });
                    }
                    checkpoint.write(written).unwrap();
                }
                Step::Replace(rows) => {
                    model = rows.into_iter().map(|(key, value)| (vec![key], value)).collect();
                    checkpoint.replace(model.clone()).unwrap();
                }
                Step::Reopen => {
                    drop(checkpoint);
                    checkpoint = Checkpoint::open(dir.path()).unwrap();
                }
            }
            prop_assert_eq!(&rows_of(&checkpoint).unwrap(), &model);
        }
        drop(checkpoint);
        prop_assert_eq!(&rows_of(&Checkpoint::open(dir.path()).unwrap()).unwrap(), &model);
    }
}

fn open_sled(dir: &Path) -> sled::Db {
    for _ in 0..500 {
        match sled::Config::new().path(dir).flush_every_ms(None).open() {
            Ok(db) => return db,
            Err(_) => std::thread::yield_now(),
        }
    }
    panic!("{} stays locked", dir.display());
}
