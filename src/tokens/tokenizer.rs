//! The tokenizer: loads, encodes, decodes and saves.

use super::file;
use super::kind::TokenizerKind;
use super::split::FastBpe;
use crate::{Error, Result};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use tokenizers::ModelWrapper;

/// A reversible map between bytes and ids 0..vocab_size. It is cheap to clone and can be shared between threads.
#[derive(Clone)]
pub struct Tokenizer(pub(super) Arc<Inner>);

/// A token that stands for what the vocabulary lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// Its place among the tokens.
    pub token: usize,
    /// The number of bytes that it stands for.
    pub bytes: usize,
}

pub(super) struct Inner {
    kind: TokenizerKind,
    pub json: Vec<u8>,
    /// The bytes of each id; empty for ids that the file does not assign.
    bytes: Vec<Vec<u8>>,
    separator: u32,
    pub scheme: Scheme,
}

pub(super) enum Scheme {
    Char(HashMap<char, u32>),
    Bytes([u32; 256]),
    /// `fast` is `None` for files of other programs with features that only the crate supports.
    Bpe {
        single: [u32; 256],
        full: Box<tokenizers::Tokenizer>,
        fast: Option<Box<FastBpe>>,
    },
}

impl Tokenizer {
    /// The byte tokenizer: 256 tokens; the id of a byte is its value.
    pub fn bytes() -> Self {
        Self::from_json(file::bytes().to_string().as_bytes()).expect("the byte tokenizer is its own valid file")
    }

    /// A character tokenizer with one token for each of `chars` and `\n`; ids are in the order of the code points.
    pub fn chars(chars: &BTreeSet<char>) -> Self {
        let mut chars = chars.clone();
        chars.insert('\n');
        Self::from_json(file::chars(&chars).to_string().as_bytes())
            .expect("a character tokenizer is its own valid file")
    }

    pub fn kind(&self) -> TokenizerKind {
        self.0.kind
    }

    /// The size of the vocabulary: one more than the largest id.
    pub fn vocab_size(&self) -> usize {
        self.0.bytes.len()
    }

    /// The id of `\n`, which ends every record.
    pub fn separator(&self) -> u32 {
        self.0.separator
    }

    /// Appends the ids of `text`. Errors: a character tokenizer lacks a character of `text`; `out` is then unchanged.
    pub fn encode(&self, text: &[u8], out: &mut Vec<u32>) -> Result<()> {
        let before = out.len();
        let result = match &self.0.scheme {
            Scheme::Char(ids) => self.encode_chars(ids, text, out),
            Scheme::Bytes(ids) => {
                out.extend(text.iter().map(|&byte| ids[byte as usize]));
                Ok(())
            }
            Scheme::Bpe { single, full, fast } => encode_bpe(single, full, fast.as_deref(), text, out),
        };
        if result.is_err() {
            out.truncate(before);
        }
        result
    }

    /// Appends the ids of any text. A character that a character tokenizer lacks, or bytes that are not UTF-8, become the token
    /// of a stand-in: `?`, or the first character that it has. Returns the stand-ins: their places in `out`, and the numbers of
    /// bytes that they stand for.
    pub fn encode_any(&self, text: &[u8], out: &mut Vec<u32>) -> Vec<StandIn> {
        let Scheme::Char(ids) = &self.0.scheme else {
            self.encode(text, out).expect("all other tokenizers have a token for every byte");
            return Vec::new();
        };
        let first = || ids.iter().filter(|(c, _)| **c != '\n').min_by_key(|(c, _)| **c).map(|(_, id)| *id);
        let stand_in = ids.get(&'?').copied().or_else(first).unwrap_or(self.0.separator);
        let mut stand_ins = Vec::new();
        for chunk in text.utf8_chunks() {
            for c in chunk.valid().chars() {
                if !ids.contains_key(&c) {
                    stand_ins.push(StandIn { token: out.len(), bytes: c.len_utf8() });
                }
                out.push(ids.get(&c).copied().unwrap_or(stand_in));
            }
            if !chunk.invalid().is_empty() {
                stand_ins.push(StandIn { token: out.len(), bytes: chunk.invalid().len() });
                out.push(stand_in);
            }
        }
        stand_ins
    }

