//! Compiles the wire contract. protox reads the .proto in Rust, so that no `protoc` need be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/atone.proto");
    let files = protox::compile(["proto/atone.proto"], ["proto"])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
