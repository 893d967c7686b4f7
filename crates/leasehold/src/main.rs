//! The program; all of it is in the library beside it, where tests and fuzz targets reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    leasehold::main()
}
