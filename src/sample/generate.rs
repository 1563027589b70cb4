//! Samples in parallel: every slot of the engine's cache works on one, and takes the next when it has ended.

use super::Choice;
use crate::Result;
use crate::engine::{Draw, Engine};
use crate::tokens::Tokenizer;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    pub choice: Choice,
    /// Tokens after which a sample is cut off, its record unfinished.
    pub max_tokens: usize,
    /// Sample i draws from stream i of this seed, so samples differ; the same settings give the same samples.
    pub seed: u64,
    /// Samples in progress at once.
    pub parallel: usize,
}

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    pub index: usize,
    /// The prompt and what followed it, without the separators at both ends.
    pub text: Vec<u8>,
    /// Tokens drawn.
    pub tokens: usize,
    /// Whether the model ended the record itself (false: cut off at `max_tokens`).
    pub ended: bool,
}

/// A sample in progress in one slot.
struct Work {
    index: usize,
    rng: ChaCha8Rng,
    /// Separator, prompt and everything drawn.
    tokens: Vec<u32>,
    drawn: usize,
    /// Prompt bytes still to be written by the first tokens (see `heal`).
    owed: Vec<u8>,
    /// Tokens that continue or begin what is owed (a bit set over the vocabulary); none where nothing is owed.
    paying: Option<Vec<u32>>,
    /// Tokens not yet in the cache.
    pending: usize,
    /// Decides the next token: in 0..1.
    uniform: f64,
}

/// Generates one record for each prompt and hands the samples to `sink` in the order of the prompts.
///
/// The stream the model sees starts with the separator, as a training window does, so a record starts where records start.
/// When a sequence fills the context, generation goes on from its last half: the cache is emptied and that half is read
/// again at positions from 0.
pub fn generate(
    engine: &mut dyn Engine,
    tokenizer: &Tokenizer,
    prompts: impl Iterator<Item = Vec<u8>>,
    settings: &Settings,
    sink: &mut dyn FnMut(Generated) -> Result<()>,
) -> Result<()> {
    let mut prompts = prompts.enumerate();
    let mut slots: Vec<Option<Work>> = Vec::new();
    slots.resize_with(settings.parallel, || None);
    engine.open_cache(slots.len())?;
    let usual = usual_tokens(tokenizer, engine.config().vocab);
    let mut drawn = vec![0; slots.len()];
    let mut finished: VecDeque<Option<Generated>> = VecDeque::new();
    let mut handed_on = 0;
    loop {
        for (slot, work) in slots.iter_mut().enumerate().filter(|(_, work)| work.is_none()) {
            let Some((index, prompt)) = prompts.next() else { break };
            engine.forget(slot);
            finished.push_back(None);
            *work = Some(Work::new(index, &prompt, tokenizer, settings.seed)?);
        }
        let busy: Vec<usize> = (0..slots.len()).filter(|&slot| slots[slot].is_some()).collect();
        if busy.is_empty() {
            return Ok(());
        }
        let vocab = engine.config().vocab;
        for work in slots.iter_mut().flatten() {
            work.prepare(tokenizer, vocab);
        }
        draw(engine, &mut slots, settings.choice, usual.as_deref(), &mut drawn[..busy.len()])?;
        for (&slot, &token) in busy.iter().zip(&drawn) {
            let work = slots[slot].as_mut().expect("busy slots hold work");
            if let Some(done) = work.step(token, tokenizer, settings.max_tokens) {
                let place = done.index - handed_on;
                finished[place] = Some(done);
                slots[slot] = None;
            }
        }
        while let Some(done) = finished.front_mut().and_then(Option::take) {
            finished.pop_front();
            handed_on += 1;
            sink(done)?;
        }
    }
}

