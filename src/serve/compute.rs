//! The one thread that owns an engine. Requests give it token sequences to measure, and those that wait share a batch; and
//! records to generate, which share steps. Batches and steps take turns.
//!
//! The score of a sequence does not depend on its batch, so answers are those of `logwright score`.

use super::completions::{Decoding, Generation};
use super::metrics::Metrics;
use crate::engine::Engine;
use crate::score::sequence_surprisals;
use crate::tokens::Tokenizer;
use crate::{Error, Result};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Weak};

/// Jobs that may wait; who gives one more waits itself, and its client with it.
const MOST_WAITING: usize = 1024;

enum Job {
    Measure(Measurement),
    Generate(Generation),
}

/// Sequences to measure, and who waits for them.
struct Measurement {
    sequences: Vec<Vec<u32>>,
    done: Sender<Result<Vec<Vec<f32>>>>,
}

/// How much is computed at once.
#[derive(Clone, Copy)]
pub struct ComputeLimits {
    /// Of the sequences that wait, at least so many are measured together.
    pub batch: usize,
    /// Most records that are generated together.
    pub parallel: usize,
}

/// Gives work to the thread. The thread ends when nobody can give it work any more.
#[derive(Clone)]
pub struct Compute {
    jobs: SyncSender<Job>,
    /// What the thread holds as long as it runs.
    running: Weak<()>,
    metrics: Arc<Metrics>,
}

/// Surprisals that are on their way.
pub struct Pending(Receiver<Result<Vec<Vec<f32>>>>);

impl Pending {
    /// The surprisals of the tokens of each sequence in nats; waits for them.
    pub fn wait(self) -> Result<Vec<Vec<f32>>> {
        self.0.recv().map_err(|_| gone())?
    }
}

fn gone() -> Error {
    Error::failed("the thread that computes has ended because of a bug in logwright (see its messages)")
}

impl Compute {
    /// Starts the thread.
    pub fn start(engine: Box<dyn Engine>, tokenizer: &Tokenizer, limits: ComputeLimits, metrics: Arc<Metrics>) -> Self {
        let (jobs, waiting) = sync_channel(MOST_WAITING);
        let running = Arc::new(());
        let watched = Arc::downgrade(&running);
        let worker = Worker {
            engine,
            separator: tokenizer.separator(),
            batch: limits.batch,
            waiting,
            taken: VecDeque::new(),
            decoding: Decoding::new(tokenizer.clone(), limits.parallel),
            metrics: metrics.clone(),
        };
        std::thread::spawn(move || {
            let _running = running;
            worker.run();
        });
        Compute { jobs, running: watched, metrics }
    }

    /// False after a bug has ended the thread.
    pub fn is_running(&self) -> bool {
        self.running.strong_count() > 0
    }

    /// Measures sequences of tokens, each with its closing separator.
    pub fn measure(&self, sequences: Vec<Vec<u32>>) -> Result<Pending> {
        let (done, pending) = channel();
        self.metrics.queued.add(sequences.len() as i64);
        self.jobs.send(Job::Measure(Measurement { sequences, done })).map_err(|_| gone())?;
        Ok(Pending(pending))
    }

    /// Generates records, and tells of them as they grow.
    pub fn generate(&self, generation: Generation) -> Result<()> {
        self.jobs.send(Job::Generate(generation)).map_err(|_| gone())
    }
}

struct Worker {
    engine: Box<dyn Engine>,
    separator: u32,
    batch: usize,
    waiting: Receiver<Job>,
    /// What is measured in the next batch.
    taken: VecDeque<Measurement>,
    decoding: Decoding,
    metrics: Arc<Metrics>,
}

impl Worker {
    fn run(mut self) {
        loop {
            let mut count = 0;
            if self.decoding.is_idle() {
                match self.waiting.recv() {
                    Ok(job) => count += self.take(job),
                    Err(_) => return,
                }
            }
            while count < self.batch
                && let Ok(job) = self.waiting.try_recv()
            {
                count += self.take(job);
            }
            if count > 0 {
                self.measure(count);
            }
            if !self.decoding.is_idle() {
                let tokens = self.decoding.step(self.engine.as_mut());
                self.metrics.generated_tokens.inc_by(tokens as u64);
            }
        }
    }

    /// Takes a job; returns the number of sequences that it adds to the next batch.
    fn take(&mut self, job: Job) -> usize {
        match job {
            Job::Generate(generation) => {
                self.decoding.push(generation);
                0
            }
            Job::Measure(measurement) => {
                let count = measurement.sequences.len();
                self.taken.push_back(measurement);
                count
            }
        }
    }

    /// Measures what was taken, `count` sequences, and answers.
    fn measure(&mut self, count: usize) {
        let all: Vec<&[u32]> = self.taken.iter().flat_map(|job| job.sequences.iter().map(Vec::as_slice)).collect();
        let tokens: usize = all.iter().map(|sequence| sequence.len()).sum();
        let measured = sequence_surprisals(self.engine.as_mut(), self.separator, &all, self.batch);
        self.metrics.queued.sub(count as i64);
        self.metrics.batches.inc();
        self.metrics.batch_records.inc_by(count as u64);
        self.metrics.scored_tokens.inc_by(tokens as u64);
        let mut measured = measured.map(Vec::into_iter);
        for job in self.taken.drain(..) {
            let own = match &mut measured {
                Ok(nats) => Ok(nats.by_ref().take(job.sequences.len()).collect()),
                Err(error) => Err(Error::failed(error)),
            };
            // The send fails only if the request has ended, and then nobody needs the answer.
            let _ = job.done.send(own);
        }
    }
}
