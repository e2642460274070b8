//! The farend binary.
fn main() {}
