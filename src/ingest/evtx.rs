//! Windows event logs (EVTX): each event is a record, the JSON that the crate `evtx` makes of it.
//!
//! Behind its head such a file consists of chunks of 64 KiB that need nothing from one another, so it is read as a stream.

use super::collect::{Collector, Place};
use super::window::Window;
use crate::record::object_fault;
use crate::{Error, Result};
use ::evtx::{EvtxChunkData, EvtxFileHeader, ParserSettings};
use std::io::{Error as IoError, ErrorKind, Result as IoResult};
use std::sync::Arc;

const HEAD: usize = 4096;
const CHUNK: usize = 1 << 16;

/// Reads every event of every chunk. Chunks that were never used are zeros.
pub(super) fn read(window: &mut Window, out: &mut Collector) -> Result<()> {
    let mut events = 0;
    let head = take(window, HEAD).map_err(|e| out.read_error(1, e))?;
    let head = EvtxFileHeader::from_bytes(&head.unwrap_or_default());
    let head = head.map_err(|e| Error::failed(format!("{}: this is no Windows event log: {e}", out.source.name)))?;
    take(window, usize::from(head.header_block_size).saturating_sub(HEAD)).map_err(|e| out.read_error(1, e))?;
    let settings = Arc::new(ParserSettings::new().indent(false));
    let mut number = 0;
    while let Some(bytes) = take(window, CHUNK).map_err(|e| out.read_error(events + 1, e))? {
        if bytes.iter().any(|&byte| byte != 0) {
            read_chunk(number, bytes, &settings, &mut events, out)?;
        }
        number += 1;
    }
    match number < u64::from(head.chunk_count) {
        true => Err(out.read_error(events + 1, cut_short())),
        false => Ok(()),
    }
}

fn read_chunk(
    number: u64,
    bytes: Vec<u8>,
    settings: &Arc<ParserSettings>,
    events: &mut u64,
    out: &mut Collector,
) -> Result<()> {
    let mut chunk = match EvtxChunkData::new(bytes, false) {
        Ok(chunk) => chunk,
        Err(error) => return bad(&format!("all of chunk {number}: {error}"), events, out),
    };
    if !chunk.validate_checksum() {
        let name = &out.source.name;
        tracing::warn!(
            "{name}: chunk {number} has another checksum than it states, so it is damaged, or was copied while Windows wrote to it; \
             its events are read as they are"
        );
    }
    let mut chunk = match chunk.parse(settings.clone()) {
        Ok(chunk) => chunk,
        Err(error) => return bad(&format!("all of chunk {number}: {error}"), events, out),
    };
    for event in chunk.iter() {
        let json = match event.and_then(|event| event.into_json_bytes()) {
            Ok(event) => event.data,
            Err(error) => {
                bad(&format!("an event of chunk {number}: {error}"), events, out)?;
                continue;
            }
        };
        if json.len() > out.options.max_record_bytes {
            *events += 1;
            out.too_long(*events, json.as_bytes())?;
        } else if let Some((_, fault)) = object_fault(&json) {
            bad(&format!("an event of chunk {number}: {fault}"), events, out)?;
        } else {
            *events += 1;
            out.record(&json, place(*events))?;
        }
    }
    Ok(())
}

/// Takes note of what cannot be read. It has no text that could be kept.
fn bad(fault: &str, events: &mut u64, out: &mut Collector) -> Result<()> {
    *events += 1;
    out.bad(place(*events), &format!("expected an event, found damage in {fault}"), b"")
}

/// Events are counted instead of lines.
fn place(event: u64) -> Place {
    Place { line: event, column: 1, end: None }
}

/// The next `length` bytes; `None` at the end.
fn take(window: &mut Window, length: usize) -> IoResult<Option<Vec<u8>>> {
    while window.bytes().len() < length && window.fill()? {}
    match window.bytes().len() {
        0 => Ok(None),
        short if short < length => Err(cut_short()),
        _ => {
            let taken = window.bytes()[..length].to_vec();
            window.advance(length);
            Ok(Some(taken))
        }
    }
}

fn cut_short() -> IoError {
    IoError::new(ErrorKind::UnexpectedEof, "the event log is truncated; copy it again (wevtutil export-log)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::tests::read_with;
    use crate::ingest::{BadRecords, InputFormat, ReadOptions};
    use crate::test_data::{content, sampled};

    fn log() -> Vec<u8> {
        content(&sampled("language_pack.evtx.gz"))
    }

    fn skip() -> ReadOptions {
        ReadOptions { bad_records: BadRecords::Skip, ..Default::default() }
    }

    #[test]
    fn every_event_is_a_record() {
        let (records, report) = read_with(&log(), &ReadOptions::default()).unwrap();
        assert_eq!((records.len(), report.sources[0].format), (17, InputFormat::Evtx));
        for record in &records {
            let event: serde_json::Value = serde_json::from_slice(record).unwrap();
            assert!(event["Event"]["System"]["EventRecordID"].is_u64(), "{event}");
        }
        // Chunks that were never used lie behind those that were.
        let longer = [log(), vec![0; CHUNK]].concat();
        assert_eq!(read_with(&longer, &ReadOptions::default()).unwrap().0, records);
    }

    #[test]
    fn damage_is_told_and_the_rest_is_read() {
        let whole = log();
        let at = HEAD + 600;
        let mut bytes = whole.clone();
        bytes[at..at + 40].fill(0xee);
        let message = read_with(&bytes, &ReadOptions::default()).unwrap_err().to_string();
        assert!(
            message.contains(":1:1: expected an event, found damage in") && message.contains("chunk 0"),
            "{message}"
        );
        // The names of the chunk stood there; the inside of an event is its own.
        let mut marks = whole.windows(4).enumerate().filter(|(_, mark)| *mark == b"**\0\0");
        let (at, _) = marks.nth(10).unwrap();
        let mut bytes = whole.clone();
        bytes[at + 24..at + 60].fill(0xee);
        let (records, report) = read_with(&bytes, &skip()).unwrap();
        assert_eq!((records.len(), report.bad_records), (16, 1), "{report:?}");
        let mut bytes = [&whole[..], &whole[HEAD..]].concat();
        bytes[HEAD..HEAD + 8].fill(b'x');
        let (records, report) = read_with(&bytes, &skip()).unwrap();
        assert_eq!((records.len(), report.bad_records), (17, 1), "a chunk without its mark");
    }

    #[test]
    fn a_truncated_log_is_an_error() {
        let whole = log();
        for length in [20, HEAD - 1, HEAD, HEAD + 1, whole.len() - 1] {
            let message = read_with(&whole[..length], &ReadOptions::default()).unwrap_err().to_string();
            assert!(message.contains("truncated"), "{length}: {message}");
        }
    }

    #[test]
    fn other_bytes_never_panic() {
        let whole = log();
        for at in (0..20_000).step_by(29) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            let _ = read_with(&bytes, &skip());
        }
    }
}
