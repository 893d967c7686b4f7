//! Small worlds over the real lock table, searched to their ends, and mistakes around it that the search finds.

#![allow(clippy::print_stdout)]

use leasehold_testkit::model_check::worlds::{self, Size};
use leasehold_testkit::model_check::{Planted, Rule, Seen, World, check};

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn search(worlds: Vec<World>) {
    let reports: Vec<_> = worlds
        .into_iter()
        .map(|world| {
            let report = check(world, threads());
            println!("{}", report.text());
            report
        })
        .collect();
    let failed: Vec<_> = reports.iter().filter(|report| !report.passed()).map(|report| report.text()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// To see its numbers: `cargo test -p leasehold-testkit --test model_check -- --nocapture every_state_of_the_small`.
#[test]
fn every_state_of_the_small_worlds_keeps_every_rule() {
    search(worlds::all(Size::Small));
}

#[test]
#[ignore = "takes long and some gigabytes: cargo run --release -p leasehold-testkit --bin model-check"]
fn every_state_of_the_large_worlds_keeps_every_rule() {
    search(worlds::all(Size::Large));
}

/// The worlds say what they show, and the search fails when one does not: here, that together they leave nothing out.
#[test]
fn worlds_show_everything_together() {
    let shown = worlds::shown(&worlds::all(Size::Small));
    let missing: Vec<_> = Seen::ALL.iter().filter(|seen| !shown.contains(seen)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// A mistake that is planted around the machine breaks one of these rules.
fn finds(world: World, planted: Planted, rules: &[Rule]) {
    let report = check(world.with_planted(planted), threads());
    let Some((flaw, script)) = &report.broken else { panic!("{planted:?} was not found: {}", report.text()) };
    assert!(rules.contains(&flaw.rule), "{planted:?} broke {:?}: {}\n{script}", flaw.rule, flaw.what);
    println!("{planted:?} broke {:?}: {}\n{script}", flaw.rule, flaw.what);
}

#[test]
fn lease_counted_from_the_answer_is_found() {
    finds(worlds::own_leases(Size::Small), Planted::CountsFromAnswer, &[Rule::BeliefsAreTrue]);
}

#[test]
fn grant_after_a_wait_that_is_counted_on_unconfirmed_is_found() {
    finds(worlds::queue(Size::Small), Planted::TrustsGrantAfterWait, &[Rule::BeliefsAreTrue]);
}

#[test]
fn cancel_of_whatever_attempt_is_found() {
    finds(worlds::own_leases(Size::Small), Planted::CancelsEveryAttempt, &[Rule::BeliefsAreTrue]);
}

#[test]
fn release_of_whoever_holds_is_found() {
    finds(worlds::own_leases(Size::Small), Planted::ReleasesByName, &[Rule::BeliefsAreTrue]);
}

#[test]
fn calls_that_outlive_what_is_remembered_are_found() {
    let rules = [Rule::OneEffectPerRequest, Rule::NoIsFinal];
    finds(worlds::forgetting(Size::Small), Planted::CallsWithoutEnd, &rules);
}

#[test]
fn time_that_stands_still_is_found() {
    finds(worlds::queue(Size::Small), Planted::TimeStands, &[Rule::TimeFreesEverything]);
}

#[test]
fn request_that_loses_its_actor_is_found() {
    finds(worlds::deadlocks(Size::Small), Planted::LosesActor, &[Rule::NoCycleStands]);
}

#[test]
fn false_deadlock_between_tasks_of_one_session_is_found() {
    finds(worlds::tasks_of_one_session(Size::Small), Planted::TakesTasksForOne, &[Rule::DeadlocksAreReal]);
}

#[test]
fn downgrade_that_is_not_minded_at_once_is_found() {
    finds(worlds::downgrades(Size::Small), Planted::DowngradesLate, &[Rule::BeliefsAreTrue]);
}

#[test]
fn lost_lock_delay_is_found() {
    finds(worlds::delays(Size::Small), Planted::LosesLockDelay, &[Rule::DelaysAreKept]);
}

#[test]
fn forced_loss_that_a_session_does_not_mind_is_found() {
    finds(worlds::force(Size::Small), Planted::IgnoresForce, &[Rule::BeliefsAreCompatible]);
}

#[test]
fn request_id_that_is_used_twice_is_found() {
    finds(worlds::several_locks(Size::Small), Planted::ReusesIds, &[Rule::HonestCommandsAreServed]);
}

#[test]
fn restored_backup_is_found() {
    finds(worlds::queue(Size::Small), Planted::RestoresBackup, &[Rule::TokensGrow, Rule::BeliefsAreTrue]);
}
