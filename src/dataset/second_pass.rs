//! The second pass over the records: they are tokenised in parallel chunks and written to the splits.

use super::meta::Meta;
use super::options::PrepareOptions;
use super::split_assignment::SplitAssignment;
use super::writer::{RecordCounts, SplitWriter};
use crate::ingest::{ReadReport, SourceReport};
use crate::record::{Records, RecordsBuilder};
use crate::tokens::Tokenizer;
use crate::{Error, Result};
use clap::ValueEnum;
use indicatif::ProgressBar;
use memmap2::Mmap;
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
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
    pub planted: BTreeMap<u64, Vec<Arc<EncodedChunk<'static>>>>,
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
            sources: sources(report, options.pseudonymise.is_some()),
        };
        let starts: Vec<String> = report.record_starts.iter().cloned().collect();
        let record_start = Some(starts.join("|")).filter(|start| !start.is_empty());
        let pseudonymised = options.pseudonymise.is_some();
        Ok((meta, Records { pseudonymised, record_start, ..self.builder.finish() }))
    }
}

/// The inputs. If names are replaced, so are those of the inputs, which may be those of persons and hosts.
fn sources(report: &ReadReport, is_pseudonymised: bool) -> Vec<SourceReport> {
    let mut sources = report.sources.clone();
    if is_pseudonymised {
        sources.iter_mut().zip(1..).for_each(|(source, number)| source.name = format!("input {number}"));
    }
    sources
}

/// The records of one chunk and their tokens, including the separator of each record.
pub(super) struct EncodedChunk<'a> {
    text: Cow<'a, [u8]>,
    /// The number of replaced characters.
    replaced: u64,
    pub ids: Vec<u32>,
    pub records: Vec<RecordCounts>,
}

/// Tokenises as many chunks at once as there are threads, and writes them in order. Returns the number of replaced
/// characters.
pub(super) fn tokenise(
    records_file: &File,
    tokenizer: &Tokenizer,
    stand_in: Option<char>,
    writers: &mut SplitWriters,
    progress: &ProgressBar,
) -> Result<u64> {
    // SAFETY: the file has no name, so that no other program can shorten or change it, and this program no longer writes to it.
    let map = unsafe { Mmap::map(records_file) };
    let map = map.map_err(|e| Error::failed(format!("cannot map the temporary file of the records: {e}")))?;
    let (mut rest, mut replaced) = (&map[..], 0);
    while !rest.is_empty() {
        let chunks: Vec<&[u8]> = (0..rayon::current_num_threads()).map_while(|_| chunk(&mut rest)).collect();
        let encoded: Vec<_> = chunks.par_iter().map(|records| encode((*records).into(), tokenizer, stand_in)).collect();
        for encoded in encoded {
            let encoded =
                encoded.map_err(|(before, e)| Error::failed(format!("record {}: {e}", writers.next + before + 1)))?;
            replaced += encoded.replaced;
            writers.push(&encoded)?;
        }
        progress.inc(chunks.iter().map(|records| records.len() as u64).sum());
    }
    Ok(replaced)
}

/// Takes whole records from the front of `rest`, about `CHUNK` bytes of them or one longer record.
fn chunk<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let last = CHUNK.min(rest.len()).checked_sub(1)?;
    let end = rest[last..].iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| last + at + 1);
    let (records, after) = rest.split_at(end);
    *rest = after;
    Some(records)
}

/// Tokenises a chunk. An error is returned with the number of records before the faulty one.
pub(super) fn encode<'a>(
    text: Cow<'a, [u8]>,
    tokenizer: &Tokenizer,
    stand_in: Option<char>,
) -> std::result::Result<EncodedChunk<'a>, (u64, Error)> {
    let mut encoded = EncodedChunk { text: Cow::default(), replaced: 0, ids: Vec::new(), records: Vec::new() };
    let text = match stand_in {
        Some(stand_in) => {
            let known = tokenizer.replace_unknown(text.into_owned(), stand_in, &mut encoded.replaced);
            known.map_err(|e| (0, e))?.into()
        }
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
