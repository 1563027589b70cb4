//! The short way from text to BPE tokens, for a tokenizer.json whose pre-tokenizer is regular expressions and `ByteLevel`.
//!
//! The tokenizers crate keeps an alignment of every character through every step and encodes well under 3 MB/s;
//! here text is cut by the same expressions and a cache knows the tokens of pieces seen before.
//! The merging itself stays the crate's. A test holds the two ways equal.

use super::alphabet;
use crate::{Error, Result};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use tokenizers::Model;
use tokenizers::models::bpe::BPE;
use tokenizers::utils::SysRegex;

/// Pieces that a thread remembers; at the limit it forgets them all, so that a cache full of one-off pieces renews itself.
const REMEMBERED: usize = 1 << 16;
/// Longer pieces do not recur.
const LONGEST_REMEMBERED: usize = 512;

#[derive(Default)]
struct Memory {
    owner: u64,
    tokens: HashMap<Box<str>, Box<[u32]>>,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// Cuts text by each expression in turn: matches and what lies between them are the pieces for the next.
pub struct Splitter(Vec<SysRegex>);

impl Splitter {
    /// Errors: an expression that does not compile.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self> {
        let compile =
            |p: &S| SysRegex::new(p.as_ref()).map_err(|e| Error::failed(format!("pre-tokenizer pattern: {e}")));
        Ok(Self(patterns.iter().map(compile).collect::<Result<_>>()?))
    }

    /// Calls `each` with every piece that the expressions from number `level` on leave of `text`, in order.
    pub fn pieces<'t>(&self, level: usize, text: &'t str, each: &mut impl FnMut(&'t str)) {
        let Some(regex) = self.0.get(level) else {
            return each(text);
        };
        let mut done = 0;
        for (start, end) in regex.find_iter(text) {
            if done < start {
                self.pieces(level + 1, &text[done..start], each);
            }
            if start < end {
                self.pieces(level + 1, &text[start..end], each);
            }
            done = end;
        }
        if done < text.len() {
            self.pieces(level + 1, &text[done..], each);
        }
    }
}

impl Splitter {
    /// Whether the first expression matches somewhere in `text`.
    pub fn matches(&self, text: &str) -> bool {
        self.0[0].find_iter(text).next().is_some()
    }
}

/// Whole entries of the vocabulary that are found in the text before anything else (`added_tokens`), longest first.
struct Entries {
    regex: SysRegex,
    ids: HashMap<String, u32>,
}

pub struct FastBpe {
    entries: Option<Entries>,
    coarse: Splitter,
    fine: Splitter,
    model: BPE,
    owner: u64,
}

impl FastBpe {
    /// The short way for `json` (a parsed tokenizer.json) and its `model`; none where the file asks for more than it knows.
    pub fn new(json: &Value, mut model: BPE) -> Result<Option<Self>> {
        let (Some(patterns), Some(entries)) = (isolated_patterns(json), plain_entries(json)) else {
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
        let (coarse, fine) = patterns.split_at(patterns.len().min(1));
        Ok(Some(Self {
            entries: compile_entries(entries)?,
            coarse: Splitter::new(coarse)?,
            fine: Splitter::new(fine)?,
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
        MEMORY.with_borrow_mut(|memory| {
            if memory.owner != self.owner {
                *memory = Memory { owner: self.owner, ..Memory::default() };
            }
            let mut result = Ok(());
            self.coarse.pieces(0, text, &mut |piece| {
                if let Some(tokens) = memory.tokens.get(piece) {
                    out.extend_from_slice(tokens);
                } else if result.is_ok() {
                    // Only the last pieces are remembered: whole identifiers rarely come back, their chunks always do.
                    self.fine.pieces(0, piece, &mut |chunk| {
                        if result.is_ok() {
                            result = self.encode_piece(chunk, memory, out);
                        }
                    });
                }
            });
            result
        })
    }

    fn encode_piece(&self, piece: &str, memory: &mut Memory, out: &mut Vec<u32>) -> Result<()> {
        if let Some(tokens) = memory.tokens.get(piece) {
            out.extend_from_slice(tokens);
            return Ok(());
        }
        let tokens = self.model.tokenize(&alphabet::spell(piece.as_bytes())).map_err(Error::failed)?;
        let first = out.len();
        out.extend(tokens.iter().map(|token| token.id));
        if piece.len() <= LONGEST_REMEMBERED {
            if memory.tokens.len() >= REMEMBERED {
                memory.tokens.clear();
            }
            memory.tokens.insert(piece.into(), out[first..].into());
        }
        Ok(())
    }
}

/// The patterns of a pre-tokenizer that is `Sequence[Split(Regex, Isolated)..., ByteLevel]` or `ByteLevel` alone.
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

/// Content and id of each added token; none if one has a condition on what surrounds it.
fn plain_entries(json: &Value) -> Option<Vec<(String, u32)>> {
    let plain = |t: &Value| ["single_word", "lstrip", "rstrip"].iter().all(|flag| t[flag] == false);
    let entry =
        |t: &Value| plain(t).then(|| Some((t["content"].as_str()?.to_string(), t["id"].as_u64()? as u32))).flatten();
    json["added_tokens"].as_array().map_or(Some(Vec::new()), |tokens| tokens.iter().map(entry).collect())
}

fn compile_entries(entries: Vec<(String, u32)>) -> Result<Option<Entries>> {
    let mut words: Vec<&str> = entries.iter().map(|(word, _)| word.as_str()).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return Ok(None);
    }
    words.sort_by_key(|word| (std::cmp::Reverse(word.len()), *word));
    let pattern = words.iter().map(|word| escape(word)).collect::<Vec<_>>().join("|");
    let regex = SysRegex::new(&pattern).map_err(|e| Error::failed(format!("added tokens: {e}")))?;
    Ok(Some(Entries { regex, ids: entries.into_iter().collect() }))
}

/// `word` as a regular expression that matches just itself.
fn escape(word: &str) -> String {
    let special = |c: char| c.is_ascii_punctuation() && c != '_' && c != '<' && c != '>';
    word.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}
