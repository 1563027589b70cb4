//! The lines of a stream through the model, a batch at a time.

use logwright::Result;
use logwright::ingest::{InputRecord, RecordFault, head};
use logwright::score::{ScoredRecord, Scorer};

/// The record of a line as it was read, and measured, or why the line is not a record.
pub type LineResult = std::result::Result<(Vec<u8>, ScoredRecord), RecordFault>;

/// Measures the lines of a batch together; each keeps its input and number.
pub fn measure(scorer: &mut Scorer, lines: Vec<InputRecord>) -> Result<Vec<(usize, u64, LineResult)>> {
    let records = lines.iter().filter_map(|line| line.record.as_ref().ok().cloned()).collect();
    let mut measured = scorer.measure(records)?.into_iter();
    let outcome = |line: InputRecord| {
        let outcome = line.record.and_then(|read| match measured.next().expect("one for each record") {
            Ok(measured) => Ok((read, measured)),
            Err(error) => Err(RecordFault { message: error.to_string(), head: head(&read) }),
        });
        (line.input, line.number, outcome)
    };
    Ok(lines.into_iter().map(outcome).collect())
}
