//! Results on standard output.

use super::messages::above_bar;
use logwright::{Error, Result};
use std::io::{self, ErrorKind, Write, stdout};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether standard output was closed (`>&-`) when the program started. Rust's runtime then opens /dev/null in its place
/// before `main`, so that results would be lost without an error.
static CLOSED: AtomicBool = AtomicBool::new(false);

extern "C" fn look() {
    // SAFETY: this only asks the kernel for the flags of a descriptor.
    let flags = unsafe { libc::fcntl(1, libc::F_GETFD) };
    CLOSED.store(flags == -1, Ordering::Relaxed);
}

// SAFETY: the loader calls each function of this section once before `main`; one that takes no arguments ignores those it is
// given, as the C calling convention allows. `look` needs nothing of Rust's runtime.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = look;

/// Refuses to compute results that nobody would see.
pub fn check_open() -> Result<()> {
    match CLOSED.load(Ordering::Relaxed) {
        false => Ok(()),
        true => Err(Error::failed(
            "standard output is closed, and the results of this command go there; redirect it to a file, or to /dev/null to drop \
             them",
        )),
    }
}

/// Prints a result.
pub fn print_line(line: &impl std::fmt::Display) -> Result<()> {
    above_bar(|| {
        let mut out = stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).map_err(write_failed)
    })
}

/// The error of a failed write to stdout. A reader that has left (`| head`) has what it wanted, which is no failure; a full
/// disk is one.
pub fn write_failed(error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::BrokenPipe => Error::OutputClosed,
        _ => Error::failed(format!("cannot write to stdout: {error}")),
    }
}
