//! The first pass over the records: they are read once, collected in a temporary file, and give the tokenizer.

use super::options::PrepareOptions;
use super::parts::Parts;
use super::pseudonymise::{Pseudonymised, read_pseudonymised};
use super::splitmix::mix;
use crate::Result;
use crate::files::{WholeFile, temporary, write_error};
use crate::ingest::{ReadOptions, ReadReport, read_records};
use crate::pseudonyms::{PseudonymReport, SealedPseudonyms};
use crate::tokens::{Tokenizer, TokenizerKind};
use indicatif::ProgressBar;
use std::collections::{BTreeSet, BinaryHeap};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// The default vocabulary of a BPE.
const VOCABULARY: usize = 2048;
/// The most bytes of records that train a tokenizer.
const SAMPLE_BYTES: usize = 32 << 20;
/// The most bytes of one record in the sample, so that a few huge records do not fill it.
const SAMPLE_RECORD_BYTES: usize = 1 << 20;

/// The results of the first pass.
pub(super) struct FirstPass {
    /// All records, each with a newline.
    pub records_file: File,
    pub report: ReadReport,
    pub tokenizer: Tokenizer,
    pub pseudonyms: Option<(PseudonymReport, SealedPseudonyms)>,
    pub written: Option<WholeFile>,
}

/// How the inputs are read into `folder`, which is no input itself, and nor is the folder that is made.
pub(super) fn how_to_read(options: &PrepareOptions, folder: &Path) -> ReadOptions {
    let own = [options.out.clone(), folder.to_owned()];
    ReadOptions {
        require_utf8: options.tokenizer == TokenizerKind::Char && options.replace_unknown.is_none(),
        leave_out: options.read.leave_out.iter().cloned().chain(own).collect(),
        ..options.read.clone()
    }
}

/// Reads all records, of the inputs or of `parts` that were read before, into a temporary file in `folder`, and makes the tokenizer.
pub(super) fn first_pass(
    options: &PrepareOptions,
    parts: Option<&Parts>,
    folder: &Path,
    progress: &ProgressBar,
) -> Result<FirstPass> {
    let mut records_file = TemporaryRecords::create(folder)?;
    let make = |kind| options.existing.is_none() && options.tokenizer == kind;
    // The parts have counted them already, unless names are still to be replaced.
    let counted = parts.and_then(Parts::characters).filter(|_| make(TokenizerKind::Char));
    let mut alphabet = (make(TokenizerKind::Char) && counted.is_none()).then(Alphabet::new);
    let mut sample = make(TokenizerKind::Bpe).then(|| RecordSample::new(options.seed));
    let read = how_to_read(options, folder);
    let mut take = |record: &[u8]| {
        if let Some(alphabet) = &mut alphabet {
            alphabet.add(record);
        }
        if let Some(sample) = &mut sample {
            sample.add(record);
        }
        records_file.push(record)
    };
    let (report, pseudonyms, written) = match (&options.pseudonymise, parts) {
        (None, None) => (read_records(&options.inputs, &read, progress, &mut take)?, None, None),
        (None, Some(parts)) => (parts.read(progress, &mut take)?, None, None),
        (Some(how), parts) => {
            let Pseudonymised { report, replaced, sealed, written, .. } = match parts {
                None => read_pseudonymised(&options.inputs, &read, how, folder, progress, &mut take)?,
                Some(parts) => parts.replace_names(&read, how, progress, &mut take)?,
            };
            (report, Some((replaced, sealed)), written)
        }
    };
    let records_file = records_file.finish()?;
    let tokenizer = match (alphabet.map(|alphabet| alphabet.chars()).or(counted), sample) {
        (Some(characters), _) => Tokenizer::chars(&characters),
        (_, Some(sample)) => train_bpe(sample, options.vocab_size, progress)?,
        _ => options.existing.clone().unwrap_or_else(Tokenizer::bytes),
    };
    Ok(FirstPass { records_file, report, tokenizer, pseudonyms, written })
}

/// Trains a BPE. Few or uniform logs give a smaller vocabulary, with a warning where a size was `wanted`.
fn train_bpe(sample: RecordSample, wanted: Option<usize>, progress: &ProgressBar) -> Result<Tokenizer> {
    progress.set_message("training the tokenizer");
    let records = sample.into_records();
    let tokenizer = Tokenizer::train_bpe(records.iter().map(Vec::as_slice), wanted.unwrap_or(VOCABULARY))?;
    let found = tokenizer.vocab_size();
    if let Some(wanted) = wanted.filter(|wanted| found < *wanted) {
        tracing::warn!(
            "the sample is too small or too uniform for a vocabulary of {wanted}: BPE found nothing more to merge at {found}"
        );
    }
    Ok(tokenizer)
}

