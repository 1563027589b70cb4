//! One record in progress: its tokens, its random stream, its position in a grammar.

use super::certain::CertainText;
use super::constraint::{Constraint, DeadEnd, Guide};
use super::heal::heal;
use super::logprobs::{Logprobs, TokenLogprob};
use crate::engine::{SampleRequest, SamplingParams};
use crate::tokens::Tokenizer;
use crate::{Error, Result};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is asked of one record.
#[derive(Clone)]
pub struct GenerationRequest {
    /// The text that the record begins with.
    pub prompt: Vec<u8>,
    pub params: SamplingParams,
    /// Number of tokens after which the record is truncated. 0: nothing is drawn.
    pub max_tokens: usize,
    pub seed: u64,
    /// The record draws from the stream of this number of the seed, so records of one seed differ.
    pub number: usize,
    /// Texts that end the record where they first occur behind the prompt.
    pub stop: Vec<String>,
    pub grammar: Option<Arc<Constraint>>,
    pub logprobs: Option<Logprobs>,
}

/// What the grammar did to one record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Constrained {
    /// Sum over the drawn tokens of the probability mass, at the temperature in use, that the grammar removed: about the number
    /// of tokens at which the model, unconstrained, would have left the grammar.
    pub removed: f64,
    /// Where more than a hundredth was removed: the offset of the token in the text, and the mass.
    pub pushes: Vec<(usize, f64)>,
    /// Time to compute masks and read tokens, on the thread that did it.
    pub time: Duration,
    /// Why the record could not be finished.
    pub dead_end: Option<DeadEnd>,
}

/// Why a record is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it.
    Ended,
    /// A stop sequence occurred.
    StopSequence,
    /// It has as many tokens as were asked for.
    Length,
    DeadEnd(DeadEnd),
}

/// One generated record.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratedRecord {
    pub index: usize,
    /// The prompt and its continuation, without the separators at both ends and without the stop sequence.
    pub text: Vec<u8>,
    /// Number of tokens drawn.
    pub tokens: usize,
    /// Whether the model ended the record itself (false: truncated, or in a dead end of its grammar).
    pub ended: bool,
    /// Present if there is a grammar.
    pub constrained: Option<Constrained>,
}

/// Less removed probability at a token is not remembered by its place.
const LEAST_PUSH: f64 = 0.01;

/// A token that an engine has drawn.
pub(super) struct Drawn<'a> {
    pub token: u32,
    /// The probability mass of the tokens that were allowed.
    pub allowed_share: f64,
    /// (V), where they were handed out.
    pub logits: Option<&'a [f32]>,
}

/// What a step brought.
#[derive(Default)]
pub(super) struct Gained {
    pub text: String,
    pub token: Option<TokenLogprob>,
}

/// A record in progress in one slot.
pub(super) struct ActiveSample {
    index: usize,
    params: SamplingParams,
    max_tokens: usize,
    logprobs: Option<Logprobs>,
    rng: ChaCha8Rng,
    /// The separator, the prompt and everything drawn.
    tokens: Vec<u32>,
    /// Tokens of the prompt that the model has yet to read one by one.
    told: VecDeque<u32>,
    drawn: usize,
    /// Number of bytes that the tokens spell.
    written: usize,
    prompt_length: usize,
    /// Prompt bytes that the first tokens have yet to write (see `heal`).
    owed: Vec<u8>,
    /// Tokens that write what is owed and that the grammar allows (a bit set over the vocabulary); None if nothing is owed and
    /// there is no grammar.
    allowed: Option<Vec<u32>>,
    guide: Option<Guide>,
    constrained: Constrained,
    certain: CertainText,
    /// Number of tokens that are not yet in the cache.
    pending: usize,
    /// Whether the cache holds something else, and must be emptied.
    is_stale: bool,
    /// The random number that decides the next token: in [0, 1).
    uniform: f64,
    finish: Option<Finish>,
}

