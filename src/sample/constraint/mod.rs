//! Generation within a grammar: which tokens can continue a record of a JSON Schema.
//!
//! The grammar is that of the llguidance crate. It reads the bytes of tokens, so it works with any tokenizer, also with tokens
//! that end in the middle of a character, and the model is free in how it divides text into tokens. It reads the tokens drawn,
//! not the KV cache, so a record may be longer than the context.

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

/// The text between the members of an object or list, and between a name and its value, as regular expressions.
///
/// A model writes as its records were written (`", "` and `": "` by Python, `","` and `":"` in compact JSON); forced to write
/// otherwise, it leaves the distribution that it was trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Separators {
    item: String,
    key: String,
}

impl Default for Separators {
    /// With or without a space, at every place.
    fn default() -> Self {
        Separators { item: ", ?".into(), key: ": ?".into() }
    }
}

impl Separators {
    /// Exactly these; None unless they are a comma and a colon, with or without spaces around them.
    pub fn exactly(item: &str, key: &str) -> Option<Self> {
        let fits = |text: &str, sign| text.trim_matches(' ') == sign;
        (fits(item, ",") && fits(key, ":")).then(|| Separators { item: item.into(), key: key.into() })
    }
}

/// Why a record cannot continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadEnd {
    /// The grammar continues with text that no token of the model begins.
    NoToken,
    /// The grammar exceeds its limits of time or memory.
    TooComplex,
    /// The record ended, but has a name twice in one object or needlessly escaped, a number that no parser can represent, or too
    /// deep nesting.
    NotPlain,
}

impl DeadEnd {
    /// The reason in words, for a message.
    pub fn reason(self) -> &'static str {
        match self {
            DeadEnd::NoToken => "no token of the model continues the record as the grammar requires",
            DeadEnd::TooComplex => "the grammar has become too complex",
            DeadEnd::NotPlain => "a name occurs twice or is escaped, or parsers cannot read a value",
        }
    }
}

/// A grammar compiled for one tokenizer, shared by all records.
pub struct Constraint {
    trie: TokEnv,
    /// The grammar at the start of a record's object.
    start: Matcher,
    /// The tokens that continue the text before the first `{` of a record or begin the object (a bit set); None where records
    /// begin with the object.
    opening: Option<Vec<u32>>,
    /// Names must occur once and without escapes, or the record might fit the grammar but not the schema.
    strict: bool,
}

impl Constraint {
    /// Any JSON object.
    pub fn json(separators: &Separators, prefixed: bool, tokenizer: &Tokenizer, vocab: usize) -> Result<Self> {
        let any = json!({ "type": "object" });
        let constraint = Self::schema(any, "--json", separators, prefixed, tokenizer, vocab)?;
        Ok(Constraint { strict: false, ..constraint })
    }

    /// The objects that fit a JSON Schema, with properties in the schema's order. `name` is the schema's file, for messages;
    /// `prefixed` allows any text before the first `{`; `vocab` is the model's, which may be larger than the tokenizer's.
    ///
    /// Errors: a schema that is invalid, not of an object or contradictory, or has keywords for which there is no grammar.
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
                "{name}: {dropped} names or values contain characters that this model's tokenizer lacks; they are not generated"
            );
        }
        let trie = trie(tokenizer, vocab);
        let start = compile(schema, name, separators, &trie)?;
        let mut constraint = Constraint { trie, start, opening: None, strict: true };
        constraint.opening = prefixed.then(|| constraint.opening_tokens(tokenizer, vocab));
        Ok(constraint)
    }

    /// A guide at the start of a record.
    pub fn guide(&self) -> Guide<'_> {
        // A deep clone, because what a guide has learnt about the grammar counts against its limits, and these must not depend on
        // earlier or parallel records.
        let matcher = self.start.deep_clone();
        Guide { constraint: self, matcher, is_open: self.opening.is_none() }
    }

    /// Whether the finished record fits, without its free beginning; the grammar has read it token by token.
    fn confirms(&self, record: &[u8]) -> bool {
        let free = if self.opening.is_some() { record.iter().position(|&b| b == b'{').unwrap_or(0) } else { 0 };
        let check = if self.strict { plain::is_plain } else { plain::is_readable };
        check(&record[free..])
    }

    /// Tokens without a `{`, and those that fit the grammar from their `{` onwards.
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

