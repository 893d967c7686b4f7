//! A clock that tests set while it runs.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::{SystemTime, TimeSource};

/// Half as fast again is far beyond any clock, and twice as slow too.
const RATE_PPM_MAX: i64 = 500_000;
/// Ten years.
const WALL_OFFSET_S_MAX: i64 = 315_360_000;
/// Between two looks at the file.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How a clock goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Steering {
    rate_ppm: i64,
    wall_offset_s: i64,
}

impl Steering {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace().map(str::parse::<i64>);
        let (rate_ppm, wall_offset_s) = (words.next()?.ok()?, words.next()?.ok()?);
        let within = rate_ppm.abs() <= RATE_PPM_MAX && wall_offset_s.abs() <= WALL_OFFSET_S_MAX;
        (within && words.next().is_none()).then_some(Self { rate_ppm, wall_offset_s })
    }

    fn read(file: &Path) -> io::Result<Option<Self>> {
        Ok(Self::parse(&fs::read_to_string(file)?))
    }
}

/// What the clock showed at a moment, and how it goes from there: it never goes back.
#[derive(Debug)]
struct Since {
    real: Duration,
    shown: Duration,
    steering: Steering,
}

impl Since {
    fn monotonic(&self, real: Duration) -> Duration {
        let elapsed = i128::try_from(real.saturating_sub(self.real).as_nanos()).unwrap_or(i128::MAX);
        let steered = elapsed.saturating_mul(i128::from(1_000_000 + self.steering.rate_ppm)) / 1_000_000;
        self.shown + Duration::from_nanos(u64::try_from(steered).unwrap_or(0))
    }
}

/// See [`Clock::steered`](super::Clock::steered).
pub(super) struct SteeredTime {
    since: Mutex<Since>,
}

impl SteeredTime {
    pub(super) fn follow(file: &Path) -> io::Result<Arc<Self>> {
        let steering = Steering::read(file)?
            .ok_or_else(|| io::Error::other(format!("{}: not RATE_PPM WALL_OFFSET_S within bounds", file.display())))?;
        let real = SystemTime.monotonic();
        let time = Arc::new(Self { since: Mutex::new(Since { real, shown: real, steering }) });
        let (weak, file) = (Arc::downgrade(&time), file.to_owned());
        std::thread::Builder::new().name("steered-clock".into()).spawn(move || Self::look_again(&weak, &file))?;
        Ok(time)
    }

    /// Until nobody reads this clock any more.
    fn look_again(time: &Weak<Self>, file: &Path) {
        while let Some(time) = time.upgrade() {
            // A file that is being written is looked at again soon.
            if let Ok(Some(steering)) = Steering::read(file) {
                time.steer(steering, SystemTime.monotonic());
            }
            drop(time);
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn steer(&self, steering: Steering, real: Duration) {
        let mut since = self.since.lock();
        if since.steering != steering {
            // What was shown stays shown; the new rate counts from here.
            *since = Since { shown: since.monotonic(real), real, steering };
        }
    }
}

impl TimeSource for SteeredTime {
    fn monotonic(&self) -> Duration {
        let since = self.since.lock();
        // Read under the lock: a change in between would make it go back.
        since.monotonic(SystemTime.monotonic())
    }

    fn unix(&self) -> Duration {
        let (real, offset) = (SystemTime.unix(), self.since.lock().steering.wall_offset_s);
        let offset_by = Duration::from_secs(offset.unsigned_abs());
        if offset < 0 { real.saturating_sub(offset_by) } else { real + offset_by }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_within_bounds_are_taken() {
        assert_eq!(Steering::parse("-1000 3600\n"), Some(Steering { rate_ppm: -1_000, wall_offset_s: 3_600 }));
        for text in ["", "1", "1 2 3", "500001 0", "0 -315360001", "x 0"] {
            assert_eq!(Steering::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_change_of_rate_never_sets_it_back() {
        let steering = Steering { rate_ppm: 500_000, wall_offset_s: 0 };
        let start = Duration::from_secs(10);
        let time = SteeredTime { since: Mutex::new(Since { real: start, shown: start, steering }) };
        let at = |seconds| time.since.lock().monotonic(Duration::from_secs(seconds));
        assert_eq!(at(12), Duration::from_secs(13));
        time.steer(Steering { rate_ppm: -500_000, wall_offset_s: 0 }, Duration::from_secs(12));
        assert_eq!(at(12), Duration::from_secs(13));
        assert_eq!(at(14), Duration::from_secs(14));
    }

    #[test]
    fn a_running_clock_follows_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clock");
        fs::write(&file, "nonsense").unwrap();
        assert!(SteeredTime::follow(&file).is_err());
        fs::write(&file, "0 0").unwrap();
        let time = SteeredTime::follow(&file).unwrap();
        fs::write(&file, "0 -3600").unwrap();
        let hour = Duration::from_secs(3_600);
        let start = SystemTime.monotonic();
        while SystemTime.unix().saturating_sub(time.unix()) < hour - Duration::from_secs(1) {
            assert!(SystemTime.monotonic() - start < Duration::from_secs(10), "it does not follow");
            std::thread::yield_now();
        }
    }
}
