//! Records of all requests in progress, in steps that they share: the part of the thread that computes which generates.

use super::outbox::Outbox;
use crate::engine::Engine;
use crate::sample::{DecodeBatch, GenerationRequest, SampleId};
use crate::tokens::Tokenizer;
use crate::{Error, Result};
use std::collections::{BTreeMap, VecDeque};

/// The records that one request asks for, and where to tell of them.
pub struct Generation {
    pub requests: Vec<GenerationRequest>,
    pub outbox: Outbox,
}

/// A request whose records are not all finished.
struct InProgress {
    /// Those that wait for a slot, by their number in the request.
    waiting: VecDeque<(usize, GenerationRequest)>,
    active: BTreeMap<SampleId, usize>,
    outbox: Outbox,
}

pub struct Decoding {
    tokenizer: Tokenizer,
    slots: usize,
    /// Opened when the first record is asked for, because its cache takes much memory.
    batch: Option<DecodeBatch>,
    all: Vec<InProgress>,
}

impl Decoding {
    /// Generates up to `slots` records at once.
    pub fn new(tokenizer: Tokenizer, slots: usize) -> Self {
        Decoding { tokenizer, slots, batch: None, all: Vec::new() }
    }

    pub fn push(&mut self, Generation { requests, outbox }: Generation) {
        let waiting = requests.into_iter().enumerate().collect();
        self.all.push(InProgress { waiting, active: BTreeMap::new(), outbox });
    }

    pub fn is_idle(&self) -> bool {
        self.all.is_empty()
    }

    /// Draws a token of each record that has a slot, and returns their number. A failure is told to those who wait.
    pub fn step(&mut self, engine: &mut dyn Engine) -> usize {
        match self.try_step(engine) {
            Ok(tokens) => tokens,
            Err(error) => {
                let message = error.to_string();
                self.all.drain(..).for_each(|request| request.outbox.fail(Error::failed(&message)));
                0
            }
        }
    }

    fn try_step(&mut self, engine: &mut dyn Engine) -> Result<usize> {
        let Decoding { tokenizer, slots, batch, all } = self;
        let batch = match batch {
            Some(batch) => batch,
            None => batch.insert(DecodeBatch::new(engine, tokenizer, *slots)?),
        };
        give_up(all, batch);
        admit(all, batch);
        let steps = batch.step(engine)?;
        let tokens = steps.len();
        for progress in steps {
            let owner = all.iter_mut().find(|request| request.active.contains_key(&progress.id));
            let Some(InProgress { active, outbox, .. }) = owner else { continue };
            let number = active[&progress.id];
            if progress.finished.is_some() {
                active.remove(&progress.id);
            }
            outbox.progress(number, progress);
        }
        all.retain(|request| !request.active.is_empty() || !request.waiting.is_empty());
        Ok(tokens)
    }
}

/// Drops the records of requests whose clients have left.
fn give_up(all: &mut Vec<InProgress>, batch: &mut DecodeBatch) {
    all.retain(|request| {
        let is_wanted = request.outbox.is_wanted();
        if !is_wanted {
            request.active.keys().for_each(|id| batch.cancel(*id));
        }
        is_wanted
    });
}

/// Fills the free slots. The request with the fewest records in progress has the next, so that one that asks for many does not
/// keep others waiting.
fn admit(all: &mut Vec<InProgress>, batch: &mut DecodeBatch) {
    while batch.has_room() {
        let open = all.iter_mut().enumerate().filter(|(_, request)| !request.waiting.is_empty());
        let Some((place, request)) = open.min_by_key(|(_, request)| request.active.len()) else { return };
        let Some((number, next)) = request.waiting.pop_front() else { return };
        match batch.admit(next) {
            Ok(id) => drop(request.active.insert(id, number)),
            Err(error) => {
                let failed = all.remove(place);
                failed.active.keys().for_each(|id| batch.cancel(*id));
                failed.outbox.fail(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::outbox::{Inbox, mailbox};
    use super::*;
    use crate::cpu::CpuEngine;
    use crate::engine::SamplingParams;
    use crate::gpt::{Config, Layout, init};
    use std::time::Duration;

    fn engine() -> CpuEngine {
        let config = Config { layers: 1, heads: 1, channels: 8, context: 16, vocab: 256, bias: false };
        CpuEngine::new(config, init::parameters(&Layout::new(&config), 4))
    }

    /// Asks for `n` records of six tokens.
    fn ask(decoding: &mut Decoding, n: usize) -> Inbox {
        let params = SamplingParams { temperature: 1.0, top_k: 0, top_p: 1.0 };
        let request = |number| GenerationRequest {
            prompt: b"a".to_vec(),
            params,
            max_tokens: 6,
            seed: 1,
            number,
            stop: vec![],
            grammar: None,
            logprobs: None,
        };
        let (outbox, inbox) = mailbox();
        decoding.push(Generation { requests: (0..n).map(request).collect(), outbox });
        inbox
    }

    /// The numbers of the records that are finished.
    fn finished(inbox: &Inbox) -> Vec<usize> {
        let news = inbox.wait(Duration::ZERO).unwrap_or_default();
        news.into_iter().filter(|(_, news)| news.finished.is_some()).map(|(number, _)| number).collect()
    }

    #[test]
    fn a_small_request_does_not_wait_for_a_large_one() {
        let (mut engine, mut decoding) = (engine(), Decoding::new(Tokenizer::bytes(), 4));
        let large = ask(&mut decoding, 40);
        decoding.step(&mut engine);
        let small = ask(&mut decoding, 2);
        let mut steps = 0;
        let mut done = Vec::new();
        while done.len() < 2 {
            done.extend(finished(&small));
            decoding.step(&mut engine);
            steps += 1;
        }
        // A slot is free after six steps at most, and the records take about as many more.
        assert!(steps <= 16, "{steps} steps");
        let mut all = finished(&large);
        assert!(all.len() < 20, "{all:?}");
        while !decoding.is_idle() {
            assert!(decoding.step(&mut engine) <= 4);
        }
        all.extend(finished(&large));
        assert_eq!(all.len(), 40);
    }

    #[test]
    fn what_nobody_waits_for_is_given_up() {
        let (mut engine, mut decoding) = (engine(), Decoding::new(Tokenizer::bytes(), 2));
        let (left, stays) = (ask(&mut decoding, 50), ask(&mut decoding, 1));
        decoding.step(&mut engine);
        drop(left);
        let tokens: usize = (0..10).map(|_| decoding.step(&mut engine)).sum();
        assert!(tokens <= 6, "only those of the other request: {tokens}");
        assert!(decoding.is_idle());
        assert_eq!(finished(&stays), [0]);
        assert!(stays.wait(Duration::ZERO).is_err(), "there is no more to come");
    }

    #[test]
    fn a_failure_is_told_to_all_who_wait() {
        let (mut engine, mut decoding) = (engine(), Decoding::new(Tokenizer::bytes(), 1));
        let inboxes = [ask(&mut decoding, 1), ask(&mut decoding, 1)];
        let broken = vec![f32::NAN; engine.layout().len];
        engine.write(crate::engine::State::Parameters, &broken).unwrap();
        assert_eq!(decoding.step(&mut engine), 0);
        for inbox in inboxes {
            assert!(inbox.wait(Duration::ZERO).err().unwrap().to_string().contains("not finite"));
        }
        assert!(decoding.is_idle());
    }
}
