//! Named streams: requests that name one continue it, so that numbers, sessions and drift go on from one request to the next.

use super::fault::Fault;
use super::model::ServedModel;
use super::query::TOP_FIELDS;
use crate::stream::{RecordStream, StreamOptions};
use axum::http::StatusCode;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as RequestMutex, OwnedMutexGuard};

/// A stream that goes on.
pub struct NamedStream {
    pub stream: RecordStream,
    /// The model that it was answered by last.
    model: Arc<ServedModel>,
    used: Instant,
}

impl NamedStream {
    /// Goes on with the model that is served now.
    fn adopt(&mut self, model: &Arc<ServedModel>) {
        if !Arc::ptr_eq(&self.model, model) {
            self.stream.adopt(model.detector.clone(), model.known.clone());
            self.model = model.clone();
        }
    }

    /// A request has continued it to its own end.
    pub fn rest(&mut self) {
        self.used = Instant::now();
    }
}

/// The streams of a server, by name.
pub struct Streams {
    open: Mutex<HashMap<String, Arc<RequestMutex<NamedStream>>>>,
    most: usize,
    idle: Duration,
}

impl Streams {
    pub fn new(most: usize, idle: Duration) -> Self {
        Streams { open: Mutex::new(HashMap::new()), most, idle }
    }

    /// The stream of a name, opened if there is none; only one request at a time continues it.
    ///
    /// Errors: another request continues it; there are too many.
    pub fn continued(
        &self,
        name: &str,
        model: &Arc<ServedModel>,
        options: StreamOptions,
    ) -> Result<OwnedMutexGuard<NamedStream>, Fault> {
        let mut named = self
            .named(name, model)?
            .try_lock_owned()
            .map_err(|_| Fault::new(StatusCode::CONFLICT, "stream: another request continues it; wait for its end"))?;
        named.adopt(model);
        named.stream.options = options;
        Ok(named)
    }

    /// The same, after those requests that continue it.
    ///
    /// Errors: there are too many.
    pub fn awaited(&self, name: &str, model: &Arc<ServedModel>) -> Result<OwnedMutexGuard<NamedStream>, Fault> {
        let mut named = self.named(name, model)?.blocking_lock_owned();
        named.adopt(model);
        Ok(named)
    }

    fn named(&self, name: &str, model: &Arc<ServedModel>) -> Result<Arc<RequestMutex<NamedStream>>, Fault> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget_idle(&mut open);
        if !open.contains_key(name) && open.len() >= self.most {
            return Err(Fault::new(
                StatusCode::TOO_MANY_REQUESTS,
                format!("{} streams are open (--max-streams); end one with stream=NAME&end=true", open.len()),
            ));
        }
        let entry = open.entry(name.to_string()).or_insert_with(|| {
            let options = StreamOptions { top_fields: TOP_FIELDS, ..StreamOptions::default() };
            let stream = RecordStream::new(model.detector.clone(), model.known.clone(), options, None);
            let (model, used) = (model.clone(), Instant::now());
            Arc::new(RequestMutex::new(NamedStream { stream, model, used }))
        });
        Ok(entry.clone())
    }

    pub fn end(&self, name: &str) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// How many streams drift.
    pub fn drifting(&self) -> usize {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget_idle(&mut open);
        open.values().filter(|named| named.try_lock().is_ok_and(|named| named.stream.is_drifting())).count()
    }

    fn forget_idle(&self, open: &mut HashMap<String, Arc<RequestMutex<NamedStream>>>) {
        // One that is locked is being continued.
        open.retain(|_, named| named.try_lock().map_or(true, |named| named.used.elapsed() < self.idle));
    }
}
