#![no_main]

leasehold_fuzz::program!(leasehold_client::fuzzing::TARGETS, "answers");
