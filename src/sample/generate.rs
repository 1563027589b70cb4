//! Samples in parallel: every slot of the engine's cache works on one, and takes the next when it has ended.

use super::Choice;
use crate::Result;
use crate::engine::Engine;
use crate::tokens::Tokenizer;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
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
    /// Tokens not yet in the cache.
    pending: usize,
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
    let vocab = engine.config().vocab;
    let mut logits = vec![0.0; slots.len() * vocab];
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
        feed(engine, &mut slots, &busy, &mut logits[..busy.len() * vocab])?;
        for (&slot, logits) in busy.iter().zip(logits.chunks_exact(vocab)) {
            let work = slots[slot].as_mut().expect("busy slots hold work");
            if let Some(done) = work.step(logits, tokenizer, settings) {
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

/// Brings the busy slots' pending tokens into the cache; logits (busy, V).
fn feed(engine: &mut dyn Engine, slots: &mut [Option<Work>], busy: &[usize], logits: &mut [f32]) -> Result<()> {
    let context = engine.config().context;
    let mut sequences: Vec<(usize, &[u32])> = Vec::with_capacity(busy.len());
    for (slot, work) in slots.iter_mut().enumerate() {
        let Some(work) = work else { continue };
        if engine.cached(slot) + work.pending > context {
            engine.forget(slot);
            work.pending = (context / 2).max(1).min(work.tokens.len());
        }
        sequences.push((slot, &work.tokens[work.tokens.len() - work.pending..]));
        work.pending = 0;
    }
    engine.extend(&sequences, logits)
}

impl Work {
    fn new(index: usize, prompt: &[u8], tokenizer: &Tokenizer, seed: u64) -> Result<Self> {
        let mut tokens = vec![tokenizer.separator()];
        tokenizer.encode(prompt, &mut tokens)?;
        let owed = heal(&mut tokens, tokenizer);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(index as u64);
        Ok(Work { index, rng, pending: tokens.len(), tokens, drawn: 0, owed })
    }

    /// Draws the next token; a finished sample is handed back.
    fn step(&mut self, logits: &[f32], tokenizer: &Tokenizer, settings: &Settings) -> Option<Generated> {
        // A model may have more tokens than its tokenizer (padding); those stand for nothing.
        let fits = |token: u32| {
            let bytes = tokenizer.token_bytes(token);
            !bytes.is_empty() && (bytes.starts_with(&self.owed) || self.owed.starts_with(bytes))
        };
        let token = settings.choice.draw(logits, fits, &mut self.rng);
        let ended = token == tokenizer.separator() && self.owed.is_empty();
        // Tokens that only write the prompt again do not count.
        self.drawn += usize::from(self.owed.len() <= tokenizer.token_bytes(token).len());
        if !ended {
            let written = tokenizer.token_bytes(token).len().min(self.owed.len());
            self.owed.drain(..written);
            self.tokens.push(token);
            self.pending = 1;
        }
        if !ended && (self.drawn < settings.max_tokens || !self.owed.is_empty()) {
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
