//! Trains the byte-level BPE: it chooses the merges, and the identifiers that get a token of their own.
//!
//! Ids 0..256 are the bytes. Then come the merges in the order in which they were learnt, then the missing pairs of digits,
//! and last the identifiers that recur often enough. A class of pairs is complete or absent: with every pair of hexadecimal
//! digits in the vocabulary a UUID always has 20 tokens, with none always 36.

use super::pretokenize::{self, Chunks};
use super::split::{Splitter, compile};
use super::tokenizer::Tokenizer;
use super::{alphabet, file};
use crate::{Error, Result};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::utils::SysRegex;

/// The smallest vocabulary: the 256 bytes and one merge.
const SMALLEST: usize = 257;
/// The most bytes of a sample that are used, because the trainer counts pairs in 32 bits.
const LARGEST_SAMPLE: usize = 1 << 30;
/// The most bytes of a piece that are used, because each merge takes time proportional to the length of a piece.
const LONGEST_PIECE: usize = 1024;
/// The fewest occurrences of an identifier that gets an entry.
const RECURS: u64 = 4;
/// Recurring identifiers get at most one in this many of the entries beyond the bytes.
const RECURRING_SHARE: usize = 8;
/// The shortest identifier in bytes that gets an entry: added tokens match anywhere, and a shorter one may occur in longer
/// text by chance.
const SHORTEST_RECURRING: usize = 16;

/// The pieces of the first split and their counts. They are ordered, so that training does not depend on a hash.
type PieceCounts = BTreeMap<String, u64>;

impl Tokenizer {
    /// Trains a byte-level BPE of `vocab_size` tokens on `sample`, records without their newline, of which the first GiB is
    /// used. Ids below 256 are the bytes. The same sample gives the same bytes of tokenizer.json. If the sample has too few
    /// merges, the vocabulary is smaller. Errors: `vocab_size` is less than 257.
    pub fn train_bpe<'a>(sample: impl Iterator<Item = &'a [u8]> + Send, vocab_size: usize) -> Result<Self> {
        if vocab_size < SMALLEST {
            return Err(Error::usage(format!(
                "--vocab-size {vocab_size}: byte-level BPE needs at least {SMALLEST}, the 256 bytes and one merge; ask for 512 or more, \
                 or use --tokenizer bytes"
            )));
        }
        let (counts, json) = count_pieces(sample)?;
        let slots = vocab_size - 256;
        let recurring = recurring(&counts, slots / RECURRING_SHARE)?;
        let mut best: Option<(u64, Tokenizer)> = None;
        for (chunks, class) in candidates(&counts, json)? {
            let Some(tokenizer) = train_with(&counts, vocab_size, chunks, &class, &recurring)? else {
                continue;
            };
            let cost = tokens_in(&tokenizer, &counts)?;
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, tokenizer));
            }
        }
        let (_, tokenizer) = best.expect("single characters need no room, so that candidate always trains");
        Ok(tokenizer)
    }
}

/// The pieces of the sample, and whether most of its records hold JSON.
fn count_pieces<'a>(sample: impl Iterator<Item = &'a [u8]>) -> Result<(PieceCounts, bool)> {
    let coarse = Splitter::new(&[pretokenize::coarse()])?;
    let mut counts: HashMap<String, u64> = HashMap::new();
    let (mut bytes, mut records, mut of_json) = (0, 0_u64, 0_u64);
    for record in sample {
        bytes += record.len();
        records += 1;
        // Also behind the prefix of a record.
        of_json += u64::from(memchr::memmem::find(record, b"{\"").is_some());
        if bytes > LARGEST_SAMPLE {
            tracing::warn!("the tokenizer learns only from the first {} MiB of its sample", LARGEST_SAMPLE >> 20);
            break;
        }
        for text in record.utf8_chunks() {
            coarse.pieces(text.valid(), &mut |piece| {
                let piece = start(piece, LONGEST_PIECE);
                match counts.get_mut(piece) {
                    Some(count) => *count += 1,
                    None => drop(counts.insert(piece.to_string(), 1)),
                }
            });
        }
    }
    counts.remove("\n");
    Ok((counts.into_iter().collect(), 2 * of_json > records))
}

