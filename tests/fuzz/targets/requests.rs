#![no_main]

leasehold_fuzz::program!(leasehold_frontend::fuzzing::TARGETS, "requests");
