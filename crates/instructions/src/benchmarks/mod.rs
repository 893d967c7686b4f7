//! What is counted. Each benchmark makes its input from constants and runs in a process of its own, so that none of them changes
//! what another finds in the allocator.

mod apply;
mod codec;
mod forwarding;
mod frontend;
mod log;
mod proposer;

use std::hint::black_box;

/// One benchmark.
pub(crate) struct Benchmark {
    /// Part, then what is done there.
    pub(crate) name: &'static str,
    /// What an operation is.
    pub(crate) operation: &'static str,
    /// Does it, and tells how many operations were inside [`counted`].
    pub(crate) run: fn() -> u64,
}

/// All of them.
pub(crate) const ALL: &[Benchmark] = &[
    Benchmark { name: "encode/command", operation: "command", run: codec::encode_command },
    Benchmark { name: "encode/batch", operation: "command", run: codec::encode_batch },
    Benchmark { name: "decode/batch", operation: "command", run: codec::decode_batch },
    Benchmark { name: "apply/lock-unlock", operation: "cycle", run: apply::lock_unlock },
    Benchmark { name: "apply/hand-over", operation: "release, grant and wait", run: apply::hand_over },
    Benchmark { name: "apply/renew", operation: "lease", run: apply::renew },
    Benchmark { name: "apply/expire", operation: "lease", run: apply::expire },
    Benchmark { name: "apply/state-hash", operation: "command before it", run: apply::state_hash },
    Benchmark { name: "apply/take-changes", operation: "command before it", run: apply::take_changes },
    Benchmark { name: "propose/entry", operation: "command", run: proposer::entry },
    Benchmark { name: "forward/send", operation: "command", run: forwarding::send },
    Benchmark { name: "forward/receive", operation: "command", run: forwarding::receive },
    Benchmark { name: "forward/answer", operation: "command", run: forwarding::answer },
    Benchmark { name: "forward/settle", operation: "command", run: forwarding::settle },
    Benchmark { name: "frontend/acquire", operation: "request", run: frontend::acquire },
    Benchmark { name: "frontend/granted", operation: "answer", run: frontend::granted },
    Benchmark { name: "frontend/held", operation: "answer", run: frontend::held },
];

/// Does the work; what happens in here is counted.
fn counted<T>(work: impl FnOnce() -> T) -> T {
    let (mut work, mut result) = (Some(work), None);
    counted_region(&mut || result = work.take().map(|work| work()));
    result.expect("the work was done once")
}

/// callgrind knows this function by its name, and counts from its call to its return. It is not generic, so there is one of it.
#[inline(never)]
fn counted_region(work: &mut dyn FnMut()) -> bool {
    work();
    // Something to do after the call, or the call would be a jump.
    black_box(true)
}
