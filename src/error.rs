//! The error type of the crate: a message for the user, and the exit code of the program.
//!
//! The program never distinguishes failures beyond the exit code, so there are no further variants. A reader of the output that
//! has left is not a failure, and ends the program quietly. Every message names the file, line or flag at fault, what was found,
//! and a remedy.

use std::fmt::Display;
use std::io::ErrorKind;
use std::path::Path;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line or a configuration file asks for something impossible: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// A file, an input or a device failed: exit code 1.
    #[error("{0}")]
    Failed(String),
    /// The reader of the output has left (`| head`) with what it wanted: exit code 0, and no message.
    #[error("the reader of the output has left")]
    OutputClosed,
}

impl Error {
    pub fn usage(message: impl Display) -> Self {
        Error::Usage(message.to_string())
    }

    pub fn failed(message: impl Display) -> Self {
        Error::Failed(message.to_string())
    }

    /// An operating-system error while `doing` something to `path`, e.g. `Error::io("read", path, e)`.
    pub fn io(doing: &str, path: &Path, source: std::io::Error) -> Self {
        match source.kind() {
            ErrorKind::PermissionDenied if ["read", "open", "list"].iter().any(|verb| doing.starts_with(verb)) => {
                Self::unreadable(path, source, "")
            }
            _ => Error::Failed(format!("cannot {doing} {}: {source}", path.display())),
        }
    }

    /// A file that cannot be read: `remedy` says what to do, unless it is for other users.
    pub fn unreadable(path: &Path, source: std::io::Error, remedy: &str) -> Self {
        let remedy = match source.kind() {
            ErrorKind::PermissionDenied => {
                "its owner can let you read it (chmod); what logwright writes is for its owner alone, unless --mode says otherwise"
            }
            _ => remedy,
        };
        Error::Failed(format!("cannot read {}: {source}; {remedy}", path.display()))
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            Error::Failed(_) => 1,
            Error::OutputClosed => 0,
        }
    }
}
