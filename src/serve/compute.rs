//! The one thread that owns an engine. Requests give it token sequences, and those that wait share a batch.
//!
//! The score of a sequence does not depend on its batch, so answers are those of `logwright score`.

use super::metrics::Metrics;
use crate::engine::Engine;
use crate::score::sequence_surprisals;
use crate::{Error, Result};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

/// Jobs that may wait; who gives one more waits itself, and its client with it.
const MOST_WAITING: usize = 1024;

/// Sequences to measure, and who waits for them.
struct Job {
    sequences: Vec<Vec<u32>>,
    done: Sender<Result<Vec<Vec<f32>>>>,
}

/// Gives work to the thread. The thread ends when nobody can give it work any more.
#[derive(Clone)]
pub struct Compute {
    jobs: SyncSender<Job>,
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
    /// Starts the thread. Of the sequences that wait, at least `batch` are computed at once.
    pub fn start(engine: Box<dyn Engine>, separator: u32, batch: usize, metrics: Arc<Metrics>) -> Self {
        let (jobs, waiting) = sync_channel(MOST_WAITING);
        let worker = Worker { engine, separator, batch, waiting, taken: VecDeque::new(), metrics: metrics.clone() };
        std::thread::spawn(move || worker.run());
        Compute { jobs, metrics }
    }

    /// Measures sequences of tokens, each with its closing separator.
    pub fn measure(&self, sequences: Vec<Vec<u32>>) -> Result<Pending> {
        let (done, pending) = channel();
        self.metrics.queued.add(sequences.len() as i64);
        self.jobs.send(Job { sequences, done }).map_err(|_| gone())?;
        Ok(Pending(pending))
    }
}

struct Worker {
    engine: Box<dyn Engine>,
    separator: u32,
    batch: usize,
    waiting: Receiver<Job>,
    /// Jobs that are part of the next batch.
    taken: VecDeque<Job>,
    metrics: Arc<Metrics>,
}

impl Worker {
    fn run(mut self) {
        while let Ok(job) = self.waiting.recv() {
            let mut count = job.sequences.len();
            self.taken.push_back(job);
            while count < self.batch
                && let Ok(job) = self.waiting.try_recv()
            {
                count += job.sequences.len();
                self.taken.push_back(job);
            }
            self.compute(count);
        }
    }

    /// Computes what was taken, `count` sequences, and answers.
    fn compute(&mut self, count: usize) {
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
