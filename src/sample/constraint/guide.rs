//! The position of one record in a grammar.

use super::number_run::NumberRun;
use super::plain;
use crate::tokens::Tokenizer;
use llguidance::Matcher;
use llguidance::toktrie::TokEnv;
use std::sync::Arc;

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
    pub(super) trie: TokEnv,
    /// The grammar at the start of a record's object.
    pub(super) start: Matcher,
    /// The tokens that continue the text before the first `{` of a record or begin the object (a bit set); None where records
    /// begin with the object.
    pub(super) opening: Option<Vec<u32>>,
    /// Names must occur without needless escapes, or the record might fit the grammar but not the schema.
    pub(super) strict: bool,
    /// Numbers must be readable as 64-bit floats, and end after some digits; training records may have others.
    pub(super) finite: bool,
}

impl Constraint {
    /// A guide at the start of a record.
    pub fn guide(self: &Arc<Self>) -> Guide {
        // A deep clone, because what a guide has learnt about the grammar counts against its limits, and these must not depend on
        // earlier or parallel records.
        let matcher = self.start.deep_clone();
        Guide { constraint: self.clone(), matcher, is_open: self.opening.is_none(), number: NumberRun::default() }
    }

    /// Whether the finished record fits, without its free beginning; the grammar has read it token by token.
    fn confirms(&self, record: &[u8]) -> bool {
        let free = if self.opening.is_some() { record.iter().position(|&b| b == b'{').unwrap_or(0) } else { 0 };
        let body = &record[free..];
        plain::has_distinct_names(body)
            && (!self.strict || plain::has_plain_names(body))
            && (!self.finite || plain::is_readable(body))
    }

    /// Tokens without a `{`, and those that fit the grammar from their `{` onwards.
    pub(super) fn opening_tokens(&self, tokenizer: &Tokenizer, vocab: usize) -> Vec<u32> {
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
pub struct Guide {
    constraint: Arc<Constraint>,
    matcher: Matcher,
    /// The record's object has begun.
    is_open: bool,
    number: NumberRun,
}

impl Guide {
    /// The tokens that may come next, a bit set over the vocabulary; the separator where the record may end.
    pub fn allowed(&mut self) -> std::result::Result<Vec<u32>, DeadEnd> {
        let words = self.constraint.trie.tok_trie().vocab_size().div_ceil(32);
        match &self.constraint.opening {
            Some(opening) if !self.is_open => Ok(opening.clone()),
            _ => {
                let mask = self.matcher.compute_mask_or_eos().map_err(|e| dead_end(&e.to_string()))?;
                let mask = mask.as_slice()[..words].to_vec();
                let is_long = self.constraint.finite && self.number.is_long();
                Ok(if is_long { self.without_digits(&mask).unwrap_or(mask) } else { mask })
            }
        }
    }

    /// The allowed tokens that end the number; None if it cannot end here.
    fn without_digits(&self, mask: &[u32]) -> Option<Vec<u32>> {
        let trie = self.constraint.trie.tok_trie();
        let mut ends = mask.to_vec();
        for token in 0..trie.vocab_size() as u32 {
            if trie.token(token).first().is_some_and(u8::is_ascii_digit) {
                ends[token as usize / 32] &= !(1 << (token % 32));
            }
        }
        ends.iter().any(|&word| word != 0).then_some(ends)
    }

    /// Reads the tokens of a prompt, and checks those at its end that the model will write itself.
    ///
    /// Errors: a token that the grammar does not allow; the error is the number of bytes before it.
    pub fn read_prompt(&mut self, kept: &[u32], back: &[u32], tokenizer: &Tokenizer) -> std::result::Result<(), usize> {
        let mut read = 0;
        let mut consume = |guide: &mut Self, tokens: &[u32]| {
            tokens.iter().try_for_each(|&token| {
                let bytes = tokenizer.token_bytes(token);
                guide.consume(token, bytes).map_err(|_| read)?;
                read += bytes.len();
                Ok(())
            })
        };
        consume(self, kept)?;
        let matcher = self.matcher.deep_clone();
        let number = self.number.clone();
        let mut ahead = Guide { constraint: self.constraint.clone(), matcher, is_open: self.is_open, number };
        consume(&mut ahead, back)
    }

    /// Advances by an allowed token that stands for `bytes`.
    pub fn consume(&mut self, token: u32, bytes: &[u8]) -> std::result::Result<(), DeadEnd> {
        self.number.read(bytes);
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
