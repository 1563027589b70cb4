//! Formats with one record per line. Text and JSON lines keep the bytes of each line; only the line end is removed.

use super::collect::Collector;
use crate::Result;
use crate::record::json::object_fault;
use std::io::{BufRead, Read};

/// Passes every line with its number to `line`. Memory: one line, bounded by the record limit.
///
/// Lines of white space are skipped and counted; `\r\n` ends a line as `\n` does; the last line needs no line end.
pub(super) fn read(
    mut reader: impl BufRead,
    out: &mut Collector,
    mut line: impl FnMut(&[u8], u64, &mut Collector) -> Result<()>,
) -> Result<()> {
    let limit = out.options.max_record_bytes;
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        // Two bytes more than the limit leave room for "\r\n".
        let mut bounded = reader.by_ref().take((limit as u64).saturating_add(2));
        if bounded.read_until(b'\n', &mut bytes).map_err(|e| out.read_error(number, e))? == 0 {
            break;
        }
        let record = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let record = record.strip_suffix(b"\r").unwrap_or(record);
        if record.len() > limit {
            return Err(out.too_long(number));
        }
        if record.trim_ascii().is_empty() {
            out.empty_line();
            continue;
        }
        line(record, number, out)?;
    }
    Ok(())
}

/// Takes one line of a JSON lines file.
pub(super) fn json_line(record: &[u8], number: u64, out: &mut Collector) -> Result<()> {
    match object_fault(record) {
        None => out.record(record, number),
        Some((column, fault)) => out.bad(number, column, &fault, record),
    }
}
