//! A stream in which every line stands alone, and gets one answer whatever it holds: nothing is detected, left out or joined.
//!
//! Whoever writes such a stream counts answers, so an empty line and one that is too long are faults, and no line waits for
//! another: the format is told by each line itself, or by the user.

use super::collect::{Collector, Place, ReadOptions, ReadReport, SourceReport, Taken};
use super::compression::Compression;
use super::format::InputFormat;
use super::window::{Line, Window};
use super::{cef, json, lines};
use crate::{Error, Result};
use std::io::Read;

/// The mark that some programs put at the beginning of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a stream to its end, and gives the sink one record or fault for each of its lines.
///
/// Errors: a format whose records need more than their own line.
pub(super) fn read(
    name: &str,
    raw: Box<dyn Read>,
    options: &ReadOptions,
    sink: &mut dyn FnMut(Taken) -> Result<()>,
) -> Result<()> {
    let format = format(options)?;
    let source = SourceReport {
        name: name.to_string(),
        // Whether strings of its records are opened.
        format: if options.text_only { InputFormat::Text } else { format.unwrap_or(InputFormat::Jsonl) },
        compression: Compression::None,
        stored_bytes: 0,
        records: 0,
        bytes: 0,
        skipped: 0,
    };
    let mut report = ReadReport::default();
    let label = format.unwrap_or(source.format).label();
    let mut out = Collector { options, source, label, report: &mut report, sink, scratch: Vec::new() };
    all(&mut Window::new(raw, 0), format, &mut out)
}

/// The format that the user chose, or that the model's records have; None: a line shows its own.
fn format(options: &ReadOptions) -> Result<Option<InputFormat>> {
    let chosen = if options.text_only { Some(InputFormat::Text) } else { options.format };
    match options.format {
        None | Some(InputFormat::Jsonl | InputFormat::Cef | InputFormat::Text) => Ok(chosen),
        Some(other) => Err(Error::usage(format!(
            "--format {}: records of this format need more than one line (a header, a length, other parts), and each line is to \
             stand alone; give --format jsonl, cef or text, or none",
            other.row().name
        ))),
    }
}

fn all(window: &mut Window, format: Option<InputFormat>, out: &mut Collector) -> Result<()> {
    loop {
        let number = window.line();
        let failed = |out: &Collector, error| out.read_error(number, error);
        // As for other streams, NULs before a line are no part of it.
        let holes = match window.bytes().first() {
            Some(0) => window.skip_bytes(0).map_err(|e| failed(out, e))?,
            _ => 0,
        };
        match window.next_line(out.options.max_record_bytes).map_err(|e| failed(out, e))? {
            Line::None if holes > 0 => return empty(Place::of_line(number, window.offset()), out),
            Line::None => return Ok(()),
            // They were not in sight before.
            Line::TooLong | Line::Whole(..) if window.bytes().first() == Some(&0) => {}
            Line::TooLong => {
                out.too_long(number, window.bytes())?;
                window.skip_line().map_err(|e| failed(out, e))?;
            }
            Line::Whole(length, all) => {
                let text = &window.bytes()[..length];
                let text = text.strip_prefix(MARK).filter(|_| number == 1).unwrap_or(text);
                one(text, Place::of_line(number, window.offset() + all as u64), format, out)?;
                window.take_line(all);
            }
        }
    }
}

/// Takes one line.
fn one(text: &[u8], place: Place, format: Option<InputFormat>, out: &mut Collector) -> Result<()> {
    let trimmed = text.trim_ascii();
    match format {
        _ if trimmed.is_empty() => empty(place, out),
        Some(InputFormat::Text) => lines::text_line(text, place, out),
        Some(InputFormat::Jsonl) => lines::json_line(trimmed, place, out),
        Some(InputFormat::Cef) => cef::line(text, place, out),
        _ if trimmed.starts_with(b"{") => json::line(trimmed, place, out),
        _ if cef::is_event(text) => cef::line(text, place, out),
        // A record with the prefix of its training, or none that the model can read: it will say.
        _ => lines::text_line(text, place, out),
    }
}

