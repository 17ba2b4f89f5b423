//! Compiles what has to run before Rust's runtime does, and links it into the program.

fn main() {
    println!("cargo:rerun-if-changed=src/streams.c");
    #[cfg(feature = "cli")]
    for object in cc::Build::new().file("src/streams.c").compile_intermediates() {
        println!("cargo:rustc-link-arg-bins={}", object.display());
    }
}
