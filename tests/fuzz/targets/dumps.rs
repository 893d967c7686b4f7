#![no_main]

leasehold_fuzz::program!(leasehold_fuzz::dumps::TARGETS, "dumps");
