//! Arguments -> command -> exit code.

mod cli;

use clap::Parser;
use logwright::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    // SAFETY: ignoring a signal installs no handler, and no other thread runs yet. A file-size limit then gives an error that
    // names the file, as a full disk does, instead of killing the program.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let cli = cli::Cli::parse();
    cli.output.init_logging();
    match cli.run() {
        Ok(exit) => exit.into(),
        Err(Error::OutputClosed) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}
