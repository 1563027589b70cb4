//! The lines of a stream through the model, a batch at a time.

use logwright::Result;
use logwright::ingest::InputRecord;
use logwright::score::{ScoredRecord, Scorer};

/// The record of a line, measured, or why the line is not a record.
pub type LineResult = std::result::Result<ScoredRecord, String>;

/// Measures the lines of a batch together; each keeps its input and number.
pub fn measure(scorer: &mut Scorer, lines: Vec<InputRecord>) -> Result<Vec<(usize, u64, LineResult)>> {
    let (mut places, mut records) = (Vec::new(), Vec::new());
    for InputRecord { input, number, record, .. } in lines {
        let fault = record.map(|record| records.push(record)).err();
        places.push((input, number, fault));
    }
    let mut measured = scorer.measure(records)?.into_iter();
    let outcome = |(input, number, fault): (usize, u64, Option<String>)| match fault {
        Some(fault) => (input, number, Err(fault)),
        None => {
            let measured = measured.next().expect("one for each record");
            (input, number, measured.map_err(|error| error.to_string()))
        }
    };
    Ok(places.into_iter().map(outcome).collect())
}