/// Bit set of the tokens of `vocab` that fit; None if all do.
pub(super) fn bits(vocab: usize, fits: impl Fn(u32) -> bool) -> Option<Vec<u32>> {
    let mut bits = vec![0; vocab.div_ceil(32)];
    let fitting = (0..vocab as u32).filter(|&token| fits(token));
    let count = fitting.map(|token| bits[token as usize / 32] |= 1 << (token % 32)).count();
    (count < vocab).then_some(bits)
}

impl ActiveSample {
    pub fn new(request: GenerationRequest, tokenizer: &Tokenizer) -> Result<Self> {
        let GenerationRequest { prompt, params, max_tokens, seed, number, stop, grammar, logprobs } = request;
        let mut tokens = vec![tokenizer.separator()];
        tokenizer.encode(&prompt, &mut tokens)?;
        let back = if max_tokens == 0 { Vec::new() } else { heal(&mut tokens, &prompt, tokenizer)? };
        let started = Instant::now();
        let mut guide = grammar.map(|constraint| constraint.guide());
        if let Some(guide) = &mut guide {
            guide.read_prompt(&tokens[1..], &back, tokenizer).map_err(|read| {
                Error::failed(format!("the grammar does not allow prompt {} at its byte {}", number + 1, read + 1))
            })?;
        }
        let constrained = Constrained { time: started.elapsed(), ..Constrained::default() };
        let owed = tokenizer.decode(&back);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(number as u64);
        let told: VecDeque<u32> = match logprobs.is_some_and(|logprobs| logprobs.of_prompt) {
            true => tokens.drain(1..).collect(),
            false => VecDeque::new(),
        };
        Ok(ActiveSample {
            index: number,
            params,
            max_tokens,
            logprobs,
            rng,
            written: prompt.len() - owed.len(),
            prompt_length: prompt.len(),
            pending: tokens.len(),
            finish: (max_tokens == 0 && told.is_empty()).then_some(Finish::Length),
            tokens,
            told,
            drawn: 0,
            owed,
            allowed: None,
            guide,
            constrained,
            certain: CertainText::new(stop),
            is_stale: true,
            uniform: 0.0,
        })
    }

    pub fn is_done(&self) -> bool {
        self.finish.is_some()
    }

    /// Whether the next draw must hand out its logits or the share of what it allowed.
    pub fn is_measured(&self) -> bool {
        self.guide.is_some() || self.logprobs.is_some()
    }

