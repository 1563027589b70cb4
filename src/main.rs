//! Arguments -> command -> exit code.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // SAFETY: ignoring a signal installs no handler, and no other thread runs yet. A file-size limit then gives an error that
    // names the file, as a full disk does, instead of killing the program.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    cli::main()
}
