//! The disks of tests do what they are for. Without root and loop devices: SKIPPED.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use leasehold_testkit::disk::{Disk, remove_left_over, skipped};

const BYTES: u64 = 16 << 20;

#[test]
fn power_cut_loses_what_was_not_synced_and_nothing_else() {
    if skipped("power_cut_loses_what_was_not_synced_and_nothing_else").unwrap() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::create(folder.path(), "a", BYTES).unwrap();
    let synced = disk.path().join("synced");
    let mut file = File::create(&synced).unwrap();
    file.write_all(b"first").unwrap();
    file.sync_all().unwrap();
    file.write_all(b", second").unwrap();
    drop(file);
    fs::write(disk.path().join("unsynced"), b"third").unwrap();
    disk.power_cut().unwrap();
    assert_eq!(fs::read_to_string(&synced).unwrap(), "first");
    assert!(!disk.path().join("unsynced").exists());
    // It is an ordinary disk again.
    fs::write(&synced, b"fourth").unwrap();
    File::open(&synced).unwrap().sync_all().unwrap();
    disk.power_cut().unwrap();
    assert_eq!(fs::read_to_string(&synced).unwrap(), "fourth");
}

#[test]
fn full_disk_refuses_writes_until_there_is_room() {
    if skipped("full_disk_refuses_writes_until_there_is_room").unwrap() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::create(folder.path(), "full", BYTES).unwrap();
    disk.fill(0).unwrap();
    let more = fs::write(disk.path().join("more"), vec![1; 1 << 20]);
    assert_eq!(more.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    disk.make_room().unwrap();
    fs::write(disk.path().join("more"), vec![1; 1 << 20]).unwrap();
    disk.fill(4 << 20).unwrap();
    assert!(disk.free_bytes().unwrap() <= 4 << 20);
}

#[test]
fn disks_of_dead_processes_are_removed_and_those_of_living_ones_stay() {
    if skipped("disks_of_dead_processes_are_removed_and_those_of_living_ones_stay").unwrap() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let living = Disk::create(folder.path(), "living", BYTES).unwrap();
    fs::write(living.path().join("file"), b"here").unwrap();
    // Its process id belonged to a process that has ended, and been waited for.
    let mut ended = Command::new("true").stdin(Stdio::null()).spawn().unwrap();
    let pid = ended.id();
    ended.wait().unwrap();
    let dead = folder.path().join(format!("leasehold-disk-{pid}-dead"));
    fs::create_dir_all(dead.join("mount")).unwrap();
    File::create(dead.join("image")).unwrap().set_len(BYTES).unwrap();
    let run = |program: &str, arguments: &[PathBuf]| {
        assert!(Command::new(program).args(arguments).status().unwrap().success(), "{program}");
    };
    run("mkfs.ext4", &["-q".into(), "-F".into(), dead.join("image")]);
    run("mount", &["-o".into(), "loop".into(), dead.join("image"), dead.join("mount")]);
    assert!(dead.join("mount/lost+found").exists());

    remove_left_over().unwrap();
    assert!(!dead.exists(), "it is unmounted and removed");
    assert_eq!(fs::read(living.path().join("file")).unwrap(), b"here");
    let path = living.path();
    drop(living);
    assert!(!path.exists(), "a dropped disk is removed");
}
