//! Results on standard output.

use logwright::{Error, Result};
use std::io::{self, ErrorKind, Write, stdout};

/// Prints a result.
pub fn print_line(line: &impl std::fmt::Display) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(write_failed)
}

/// The error of a failed write to stdout. A reader that has left (`| head`) has what it wanted, which is no failure; a full
/// disk is one.
pub fn write_failed(error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::BrokenPipe => Error::OutputClosed,
        _ => Error::failed(format!("cannot write to stdout: {error}")),
    }
}
