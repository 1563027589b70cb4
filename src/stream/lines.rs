//! The lines of a stream through the model, a batch at a time.

use crate::Result;
use crate::ingest::{InputRecord, Position, RecordFault, head};
use crate::score::{RecordReader, ScoredRecord, Scorer, Tokenized};

/// The record of a line as it was read, and measured, or why the line is not a record.
pub type LineResult = std::result::Result<(Vec<u8>, ScoredRecord), RecordFault>;

/// A batch of lines, and the tokens of those that are records.
pub struct Lines {
    lines: Vec<InputRecord>,
    pub tokenized: Tokenized,
}

impl Lines {
    pub fn read(reader: &mut RecordReader, lines: Vec<InputRecord>) -> Self {
        let records = lines.iter().filter_map(|line| line.record.as_ref().ok().cloned()).collect();
        Lines { tokenized: reader.tokenize(records), lines }
    }

    /// Where the last line ends whose place is known, and its number.
    pub fn end(&self) -> Option<(Position, u64)> {
        self.lines.iter().rev().find_map(|line| Some((line.end?, line.number)))
    }

    /// Each line with its input and number, from the surprisals of the tokens.
    pub fn join(self, reader: &RecordReader, nats: Vec<Vec<f32>>) -> Vec<(usize, u64, LineResult)> {
        let mut measured = reader.join(self.tokenized, nats).into_iter();
        let outcome = |line: InputRecord| {
            let outcome = line.record.and_then(|read| match measured.next().expect("one for each record") {
                Ok(measured) => Ok((read, measured)),
                Err(error) => Err(RecordFault { message: error.to_string(), head: head(&read) }),
            });
            (line.input, line.number, outcome)
        };
        self.lines.into_iter().map(outcome).collect()
    }
}

/// Measures the lines of a batch together; each keeps its input and number.
pub fn measure(scorer: &mut Scorer, lines: Vec<InputRecord>) -> Result<Vec<(usize, u64, LineResult)>> {
    let lines = Lines::read(&mut scorer.reader, lines);
    let nats = scorer.model.surprisals(&lines.tokenized)?;
    Ok(lines.join(&scorer.reader, nats))
}
