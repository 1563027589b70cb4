//! How lines of text become records.

use crate::{Error, Result};
use regex::bytes::Regex;

/// How lines of text become records.
#[derive(Clone, Debug)]
pub enum RecordStart {
    /// Each line is one.
    Lines,
    /// Lines are joined where the beginning of a file shows that they belong together.
    Find,
    /// A line that fits begins a record.
    Pattern(Regex),
}

impl RecordStart {
    /// Reads the value of `--record-start`: an empty pattern joins nothing.
    pub fn parse(pattern: &str) -> Result<Self> {
        if pattern.is_empty() {
            return Ok(RecordStart::Lines);
        }
        let failed = |e| Error::usage(format!("--record-start {pattern}: expected a regular expression: {e}"));
        Ok(RecordStart::Pattern(Regex::new(pattern).map_err(failed)?))
    }
}
