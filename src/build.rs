//! Only here because Cargo allows `links` beside a build script alone. `links` keeps two versions of this crate out of one
//! program: each would have a claim table of its own, and open a second connection for a key.

fn main() {
    // Without it, every change of a test would build the library again.
    println!("cargo::rerun-if-changed=src/build.rs");
}