    /// Replaces every character that the vocabulary lacks, and bytes that are not UTF-8, by `stand_in`, and adds their
    /// number to `count`. Only a character tokenizer lacks characters. Errors: the vocabulary lacks the stand-in, too.
    pub fn replace_unknown(&self, text: Vec<u8>, stand_in: char, count: &mut u64) -> Result<Vec<u8>> {
        let Scheme::Char(ids) = &self.0.scheme else { return Ok(text) };
        if stand_in == '\n' {
            return Err(Error::usage("--replace-unknown: a newline ends a record; choose another character"));
        }
        if !ids.contains_key(&stand_in) {
            return Err(Error::usage(format!(
                "--replace-unknown '{}': the tokenizer lacks this character, too; choose one that it has",
                stand_in.escape_default()
            )));
        }
        let known = |c: char| if ids.contains_key(&c) { c } else { stand_in };
        let mut out = String::with_capacity(text.len());
        for chunk in text.utf8_chunks() {
            *count += chunk.valid().chars().filter(|&c| known(c) != c).count() as u64;
            out.extend(chunk.valid().chars().map(known));
            if !chunk.invalid().is_empty() {
                *count += 1;
                out.push(stand_in);
            }
        }
        Ok(out.into_bytes())
    }

    /// The text of `ids`: `decode(encode(x)) == x` for every x that `encode` accepts.
    pub fn decode(&self, ids: &[u32]) -> Vec<u8> {
        ids.iter().flat_map(|&id| self.token_bytes(id)).copied().collect()
    }

    /// The bytes of `id`; empty for an id that the vocabulary does not assign.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.0.bytes.get(id as usize).map_or(&[], Vec::as_slice)
    }

    /// Whether both tokenizers assign the same bytes to every id.
    pub fn same_tokens(&self, other: &Tokenizer) -> bool {
        self.0.bytes == other.0.bytes
    }

    /// Writes tokenizer.json and tokenizer_config.json, which `transformers.AutoTokenizer` can load.
    pub fn save(&self, folder: &Path) -> Result<()> {
        write(folder, &self.0.json, &file::config())
    }

    /// Writes them for a model with this context: `transformers` then begins, ends and fills texts as the model expects.
    pub fn save_for_model(&self, folder: &Path, context: usize) -> Result<()> {
        let document: Value = serde_json::from_slice(&self.0.json).map_err(Error::failed)?;
        let document = file::for_model(document, self.0.kind, self.0.separator);
        let text = serde_json::to_vec(&document).map_err(Error::failed)?;
        write(folder, &text, &file::config_of_model(self.0.kind, context))
    }

    /// Reads `folder`/tokenizer.json, written by `save` or by another program (byte-level BPE).
    /// Errors: a missing or damaged file; a tokenizer whose decoding does not restore the text; no token for `\n` alone.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(file::NAME);
        let json = std::fs::read(&path).map_err(|e| Error::io("read the tokenizer", &path, e))?;
        Self::from_json(&json).map_err(|e| Error::failed(format!("{}: {e}", path.display())))
    }

    pub(super) fn from_json(json: &[u8]) -> Result<Self> {
        let damaged = |e: &dyn std::fmt::Display| {
            Error::failed(format!("not a whole tokenizer.json ({e}); restore it from a backup, or run prepare again"))
        };
        let parsed: Value = serde_json::from_slice(json).map_err(|e| damaged(&e))?;
        let (kind, bytes) = file::read(&parsed)?;
        let ids: HashMap<&[u8], u32> =
            bytes.iter().enumerate().filter(|(_, b)| !b.is_empty()).map(|(id, b)| (b.as_slice(), id as u32)).collect();
        let separator = *ids.get(&b"\n"[..]).ok_or_else(|| {
            Error::failed(
                "no token is a single newline, which must end every record; use a byte-level tokenizer such as GPT-2's",
            )
        })?;
        let scheme = match kind {
            TokenizerKind::Char => Scheme::Char(
                ids.iter().filter_map(|(b, &id)| Some((str::from_utf8(b).ok()?.chars().next()?, id))).collect(),
            ),
            TokenizerKind::Bytes => Scheme::Bytes(single_bytes(&ids)?),
            TokenizerKind::Bpe => {
                let full = tokenizers::Tokenizer::from_bytes(json).map_err(|e| damaged(&e))?;
                let ModelWrapper::BPE(model) = full.get_model() else {
                    return Err(damaged(&"the model is not BPE"));
                };
                let fast = FastBpe::new(&parsed, model.clone())?.map(Box::new);
                Scheme::Bpe { single: single_bytes(&ids)?, full: Box::new(full), fast }
            }
        };
        drop(ids);
        Ok(Self(Arc::new(Inner { kind, json: json.to_vec(), bytes, separator, scheme })))
    }

    fn encode_chars(&self, ids: &HashMap<char, u32>, text: &[u8], out: &mut Vec<u32>) -> Result<()> {
        let mut place = 0;
        for chunk in text.utf8_chunks() {
            for c in chunk.valid().chars() {
                out.push(*ids.get(&c).ok_or_else(|| {
                    self.unknown(&format!("the character '{}' (U+{:04X})", c.escape_default(), c as u32), place)
                })?);
                place += c.len_utf8();
            }
            if let Some(byte) = chunk.invalid().first() {
                return Err(self.unknown(&format!("the byte 0x{byte:02x}, which is not UTF-8,"), place));
            }
        }
        Ok(())
    }

    fn unknown(&self, what: &str, place: usize) -> Error {
        Error::failed(format!(
            "{what} at byte {place} of the text is not among the {} characters of this tokenizer; remove it, replace it \
             (prepare --replace-unknown), train a new model on data that contains it, or use --tokenizer bytes or bpe, which \
             accept any byte",
            self.vocab_size()
        ))
    }
}

