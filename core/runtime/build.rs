//! Generates the relay's messages and gRPC code. The protobuf compiler comes with a crate, so none has to be
//! installed. tonic's transport is left out, because the relay runs over `Env`'s byte streams.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/relay.proto");
    let mut config = tonic_prost_build::Config::new();
    config.protoc_executable(protoc_bin_vendored::protoc_bin_path()?);
    tonic_prost_build::configure().build_transport(false).bytes(".").compile_with_config(
        config,
        &["proto/relay.proto"],
        &["proto"],
    )?;
    Ok(())
}
