//! Generation within a grammar: before each draw, the tokens that some record of a JSON Schema can go on with.
//!
//! The grammar is llguidance's: it reads the bytes of tokens, so any tokenizer serves, tokens that end in the middle of a
//! character too, and the model is free to cut text into tokens as it likes. It sees the tokens drawn, not the KV cache,
//! so a record may slide over the context.

mod plain;
mod schema;
#[cfg(test)]
mod tests;

use crate::tokens::Tokenizer;
use crate::{Error, Result};
use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{JsonCompileOptions, Matcher, ParserFactory};
use serde_json::{Value, json};
use std::sync::Arc;

/// What stands between the members of an object or list, and between a name and its value, as regular expressions.
///
/// A model writes as its records were written (`", "` and `": "` by Python, `","` and `":"` compact); forcing it to write otherwise
/// takes it where it has never been.
#[derive(Clone, Debug, PartialEq)]
pub struct Separators {
    item: String,
    key: String,
}

impl Default for Separators {
    /// Either way to write, at every place.
    fn default() -> Self {
        Separators { item: ", ?".into(), key: ": ?".into() }
    }
}

impl Separators {
    /// Exactly these. None unless they are a comma and a colon, with spaces round them or not.
    pub fn exactly(item: &str, key: &str) -> Option<Self> {
        let fits = |text: &str, sign| text.trim_matches(' ') == sign;
        (fits(item, ",") && fits(key, ":")).then(|| Separators { item: item.into(), key: key.into() })
    }
}

/// Why a record cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadEnd {
    /// The grammar goes on with text that no token of the model begins.
    NoToken,
    /// The grammar has grown beyond its limits of time or memory.
    TooComplex,
    /// It ended, but with a name twice in one object or needlessly escaped, a number that no parser holds, or too deeply nested.
    NotPlain,
}

impl DeadEnd {
    /// What is counted, for a message.
    pub fn reason(self) -> &'static str {
        match self {
            DeadEnd::NoToken => "no token of the model continues what the grammar asks for",
            DeadEnd::TooComplex => "the grammar has become too complex",
            DeadEnd::NotPlain => "a name stood twice or in escapes, or a value was beyond what parsers read",
        }
    }
}

/// A grammar compiled for one tokenizer, shared by all records.
pub struct Constraint {
    trie: TokEnv,
    /// At the start of a record's object.
    start: Matcher,
    /// Where text before the first `{` of a record is free: the tokens that continue it or begin the object (a bit set).
    opening: Option<Vec<u32>>,
    /// Names must stand once and plainly, or the record might fit the grammar and not the schema.
    strict: bool,
}

impl Constraint {
    /// Any JSON object.
    pub fn json(separators: &Separators, prefixed: bool, tokenizer: &Tokenizer, vocab: usize) -> Result<Self> {
        let any = json!({ "type": "object" });
        let constraint = Self::schema(any, "--json", separators, prefixed, tokenizer, vocab)?;
        Ok(Constraint { strict: false, ..constraint })
    }

    /// The objects that fit a JSON Schema; properties come in the schema's order. `name` is the schema's file, for messages;
    /// `prefixed`: text before the first `{` is free; `vocab`: the model's, which may be larger than the tokenizer's.
    ///
    /// Errors: not a JSON Schema, not of an object, contradictory, or with keywords for which there is no grammar.
    pub fn schema(
        schema: Value,
        name: &str,
        separators: &Separators,
        prefixed: bool,
        tokenizer: &Tokenizer,
        vocab: usize,
    ) -> Result<Self> {
        let mut schema = schema::of_records(schema, name)?;
        let is_writable = |text: &str| tokenizer.encode(text.as_bytes(), &mut Vec::new()).is_ok();
        let dropped = schema::drop_unwritable(&mut schema, &is_writable);
        if dropped > 0 {
            tracing::warn!(
                "{name}: {dropped} names or values hold characters that this model's tokenizer lacks; none of these is generated"
            );
        }
        let trie = trie(tokenizer, vocab);
        let start = compile(schema, name, separators, &trie)?;
        let mut constraint = Constraint { trie, start, opening: None, strict: true };
        constraint.opening = prefixed.then(|| constraint.opening_tokens(tokenizer, vocab));
        Ok(constraint)
    }

    /// At the start of a record.
    pub fn guide(&self) -> Guide<'_> {
        // Deep: what a guide has found out about the grammar so far counts against its limits, and these must not depend on
        // which records went before or run beside.
        let matcher = self.start.deep_clone();
        Guide { constraint: self, matcher, is_open: self.opening.is_none() }
    }

    /// Whether the finished record, its free beginning left out, fits; the grammar has read it token by token.
    fn confirms(&self, record: &[u8]) -> bool {
        let free = if self.opening.is_some() { record.iter().position(|&b| b == b'{').unwrap_or(0) } else { 0 };
        let check = if self.strict { plain::is_plain } else { plain::is_readable };
        check(&record[free..])
    }

    /// Tokens without a `{`, and those that fit the grammar from their `{` on.
    fn opening_tokens(&self, tokenizer: &Tokenizer, vocab: usize) -> Vec<u32> {
        let mut matcher = self.start.deep_clone();
        let mut bits = vec![0; vocab.div_ceil(32)];
        for token in 0..vocab as u32 {
            let bytes = tokenizer.token_bytes(token);
            let fits = match bytes.iter().position(|&byte| byte == b'{') {
                _ if bytes.is_empty() || bytes.contains(&b'\n') => false,
                None => true,
                Some(at) => {
                    let inside = self.trie.tok_trie().greedy_tokenize(&bytes[at..]);
                    matcher.validate_tokens(&inside).is_ok_and(|read| read == inside.len())
                }
            };
            bits[token as usize / 32] |= u32::from(fits) << (token % 32);
        }
        bits
    }
}

