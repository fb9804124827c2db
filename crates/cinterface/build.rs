//! Tells the build scripts of executables where the list of exported names is: `DEP_SPELTER_CINTERFACE_EXPORTS`.

fn main() {
    println!("cargo::rerun-if-changed=src/exports.list");
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo::metadata=EXPORTS={folder}/src/exports.list");
}
