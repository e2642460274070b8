//! What the end-to-end tests share: captures built byte by byte, a run of the whole pipeline in this process, and readers
//! of what comes out.

// Each test binary uses a part of this.
#![allow(dead_code, unreachable_pub)]

pub mod capture;
pub mod conserve;
pub mod corpus;
pub mod frame;
#[cfg(target_os = "linux")]
pub mod namespace;
pub mod payloads;
pub mod readdress;
pub mod records;
pub mod replay;
pub mod schema;
pub mod scrape;
pub mod tcp;
pub mod traffic;
pub mod truth;
