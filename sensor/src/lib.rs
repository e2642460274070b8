//! farend: a passive network sensor that answers, for every session on a wire or in a capture, who is at the far end, through
//! what, and whether someone out there operates a machine in here.
//!
//! Data flows one way: [`source`] → [`decode`] → [`flow`] and [`inspect`] (in [`pipeline`]) → [`host`] → [`sink`].

pub mod bench;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod decode;
mod fetch;
pub mod flow;
pub mod home;
pub mod host;
pub mod inspect;
pub mod intel;
pub mod notify;
pub mod pipeline;
pub mod sink;
pub mod source;
pub mod traffic;
