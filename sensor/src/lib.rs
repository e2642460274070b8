//! Passive network sensor.
