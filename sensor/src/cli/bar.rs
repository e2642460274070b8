//! Progress on a terminal: share, rate, time left.

use std::time::Instant;

use super::say;
use crate::source::Source;

/// One line that is written over.
pub(super) struct Bar {
    on: bool,
    started: Instant,
    shown: bool,
}

impl Bar {
    /// A line that is shown only where it is `on`.
    pub(super) fn new(on: bool) -> Self {
        Self { on, started: Instant::now(), shown: false }
    }

    /// How far a source of files has come.
    pub(super) fn show(&mut self, source: &dyn Source, frames: u64) {
        if !self.on {
            return;
        }
        let progress = source.progress();
        let seconds = self.started.elapsed().as_secs_f64().max(1e-3);
        let rate = frames as f64 / seconds;
        let mut line = format!("{frames} packets, {:.2} M/s", rate / 1e6);
        if let Some(total) = progress.bytes_total.filter(|t| *t > 0) {
            let share = progress.bytes_done as f64 / total as f64;
            let left = if share > 0.0 { seconds / share - seconds } else { 0.0 };
            line = format!("{:3.0} %  {line}, {left:.0} s left", share * 100.0);
        }
        self.line(&line);
    }

    /// Writes over the line.
    pub(super) fn line(&mut self, line: &str) {
        if self.on {
            say::err(&format!("\r\x1b[K{line}"));
            self.shown = true;
        }
    }

    /// Takes the line away, for whatever is printed next.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            say::err("\r\x1b[K");
        }
    }
}
