//! C10: a resource that refuses tokens below the greatest that it has seen, in reads as in writes, loses no update. A lock alone
//! cannot promise that: its holder may be paused past the end of its lease, and wake up in the middle of a write.

use std::collections::BTreeSet;

use super::report::{Invariant::C10, Report};

/// One read or write at a resource, in the order in which they came to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// What was there was looked at, to be changed.
    Read {
        /// Under this token.
        token: u64,
    },
    /// A version was replaced.
    Write {
        /// Under this token.
        token: u64,
        /// The version that its writer had read.
        read: u64,
        /// Whether the resource took it.
        taken: bool,
    },
}

/// A resource that somebody else keeps and that clients change under a lock: what they read, they write back changed. Each
/// write that is taken makes a new version. Keeps the guard, or not, and remembers what happened to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resource {
    guarded: bool,
    version: u64,
    greatest_token: u64,
    accesses: Vec<Access>,
}

impl Resource {
    /// One that refuses tokens below the greatest that it has seen.
    #[must_use]
    pub fn guarded() -> Self {
        Self { guarded: true, ..Self::default() }
    }

    /// One that takes everything.
    #[must_use]
    pub fn unguarded() -> Self {
        Self::default()
    }

    /// The version that is there; None when the token is refused.
    pub fn read(&mut self, token: u64) -> Option<u64> {
        if !self.admits(token) {
            return None;
        }
        self.accesses.push(Access::Read { token });
        Some(self.version)
    }

    /// Writes back what was made of version `read`. Whether it was taken.
    pub fn write(&mut self, token: u64, read: u64) -> bool {
        let taken = self.admits(token);
        self.accesses.push(Access::Write { token, read, taken });
        self.version += u64::from(taken);
        taken
    }

    fn admits(&mut self, token: u64) -> bool {
        let admits = !self.guarded || token >= self.greatest_token;
        if admits {
            self.greatest_token = self.greatest_token.max(token);
        }
        admits
    }

    /// Everything that happened to it.
    #[must_use]
    pub fn accesses(&self) -> &[Access] {
        &self.accesses
    }

    /// Writes that were taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.accesses.iter().filter(|access| matches!(access, Access::Write { taken: true, .. })).count()
    }

    /// Updates that were lost: versions that a write did away with whose writer had not read them.
    #[must_use]
    pub fn lost(&self) -> usize {
        lost(&self.accesses).len()
    }
}

/// Writes that were taken, though they were made of an older version than the one that they replaced: their place among the
/// accesses, what they had read, and what was there.
fn lost(accesses: &[Access]) -> Vec<(usize, u64, u64)> {
    let mut version = 0;
    let mut lost = Vec::new();
    for (place, access) in accesses.iter().enumerate() {
        if let Access::Write { read, taken: true, .. } = access {
            if *read != version {
                lost.push((place, *read, version));
            }
            version += 1;
        }
    }
    lost
}

/// Holds what happened to a guarded resource against C10. One without a guard is only counted: it may lose updates.
pub fn check(name: &str, resource: &Resource, report: &mut Report) {
    if !resource.guarded {
        report.leave_out(C10, resource.taken());
        return;
    }
    let lost = lost(&resource.accesses);
    let places: BTreeSet<usize> = lost.iter().map(|(place, ..)| *place).collect();
    report.agree(C10, resource.taken().saturating_sub(places.len()));
    for (place, read, version) in lost {
        report.hold(C10, false, || {
            format!(
                "{name}: access {place} was made of version {read} and replaced version {version}: {:?}",
                resource.accesses[place]
            )
        });
    }
    let mut greatest = 0;
    for access in &resource.accesses {
        let (token, admitted) = match access {
            Access::Read { token } => (*token, true),
            Access::Write { token, taken, .. } => (*token, *taken),
        };
        report.hold(C10, !admitted || token >= greatest, || {
            format!("{name}: token {token} was let in after token {greatest}: the guard does not guard")
        });
        if admitted {
            greatest = greatest.max(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reads under token 1 and stalls; B does all of its change under token 2; A wakes up and writes.
    fn stalled(mut resource: Resource) -> (Resource, bool) {
        let read = resource.read(1).unwrap();
        let second = resource.read(2).unwrap();
        assert!(resource.write(2, second));
        let taken = resource.write(1, read);
        (resource, taken)
    }

    fn report(resource: &Resource) -> Report {
        let mut report = Report::default();
        check("counter", resource, &mut report);
        report
    }

    #[test]
    fn a_guarded_resource_refuses_the_one_that_was_away() {
        let (resource, taken) = stalled(Resource::guarded());
        let report = report(&resource);
        assert_eq!((taken, resource.taken(), resource.lost(), report.is_clean()), (false, 1, 0, true));
        assert!(report.checked(C10) > 0);
    }

    #[test]
    fn one_without_a_guard_loses_an_update_and_is_only_counted() {
        let (resource, taken) = stalled(Resource::unguarded());
        let report = report(&resource);
        assert_eq!((taken, resource.taken(), resource.lost()), (true, 2, 1));
        assert_eq!((report.is_clean(), report.checked(C10), report.left_out(C10)), (true, 0, 2));
    }

    #[test]
    fn the_token_counts_at_the_read_already() {
        // A's write comes between B's read and B's write.
        let mut resource = Resource::guarded();
        let first = resource.read(1).unwrap();
        let second = resource.read(2).unwrap();
        assert!(!resource.write(1, first) && resource.write(2, second));
        assert_eq!(resource.lost(), 0);
        assert_eq!(resource.read(1), None);
    }

    #[test]
    fn a_lost_update_at_a_guarded_resource_is_caught() {
        let (mut resource, _) = stalled(Resource::unguarded());
        resource.guarded = true;
        let report = report(&resource);
        let first = report.violations()[0].to_string();
        assert!(first.contains("C10") && first.contains("made of version 0 and replaced version 1"), "{first}");
        let second = report.violations()[1].to_string();
        assert!(second.contains("token 1 was let in after token 2"), "{second}");
    }

    #[test]
    fn two_writes_under_one_token_are_no_loss() {
        let mut resource = Resource::guarded();
        for _ in 0..2 {
            let read = resource.read(7).unwrap();
            assert!(resource.write(7, read));
        }
        assert!(report(&resource).is_clean() && resource.lost() == 0);
    }
}