/// How far one record has come in the grammar.
pub struct Guide<'a> {
    constraint: &'a Constraint,
    matcher: Matcher,
    /// The record's object has begun.
    is_open: bool,
}

impl Guide<'_> {
    /// The tokens that may come next, a bit set over the vocabulary; the separator where the record may end.
    pub fn allowed(&mut self) -> std::result::Result<Vec<u32>, DeadEnd> {
        let words = self.constraint.trie.tok_trie().vocab_size().div_ceil(32);
        match &self.constraint.opening {
            Some(opening) if !self.is_open => Ok(opening.clone()),
            _ => {
                let mask = self.matcher.compute_mask_or_eos().map_err(|e| dead_end(&e.to_string()))?;
                Ok(mask.as_slice()[..words].to_vec())
            }
        }
    }

    /// Goes through the tokens of a prompt up to the last, which the model is to write again itself, and makes sure of
    /// that one, too.
    /// Errors: one is refused; the number of bytes before it.
    pub fn read_prompt(&mut self, tokens: &[u32], tokenizer: &Tokenizer) -> std::result::Result<(), usize> {
        let Some((&last, before)) = tokens.split_last() else { return Ok(()) };
        let mut read = 0;
        for &token in before {
            let bytes = tokenizer.token_bytes(token);
            self.consume(token, bytes).map_err(|_| read)?;
            read += bytes.len();
        }
        let allowed = self.allowed().map_err(|_| read)?;
        if allowed[last as usize / 32] >> (last % 32) & 1 == 1 { Ok(()) } else { Err(read) }
    }

    /// Goes on by a token that stands for `bytes` and was allowed.
    pub fn consume(&mut self, token: u32, bytes: &[u8]) -> std::result::Result<(), DeadEnd> {
        if self.is_open {
            return self.matcher.consume_token(token).map_err(|e| dead_end(&e.to_string()));
        }
        let Some(at) = bytes.iter().position(|&byte| byte == b'{') else { return Ok(()) };
        self.is_open = true;
        let inside = self.constraint.trie.tok_trie().greedy_tokenize(&bytes[at..]);
        self.matcher.consume_tokens(&inside).map_err(|e| dead_end(&e.to_string()))
    }

    /// Whether the record that has just ended may be called finished.
    pub fn confirm(&self, record: &[u8]) -> std::result::Result<(), DeadEnd> {
        if self.constraint.confirms(record) { Ok(()) } else { Err(DeadEnd::NotPlain) }
    }
}

/// The crate tells its reasons in words only: this is its name for an empty mask.
fn dead_end(message: &str) -> DeadEnd {
    if message.contains("NoExtensionBias") { DeadEnd::NoToken } else { DeadEnd::TooComplex }
}

/// The model's tokens by their bytes. The separator stands for no text but for the end; bytes 0xff, which the crate would
/// read as marks of its own, are part of no JSON text.
fn trie(tokenizer: &Tokenizer, vocab: usize) -> TokEnv {
    let text = |token: u32| match tokenizer.token_bytes(token) {
        bytes if token == tokenizer.separator() || bytes.contains(&TokTrie::SPECIAL_TOKEN_MARKER) => Vec::new(),
        bytes => bytes.to_vec(),
    };
    let words: Vec<Vec<u8>> = (0..vocab as u32).map(text).collect();
    let trie = TokTrie::from(&TokRxInfo::new(vocab as u32, tokenizer.separator()), &words);
    // Approximate: it takes any cut into tokens for as good as another, so none is forced on the model.
    Arc::new(ApproximateTokEnv::new(trie))
}

fn compile(mut schema: Value, name: &str, separators: &Separators, trie: &TokEnv) -> Result<Matcher> {
    let plain = schema.clone();
    let options = JsonCompileOptions {
        item_separator: separators.item.clone(),
        key_separator: separators.key.clone(),
        whitespace_flexible: false,
        // Logs hold characters beyond ASCII as `\u00e9` as often as plainly.
        json_allow_general_unicode_escapes: true,
        ..JsonCompileOptions::default()
    };
    options.apply_to(&mut schema);
    let refused = |e: &dyn std::fmt::Display| schema::refusal(&plain, name, &format!("{e:#}"));
    let slices = SlicedBiasComputer::json_slices();
    let mut factory = ParserFactory::new(trie, InferenceCapabilities::default(), &slices).map_err(Error::failed)?;
    // Silent: its messages hold text of records.
    factory.quiet();
    *factory.limits_mut() = ParserLimits {
        initial_lexer_fuel: 20_000_000,
        max_grammar_size: 2_000_000,
        // At 1 to 2 kB each, by the crate's own word: a record in progress takes 100 MB at worst.
        max_lexer_states: 50_000,
        verbose_errors: false,
        ..ParserLimits::default()
    };
    let parser = factory.create_parser(TopLevelGrammar::from_json_schema(schema)).map_err(|e| refused(&e))?;
    let mut matcher = Matcher::new(Ok(parser));
    matcher.grammar_warnings().iter().for_each(|warning| tracing::warn!("{name}: {warning}"));
    // A start that allows nothing is the schema's fault, not the model's.
    matcher.compute_mask_or_eos().map_err(|e| refused(&e))?;
    Ok(matcher)
}