/// Brings all pending tokens into the cache and draws the next token of each busy slot: `drawn` (busy).
fn draw(
    engine: &mut dyn Engine,
    slots: &mut [Option<Work>],
    choice: Choice,
    usual: Option<&[u32]>,
    drawn: &mut [u32],
) -> Result<()> {
    let context = engine.config().context;
    for (slot, work) in slots.iter_mut().enumerate() {
        let Some(work) = work else { continue };
        if engine.cached(slot) + work.pending > context {
            engine.forget(slot);
            work.pending = (context / 2).max(1).min(work.tokens.len());
        }
    }
    let mut sequences: Vec<(usize, &[u32])> = Vec::with_capacity(drawn.len());
    let mut draws = Vec::with_capacity(drawn.len());
    for (slot, work) in slots.iter().enumerate() {
        let Some(work) = work else { continue };
        sequences.push((slot, &work.tokens[work.tokens.len() - work.pending..]));
        draws.push(Draw { choice, uniform: work.uniform, allowed: work.paying.as_deref().or(usual) });
    }
    engine.sample(&sequences, &draws, drawn)
}

/// Bit set of the tokens of `vocab` that fit; none where all do.
fn bits(vocab: usize, fits: impl Fn(u32) -> bool) -> Option<Vec<u32>> {
    let mut bits = vec![0; vocab.div_ceil(32)];
    let fitting = (0..vocab as u32).filter(|&token| fits(token));
    let count = fitting.map(|token| bits[token as usize / 32] |= 1 << (token % 32)).count();
    (count < vocab).then_some(bits)
}

/// The tokens that stand for something: a model may have more of them than its tokenizer (padding).
fn usual_tokens(tokenizer: &Tokenizer, vocab: usize) -> Option<Vec<u32>> {
    bits(vocab, |token| !tokenizer.token_bytes(token).is_empty())
}

impl Work {
    fn new(index: usize, prompt: &[u8], tokenizer: &Tokenizer, seed: u64) -> Result<Self> {
        let mut tokens = vec![tokenizer.separator()];
        tokenizer.encode(prompt, &mut tokens)?;
        let owed = heal(&mut tokens, tokenizer);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(index as u64);
        let pending = tokens.len();
        Ok(Work { index, rng, tokens, drawn: 0, owed, paying: None, pending, uniform: 0.0 })
    }

    /// Makes ready what decides the next token.
    fn prepare(&mut self, tokenizer: &Tokenizer, vocab: usize) {
        self.uniform = (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let fits = |token| {
            let bytes = tokenizer.token_bytes(token);
            !bytes.is_empty() && (bytes.starts_with(&self.owed) || self.owed.starts_with(bytes))
        };
        self.paying = if self.owed.is_empty() { None } else { bits(vocab, fits) };
    }

    /// Takes the drawn token; a finished sample is handed back.
    fn step(&mut self, token: u32, tokenizer: &Tokenizer, max_tokens: usize) -> Option<Generated> {
        let ended = token == tokenizer.separator() && self.owed.is_empty();
        // Tokens that only write the prompt again do not count.
        self.drawn += usize::from(self.owed.len() <= tokenizer.token_bytes(token).len());
        if !ended {
            let written = tokenizer.token_bytes(token).len().min(self.owed.len());
            self.owed.drain(..written);
            self.tokens.push(token);
            self.pending = 1;
        }
        if !ended && (self.drawn < max_tokens || !self.owed.is_empty()) {
            return None;
        }
        let text = tokenizer.decode(&self.tokens[1..]);
        Some(Generated { index: self.index, text, tokens: self.drawn, ended })
    }
}

/// Takes the prompt's last token off and returns its bytes, which the model must then write itself: a prompt that stops in
/// the middle of a word would otherwise end in a token that never stands there in training.
fn heal(tokens: &mut Vec<u32>, tokenizer: &Tokenizer) -> Vec<u8> {
    match tokens.len() {
        0 | 1 => Vec::new(),
        _ => tokenizer.token_bytes(tokens.pop().expect("more than one")).to_vec(),
    }
}
