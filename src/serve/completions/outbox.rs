//! What the thread that computes says of the records of one request. It never waits: what the request has not taken yet is
//! joined, so a slow request holds no more than its own records.

use crate::sample::{Finish, GeneratedRecord, Progress, TokenLogprob};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What has become known of one record since it was asked for last.
#[derive(Default)]
pub struct Gathered {
    pub text: Vec<u8>,
    pub tokens: Vec<TokenLogprob>,
    pub finished: Option<(GeneratedRecord, Finish)>,
}

#[derive(Default)]
struct State {
    /// By the number of the record in its request.
    news: BTreeMap<usize, Gathered>,
    failed: Option<Error>,
    /// Whether the thread has nothing more to say, and whether nobody listens any more.
    is_over: bool,
    is_left: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of the thread that computes.
pub struct Outbox(Arc<Shared>);

/// The end of the request. Once it is gone, its records are given up.
pub struct Inbox(Arc<Shared>);

pub fn mailbox() -> (Outbox, Inbox) {
    let shared = Arc::new(Shared::default());
    (Outbox(shared.clone()), Inbox(shared))
}

impl Outbox {
    /// Whether anybody listens.
    pub fn is_wanted(&self) -> bool {
        !self.0.state().is_left
    }

    pub fn progress(&self, record: usize, progress: Progress) {
        let mut state = self.0.state();
        let gathered = state.news.entry(record).or_default();
        gathered.text.extend(progress.text);
        gathered.tokens.extend(progress.token);
        gathered.finished = progress.finished;
        self.0.changed.notify_one();
    }

    pub fn fail(self, error: Error) {
        self.0.state().failed = Some(error);
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.0.state().is_over = true;
        self.0.changed.notify_one();
    }
}

impl Inbox {
    /// What is new, by the numbers of the records; waits for it, but no longer than `patience`.
    ///
    /// Errors: why the records cannot be generated.
    pub fn wait(&self, patience: Duration) -> Result<BTreeMap<usize, Gathered>> {
        let is_quiet = |state: &mut State| state.news.is_empty() && !state.is_over;
        let waited = self.0.changed.wait_timeout_while(self.0.state(), patience, is_quiet);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let news = std::mem::take(&mut state.news);
        match state.failed.take() {
            Some(error) => Err(error),
            None if news.is_empty() && state.is_over => Err(Error::failed(
                "the thread that computes has ended because of a bug in logwright (see its messages)",
            )),
            None => Ok(news),
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.0.state().is_left = true;
    }
}
