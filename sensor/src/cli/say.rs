//! Standard output and standard error, whose readers may leave at any time.

use std::io::{ErrorKind, Write};

use super::{Failure, code, wrap};
pub(super) use crate::config::in_words as io;

/// Writes to standard output; a reader that has seen enough is no failure.
pub(super) fn out(text: &str) -> Result<u8, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::runtime(format!("standard output: {}", io(&e))))
        }
        _ => Ok(code::CLEAN),
    }
}

/// Writes to standard output for a reader: lines as wide as the terminal.
pub(super) fn text(text: &str) -> Result<u8, Failure> {
    out(&wrap::wrap(text, wrap::width(&std::io::stdout())))
}

/// Writes to standard error; if that fails there is nobody to tell.
pub(super) fn err(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// A message on standard error, every line of it marked as ours.
pub(super) fn warn(message: impl std::fmt::Display) {
    let text: String = message.to_string().lines().map(|line| format!("farend: {line}\n")).collect();
    err(&text);
}
