//! Plants canaries among the training records.

use super::canaries::Canaries;
use super::options::PrepareOptions;
use super::permutation::Permutation;
use super::second_pass::{EncodedChunk, encode};
use super::split_assignment::SplitAssignment;
use super::splitmix::mix;
use crate::tokens::Tokenizer;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::path::Path;
use std::sync::Arc;

/// Separates the random numbers for canaries from others with the same seed.
const CANARY_STREAM: u64 = 0x4341_4e41;

/// The number of records that are examined, in addition to those for canaries, to find values that vary.
const CANARY_SAMPLE: usize = 64;

/// Makes and saves the canaries, and returns the encoded copies by the number of the record that each copy follows.
pub(super) fn plant(
    options: &PrepareOptions,
    folder: &Path,
    records_file: &File,
    tokenizer: &Tokenizer,
    assignment: &SplitAssignment,
    records: u64,
) -> Result<BTreeMap<u64, Vec<Arc<EncodedChunk<'static>>>>> {
    let mut planted: BTreeMap<u64, Vec<Arc<EncodedChunk<'static>>>> = BTreeMap::new();
    if options.canaries == 0 {
        return Ok(planted);
    }
    let training = records - assignment.count(records);
    if options.canaries > 32 || (1 << options.canaries) - 1 > training {
        return Err(Error::usage(format!(
            "--canaries {}: this plants 2^{} - 1 records, which is more than the {training} training records; ask for fewer",
            options.canaries, options.canaries
        )));
    }
    let order = Permutation::new(records, options.seed, CANARY_STREAM);
    let trains = |record: &u64| !assignment.validates(*record);
    let drawn: Vec<u64> =
        (0..records).map(|at| order.at(at)).filter(trains).take(CANARY_SAMPLE + 4 * options.canaries).collect();
    let encodes = |c: char| tokenizer.encode(c.to_string().as_bytes(), &mut Vec::new()).is_ok();
    let canaries = Canaries::make(&fetch(records_file, &drawn)?, options.canaries, options.seed, encodes)?;
    canaries.save(folder)?;
    for (number, canary) in canaries.canaries.iter().enumerate() {
        let encoded =
            Arc::new(encode((canary.text() + "\n").into_bytes().into(), tokenizer, None).map_err(|(_, e)| e)?);
        for copy in 0..canary.repeats {
            let drawn = mix(options.seed, CANARY_STREAM + number as u64, copy) % records;
            let previous = (drawn..records).chain(0..drawn).find(trains).unwrap_or(drawn);
            planted.entry(previous).or_default().push(encoded.clone());
        }
    }
    Ok(planted)
}

/// The records with these numbers, in the order of `numbers`, except those that are not UTF-8.
fn fetch(records_file: &File, numbers: &[u64]) -> Result<Vec<String>> {
    let wanted: BTreeMap<u64, usize> = numbers.iter().enumerate().map(|(at, number)| (*number, at)).collect();
    let mut found = vec![None; numbers.len()];
    let failed = |e| Error::failed(format!("cannot read the temporary file: {e}"));
    let mut reader = BufReader::with_capacity(1 << 18, records_file);
    reader.rewind().map_err(failed)?;
    let lines = reader.split(b'\n');
    for (number, line) in lines.enumerate() {
        let line = line.map_err(failed)?;
        if let Some(at) = wanted.get(&(number as u64)) {
            found[*at] = String::from_utf8(line).ok();
        }
    }
    Ok(found.into_iter().flatten().collect())
}
