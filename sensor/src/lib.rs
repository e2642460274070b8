//! Passive network sensor.

pub mod source;
