//! `logwright completions` and `logwright man`: what the shell and `man` know of the program, made from its arguments.

use super::stdout::write_failed;
use clap::{Args, Command};
use clap_complete::Shell;
use logwright::{Error, Result};
use std::io::{Write, stdout};

/// Print completions for a shell
#[derive(Args)]
pub struct CompletionsArgs {
    /// The shell that will read them
    #[arg(value_enum)]
    shell: Shell,
}

/// Print the man page of the program, or of one of its commands
#[derive(Args)]
pub struct ManArgs {
    /// The command, such as `train` or `known-good add`
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

/// `program` has all commands.
pub fn completions(args: &CompletionsArgs, mut program: Command) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut program, "logwright", &mut text);
    print(&text)
}

/// `program` has all commands.
pub fn man(args: &ManArgs, mut program: Command) -> Result<()> {
    program.build();
    let mut command = &program;
    for name in &args.command {
        command = command.find_subcommand(name).ok_or_else(|| {
            let known: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
            let known = if known.is_empty() { "none".to_string() } else { known.join(", ") };
            Error::usage(format!("man: {} has no command {name}; its commands: {known}", command.get_name()))
        })?;
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut text).map_err(Error::failed)?;
    print(&text)
}

fn print(text: &[u8]) -> Result<()> {
    let mut out = stdout().lock();
    out.write_all(text).and_then(|()| out.flush()).map_err(write_failed)
}
