//! What the processors of this machine have done.

use anyhow::{Context, Result};

/// Time of all processors since they were started, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticks {
    /// Idle or not.
    pub(crate) all: u64,
    /// What a hypervisor gives to others is busy.
    pub(crate) busy: u64,
}

impl Ticks {
    /// So far.
    pub(crate) fn now() -> Result<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat")?)
    }

    fn parse(stat: &str) -> Result<Self> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu ")).context("no line of all processors")?;
        let ticks: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        // user nice system idle iowait irq softirq steal; those of guests are in user and nice already.
        let all: u64 = ticks.iter().take(8).sum();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        Ok(Self { all, busy: all - idle })
    }

    /// The share of the time since `then` in which they were busy.
    pub(crate) fn busy_since(self, then: Self) -> f64 {
        self.busy.saturating_sub(then.busy) as f64 / self.all.saturating_sub(then.all).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_processors_are_not_busy() {
        let ticks = Ticks::parse("cpu  10 20 30 400 5 6 7 8 9 9\ncpu0 1 1 1 1 1 1 1 1 0 0\n").unwrap();
        assert_eq!((ticks.all, ticks.busy), (486, 81));
        let share = Ticks { all: 586, busy: 156 }.busy_since(ticks);
        assert!((share - 0.75).abs() < 1e-9);
    }
}
