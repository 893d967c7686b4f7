#![no_main]

leasehold_fuzz::program!(leasehold_fuzz::state_machine::TARGETS, "apply_bytes");
