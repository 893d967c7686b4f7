//! The program; all of it is in the library beside it, where tests and fuzz targets reach it.

use std::process::ExitCode;

/// A node allocates many small things that another thread frees; the allocator of the C library takes a fifth of its time for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    leasehold::main()
}
