//! Generates records in parallel, and hands them on in order.

use super::SamplingParams;
use super::active::{GeneratedRecord, GenerationRequest};
use super::batch::DecodeBatch;
use super::constraint::Constraint;
use crate::Result;
use crate::engine::Engine;
use crate::tokens::Tokenizer;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    /// The number of a record, by that of its prompt: numbers increase. None: they follow [`GenerationSettings::first`].
    pub numbers: Option<&'a dyn Fn(usize) -> usize>,
    /// Once set, generation ends after the current token; finished records are handed on, unfinished ones dropped.
    pub stop: Option<&'a AtomicBool>,
}

/// Generates one record for each prompt and gives the records to `sink` in the order of the prompts.
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
    let GenerationSettings { params, max_tokens, seed, first, parallel } = *settings;
    let mut prompts = prompts.enumerate();
    let mut batch = DecodeBatch::new(engine, tokenizer, parallel)?;
    let mut finished = InOrder::default();
    while !control.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
        while batch.has_room() {
            let Some((index, prompt)) = prompts.next() else { break };
            let number = control.numbers.map_or(first + index, |numbers| numbers(index));
            finished.expect(number);
            let grammar = control.grammars.as_mut().map(|grammars| grammars(index)).transpose()?;
            let (stop, logprobs) = (Vec::new(), None);
            batch.admit(GenerationRequest { prompt, params, max_tokens, seed, number, stop, grammar, logprobs })?;
        }
        if batch.active() == 0 {
            break;
        }
        let records = batch.step(engine)?.into_iter().filter_map(|progress| progress.finished);
        records.for_each(|(record, _)| finished.put(record));
        finished.hand_on(sink)?;
    }
    finished.hand_on_all(sink)
}

/// Hands records on in order, though they end out of order.
#[derive(Default)]
struct InOrder {
    /// By number.
    waiting: BTreeMap<usize, Option<GeneratedRecord>>,
}

impl InOrder {
    fn expect(&mut self, number: usize) {
        self.waiting.insert(number, None);
    }

    fn put(&mut self, done: GeneratedRecord) {
        self.waiting.insert(done.index, Some(done));
    }

    /// Hands on the records before which none is missing.
    fn hand_on(&mut self, sink: &mut dyn FnMut(GeneratedRecord) -> Result<()>) -> Result<()> {
        while let Some(mut first) = self.waiting.first_entry()
            && let Some(done) = first.get_mut().take()
        {
            first.remove();
            sink(done)?;
        }
        Ok(())
    }

    fn hand_on_all(self, sink: &mut dyn FnMut(GeneratedRecord) -> Result<()>) -> Result<()> {
        self.waiting.into_values().flatten().try_for_each(sink)
    }
}
