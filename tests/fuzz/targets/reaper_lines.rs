#![no_main]

leasehold_fuzz::program!(leasehold::fuzzing::TARGETS, "reaper_lines");
