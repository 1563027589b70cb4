//! The last anomalies of streams whose senders do not read answers.

use crate::stream::Answer;
use crate::{Error, Result};
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// As many are remembered: some megabytes.
const MOST: usize = 1000;

/// The last anomalies, numbered from 1 since the start of the server.
#[derive(Default)]
pub struct Recent(Mutex<Numbered>);

#[derive(Default)]
struct Numbered {
    lines: VecDeque<String>,
    /// Of the last one.
    number: u64,
}

#[derive(Serialize)]
struct Anomaly<'a> {
    number: u64,
    service: &'a str,
    #[serde(flatten)]
    answer: &'a Answer,
}

impl Recent {
    pub fn add(&self, service: &str, answer: &Answer) -> Result<()> {
        let mut numbered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = numbered.number + 1;
        let line = serde_json::to_string(&Anomaly { number, service, answer }).map_err(Error::failed)?;
        numbered.number = number;
        if numbered.lines.len() == MOST {
            numbered.lines.pop_front();
        }
        numbered.lines.push_back(line + "\n");
        Ok(())
    }

    /// Those with a higher number, as JSON lines.
    pub fn after(&self, number: u64) -> String {
        let numbered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = numbered.number - numbered.lines.len() as u64;
        let known = number.saturating_sub(before).min(MOST as u64) as usize;
        numbered.lines.iter().skip(known).map(String::as_str).collect()
    }
}
