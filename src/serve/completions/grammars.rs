//! The grammars of the last requests: compiling one can take longer than generating a record.

use crate::Result;
use crate::sample::{Grammar, GrammarKind, GrammarModel};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// More grammars than this are compiled again when they come back.
const MOST_KEPT: usize = 8;

type Kept = (GrammarKind, Arc<Mutex<Grammar>>);

#[derive(Default)]
pub struct Grammars(Mutex<VecDeque<Kept>>);

impl Grammars {
    /// The grammar of this kind, for one request at a time.
    ///
    /// Errors: those of [`Grammar::new`].
    pub fn get(&self, kind: &GrammarKind, model: &GrammarModel) -> Result<Arc<Mutex<Grammar>>> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, grammar)) = lock().iter().find(|(kept, _)| kept == kind) {
            return Ok(grammar.clone());
        }
        // Without the lock, because it may take long. Who asks for the same meanwhile makes it, too.
        let grammar = Arc::new(Mutex::new(Grammar::new(kind.clone(), model)?));
        let mut kept = lock();
        if kept.len() == MOST_KEPT {
            kept.pop_front();
        }
        kept.push_back((kind.clone(), grammar.clone()));
        Ok(grammar)
    }
}