/// The position of one record in the grammar.
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

    /// Reads the tokens of a prompt except the last one, which the model will generate again, and checks that one too.
    ///
    /// Errors: a token that the grammar does not allow; the error is the number of bytes before it.
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

    /// Advances by an allowed token that stands for `bytes`.
    pub fn consume(&mut self, token: u32, bytes: &[u8]) -> std::result::Result<(), DeadEnd> {
        if self.is_open {
            return self.matcher.consume_token(token).map_err(|e| dead_end(&e.to_string()));
        }
        let Some(at) = bytes.iter().position(|&byte| byte == b'{') else { return Ok(()) };
        self.is_open = true;
        let inside = self.constraint.trie.tok_trie().greedy_tokenize(&bytes[at..]);
        self.matcher.consume_tokens(&inside).map_err(|e| dead_end(&e.to_string()))
    }

    /// Whether the record that has just ended is valid.
    pub fn confirm(&self, record: &[u8]) -> std::result::Result<(), DeadEnd> {
        if self.constraint.confirms(record) { Ok(()) } else { Err(DeadEnd::NotPlain) }
    }
}

/// The crate gives its reasons only in words: this is its name for an empty mask.
fn dead_end(message: &str) -> DeadEnd {
    if message.contains("NoExtensionBias") { DeadEnd::NoToken } else { DeadEnd::TooComplex }
}

/// The model's tokens by their bytes. The separator has no text, because it stands for the end of a record; tokens with the byte
/// 0xff, which the crate uses as a marker, are part of no JSON text.
fn trie(tokenizer: &Tokenizer, vocab: usize) -> TokEnv {
    let text = |token: u32| match tokenizer.token_bytes(token) {
        bytes if token == tokenizer.separator() || bytes.contains(&TokTrie::SPECIAL_TOKEN_MARKER) => Vec::new(),
        bytes => bytes.to_vec(),
    };
    let words: Vec<Vec<u8>> = (0..vocab as u32).map(text).collect();
    let trie = TokTrie::from(&TokRxInfo::new(vocab as u32, tokenizer.separator()), &words);
    // Approximate: it accepts every division of text into tokens, so none is forced on the model.
    Arc::new(ApproximateTokEnv::new(trie))
}

fn compile(mut schema: Value, name: &str, separators: &Separators, trie: &TokEnv) -> Result<Matcher> {
    let plain = schema.clone();
    let options = JsonCompileOptions {
        item_separator: separators.item.clone(),
        key_separator: separators.key.clone(),
        whitespace_flexible: false,
        // Logs contain non-ASCII characters both as `\u00e9` and as they are.
        json_allow_general_unicode_escapes: true,
        ..JsonCompileOptions::default()
    };
    options.apply_to(&mut schema);
    let refused = |e: &dyn std::fmt::Display| schema::refusal(&plain, name, &format!("{e:#}"));
    let slices = SlicedBiasComputer::json_slices();
    let mut factory = ParserFactory::new(trie, InferenceCapabilities::default(), &slices).map_err(Error::failed)?;
    // Silent, because its messages contain text of records.
    factory.quiet();
    *factory.limits_mut() = ParserLimits {
        initial_lexer_fuel: 20_000_000,
        max_grammar_size: 2_000_000,
        // States take 1 to 2 kB each, by the crate's documentation: a record in progress takes 100 MB at worst.
        max_lexer_states: 50_000,
        verbose_errors: false,
        ..ParserLimits::default()
    };
    let parser = factory.create_parser(TopLevelGrammar::from_json_schema(schema)).map_err(|e| refused(&e))?;
    let mut matcher = Matcher::new(Ok(parser));
    matcher.grammar_warnings().iter().for_each(|warning| tracing::warn!("{name}: {warning}"));
    // A start that allows nothing is an error of the schema, not of the model.
    matcher.compute_mask_or_eos().map_err(|e| refused(&e))?;
    Ok(matcher)
}
