//! What every part of an evaluation reads with: the model, and the records of a data folder.

use indicatif::ProgressBar;
use logwright::Result;
use logwright::dataset::{Dataset, Split};
use logwright::engine::Engine;
use logwright::record::Records;
use logwright::score::{ScoredRecord, Scorer};
use logwright::tokens::Tokenizer;
use std::path::Path;

/// A model that reads records.
pub struct Reader<'a> {
    pub engine: &'a mut dyn Engine,
    pub tokenizer: &'a Tokenizer,
    pub records: &'a Records,
    pub folder: &'a Path,
    /// Sequences to compute at once.
    pub batch: usize,
    /// Counts sequences: windows of a text, and records.
    pub progress: &'a ProgressBar,
}

impl Reader<'_> {
    /// Measures each raw record and gives it to `sink`; None, and a warning, for one that the model cannot read. `what` names
    /// the records in the warning.
    pub fn each(&mut self, what: &str, records: &[Vec<u8>], sink: &mut dyn FnMut(Option<ScoredRecord>)) -> Result<()> {
        let Reader { tokenizer, records: like, batch, progress, .. } = *self;
        let mut scorer = Scorer::new(self.engine, tokenizer, like, batch, None);
        let (mut refused, mut why) = (0, String::new());
        for records in records.chunks(4 * batch) {
            progress.inc(records.len() as u64);
            for measured in scorer.measure(records.to_vec())? {
                match measured {
                    Ok(measured) => sink(Some(measured)),
                    Err(error) => {
                        (refused, why) = (refused + 1, error.to_string());
                        sink(None);
                    }
                }
            }
        }
        if refused > 0 {
            tracing::warn!("the model cannot read {refused} {what}, which are left out; the last one: {why}");
        }
        Ok(())
    }
}

/// Gives each record of a split to a sink, without its prefix and its newline.
pub fn each_record(data: &Dataset, split: &Split, sink: &mut dyn FnMut(&[u8])) -> Result<()> {
    split.each_record(&mut |tokens| {
        let record = data.tokenizer.decode(&tokens[..tokens.len() - 1]);
        sink(data.records.without_prefix(&record));
    })
}
