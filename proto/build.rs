//! Compiles the schema with protox, so that no `protoc` is needed, into Rust and into the descriptor set that gRPC
//! reflection serves.

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=schema");
    let files =
        ["access_service", "grain", "mesh", "mesh_service", "model_service", "node", "source_service"]
            .map(|name| format!("synapsenet/v1/{name}.proto"));
    let descriptors = protox::compile(files, ["schema"])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("synapsenet_v1_descriptors.bin"), descriptors.encode_to_vec())?;
    // In one order, whenever a map is written.
    tonic_prost_build::configure().btree_map(".").compile_fds(descriptors)?;
    Ok(())
}
