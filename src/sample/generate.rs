//! Generates records in parallel: every slot of the engine's KV cache works on one record, and then on the next one.

use super::SamplingParams;
use super::constraint::{Constraint, DeadEnd, Guide};
use super::heal::heal;
use crate::engine::{Engine, SampleRequest};
use crate::tokens::Tokenizer;
use crate::{Error, Result};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How records are generated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GenerationSettings {
    pub params: SamplingParams,
    /// Number of tokens after which a record is truncated.
    pub max_tokens: usize,
    /// Record i draws from stream i of this seed, so records differ; the same settings give the same records.
    pub seed: u64,
    /// The number of the first record.
    pub first: usize,
    /// Number of records in progress at once.
    pub parallel: usize,
}

/// Gives the grammar that a record must fit, by the number of its prompt.
pub type Grammars<'a> = &'a mut dyn FnMut(usize) -> Result<Arc<Constraint>>;

/// What controls generation besides its settings.
#[derive(Default)]
pub struct Control<'a> {
    pub grammars: Option<Grammars<'a>>,
    /// Once set, generation ends after the current token; finished records are handed on, unfinished ones dropped.
    pub stop: Option<&'a AtomicBool>,
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

/// One generated record.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratedRecord {
    pub index: usize,
    /// The prompt and its continuation, without the separators at both ends.
    pub text: Vec<u8>,
    /// Number of tokens drawn.
    pub tokens: usize,
    /// Whether the model ended the record itself (false: truncated at `max_tokens`, or in a dead end of its grammar).
    pub ended: bool,
    /// Present if there is a grammar.
    pub constrained: Option<Constrained>,
}

/// Less removed probability at a token is not remembered by its place.
const LEAST_PUSH: f64 = 0.01;

/// A record in progress in one slot.
struct ActiveSample {
    index: usize,
    rng: ChaCha8Rng,
    /// The separator, the prompt and everything drawn.
    tokens: Vec<u32>,
    drawn: usize,
    /// Number of bytes that the tokens spell.
    written: usize,
    /// Prompt bytes that the first tokens have yet to write (see `heal`).
    owed: Vec<u8>,
    /// Tokens that write what is owed and that the grammar allows (a bit set over the vocabulary); None if nothing is owed and
    /// there is no grammar.
    allowed: Option<Vec<u32>>,
    guide: Option<Guide>,
    constrained: Constrained,
    /// Number of tokens that are not yet in the cache.
    pending: usize,
    /// The random number that decides the next token: in [0, 1).
    uniform: f64,
    /// The token drawn last, and the probability mass of the tokens that were allowed.
    drawn_now: (u32, f64),
    ended: bool,
    is_done: bool,
}

/// Generates one record for each prompt and gives the records to `sink` in the order of the prompts.
///
/// The model reads the separator first, as in a training window, so a record starts where records start. When a sequence fills
/// the context, generation continues from its last half: the cache is emptied and that half is read again at positions from 0.
///
/// Errors: a prompt that the grammar does not allow.
pub fn generate(
    engine: &mut dyn Engine,
    tokenizer: &Tokenizer,
    prompts: impl Iterator<Item = Vec<u8>>,
    settings: &GenerationSettings,
    mut control: Control,
    sink: &mut dyn FnMut(GeneratedRecord) -> Result<()>,
) -> Result<()> {
    let mut prompts = prompts.enumerate();
    let mut slots: Vec<Option<ActiveSample>> = Vec::new();
    slots.resize_with(settings.parallel, || None);
    engine.open_cache(slots.len())?;
    let usual = usual_tokens(tokenizer, engine.config().vocab);
    let mut finished = InOrder { handed_on: settings.first, ..InOrder::default() };
    while !control.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
        for (slot, work) in slots.iter_mut().enumerate().filter(|(_, work)| work.is_none()) {
            let Some((index, prompt)) = prompts.next() else { break };
            engine.forget(slot);
            finished.expect_one();
            let grammar = control.grammars.as_mut().map(|grammars| grammars(index)).transpose()?;
            *work = Some(ActiveSample::new(settings.first + index, &prompt, tokenizer, settings.seed, grammar)?);
        }
        if slots.iter().all(Option::is_none) {
            break;
        }
        let vocab = engine.config().vocab;
        slots.par_iter_mut().flatten().for_each(|work| work.prepare(tokenizer, vocab));
        draw(engine, &mut slots, settings.params, usual.as_deref())?;
        slots.par_iter_mut().flatten().for_each(|work| work.step(tokenizer, settings.max_tokens));
        for slot in &mut slots {
            if let Some(work) = slot.take_if(|work| work.is_done) {
                finished.put(work.finish(tokenizer));
            }
        }
        finished.hand_on(sink)?;
    }
    finished.hand_on_all(sink)
}

/// Hands records on in order, though they end out of order.
#[derive(Default)]
struct InOrder {
    waiting: VecDeque<Option<GeneratedRecord>>,
    handed_on: usize,
}

impl InOrder {
    fn expect_one(&mut self) {
        self.waiting.push_back(None);
    }

    fn put(&mut self, done: GeneratedRecord) {
        let place = done.index - self.handed_on;
        self.waiting[place] = Some(done);
    }

    /// Hands on the records before which none is missing.
    fn hand_on(&mut self, sink: &mut dyn FnMut(GeneratedRecord) -> Result<()>) -> Result<()> {
        while let Some(done) = self.waiting.front_mut().and_then(Option::take) {
            self.waiting.pop_front();
            self.handed_on += 1;
            sink(done)?;
        }
        Ok(())
    }

    fn hand_on_all(self, sink: &mut dyn FnMut(GeneratedRecord) -> Result<()>) -> Result<()> {
        self.waiting.into_iter().flatten().try_for_each(sink)
    }
}

