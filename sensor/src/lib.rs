//! Passive network sensor.

pub mod decode;
