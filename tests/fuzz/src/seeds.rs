//! Writes the seeds of every target to the folder TARGET in $SEEDS: real data, encoded as this build does. Linked like a target, because
//! everything here is compiled for the fuzzer.

#![no_main]

use std::path::PathBuf;
use std::{env, fs, io, process};

fn write() -> io::Result<()> {
    let dir = PathBuf::from(env::var_os("SEEDS").ok_or_else(|| io::Error::other("SEEDS names no folder"))?);
    for (name, _, seeds) in leasehold_fuzz::targets() {
        let dir = dir.join(name);
        fs::create_dir_all(&dir)?;
        for (number, seed) in seeds().iter().enumerate() {
            fs::write(dir.join(format!("seed-{number:04}")), seed)?;
        }
    }
    Ok(())
}

libfuzzer_sys::fuzz_target!(
    init: {
        #[allow(unreachable_code)]
        match write() {
            Ok(()) => process::exit(0),
            Err(error) => panic!("no seeds: {error}"),
        }
    },
    |_data: &[u8]| {}
);
