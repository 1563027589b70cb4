//! A result that is one JSON object: a table for people on a terminal, JSON everywhere else.

use super::stdout::print_line;
use clap::Args;
use logwright::{Error, Result};
use serde::Serialize;
use std::io::{IsTerminal, stdout};

#[derive(Args, Clone, Copy)]
pub struct ResultArgs {
    /// Print JSON on a terminal too, where otherwise a table is printed
    #[arg(long)]
    json: bool,
}

impl ResultArgs {
    /// Whether a person reads the result.
    pub fn is_table(self) -> bool {
        !self.json && stdout().is_terminal()
    }

    /// Prints the table on a terminal, else the result as JSON of many lines.
    pub fn print_long(self, result: &impl Serialize, table: impl FnOnce() -> String) -> Result<()> {
        match self.is_table() {
            true => print_line(&table().trim_end()),
            false => print_line(&serde_json::to_string_pretty(result).map_err(Error::failed)?),
        }
    }

    /// Prints the table on a terminal, else the result as one line of JSON.
    pub fn print(self, result: &impl Serialize, table: impl FnOnce() -> String) -> Result<()> {
        match self.is_table() {
            true => print_line(&table().trim_end()),
            false => print_line(&serde_json::to_string(result).map_err(Error::failed)?),
        }
    }
}
