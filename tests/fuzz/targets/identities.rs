#![no_main]

leasehold_fuzz::program!(leasehold_consensus::fuzzing::TARGETS, "identities");
