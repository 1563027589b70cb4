//! What passes from the reader of a stream to who answers its records.

use super::collect::Taken;
use super::follow::{Position, Segment};
use crate::launch::Part;
use crate::{Error, Result};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

/// One record of an input, or the reason why a part of it is not a record.
#[derive(Clone, Debug, PartialEq)]
pub struct InputRecord {
    /// The number of the input, from 0.
    pub input: usize,
    /// The number of the record within the input, from 1; empty lines do not count.
    pub number: u64,
    pub record: std::result::Result<Vec<u8>, RecordFault>,
    /// Where the record ends, if its input is a growing file.
    pub end: Option<Position>,
}

/// Why a part of an input is not a record.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordFault {
    pub message: String,
    /// Its first bytes, at most 200; none where they are not at hand.
    pub head: Vec<u8>,
}

/// The most bytes that are kept of what is no record.
pub const MOST_HEAD: usize = 200;

/// The first bytes of what is no record.
pub fn head(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len().min(MOST_HEAD)].to_vec()
}

/// The sending end of the queue, for one input.
pub(super) struct RecordSender<'a> {
    sender: &'a SyncSender<Result<InputRecord>>,
    input: usize,
    records: u64,
    share: Part,
    /// The growing file that is read.
    segment: Option<Arc<Segment>>,
}

impl<'a> RecordSender<'a> {
    /// A sender for the share of an input of which `records` were read before.
    pub fn new(sender: &'a SyncSender<Result<InputRecord>>, input: usize, records: u64, share: Part) -> Self {
        RecordSender { sender, input, records, share, segment: None }
    }

    /// From here on records come from this file; `None`: their offsets are none of the file.
    pub fn reads(&mut self, segment: Option<&Arc<Segment>>) {
        self.segment = segment.cloned();
    }

    pub fn send(&mut self, taken: Taken) -> Result<()> {
        self.records += 1;
        // By turns, of which another one begins each input, so that many short ones are divided too.
        if !self.share.takes(self.input as u64 + self.records - 1) {
            return Ok(());
        }
        let (record, end) = match taken {
            Taken::Record { record, end } => (Ok(record.to_vec()), end),
            Taken::Fault { fault: message, bytes, end } => (Err(RecordFault { message, head: head(bytes) }), end),
        };
        let end = self.segment.as_ref().zip(end).map(|(segment, end)| segment.position(end));
        let line = InputRecord { input: self.input, number: self.records, record, end };
        self.sender.send(Ok(line)).map_err(|_| Error::failed("the records are no longer wanted"))
    }
}
