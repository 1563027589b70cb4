//! The second pass over the records: they are tokenised in parallel chunks and written to the splits.

use super::meta::Meta;
use super::options::PrepareOptions;
use super::split_assignment::SplitAssignment;
use super::writer::{RecordCounts, SplitWriter};
use crate::ingest::ReadReport;
use crate::record::{Records, RecordsBuilder};
use crate::tokens::Tokenizer;
use crate::{Error, Result};
use clap::ValueEnum;
use indicatif::ProgressBar;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

/// The number of bytes of records that one thread tokenises at a time.
const CHUNK: usize = 1 << 20;

/// The writers of both splits, which also learn from the training records and add canaries to them.
pub(super) struct SplitWriters {
    train: SplitWriter,
    val: SplitWriter,
    assignment: SplitAssignment,
    builder: RecordsBuilder,
    /// The number of the next record.
    next: u64,
    /// The copies of canaries, by the number of the training record that they follow.
    pub planted: BTreeMap<u64, Vec<Arc<EncodedChunk>>>,
}

impl SplitWriters {
    pub fn create(
        folder: &Path,
        tokenizer: &Tokenizer,
        assignment: SplitAssignment,
        builder: RecordsBuilder,
        shard_tokens: u64,
    ) -> Result<Self> {
        let width = if tokenizer.vocab_size() <= 1 << 16 { 2 } else { 4 };
        let train = SplitWriter::create(folder, "train", width, shard_tokens)?;
        let val = SplitWriter::create(folder, "val", width, shard_tokens)?;
        Ok(Self { train, val, assignment, builder, next: 0, planted: BTreeMap::new() })
    }

    fn push(&mut self, encoded: &EncodedChunk) -> Result<()> {
        let mut at = 0;
        for (counts, record) in encoded.records.iter().zip(encoded.text.split(|&byte| byte == b'\n')) {
            let ids = &encoded.ids[at..at + counts.tokens];
            at += counts.tokens;
            if self.assignment.validates(self.next) {
                self.val.record(ids, *counts)?;
            } else {
                self.builder.observe(record);
                self.train.record(ids, *counts)?;
            }
            for canary in self.planted.remove(&self.next).into_iter().flatten() {
                self.train.record(&canary.ids, canary.records[0])?;
            }
            self.next += 1;
        }
        Ok(())
    }

    pub fn finish(
        self,
        options: &PrepareOptions,
        report: &ReadReport,
        tokenizer: &Tokenizer,
    ) -> Result<(Meta, Records)> {
        assert_eq!(self.next, report.records);
        let (train, longest_train) = self.train.finish()?;
        let (val, longest_val) = self.val.finish()?;
        let (format_version, logwright) = Meta::version();
        let kind = tokenizer.kind().to_possible_value();
        let meta = Meta {
            format_version,
            logwright,
            tokenizer: kind.map(|v| v.get_name().to_string()).unwrap_or_default(),
            vocab_size: tokenizer.vocab_size(),
            separator: tokenizer.separator(),
            split: options.split,
            val_fraction: options.val_fraction,
            seed: options.seed,
            longest_record: longest_train.max(longest_val),
            train,
            val,
            sources: report.sources.clone(),
        };
        let starts: Vec<String> = report.record_starts.iter().cloned().collect();
        let record_start = Some(starts.join("|")).filter(|start| !start.is_empty());
        let pseudonymised = options.pseudonymise.is_some();
        Ok((meta, Records { pseudonymised, record_start, ..self.builder.finish() }))
    }
}

/// The records of one chunk and their tokens, including the separator of each record.
pub(super) struct EncodedChunk {
    text: Vec<u8>,
    /// The number of replaced characters.
    replaced: u64,
    pub ids: Vec<u32>,
    pub records: Vec<RecordCounts>,
}

/// Tokenises as many chunks at once as there are threads, and writes them in order. Returns the number of replaced
/// characters.
pub(super) fn tokenise(
    records_file: &Path,
    tokenizer: &Tokenizer,
    stand_in: Option<char>,
    writers: &mut SplitWriters,
    progress: &ProgressBar,
) -> Result<u64> {
    let file = File::open(records_file).map_err(|e| Error::io("read", records_file, e))?;
    let mut reader = BufReader::with_capacity(1 << 18, file);
    let mut replaced = 0;
    loop {
        let mut chunks = Vec::new();
        while chunks.len() < rayon::current_num_threads() {
            match chunk(&mut reader).map_err(|e| Error::io("read", records_file, e))? {
                Some(records) => chunks.push(records),
                None => break,
            }
        }
        if chunks.is_empty() {
            return Ok(replaced);
        }
        let bytes: usize = chunks.iter().map(Vec::len).sum();
        let encoded: Vec<_> = chunks.into_par_iter().map(|records| encode(records, tokenizer, stand_in)).collect();
        for encoded in encoded {
            let encoded =
                encoded.map_err(|(before, e)| Error::failed(format!("record {}: {e}", writers.next + before + 1)))?;
            replaced += encoded.replaced;
            writers.push(&encoded)?;
        }
        progress.inc(bytes as u64);
    }
}

/// Reads whole records, about `CHUNK` bytes of them or one longer record.
fn chunk(reader: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut records = Vec::with_capacity(CHUNK);
    reader.by_ref().take(CHUNK as u64).read_to_end(&mut records)?;
    if !records.is_empty() && !records.ends_with(b"\n") {
        reader.read_until(b'\n', &mut records)?;
    }
    Ok((!records.is_empty()).then_some(records))
}

/// Tokenises a chunk. An error is returned with the number of records before the faulty one.
pub(super) fn encode(
    text: Vec<u8>,
    tokenizer: &Tokenizer,
    stand_in: Option<char>,
) -> std::result::Result<EncodedChunk, (u64, Error)> {
    let mut encoded = EncodedChunk { text: Vec::new(), replaced: 0, ids: Vec::new(), records: Vec::new() };
    let text = match stand_in {
        Some(stand_in) => tokenizer.replace_unknown(text, stand_in, &mut encoded.replaced).map_err(|e| (0, e))?,
        None => text,
    };
    for line in text.split_inclusive(|&b| b == b'\n') {
        let before = encoded.ids.len();
        let done = tokenizer.encode(&line[..line.len() - 1], &mut encoded.ids);
        done.map_err(|e| (encoded.records.len() as u64, e))?;
        encoded.ids.push(tokenizer.separator());
        let characters = line.iter().filter(|&&b| b & 0xc0 != 0x80).count();
        encoded.records.push(RecordCounts { tokens: encoded.ids.len() - before, bytes: line.len(), characters });
    }
    encoded.text = text;
    Ok(encoded)
}
