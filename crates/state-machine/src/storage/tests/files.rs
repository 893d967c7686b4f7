//! Small files.

use super::super::files::{RECORD_BYTES_MAX, RecordError, read_record, write_atomically, write_record};
use super::names_in;

const MAGIC: [u8; 8] = *b"LHTESTED";

#[test]
fn an_atomic_write_leaves_only_the_new_content() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.txt");
    write_atomically(&path, b"old").unwrap();
    write_atomically(&path, b"new").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    assert_eq!(names_in(dir.path()), ["a.txt"]);
}

#[test]
fn a_record_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity");
    assert!(read_record(&path, MAGIC, 3).unwrap().is_none());
    for payload in [&b""[..], b"payload", &vec![5; RECORD_BYTES_MAX]] {
        write_record(&path, MAGIC, 3, payload).unwrap();
        assert_eq!(read_record(&path, MAGIC, 3).unwrap().as_deref(), Some(payload));
    }
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_record_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity");
    write_record(&path, MAGIC, 3, b"payload").unwrap();
    let good = std::fs::read(&path).unwrap();
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            std::fs::write(&path, &bad).unwrap();
            let error = read_record(&path, MAGIC, 3).unwrap_err();
            match at {
                0..8 => assert!(matches!(error, RecordError::NotOurs { .. }), "byte {at}: {error}"),
                8 => assert!(matches!(error, RecordError::Version { supported: 3, .. }), "byte {at}: {error}"),
                _ => assert!(matches!(error, RecordError::Damaged { .. }), "byte {at}: {error}"),
            }
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        }
        std::fs::write(&path, &good[..at]).unwrap();
        let error = read_record(&path, MAGIC, 3).unwrap_err();
        assert!(matches!(error, RecordError::Damaged { .. }), "cut to {at}: {error}");
    }
    std::fs::write(&path, [&good[..], b"x"].concat()).unwrap();
    assert!(matches!(read_record(&path, MAGIC, 3), Err(RecordError::Damaged { .. })));
}
