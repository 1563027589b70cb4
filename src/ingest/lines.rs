//! Formats with one record per line. Text and JSON lines keep the bytes of each line; only the line end is removed.

use super::collect::{Collector, Place};
use super::window::{Line, Window};
use crate::Result;
use crate::record::object_fault;
use std::io::ErrorKind;

/// What copytruncate leaves where a writer goes on at its old offset.
pub(super) const HOLE: (&str, &str) = ("hole", " of NUL bytes between lines");

/// Passes every line to `line`. Memory: one line, bounded by the record limit.
///
/// Lines of white space are skipped and counted; `\r\n` ends a line as `\n` does; the last line needs no line end. NULs before
/// a line are no part of it.
pub(super) fn each(
    window: &mut Window,
    out: &mut Collector,
    line: impl FnMut(&[u8], Place, &mut Collector) -> Result<()>,
) -> Result<()> {
    until_idle(window, out, line).map(|_| ())
}

/// The same up to the end, or until a window that reports so has received nothing for a while: then it returns true.
pub(super) fn until_idle(
    window: &mut Window,
    out: &mut Collector,
    mut line: impl FnMut(&[u8], Place, &mut Collector) -> Result<()>,
) -> Result<bool> {
    let limit = out.options.max_record_bytes;
    loop {
        if window.bytes().first() == Some(&0) {
            window.skip_bytes(0).map_err(|e| out.read_error(window.line(), e))?;
            out.announce(HOLE.0, HOLE.1);
        }
        let number = window.line();
        let next = match window.next_line(limit) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            next => next.map_err(|e| out.read_error(number, e))?,
        };
        match next {
            Line::None => return Ok(false),
            // A hole of any length; it was not in sight before.
            Line::TooLong | Line::Whole(..) if window.bytes().first() == Some(&0) => {}
            Line::TooLong => {
                out.too_long(number, window.bytes())?;
                window.skip_line().map_err(|e| out.read_error(number, e))?;
            }
            Line::Whole(length, all) => {
                let text = &window.bytes()[..length];
                match text.trim_ascii().is_empty() {
                    true => out.empty_line(),
                    false => line(text, Place::of_line(number, window.offset() + all as u64), out)?,
                }
                window.take_line(all);
            }
        }
    }
}

/// Takes one line of a file of JSON lines, whatever its object wraps.
pub(super) fn json_line(record: &[u8], place: Place, out: &mut Collector) -> Result<()> {
    match object_fault(record) {
        None => out.record(record, place),
        Some((column, fault)) => out.bad(Place { column, ..place }, &fault, record),
    }
}

/// Takes one line as it is.
pub(super) fn text_line(record: &[u8], place: Place, out: &mut Collector) -> Result<()> {
    out.record(record, place)
}
