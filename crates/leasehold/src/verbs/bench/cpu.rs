//! How much CPU time a process took while something was measured.

use std::time::Duration;

use leasehold_client::clock::Moment;

use super::schedule::{Schedule, sleep_until};

/// Linux counts CPU time for programs in this unit, on every architecture that Leasehold is built for.
const TICKS_PER_SECOND: u64 = 100;
/// How soon an early end of the run is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The share of one core, in percent, that the process took in the schedule's window. None where there is no process to ask.
pub(super) async fn share(pid: Option<u32>, schedule: &Schedule) -> Option<f64> {
    let pid = pid?;
    let begin = at(pid, schedule, schedule.window.from).await?;
    let end = at(pid, schedule, schedule.window.until).await?;
    Some(100.0 * (end - begin) / schedule.window.length().as_secs_f64())
}

/// CPU time in seconds at a moment; at once where the run ends before.
async fn at(pid: u32, schedule: &Schedule, moment: Moment) -> Option<f64> {
    while schedule.clock.now() < moment && !schedule.is_stopped() {
        sleep_until(&schedule.clock, moment.min(schedule.clock.now().after(LOOK_EVERY))).await;
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    seconds(&stat, TICKS_PER_SECOND)
}

/// User and system time of a line of `/proc/PID/stat`.
#[expect(clippy::cast_precision_loss, reason = "ticks of a process are far below 2^53")]
fn seconds(stat: &str, ticks_per_second: u64) -> Option<f64> {
    // The name, in parentheses, may contain anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system) = (fields.next()?.parse::<u64>().ok()?, fields.next()?.parse::<u64>().ok()?);
    Some((user + system) as f64 / ticks_per_second as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 3 0";
        assert_eq!(seconds(stat, 100), Some(2.0));
        assert_eq!(seconds("7 (a) S 1", 100), None);
    }
}