fn empty(place: Place, out: &mut Collector) -> Result<()> {
    out.bad(place, "the line is empty, so it holds no record", b"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What each line gives: the record, or the fault in brackets.
    fn given(text: &[u8], options: ReadOptions) -> Vec<String> {
        let (mut given, options) = (Vec::new(), ReadOptions { answer_faults: true, ..options });
        read("a", Box::new(std::io::Cursor::new(text.to_vec())), &options, &mut |taken| {
            given.push(match taken {
                Taken::Record { record, .. } => String::from_utf8_lossy(record).into_owned(),
                Taken::Fault { fault, .. } => format!("[{fault}]"),
            });
            Ok(())
        })
        .unwrap();
        given
    }

    fn text(max_record_bytes: usize) -> ReadOptions {
        ReadOptions { text_only: true, max_record_bytes, ..Default::default() }
    }

    #[test]
    fn empty_and_long_lines_are_faults_in_their_places() {
        let long = "x".repeat(3 << 18);
        let lines = format!("a\n\n{long}\r\n \t\n\0\0b\n\0\n12345678\n\u{ff}");
        let given = given(lines.as_bytes(), text(8));
        let empty = |line| format!("[line {line}, column 1: the line is empty, so it holds no record]");
        assert_eq!(given.len(), 8);
        assert_eq!((&given[0][..], &given[1], &given[3]), ("a", &empty(2), &empty(4)));
        assert!(given[2].contains("line 3: a record longer than 8 bytes is left out"), "{}", given[2]);
        assert_eq!((&given[4][..], &given[5], &given[6][..], &given[7][..]), ("b", &empty(6), "12345678", "\u{ff}"));
    }

    #[test]
    fn a_line_shows_its_own_format() {
        let lines = b"\xef\xbb\xbf{\"a\":1}\n {\"b\" : 2}\t\nCEF:0|A|B|1|9|n|5|x=y\nal {\"a\":1}\n{\"a\":\n{\"Records\":[{\"a\":1},{\"a\":2}]}\n";
        let given = given(lines, ReadOptions::default());
        assert_eq!((&given[0][..], &given[1][..], &given[3][..]), ("{\"a\":1}", "{\"b\" : 2}", "al {\"a\":1}"));
        assert!(given[2].starts_with("{\"cef_version\":\"0\"") && given[2].ends_with("\"x\":\"y\"}"), "{}", given[2]);
        assert!(given[4].starts_with("[line 5, column"), "{}", given[4]);
        assert_eq!(given[5..], ["{\"Records\":[{\"a\":1},{\"a\":2}]}"], "what wraps others is one line all the same");
    }

    #[test]
    fn objects_of_several_lines_are_taken_apart() {
        let docker = br#"{"log":"part","stream":"stdout","time":"t"}"#;
        let journald = br#"{"__CURSOR":"c","MESSAGE":[104,105]}"#;
        let bulk = br#"{"index":{"_index":"a"}}"#;
        let lines = [&docker[..], journald, bulk].join(&b'\n');
        let given = given(&lines, ReadOptions::default());
        assert_eq!(given[..2], [String::from_utf8_lossy(docker), r#"{"__CURSOR":"c","MESSAGE":"hi"}"#.into()]);
        assert!(given[2].contains("line 3") && given[2].contains("_bulk"), "{}", given[2]);
    }

    #[test]
    fn formats_that_need_other_lines_are_refused() {
        let read = |format| {
            let options = ReadOptions { format: Some(format), answer_faults: true, ..Default::default() };
            read("a", Box::new(&b"a,b\n"[..]), &options, &mut |_| Ok(()))
        };
        assert!(read(InputFormat::Csv).unwrap_err().to_string().contains("--format csv"));
        assert!(read(InputFormat::Syslog).is_err() && read(InputFormat::Jsonl).is_ok());
    }

    proptest! {
        #[test]
        fn there_are_as_many_answers_as_lines(lines in proptest::collection::vec("[ \\x00a{}\":\r\u{fffd}]{0,6}", 0..9), ends: bool, is_text: bool) {
            let mut stream = lines.join("\n");
            let last_is_empty = lines.last().is_none_or(|line| line.is_empty());
            if ends && !lines.is_empty() {
                stream.push('\n');
            }
            // Nothing behind the last line end is no line.
            let expected = lines.len() - usize::from(!ends && last_is_empty && !lines.is_empty());
            let options = ReadOptions { text_only: is_text, max_record_bytes: 4, ..Default::default() };
            prop_assert_eq!(given(stream.as_bytes(), options).len(), expected);
        }
    }
}
