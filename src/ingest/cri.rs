//! Logs of containers as the Kubernetes runtimes write them (CRI): `TIME stdout F text`. A long line is cut into parts with the
//! tag P, and a last one with F; they are joined.

use super::collect::{Collector, Place};
use super::lines;
use super::window::Window;
use crate::Result;
use std::collections::BTreeMap;

struct Line<'a> {
    /// Everything before the tag, and the stream in it.
    before: &'a [u8],
    stream: &'a [u8],
    partial: bool,
    text: &'a [u8],
}

fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(4, |&byte| byte == b' ');
    let (time, stream, tag) = (parts.next()?, parts.next()?, parts.next()?);
    let text = parts.next().unwrap_or_default();
    // A tag may have further tags behind a colon.
    let first = tag.split(|&byte| byte == b':').next()?;
    let is_time = time.len() >= 20 && time[..4].iter().all(u8::is_ascii_digit) && time[4] == b'-' && time[10] == b'T';
    let known = matches!(stream, b"stdout" | b"stderr") && matches!(first, b"P" | b"F");
    (is_time && known).then(|| Line {
        before: &line[..time.len() + stream.len() + 2],
        stream,
        partial: first == b"P",
        text,
    })
}

pub(super) fn is_cri(line: &[u8]) -> bool {
    parse(line).is_some()
}

/// Reads lines to the end; those of another form are bad records.
pub(super) fn read(window: &mut Window, out: &mut Collector) -> Result<()> {
    let limit = out.options.max_record_bytes;
    // What was read of a line of each stream, and where its last part is.
    let mut parts: BTreeMap<Vec<u8>, (Vec<u8>, Place)> = BTreeMap::new();
    lines::each(window, out, |line, place, out| {
        let Some(found) = parse(line) else {
            return out.bad(place, "expected a line of a container (TIME stdout F TEXT), found another", line);
        };
        match parts.remove(found.stream) {
            None if !found.partial => {
                let end = place.end.filter(|_| parts.is_empty());
                out.record(line, Place { end, ..place })
            }
            None => {
                let record = [found.before, b"F ", found.text].concat();
                parts.insert(found.stream.to_vec(), (record, place));
                Ok(())
            }
            Some((mut record, first)) => {
                record.extend_from_slice(found.text);
                out.announce("part", " of lines, joined");
                if found.partial && record.len() < limit / 2 {
                    parts.insert(found.stream.to_vec(), (record, Place { end: place.end, ..first }));
                    return Ok(());
                }
                let end = place.end.filter(|_| parts.is_empty());
                out.record(&record, Place { end, ..first })
            }
        }
    })?;
    parts.into_values().try_for_each(|(record, place)| out.record(&record, place))
}
