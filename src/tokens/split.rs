//! A fast encoder for BPE, for a tokenizer.json whose pre-tokenizer consists of regular expressions and `ByteLevel`.
//!
//! The tokenizers crate tracks an alignment of every character through every step and encodes less than 3 MB/s. Here the
//! same expressions split the text, and a cache holds the tokens of earlier pieces. The crate still does the merging. A test
//! checks that both encoders agree.

use super::alphabet;
use super::pretokenize::unchunked;
use crate::{Error, Result};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use tokenizers::Model;
use tokenizers::models::bpe::BPE;
use tokenizers::utils::SysRegex;

/// The most pieces that a thread caches for each expression. At the limit the cache is cleared, so that pieces that never
/// recur do not fill it for ever. With [`LONGEST_CACHED`] this bounds the memory to 16 MiB of text per thread.
const CACHED_PIECES: usize = 1 << 14;
/// The longest piece that is cached; longer pieces rarely recur.
const LONGEST_CACHED: usize = 256;

/// `levels[i]` holds the pieces that the expressions from number i + 1 on do not split, with their tokens. Levels are
/// separate, because at a lower level further expressions may split the same text.
#[derive(Default)]
struct PieceCache {
    owner: u64,
    levels: Vec<HashMap<Box<str>, Box<[u32]>>>,
}

thread_local! {
    static CACHE: RefCell<PieceCache> = RefCell::default();
}

/// Splits text by each expression in turn: the matches and the text between them are the pieces for the next expression.
pub struct Splitter(Vec<PieceCut>);

/// One expression that splits text.
enum PieceCut {
    Matches(SysRegex),
    /// The two parts of a pattern of `pretokenize::chunked`: an automaton and a loop are several times faster than `\G`.
    Chunks {
        whole: SysRegex,
        piece: SysRegex,
    },
}

impl Splitter {
    /// Errors: an expression that does not compile.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self> {
        Ok(Self(patterns.iter().map(|pattern| PieceCut::new(pattern.as_ref())).collect::<Result<_>>()?))
    }

    /// Calls `each` with the pieces into which all expressions split `text`, in order.
    pub fn pieces<'t>(&self, text: &'t str, each: &mut impl FnMut(&'t str)) {
        self.pieces_from(0, text, each);
    }

    fn pieces_from<'t>(&self, level: usize, text: &'t str, each: &mut impl FnMut(&'t str)) {
        match self.0.get(level) {
            Some(cut) => cut.apply(text, |piece| self.pieces_from(level + 1, piece, each)),
            None => each(text),
        }
    }
}

impl PieceCut {
    fn new(pattern: &str) -> Result<Self> {
        Ok(match unchunked(pattern) {
            Some((whole, piece)) => {
                PieceCut::Chunks { whole: compile(&format!(r"\A(?:{whole})\z"))?, piece: compile(piece)? }
            }
            None => PieceCut::Matches(compile(pattern)?),
        })
    }

    fn cuts(&self, text: &str) -> bool {
        let (PieceCut::Matches(regex) | PieceCut::Chunks { whole: regex, .. }) = self;
        regex.find_iter(text).next().is_some()
    }

    /// Calls `each` with the matches and with the text between them, in order.
    fn apply<'t>(&self, text: &'t str, mut each: impl FnMut(&'t str)) {
        let (regex, adjacent) = match self {
            PieceCut::Matches(regex) => (regex, false),
            PieceCut::Chunks { .. } if !self.cuts(text) => return each(text),
            PieceCut::Chunks { piece, .. } => (piece, true),
        };
        let mut done = 0;
        for (start, end) in regex.find_iter(text) {
            if adjacent && start != done {
                break;
            }
            for range in [done..start, start..end] {
                if !range.is_empty() {
                    each(&text[range]);
                }
            }
            done = end;
        }
        if done < text.len() {
            each(&text[done..]);
        }
    }
}

/// Compiles a pattern. Errors: `pattern` is not a regular expression.
pub fn compile(pattern: &str) -> Result<SysRegex> {
    SysRegex::new(pattern).map_err(|e| Error::failed(format!("the pattern {pattern:?} of the tokenizer: {e}")))
}

/// The entries `added_tokens` of the vocabulary, which are matched in the text before it is split, the longest first.
struct AddedTokens {
    regex: SysRegex,
    ids: HashMap<String, u32>,
}

pub struct FastBpe {
    entries: Option<AddedTokens>,
    splitter: Splitter,
    model: BPE,
    owner: u64,
}

impl FastBpe {
    /// The fast encoder for `json` (a parsed tokenizer.json) and its `model`; `None` if the file uses unsupported features.
    pub fn new(json: &Value, mut model: BPE) -> Result<Option<Self>> {
        let (Some(patterns), Some(entries)) = (isolated_patterns(json), plain_added(json)) else {
            return Ok(None);
        };
        if ["unk_token", "continuing_subword_prefix", "end_of_word_suffix"]
            .iter()
            .any(|key| !json["model"][key].is_null())
        {
            return Ok(None);
        }
        static OWNERS: AtomicU64 = AtomicU64::new(1);
        model.resize_cache(0);
        Ok(Some(Self {
            entries: compile_added(entries)?,
            splitter: Splitter::new(&patterns)?,
            model,
            owner: OWNERS.fetch_add(1, Ordering::Relaxed),
        }))
    }

