//! Compiles the .proto files with protox: no protoc on the machine is needed.
use std::path::PathBuf;

use protox::Compiler;

const CLIENT_API: [&str; 2] = ["leasehold/v1/lock.proto", "leasehold/v1/cluster.proto"];
const DAPR_API: [&str; 1] = ["dapr/proto/runtime/v1/dapr.proto"];
const PEER_API: [&str; 1] = ["leasehold/peer/v1/peer.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let out = PathBuf::from(std::env::var("OUT_DIR")?);

    // Reflection shows what clients may call only: peers' messages are nobody else's business.
    let mut client = Compiler::new([&root])?;
    client.include_imports(true).open_files(CLIENT_API.map(|f| root.join(f)))?;
    std::fs::write(out.join("leasehold.bin"), client.encode_file_descriptor_set())?;
    // The call named Connect would collide with a generated `connect` constructor.
    tonic_prost_build::configure().build_transport(false).compile_fds(client.file_descriptor_set())?;

    let mut dapr = Compiler::new([&root])?;
    dapr.include_imports(true).open_files(DAPR_API.map(|f| root.join(f)))?;
    std::fs::write(out.join("dapr.bin"), dapr.encode_file_descriptor_set())?;
    tonic_prost_build::configure().build_transport(false).compile_fds(dapr.file_descriptor_set())?;

    let mut peer = Compiler::new([&root])?;
    peer.include_imports(true).open_files(PEER_API.map(|f| root.join(f)))?;
    tonic_prost_build::configure().bytes(".leasehold.peer.v1").compile_fds(peer.file_descriptor_set())?;
    Ok(())
}
