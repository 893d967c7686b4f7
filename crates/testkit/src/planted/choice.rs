//! A handful for every commit.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use super::Patch;

/// Tiers whose tests end within seconds, and which need hardly anything built that a workspace has not.
const QUICK: [&str; 3] = ["state-machine", "reference", "consensus"];

/// `count` of the patches that were seen to be caught quickly, chosen by the name of a commit: the same for the same commit, and
/// all of them in the course of time.
#[must_use]
pub fn choose(patches: Vec<Patch>, count: usize, commit: &str) -> Vec<Patch> {
    let mut quick: Vec<Patch> = patches
        .into_iter()
        .filter(|patch| patch.seen.is_some())
        .filter(|patch| patch.caught_by.as_ref().is_some_and(|expected| QUICK.contains(&expected.tier.name)))
        .collect();
    quick.shuffle(&mut StdRng::seed_from_u64(seed(commit)));
    quick.truncate(count);
    quick
}

/// FNV-1a, which is the same in every build.
fn seed(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::patches;

    fn names(commit: &str) -> Vec<String> {
        choose(patches().unwrap(), 3, commit).into_iter().map(|patch| patch.name).collect()
    }

    #[test]
    fn a_commit_chooses_the_same_every_time_and_another_one_others() {
        assert_eq!(names("0123").len(), 3);
        assert_eq!(names("0123"), names("0123"));
        assert_ne!(names("0123"), names("0124"));
    }
}
