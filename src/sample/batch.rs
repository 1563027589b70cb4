//! Continuous batching: records in progress share steps of the engine, each with settings of its own. One that ends leaves its
//! slot of the KV cache to the next, whatever the others do.

use super::active::{ActiveSample, Drawn, Finish, Gained, GeneratedRecord, GenerationRequest, bits};
use super::logprobs::TokenLogprob;
use crate::Result;
use crate::engine::Engine;
use crate::tokens::Tokenizer;
use rayon::prelude::*;

/// Names a record in progress; no later one has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SampleId(u64);

/// What a step did to one record.
#[derive(Debug)]
pub struct Progress {
    pub id: SampleId,
    /// Text behind the prompt that is certain now; all of them together are the record's text behind its prompt.
    pub text: String,
    /// The token that was read or drawn, where log probabilities are wanted; the end of the record is none.
    pub token: Option<TokenLogprob>,
    /// The record and why it is finished, once it is.
    pub finished: Option<(GeneratedRecord, Finish)>,
}

/// The records in progress, one in each slot of an engine's KV cache.
pub struct DecodeBatch {
    tokenizer: Tokenizer,
    vocab: usize,
    slots: Vec<Option<(SampleId, ActiveSample)>>,
    /// The tokens that stand for text: a model may have more tokens than its tokenizer (padding). None: all.
    usual: Option<Vec<u32>>,
    /// Of the last step, (records, V).
    logits: Vec<f32>,
    next: u64,
}

impl DecodeBatch {
    /// Opens the engine's KV cache with so many slots. From here on the cache is this value's.
    pub fn new(engine: &mut dyn Engine, tokenizer: &Tokenizer, slots: usize) -> Result<Self> {
        engine.open_cache(slots)?;
        let vocab = engine.config().vocab;
        let usual = bits(vocab, |token| !tokenizer.token_bytes(token).is_empty());
        let mut empty = Vec::new();
        empty.resize_with(slots, || None);
        Ok(DecodeBatch { tokenizer: tokenizer.clone(), vocab, slots: empty, usual, logits: Vec::new(), next: 0 })
    }

    /// The number of records in progress.
    pub fn active(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// Whether another record can be admitted.
    pub fn has_room(&self) -> bool {
        self.slots.iter().any(Option::is_none)
    }

    /// Starts a record in a free slot; its first token comes with the next step. Panics where no slot is free.
    ///
    /// The model reads the separator first, as in a training window, so a record starts where records start.
    ///
    /// Errors: a prompt that the tokenizer or the grammar does not allow.
    pub fn admit(&mut self, request: GenerationRequest) -> Result<SampleId> {
        let sample = ActiveSample::new(request, &self.tokenizer)?;
        let id = SampleId(self.next);
        self.next += 1;
        let free = self.slots.iter_mut().find(|slot| slot.is_none());
        *free.expect("the caller has asked for room") = Some((id, sample));
        Ok(id)
    }

    /// Ends a record in progress; one that is finished already is no error.
    pub fn cancel(&mut self, id: SampleId) {
        self.slots.iter_mut().for_each(|slot| drop(slot.take_if(|(active, _)| *active == id)));
    }

    /// Draws the next token of every record in progress.
    ///
    /// When a sequence fills the context, generation continues from its last half: the cache is emptied and that half is read
    /// again at positions from 0.
    ///
    /// Errors: the engine's; no record is in progress then.
    pub fn step(&mut self, engine: &mut dyn Engine) -> Result<Vec<Progress>> {
        let (tokenizer, vocab) = (self.tokenizer.clone(), self.vocab);
        self.slots.par_iter_mut().flatten().for_each(|(_, sample)| sample.prepare(&tokenizer, vocab));
        let drawn = self.draw(engine).inspect_err(|_| self.slots.iter_mut().for_each(|slot| *slot = None))?;
        let rows = self.logits.chunks_exact(vocab).map(Some).chain(std::iter::repeat(None));
        let mut drawn = drawn.into_iter().zip(rows);
        let mut steps: Vec<(SampleId, &mut ActiveSample, Option<Drawn>)> = Vec::with_capacity(self.slots.len());
        for (id, sample) in self.slots.iter_mut().flatten() {
            let next = if sample.is_done() { None } else { drawn.next() };
            let drawn = next.map(|((token, allowed_share), logits)| Drawn { token, allowed_share, logits });
            steps.push((*id, sample, drawn));
        }
        let step = |(id, sample, drawn): (SampleId, &mut ActiveSample, Option<Drawn>)| {
            let gained = drawn.map(|drawn| sample.step(&drawn, &tokenizer));
            let Gained { mut text, token } = gained.unwrap_or_default();
            let finished = sample.finished(&tokenizer).map(|(rest, record, finish)| {
                text.push_str(&rest);
                (record, finish)
            });
            Progress { id, text, token, finished }
        };
        let progress: Vec<Progress> = steps.into_par_iter().map(step).collect();
        self.slots.iter_mut().for_each(|slot| drop(slot.take_if(|(_, sample)| sample.is_done())));
        Ok(progress)
    }

    /// Brings all pending tokens into the cache and draws the next token of each record that can continue, with the share that
    /// was allowed. The logits are kept where some record needs them.
    fn draw(&mut self, engine: &mut dyn Engine) -> Result<Vec<(u32, f64)>> {
        let context = engine.config().context;
        for (slot, (_, sample)) in
            self.slots.iter_mut().enumerate().filter_map(|(slot, work)| Some((slot, work.as_mut()?)))
        {
            if sample.starts_over(engine.cached(slot), context) {
                engine.forget(slot);
            }
        }
        let (mut sequences, mut draws) = (Vec::with_capacity(self.slots.len()), Vec::with_capacity(self.slots.len()));
        let mut is_measured = false;
        for (slot, work) in self.slots.iter().enumerate() {
            let Some((_, sample)) = work.as_ref().filter(|(_, sample)| !sample.is_done()) else { continue };
            sequences.push((slot, sample.pending()));
            draws.push(sample.draw(self.usual.as_deref()));
            is_measured |= sample.is_measured();
        }
        let (mut tokens, mut shares) = (vec![0; draws.len()], vec![1.0; draws.len()]);
        self.logits.clear();
        match is_measured {
            _ if draws.is_empty() => {}
            true => {
                self.logits.resize(draws.len() * self.vocab, 0.0);
                engine.sample_measured(&sequences, &draws, &mut self.logits, &mut tokens, &mut shares)?;
            }
            false => engine.sample(&sequences, &draws, &mut tokens)?,
        }
        Ok(tokens.into_iter().zip(shares).collect())
    }
}
