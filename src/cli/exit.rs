//! How a command ends when it has not failed.

use std::process::ExitCode;

/// Exit code of a program that was told to stop, as a shell gives it: a script that continues after a command should not
/// continue after this one.
pub const INTERRUPTED: u8 = 130;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Success,
    /// Ctrl-C or a termination signal stopped it before its work was done.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        match exit {
            Exit::Success => ExitCode::SUCCESS,
            Exit::Interrupted => ExitCode::from(INTERRUPTED),
        }
    }
}
