//! `--version`: what this binary is made of.

use std::sync::LazyLock;

use crate::intel::Intel;

/// Version and commit.
pub(super) const fn short() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION"), env!("FAREND_BUILD"))
}

/// Version, commit, day of the built-in intel, and features.
pub(super) fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let libpcap = if cfg!(feature = "libpcap") { "yes" } else { "no (no --filter)" };
        format!("{}\nintel: {}\nlibpcap: {libpcap}", short(), Intel::embedded_date())
    });
    &TEXT
}
