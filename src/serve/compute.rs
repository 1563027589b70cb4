//! The one thread that owns an engine. Requests give it token sequences to measure, and those that wait share a batch; and
//! records to generate, which share steps. Batches and steps take turns, and so do the batches of long records.
//!
//! The score of a sequence does not depend on its batch, so answers are those of `logwright score`.

use super::completions::{Decoding, Generation};
use super::metrics::Metrics;
use crate::engine::Engine;
use crate::score::SurprisalRun;
use crate::tokens::Tokenizer;
use crate::{Error, Result};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

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
    /// What who waits holds.
    wanted: Weak<()>,
}

/// Measurements that share batches. A long record takes many batches, and those of others stand between them.
struct Shared {
    jobs: Vec<Measurement>,
    run: SurprisalRun,
}

impl Shared {
    fn sequences(jobs: &[Measurement]) -> Vec<&[u32]> {
        jobs.iter().flat_map(|job| job.sequences.iter().map(Vec::as_slice)).collect()
    }

    fn is_wanted(&self) -> bool {
        self.jobs.iter().any(|job| job.wanted.strong_count() > 0)
    }
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

/// Surprisals that are on their way. Without it they are given up.
pub struct Pending {
    done: Receiver<Result<Vec<Vec<f32>>>>,
    _wanted: Arc<()>,
}

/// How often who waits looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(200);

impl Pending {
    /// The surprisals of the tokens of each sequence in nats; waits for them. None if they are no longer wanted.
    pub fn wait(self, is_wanted: impl Fn() -> bool) -> Result<Option<Vec<Vec<f32>>>> {
        loop {
            match self.done.recv_timeout(LOOK) {
                Ok(nats) => return nats.map(Some),
                Err(RecvTimeoutError::Disconnected) => return Err(gone()),
                Err(RecvTimeoutError::Timeout) if !is_wanted() => return Ok(None),
                Err(RecvTimeoutError::Timeout) => (),
            }
        }
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
            shared: VecDeque::new(),
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
        let ((done, pending), wanted) = (channel(), Arc::new(()));
        self.metrics.queued.add(sequences.len() as i64);
        let measurement = Measurement { sequences, done, wanted: Arc::downgrade(&wanted) };
        self.jobs.send(Job::Measure(measurement)).map_err(|_| gone())?;
        Ok(Pending { done: pending, _wanted: wanted })
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
    /// What is being measured, batch by batch in turns.
    shared: VecDeque<Shared>,
    decoding: Decoding,
    metrics: Arc<Metrics>,
}

impl Worker {
    fn run(mut self) {
        loop {
            let mut taken = Vec::new();
            if self.decoding.is_idle() && self.shared.is_empty() {
                match self.waiting.recv() {
                    Ok(job) => self.take(job, &mut taken),
                    Err(_) => return,
                }
            }
            while taken.iter().map(|job: &Measurement| job.sequences.len()).sum::<usize>() < self.batch
                && let Ok(job) = self.waiting.try_recv()
            {
                self.take(job, &mut taken);
            }
            if !taken.is_empty() {
                self.begin(taken);
            }
            self.measure();
            if !self.decoding.is_idle() {
                let tokens = self.decoding.step(self.engine.as_mut());
                self.metrics.generated_tokens.inc_by(tokens as u64);
            }
        }
    }

    fn take(&mut self, job: Job, taken: &mut Vec<Measurement>) {
        match job {
            Job::Generate(generation) => self.decoding.push(generation),
            Job::Measure(measurement) => taken.push(measurement),
        }
    }

    /// Lets measurements share batches.
    fn begin(&mut self, jobs: Vec<Measurement>) {
        let all = Shared::sequences(&jobs);
        self.metrics.batches.inc();
        self.metrics.batch_records.inc_by(all.len() as u64);
        self.metrics.scored_tokens.inc_by(all.iter().map(|sequence| sequence.len() as u64).sum());
        let run = SurprisalRun::new(&all, self.engine.config().context);
        self.shared.push_back(Shared { jobs, run });
    }

    /// Computes one batch, and answers where it was the last.
    fn measure(&mut self) {
        let Some(mut shared) = self.shared.pop_front() else { return };
        let all = Shared::sequences(&shared.jobs);
        let count = all.len();
        let step = match shared.is_wanted() {
            true => shared.run.step(self.engine.as_mut(), self.separator, &all, self.batch),
            false => Ok(false),
        };
        if let Ok(true) = step {
            return self.shared.push_back(shared);
        }
        self.metrics.queued.sub(count as i64);
        let mut measured = step.map(|_| shared.run.nats.into_iter());
        for job in shared.jobs {
            let own = match &mut measured {
                Ok(nats) => Ok(nats.by_ref().take(job.sequences.len()).collect()),
                Err(error) => Err(Error::failed(error)),
            };
            // The send fails only if the request has ended, and then nobody needs the answer.
            let _ = job.done.send(own);
        }
    }
}
