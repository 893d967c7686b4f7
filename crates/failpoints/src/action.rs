//! What can happen at a failpoint, and how that is written.

use std::fmt;
use std::time::Duration;

use rustix::io::Errno;

use crate::Kind;

/// Longest delay that can be asked for: nobody waits for a node that is stuck by mistake.
const DELAY_MAX: Duration = Duration::from_secs(60);

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// The process is gone, as by kill -9.
    Abort,
    /// The step fails.
    Error(Errno),
    /// The step takes so much longer.
    Delay(Duration),
    /// The step waits until the failpoint is set to something else.
    Pause,
    /// The step is left out.
    Skip,
}

impl Action {
    /// Whether it can happen at such a place.
    pub(crate) fn suits(self, kind: Kind) -> bool {
        match self {
            Self::Abort | Self::Delay(_) | Self::Pause => true,
            Self::Error(_) => matches!(kind, Kind::Fails | Kind::Steps),
            Self::Skip => matches!(kind, Kind::Skips | Kind::Steps),
        }
    }
}

/// An action, and when it begins and ends: `ACTION[,after=N][,times=N]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) action: Action,
    /// Hits that pass before it.
    pub(crate) after: u64,
    /// How often it is taken; None: always.
    pub(crate) times: Option<u64>,
}

impl Plan {
    /// Reads `off` (None) or a plan; an error says what can be written.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, String> {
        let mut words = text.trim().split(',');
        let word = words.next().unwrap_or_default();
        let Some(action) = action(word)? else { return Ok(None) };
        let mut plan = Self { action, after: 0, times: None };
        for word in words {
            let number = |text: &str| text.parse().map_err(|_| format!("{word}: that is no number"));
            match word.split_once('=') {
                Some(("after", count)) => plan.after = number(count)?,
                Some(("times", count)) => plan.times = Some(number(count)?),
                _ => return Err(format!("{word}: neither after=N nor times=N")),
            }
        }
        Ok(Some(plan))
    }
}

fn action(word: &str) -> Result<Option<Action>, String> {
    let (name, argument) = match word.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')').ok_or_else(|| format!("{word}: a ) is missing"))?),
        None => (word, ""),
    };
    Ok(Some(match (name, argument) {
        ("off", "") => return Ok(None),
        ("abort", "") => Action::Abort,
        ("pause", "") => Action::Pause,
        ("skip", "") => Action::Skip,
        ("error", "EIO") => Action::Error(Errno::IO),
        ("error", "ENOSPC") => Action::Error(Errno::NOSPC),
        ("delay", time) => {
            let ms = time.strip_suffix("ms").and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
            Action::Delay(ms.filter(|time| *time <= DELAY_MAX).ok_or_else(|| {
                format!("{word}: a delay is written delay(250ms), and is at most {} ms", DELAY_MAX.as_millis())
            })?)
        }
        _ => {
            return Err(format!("{word}: none of off, abort, error(EIO), error(ENOSPC), delay(Nms), pause, skip"));
        }
    }))
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.action {
            Action::Abort => write!(f, "abort")?,
            Action::Error(Errno::NOSPC) => write!(f, "error(ENOSPC)")?,
            Action::Error(_) => write!(f, "error(EIO)")?,
            Action::Delay(time) => write!(f, "delay({}ms)", time.as_millis())?,
            Action::Pause => write!(f, "pause")?,
            Action::Skip => write!(f, "skip")?,
        }
        if self.after > 0 {
            write!(f, ",after={}", self.after)?;
        }
        if let Some(times) = self.times {
            write!(f, ",times={times}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_written_as_they_are_read() {
        let texts =
            ["abort", "error(EIO)", "error(ENOSPC),times=3", "delay(250ms),after=7,times=1", "pause", "skip,after=2"];
        for text in texts {
            assert_eq!(Plan::parse(text).unwrap().unwrap().to_string(), text);
        }
        assert_eq!(Plan::parse(" off\n"), Ok(None));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for text in [
            "",
            "abort()x",
            "error(EPERM)",
            "error",
            "delay",
            "delay(5)",
            "delay(99999999ms)",
            "abort,soon",
            "abort,after=x",
        ] {
            assert!(Plan::parse(text).is_err(), "{text}");
        }
    }
}
