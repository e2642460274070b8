//! Passive network sensor.

pub mod intel;
