//! What comes over a connection of the Redis protocol, and the scripts in it.

mod frames;
mod scripts;

use crate::replay::Target;

pub const TARGETS: &[Target] =
    &[("redis_frames", frames::run, frames::seeds), ("redis_scripts", scripts::run, scripts::seeds)];
