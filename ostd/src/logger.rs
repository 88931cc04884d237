//! The `log` crate's sink: lines `[    0.123456] message` on the console.
//!
//! What is printed follows the command line as in Linux: `loglevel=N` prints messages that are more severe than
//! N, with errors at 3, warnings at 4, info at 6, debug (and trace) at 7; `quiet` is `loglevel=4`. The default is
//! 5, errors and warnings: a boot prints little.

use crate::console::{self, LineWriter};
use core::fmt::Write;
use log::{LevelFilter, Log, Metadata, Record};

struct SerialLogger;

impl Log for SerialLogger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let micros = crate::time::now_ns() / 1000;
        let mut line = LineWriter::new(console::write);
        // The writer never fails.
        let _ = writeln!(line, "[{:5}.{:06}] {}", micros / 1_000_000, micros % 1_000_000, record.args());
    }

    fn flush(&self) {}
}

/// Sets the level from the command line and installs the sink.
pub(crate) fn init(cmdline: &str) {
    log::set_max_level(level(cmdline));
    // It fails only when called twice.
    let _ = log::set_logger(&SerialLogger);
}

fn level(cmdline: &str) -> LevelFilter {
    let mut loglevel = 5;
    for word in cmdline.split_ascii_whitespace() {
        if word == "quiet" {
            loglevel = 4;
        } else if let Some(n) = word.strip_prefix("loglevel=").and_then(|n| n.parse().ok()) {
            loglevel = n;
        }
    }
    match loglevel {
        0..=3 => LevelFilter::Off,
        4 => LevelFilter::Error,
        5 | 6 => LevelFilter::Warn,
        7 => LevelFilter::Info,
        8 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    }
}
