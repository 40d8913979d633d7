fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = std::env::var("ROSTER_PROTO")?;
    println!("cargo:rerun-if-env-changed=ROSTER_PROTO");
    println!("cargo:rerun-if-changed={proto}");
    let protos = protox::compile(["users/v1/user_service.proto"], [&proto])?;
    tonic_prost_build::configure().build_server(false).compile_fds(protos)?;
    Ok(())
}
