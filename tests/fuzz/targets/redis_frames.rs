#![no_main]

leasehold_fuzz::program!(leasehold_fuzz::redis::TARGETS, "redis_frames");
