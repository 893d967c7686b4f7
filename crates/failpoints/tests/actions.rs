//! What happens at a failpoint of this process.
#![cfg(feature = "failpoints")]

use leasehold_failpoints::failpoint;
use leasehold_failpoints::registry::{self, Status};
use std::io::ErrorKind;
use tokio::sync::Mutex;

/// The failpoints of a process are shared by its tests.
static ALONE: Mutex<()> = Mutex::const_new(());
/// Looks at a condition, at most.
const LOOKS_MAX: usize = 10_000_000;

fn status(name: &str) -> Status {
    registry::list().into_iter().find(|status| status.name == name).unwrap()
}

#[test]
fn errors_are_returned_after_so_many_hits_and_so_many_times() {
    let _alone = ALONE.blocking_lock();
    let before = status("log::append::before").hits;
    registry::set("log::append::before", "error(ENOSPC),after=1,times=2").unwrap();
    let results: Vec<_> = (0..4).map(|_| failpoint!("log::append::before").map_err(|error| error.kind())).collect();
    let full = Err(ErrorKind::StorageFull);
    assert_eq!(results, [Ok(()), full, full, Ok(())]);
    let after = status("log::append::before");
    assert_eq!((after.hits - before, after.fired), (4, 2));
    registry::clear();
    assert_eq!(status("log::append::before").action, "off");
}

#[test]
fn a_step_is_left_out() {
    let _alone = ALONE.blocking_lock();
    registry::set("log::sync::before", "skip").unwrap();
    assert!(!failpoint!("log::sync::before", step).unwrap());
    registry::clear();
    assert!(failpoint!("log::sync::before", step).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_pause_lasts_until_it_is_released_and_leaves_other_tasks_alone() {
    let _alone = ALONE.lock().await;
    registry::set("grant::answer::before", "pause").unwrap();
    let task = tokio::spawn(async { failpoint!("grant::answer::before", pass) });
    let mut looks = 0;
    while status("grant::answer::before").paused == 0 {
        looks += 1;
        assert!(looks < LOOKS_MAX, "the task does not come to the failpoint");
        tokio::task::yield_now().await;
    }
    // The one async thread goes on with others.
    tokio::spawn(async {}).await.unwrap();
    assert!(!task.is_finished());
    registry::set("grant::answer::before", "off").unwrap();
    task.await.unwrap();
    assert_eq!(status("grant::answer::before").paused, 0);
}

#[test]
fn what_a_place_cannot_do_is_refused() {
    let _alone = ALONE.blocking_lock();
    assert!(registry::set("grant::answer::before", "error(EIO)").unwrap_err().to_string().contains("cannot do"));
    assert!(registry::set("log::append::before", "skip").is_err());
    assert!(registry::set("no::such::point", "abort").unwrap_err().to_string().contains("no failpoint"));
}