    /// Computes what decides the next token, or ends a record that has no next token.
    pub fn prepare(&mut self, tokenizer: &Tokenizer, vocab: usize) {
        // What is told is not drawn, so it takes nothing from the random stream.
        if self.is_done() || !self.told.is_empty() {
            return;
        }
        self.uniform = (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let fits = |token| {
            let bytes = tokenizer.token_bytes(token);
            !bytes.is_empty() && (bytes.starts_with(&self.owed) || self.owed.starts_with(bytes))
        };
        let paying = if self.owed.is_empty() { None } else { bits(vocab, fits) };
        let Some(guide) = &mut self.guide else {
            self.allowed = paying;
            return;
        };
        let started = Instant::now();
        let allowed = guide.allowed().and_then(|mut allowed| {
            for (word, paying) in allowed.iter_mut().zip(paying.iter().flatten()) {
                *word &= paying;
            }
            if allowed.iter().any(|&word| word != 0) { Ok(allowed) } else { Err(DeadEnd::NoToken) }
        });
        self.constrained.time += started.elapsed();
        match allowed {
            Ok(allowed) => self.allowed = Some(allowed),
            Err(dead_end) => self.stop_at(dead_end),
        }
    }

    /// Whether the slot's cache, which holds `cached` tokens of at most `context`, must be emptied before the next draw. A
    /// sequence that has filled it continues from its last half.
    pub fn starts_over(&mut self, cached: usize, context: usize) -> bool {
        let cached = if self.is_stale { 0 } else { cached };
        let is_full = cached + self.pending > context;
        if is_full {
            self.pending = (context / 2).max(1).min(self.tokens.len());
        }
        std::mem::take(&mut self.is_stale) || is_full
    }

    /// The tokens that the cache lacks.
    pub fn pending(&self) -> &[u32] {
        &self.tokens[self.tokens.len() - self.pending..]
    }

    /// How the next token is drawn; `usual` are the tokens that may be drawn where nothing else decides.
    pub fn draw<'a>(&'a self, usual: Option<&'a [u32]>) -> SampleRequest<'a> {
        SampleRequest { params: self.params, uniform: self.uniform, allowed: self.allowed.as_deref().or(usual) }
    }

    fn stop_at(&mut self, dead_end: DeadEnd) {
        self.constrained.dead_end = Some(dead_end);
        self.finish = Some(Finish::DeadEnd(dead_end));
    }

    /// Takes the token just drawn.
    pub fn step(&mut self, drawn: &Drawn, tokenizer: &Tokenizer) -> Gained {
        let logprob = |token| {
            let (logits, wanted) = (drawn.logits?, self.logprobs?);
            Some(TokenLogprob::new(logits, token, wanted.top))
        };
        if let Some(token) = self.told.pop_front() {
            let gained = Gained { token: logprob(token), ..Gained::default() };
            self.tell(token);
            return gained;
        }
        let ends = drawn.token == tokenizer.separator() && self.owed.is_empty();
        let token = if ends { None } else { logprob(drawn.token) };
        let text = self.take(drawn, ends, tokenizer);
        self.guide_along(drawn.token, tokenizer);
        Gained { text, token }
    }

    /// A token of the prompt is read by itself.
    fn tell(&mut self, token: u32) {
        self.tokens.push(token);
        self.pending = 1;
        if self.told.is_empty() {
            // The prompt is read again at once, so that the rest is the same as without log probabilities.
            self.pending = self.tokens.len();
            self.is_stale = true;
            self.finish = (self.max_tokens == 0).then_some(Finish::Length);
        }
    }

    /// Adds the drawn token to the record, and returns the text that has become certain.
    fn take(&mut self, drawn: &Drawn, ends: bool, tokenizer: &Tokenizer) -> String {
        let bytes = tokenizer.token_bytes(drawn.token);
        if self.owed.is_empty() {
            let removed = 1.0 - drawn.allowed_share;
            self.constrained.removed += removed;
            if self.guide.is_some() && removed >= LEAST_PUSH {
                self.constrained.pushes.push((self.written, removed));
            }
        }
        // Tokens that only write the prompt again are not counted.
        self.drawn += usize::from(self.owed.is_empty() || self.owed.len() < bytes.len());
        if ends {
            self.finish = Some(Finish::Ended);
            return String::new();
        }
        let paid = bytes.len().min(self.owed.len());
        self.owed.drain(..paid);
        self.tokens.push(drawn.token);
        self.written += bytes.len();
        self.pending = 1;
        let (text, end) = self.certain.push(&bytes[paid..]);
        if let Some(end) = end {
            self.finish = Some(Finish::StopSequence);
            self.written = self.prompt_length + end;
        } else if self.drawn >= self.max_tokens && self.owed.is_empty() {
            self.finish = Some(Finish::Length);
        }
        text
    }

    /// The grammar follows the token just taken.
    fn guide_along(&mut self, token: u32, tokenizer: &Tokenizer) {
        let Some(guide) = &mut self.guide else { return };
        let started = Instant::now();
        let read = match self.finish {
            Some(Finish::StopSequence) => Ok(()),
            Some(Finish::Ended) => guide.confirm(&tokenizer.decode(&self.tokens[1..])),
            _ => guide.consume(token, tokenizer.token_bytes(token)),
        };
        self.constrained.time += started.elapsed();
        if let Err(dead_end) = read {
            self.stop_at(dead_end);
        }
    }

    /// The finished record with its last text, and why it is finished; None while it is in progress.
    pub fn finished(&mut self, tokenizer: &Tokenizer) -> Option<(String, GeneratedRecord, Finish)> {
        let finish = self.finish?;
        let mut text = tokenizer.decode(&self.tokens[1..]);
        text.truncate(self.written);
        let constrained = self.guide.is_some().then(|| std::mem::take(&mut self.constrained));
        let ended = finish == Finish::Ended;
        let record = GeneratedRecord { index: self.index, text, tokens: self.drawn, ended, constrained };
        Some((self.certain.rest(), record, finish))
    }
}
