//! What the demo says at its end: where the page is, what it found, and what to do next.

use super::corpus::{HELD_OUT, NORMAL};
use crate::cli::output::{OutputArgs, refuses_colour};
use crate::cli::result::ResultArgs;
use crate::cli::stdout::print_line;
use logwright::Result;
use logwright::report::{Detected, explain};
use serde_json::Value;
use std::io::{IsTerminal, stderr};
use std::path::Path;

pub struct Told<'a> {
    pub folder: &'a Path,
    pub detected: &'a Detected,
    /// A sentence on the generated records.
    pub quality: String,
}

impl Told<'_> {
    /// Tells a person on stderr, and a program by the numbers on stdout, if that is no terminal.
    pub fn tell(&self, facts: &Value, output: &OutputArgs, result: ResultArgs) -> Result<()> {
        if output.is_for_people() {
            eprintln!("\n{}", self.text(stderr().is_terminal() && !refuses_colour()));
        }
        if result.is_table() { Ok(()) } else { print_line(facts) }
    }

    fn text(&self, colour: bool) -> String {
        let folder = self.folder.display();
        let most = self.detected.most_unusual().first().map(|one| explain::terminal(&one.finding, colour));
        let [looked, found] = self.detected.sentences();
        format!(
            "The most unusual record:\n{}{looked}\n{found}\n{}\n\nThe report: {folder}/report.html\n\
             The model is calibrated on {folder}/{NORMAL}; calibrate yours on normal records of your own (score --calibrate).\n\
             What to do next:\n  \
             logwright score --model {folder}/run {folder}/{HELD_OUT} --explain | less -R\n  \
             logwright generate --model {folder}/run -n 20 --schema learned\n  \
             logwright prepare YOUR.log --out data && logwright train --data data --out run",
            most.unwrap_or_default(),
            self.quality,
        )
    }
}