/// Brings all pending tokens into the cache and draws the next token of each record that can continue.
fn draw(
    engine: &mut dyn Engine,
    slots: &mut [Option<ActiveSample>],
    params: SamplingParams,
    usual: Option<&[u32]>,
) -> Result<()> {
    let context = engine.config().context;
    for (slot, work) in slots.iter_mut().enumerate() {
        let Some(work) = work else { continue };
        if engine.cached(slot) + work.pending > context {
            engine.forget(slot);
            work.pending = (context / 2).max(1).min(work.tokens.len());
        }
    }
    let mut sequences: Vec<(usize, &[u32])> = Vec::with_capacity(slots.len());
    let mut draws = Vec::with_capacity(slots.len());
    let is_guided = slots.iter().flatten().any(|work| work.guide.is_some());
    for (slot, work) in slots.iter().enumerate() {
        let Some(work) = work.as_ref().filter(|work| !work.is_done) else { continue };
        sequences.push((slot, &work.tokens[work.tokens.len() - work.pending..]));
        draws.push(SampleRequest { params, uniform: work.uniform, allowed: work.allowed.as_deref().or(usual) });
    }
    let (mut tokens, mut shares) = (vec![0; draws.len()], vec![1.0; draws.len()]);
    match is_guided {
        _ if draws.is_empty() => {}
        true => engine.sample_measured(&sequences, &draws, &mut tokens, &mut shares)?,
        false => engine.sample(&sequences, &draws, &mut tokens)?,
    }
    let drawn = slots.iter_mut().flatten().filter(|work| !work.is_done).zip(tokens.into_iter().zip(shares));
    drawn.for_each(|(work, drawn)| work.drawn_now = drawn);
    Ok(())
}

/// Bit set of the tokens of `vocab` that fit; None if all do.
fn bits(vocab: usize, fits: impl Fn(u32) -> bool) -> Option<Vec<u32>> {
    let mut bits = vec![0; vocab.div_ceil(32)];
    let fitting = (0..vocab as u32).filter(|&token| fits(token));
    let count = fitting.map(|token| bits[token as usize / 32] |= 1 << (token % 32)).count();
    (count < vocab).then_some(bits)
}

/// The tokens that stand for text: a model may have more tokens than its tokenizer (padding).
fn usual_tokens(tokenizer: &Tokenizer, vocab: usize) -> Option<Vec<u32>> {
    bits(vocab, |token| !tokenizer.token_bytes(token).is_empty())
}

impl ActiveSample {
    fn new(
        index: usize,
        prompt: &[u8],
        tokenizer: &Tokenizer,
        seed: u64,
        constraint: Option<Arc<Constraint>>,
    ) -> Result<Self> {
        let mut tokens = vec![tokenizer.separator()];
        tokenizer.encode(prompt, &mut tokens)?;
        let back = heal(&mut tokens, prompt, tokenizer)?;
        let started = Instant::now();
        let mut guide = constraint.map(|constraint| constraint.guide());
        if let Some(guide) = &mut guide {
            guide.read_prompt(&tokens[1..], &back, tokenizer).map_err(|read| {
                Error::failed(format!("the grammar does not allow prompt {} at its byte {}", index + 1, read + 1))
            })?;
        }
        let constrained = Constrained { time: started.elapsed(), ..Constrained::default() };
        let owed = tokenizer.decode(&back);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(index as u64);
        let pending = tokens.len();
        Ok(ActiveSample {
            index,
            rng,
            written: prompt.len() - owed.len(),
            tokens,
            drawn: 0,
            owed,
            allowed: None,
            guide,
            constrained,
            pending,
            uniform: 0.0,
            drawn_now: (0, 1.0),
            ended: false,
            is_done: false,
        })
    }

    /// Computes what decides the next token, or ends a record that has no next token.
    fn prepare(&mut self, tokenizer: &Tokenizer, vocab: usize) {
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

    fn stop_at(&mut self, dead_end: DeadEnd) {
        self.constrained.dead_end = Some(dead_end);
        self.is_done = true;
    }

    /// Takes the token just drawn.
    fn step(&mut self, tokenizer: &Tokenizer, max_tokens: usize) {
        if self.is_done {
            return;
        }
        let (token, allowed_share) = self.drawn_now;
        let bytes = tokenizer.token_bytes(token);
        self.ended = token == tokenizer.separator() && self.owed.is_empty();
        if self.owed.is_empty() {
            let removed = 1.0 - allowed_share;
            self.constrained.removed += removed;
            if self.guide.is_some() && removed >= LEAST_PUSH {
                self.constrained.pushes.push((self.written, removed));
            }
        }
        // Tokens that only write the prompt again are not counted.
        self.drawn += usize::from(self.owed.is_empty() || self.owed.len() < bytes.len());
        if !self.ended {
            let written = bytes.len().min(self.owed.len());
            self.owed.drain(..written);
            self.tokens.push(token);
            self.written += bytes.len();
            self.pending = 1;
        }
        self.is_done = self.ended || (self.drawn >= max_tokens && self.owed.is_empty());
        let Some(guide) = &mut self.guide else { return };
        let started = Instant::now();
        let read = match self.ended {
            true => guide.confirm(&tokenizer.decode(&self.tokens[1..])),
            false => guide.consume(token, bytes),
        };
        self.constrained.time += started.elapsed();
        if let Err(dead_end) = read {
            self.ended = false;
            self.stop_at(dead_end);
        }
    }

    fn finish(self, tokenizer: &Tokenizer) -> GeneratedRecord {
        let text = tokenizer.decode(&self.tokens[1..]);
        let constrained = self.guide.map(|_| self.constrained);
        GeneratedRecord { index: self.index, text, tokens: self.drawn, ended: self.ended, constrained }
    }
}