/// The first characters of `text`, at most `limit` bytes.
fn start(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

/// The identifiers whose entries save the most tokens, at most `limit` of them, the best first.
fn recurring(counts: &PieceCounts, limit: usize) -> Result<Vec<String>> {
    let identifier = FullMatch::new(&[pretokenize::UUID, pretokenize::HASH, pretokenize::KEY])?;
    let mut found: Vec<(&String, u64)> = counts
        .iter()
        .filter(|(piece, count)| **count >= RECURS && piece.len() >= SHORTEST_RECURRING && identifier.is(piece))
        .map(|(piece, count)| (piece, *count))
        .collect();
    found.sort_by_key(|(piece, count)| (Reverse(count * piece.len() as u64), *piece));
    Ok(found.into_iter().take(limit).map(|(piece, _)| piece.clone()).collect())
}

/// The candidate chunk lengths, each with the pairs of digits that it needs in the vocabulary.
fn candidates(counts: &PieceCounts, json: bool) -> Result<Vec<(Chunks, BTreeSet<String>)>> {
    let hexadecimal = FullMatch::new(&[pretokenize::UUID, pretokenize::HASH])?;
    let (mut lower, mut upper) = (0, 0);
    for (piece, count) in counts.iter().filter(|(piece, _)| hexadecimal.is(piece)) {
        lower += count * u64::from(piece.contains(|c: char| c.is_ascii_lowercase()));
        upper += count * u64::from(piece.contains(|c: char| c.is_ascii_uppercase()));
    }
    let decimal = pairs("0123456789");
    let mut hex = BTreeSet::new();
    // A few identifiers in the other case do not justify 156 more entries.
    if lower > 0 && lower * 10 >= upper {
        hex.extend(pairs("0123456789abcdef"));
    }
    if upper > 0 && upper * 10 >= lower {
        hex.extend(pairs("0123456789ABCDEF"));
    }
    let mut all =
        vec![(Chunks { digits: 1, hex: 1, json }, BTreeSet::new()), (Chunks { digits: 2, hex: 1, json }, decimal)];
    if !hex.is_empty() {
        all.push((Chunks { digits: 2, hex: 2, json }, hex));
    }
    Ok(all)
}

fn pairs(digits: &str) -> BTreeSet<String> {
    digits.chars().flat_map(|a| digits.chars().map(move |b| format!("{a}{b}"))).collect()
}

/// Trains one candidate; `None` if its `class` of pairs and the recurring identifiers exceed the vocabulary.
fn train_with(
    counts: &PieceCounts,
    vocab_size: usize,
    chunks: Chunks,
    class: &BTreeSet<String>,
    recurring: &[String],
) -> Result<Option<Tokenizer>> {
    let room = vocab_size - 256 - recurring.len();
    if class.len() > room {
        return Ok(None);
    }
    let learnt = merges(words(counts, chunks, recurring)?, 256 + room)?;
    let (tokens, merges) = fit(learnt, class, room);
    let json = file::bpe(&pretokenize::splits(chunks), &tokens, &merges, recurring);
    Tokenizer::from_json(json.to_string().as_bytes()).map(Some)
}

/// The words in which the trainer counts pairs: the final pieces in the byte-level alphabet, without the recurring
/// identifiers.
fn words(counts: &PieceCounts, chunks: Chunks, recurring: &[String]) -> Result<BTreeMap<String, u64>> {
    let entries: BTreeSet<&String> = recurring.iter().collect();
    let splitter = Splitter::new(&pretokenize::splits(chunks)[1..])?;
    let mut words = BTreeMap::new();
    for (piece, count) in counts.iter().filter(|(piece, _)| !entries.contains(piece)) {
        splitter.pieces(piece, &mut |word| *words.entry(alphabet::spell(word.as_bytes())).or_default() += count);
    }
    Ok(words)
}

type Merge = (String, String);

/// The merges, in the order learnt, that the crate's trainer finds for a vocabulary of `vocab_size`.
fn merges(words: BTreeMap<String, u64>, vocab_size: usize) -> Result<Vec<Merge>> {
    let alphabet = (0..=255).map(alphabet::char_of).collect();
    // The trainer reserves room for the whole vocabulary; but each merge joins two characters of a word.
    let most = 256 + words.keys().map(|word| word.chars().count()).sum::<usize>();
    let trainer =
        BpeTrainer::builder().vocab_size(vocab_size.min(most)).show_progress(false).initial_alphabet(alphabet).build();
    let counts = words.into_iter().map(|(word, count)| (word.as_str().into(), count)).collect();
    let mut model = BPE::default();
    trainer.do_train(&counts, &mut model).map_err(|e| Error::failed(format!("training the tokenizer: {e}")))?;
    let json = serde_json::to_value(&model).map_err(|e| Error::failed(format!("training the tokenizer: {e}")))?;
    serde_json::from_value(json["merges"].clone()).map_err(|e| Error::failed(format!("training the tokenizer: {e}")))
}

/// Selects the first merges of `learnt` that fit in `room` together with all of `class`, then the missing pairs of `class`.
/// (The first merges of a BPE are the BPE of a smaller vocabulary.) Returns the new tokens and all merges.
fn fit(learnt: Vec<Merge>, class: &BTreeSet<String>, room: usize) -> (Vec<String>, Vec<Merge>) {
    let (mut tokens, mut kept, mut known) = (Vec::new(), Vec::new(), BTreeSet::new());
    let mut taken = class.len();
    for (left, right) in learnt {
        let token = format!("{left}{right}");
        if !known.contains(&token) {
            taken += usize::from(!class.contains(&token));
            if taken > room {
                break;
            }
            known.insert(token.clone());
            tokens.push(token);
        }
        kept.push((left, right));
    }
    for pair in class.iter().filter(|pair| !known.contains(*pair)) {
        tokens.push(pair.clone());
        kept.push((pair[..1].to_string(), pair[1..].to_string()));
    }
    (tokens, kept)
}

/// The number of tokens of the whole sample.
fn tokens_in(tokenizer: &Tokenizer, counts: &PieceCounts) -> Result<u64> {
    let mut ids = Vec::new();
    let mut total = 0;
    for (piece, count) in counts {
        ids.clear();
        tokenizer.encode(piece.as_bytes(), &mut ids)?;
        total += count * ids.len() as u64;
    }
    Ok(total)
}

/// Tests whether a whole text matches one of several patterns.
struct FullMatch(SysRegex);

impl FullMatch {
    fn new(patterns: &[&str]) -> Result<Self> {
        compile(&format!(r"\A(?:{})\z", patterns.join("|"))).map(Self)
    }

    fn is(&self, text: &str) -> bool {
        self.0.find_iter(text).next().is_some()
    }
}