    /// Appends the tokens of `text`.
    pub fn encode(&self, text: &str, out: &mut Vec<u32>) -> Result<()> {
        let Some(entries) = &self.entries else {
            return self.encode_between(text, out);
        };
        let mut done = 0;
        for (start, end) in entries.regex.find_iter(text) {
            self.encode_between(&text[done..start], out)?;
            out.push(entries.ids[&text[start..end]]);
            done = end;
        }
        self.encode_between(&text[done..], out)
    }

    fn encode_between(&self, text: &str, out: &mut Vec<u32>) -> Result<()> {
        CACHE.with_borrow_mut(|cache| {
            if cache.owner != self.owner {
                cache.owner = self.owner;
                cache.levels = vec![HashMap::new(); self.splitter.0.len()];
            }
            self.encode_from(0, text, &mut cache.levels, out)
        })
    }

    /// Appends the tokens of `text`, a piece that the expressions before number `level` have split off.
    fn encode_from(
        &self,
        level: usize,
        text: &str,
        cache: &mut [HashMap<Box<str>, Box<[u32]>>],
        out: &mut Vec<u32>,
    ) -> Result<()> {
        let Some(cut) = self.splitter.0.get(level) else {
            let tokens = self.model.tokenize(&alphabet::spell(text.as_bytes())).map_err(Error::failed)?;
            out.extend(tokens.iter().map(|token| token.id));
            return Ok(());
        };
        let mut result = Ok(());
        cut.apply(text, |piece| {
            if let Some(tokens) = cache[level].get(piece) {
                out.extend_from_slice(tokens);
            } else if result.is_ok() {
                let first = out.len();
                result = self.encode_from(level + 1, piece, cache, out);
                // Identifiers rarely recur, so only pieces that later expressions do not split are worth caching.
                if result.is_ok() && piece.len() <= LONGEST_CACHED && self.is_whole(level + 1, piece) {
                    keep(&mut cache[level], piece, &out[first..]);
                }
            }
        });
        result
    }

    /// Whether no expression from number `level` on splits `piece`.
    fn is_whole(&self, level: usize, piece: &str) -> bool {
        self.splitter.0[level..].iter().all(|cut| !cut.cuts(piece))
    }
}

fn keep(pieces: &mut HashMap<Box<str>, Box<[u32]>>, piece: &str, tokens: &[u32]) {
    if pieces.len() >= CACHED_PIECES {
        pieces.clear();
    }
    pieces.insert(piece.into(), tokens.into());
}

/// The patterns of a pre-tokenizer of the form `Sequence[Split(Regex, Isolated)..., ByteLevel]` or `ByteLevel`; `None` for
/// any other.
fn isolated_patterns(json: &Value) -> Option<Vec<String>> {
    let single = std::slice::from_ref(&json["pre_tokenizer"]);
    let steps = json["pre_tokenizer"]["pretokenizers"].as_array().map_or(single, Vec::as_slice);
    let (last, splits) = steps.split_last()?;
    if last["type"] != "ByteLevel" || last["use_regex"] != false || last["add_prefix_space"] != false {
        return None;
    }
    let isolated = |s: &Value| s["type"] == "Split" && s["behavior"] == "Isolated" && s["invert"] == false;
    let pattern = |s: &Value| isolated(s).then(|| s["pattern"]["Regex"].as_str().map(String::from)).flatten();
    splits.iter().map(pattern).collect()
}

/// The content and id of each added token; `None` if one depends on the surrounding text or on a normalizer.
fn plain_added(json: &Value) -> Option<Vec<(String, u32)>> {
    let plain = |t: &Value| ["single_word", "lstrip", "rstrip", "normalized"].iter().all(|flag| t[flag] == false);
    let entry =
        |t: &Value| plain(t).then(|| Some((t["content"].as_str()?.to_string(), t["id"].as_u64()? as u32))).flatten();
    json["added_tokens"].as_array().map_or(Some(Vec::new()), |tokens| tokens.iter().map(entry).collect())
}

fn compile_added(entries: Vec<(String, u32)>) -> Result<Option<AddedTokens>> {
    let mut words: Vec<&str> = entries.iter().map(|(word, _)| word.as_str()).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return Ok(None);
    }
    words.sort_by_key(|word| (std::cmp::Reverse(word.len()), *word));
    let pattern = words.iter().map(|word| escape(word)).collect::<Vec<_>>().join("|");
    Ok(Some(AddedTokens { regex: compile(&pattern)?, ids: entries.into_iter().collect() }))
}

/// A regular expression that matches exactly `word`.
fn escape(word: &str) -> String {
    let special = |c: char| c.is_ascii_punctuation() && c != '_' && c != '<' && c != '>';
    word.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}