fn write(folder: &Path, document: &[u8], config: &Value) -> Result<()> {
    crate::files::write_new(&folder.join(file::NAME), document)?;
    crate::files::write_new(&folder.join(file::CONFIG_NAME), format!("{config}\n").as_bytes())
}

/// The token of each single byte. Errors: a byte without a token, because then some texts could not be encoded.
fn single_bytes(ids: &HashMap<&[u8], u32>) -> Result<[u32; 256]> {
    let mut single = [0; 256];
    for byte in 0..=255u8 {
        single[byte as usize] = *ids.get(&[byte][..]).ok_or_else(|| {
            Error::failed(format!(
                "no token is the single byte 0x{byte:02x}; expected tokens for all 256, as in GPT-2's tokenizer"
            ))
        })?;
    }
    Ok(single)
}

/// Encodes bytes that are not UTF-8 and newlines one by one, and the text between them by BPE: the crate accepts only UTF-8,
/// and tokenizers of other programs may merge newlines.
fn encode_bpe(
    single: &[u32; 256],
    full: &tokenizers::Tokenizer,
    fast: Option<&FastBpe>,
    text: &[u8],
    out: &mut Vec<u32>,
) -> Result<()> {
    for (i, record) in text.split(|&byte| byte == b'\n').enumerate() {
        if i > 0 {
            out.push(single[b'\n' as usize]);
        }
        for chunk in record.utf8_chunks() {
            match fast {
                _ if chunk.valid().is_empty() => {}
                Some(fast) => fast.encode(chunk.valid(), out)?,
                None => {
                    let encoding =
                        full.encode_fast(chunk.valid(), false).map_err(|e| Error::failed(format!("tokenizer: {e}")))?;
                    out.extend_from_slice(encoding.get_ids());
                }
            }
            out.extend(chunk.invalid().iter().map(|&byte| single[byte as usize]));
        }
    }
    Ok(())
}