/// A temporary file with all records, each with a newline, so that the inputs are read only once. It has no name: no other user
/// can open it, and it disappears when the program ends for any reason.
pub(super) struct TemporaryRecords {
    folder: PathBuf,
    file: BufWriter<File>,
}

impl TemporaryRecords {
    pub fn create(folder: &Path) -> Result<Self> {
        Ok(Self { folder: folder.to_owned(), file: BufWriter::with_capacity(1 << 20, temporary(folder)?) })
    }

    pub fn push(&mut self, record: &[u8]) -> Result<()> {
        let written = self.file.write_all(record).and_then(|()| self.file.write_all(b"\n"));
        written.map_err(|e| write_error(&self.folder, e))
    }

    pub fn finish(self) -> Result<File> {
        self.file.into_inner().map_err(|e| write_error(&self.folder, e.into_error()))
    }
}

/// The characters of a corpus, as one flag per code point. Flags are faster than a set for so many characters.
pub(super) struct Alphabet(Vec<bool>);

impl Alphabet {
    pub fn new() -> Self {
        Self(vec![false; char::MAX as usize + 1])
    }

    /// Adds the characters of a record.
    pub fn add(&mut self, record: &[u8]) {
        for chunk in record.utf8_chunks() {
            chunk.valid().chars().for_each(|c| self.0[c as usize] = true);
        }
    }

    pub fn chars(&self) -> BTreeSet<char> {
        let used = self.0.iter().enumerate().filter(|(_, used)| **used);
        used.filter_map(|(code, _)| char::from_u32(code as u32)).collect()
    }
}

/// A seeded random sample of the records of the whole corpus, bounded in bytes.
///
/// Each record gets a random key, and the records with the smallest keys stay. This is reservoir sampling by keys, as in
/// Efraimidis, Spirakis, "Weighted random sampling with a reservoir", Inf. Process. Lett. 2006, with equal weights.
pub(super) struct RecordSample {
    seed: u64,
    limit: usize,
    seen: u64,
    bytes: usize,
    /// (key, number, record), with the largest key on top.
    heap: BinaryHeap<(u64, u64, Vec<u8>)>,
    /// The smallest key that was removed from the sample; records with this key or a larger one are not added.
    bar: u64,
}

impl RecordSample {
    pub fn new(seed: u64) -> Self {
        Self::with_limit(seed, SAMPLE_BYTES)
    }

    fn with_limit(seed: u64, limit: usize) -> Self {
        Self { seed, limit, seen: 0, bytes: 0, heap: BinaryHeap::new(), bar: u64::MAX }
    }

    pub fn add(&mut self, record: &[u8]) {
        let number = self.seen;
        self.seen += 1;
        let key = mix(self.seed, number, 0x53_414d_504c);
        if key >= self.bar {
            return;
        }
        let part = &record[..record.len().min(SAMPLE_RECORD_BYTES)];
        self.bytes += part.len();
        self.heap.push((key, number, part.to_vec()));
        while self.bytes > self.limit {
            let Some((key, _, record)) = self.heap.pop() else { break };
            self.bytes -= record.len();
            self.bar = key;
        }
    }

    /// The sample in the order of the corpus.
    pub fn into_records(self) -> Vec<Vec<u8>> {
        let mut chosen = self.heap.into_vec();
        chosen.sort_unstable_by_key(|(_, number, _)| *number);
        chosen.into_iter().map(|(_, _, record)| record).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_corpus_is_taken_whole_and_in_order() {
        let mut sample = RecordSample::new(1);
        let records: Vec<Vec<u8>> = (0..100).map(|i| format!("record {i}").into_bytes()).collect();
        records.iter().for_each(|r| sample.add(r));
        assert_eq!(sample.into_records(), records);
    }

    #[test]
    fn a_large_corpus_is_sampled_evenly_within_the_bound() {
        let mut halves = [0u32; 2];
        for seed in 0..50 {
            let mut sample = RecordSample::with_limit(seed, 1000);
            (0..10_000u32).for_each(|i| sample.add(format!("{i:010}").as_bytes()));
            let chosen = sample.into_records();
            assert_eq!(chosen.len(), 100);
            assert!(chosen.is_sorted());
            chosen.iter().for_each(|r| halves[usize::from(r.as_slice() >= b"0000005000".as_slice())] += 1);
        }
        // For 5000 draws, six standard deviations are 212.
        assert!(halves[0].abs_diff(2500) < 212, "{halves:?}");
    }

    #[test]
    fn the_alphabet_is_sorted_and_unique() {
        let mut alphabet = Alphabet::new();
        alphabet.add("ba\u{e9}".as_bytes());
        alphabet.add(b"ab");
        assert_eq!(alphabet.chars().into_iter().collect::<String>(), "ab\u{e9}");
    }
}
