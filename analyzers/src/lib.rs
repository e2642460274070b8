//! Protocol analyzers.
#![forbid(unsafe_code)]
