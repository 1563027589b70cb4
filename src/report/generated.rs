//! Reads generated records: the output of `generate`, raw or as JSON lines, or any file with one record per line.

use super::parse::{Summary, Verdict, verdict};
use crate::fidelity::Reservoir;
use crate::record::Form;
use crate::{Error, Result};
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::Path;

/// Longer lines are not records: they count as broken, and the rest of their text is skipped.
const LONGEST: u64 = 16 << 20;

/// Generated records, and their verdicts.
pub struct GeneratedFile {
    pub summary: Summary,
    /// Whether the file says which records were truncated at the token limit; if not, all count as complete.
    pub tells_truncation: bool,
    /// A uniform sample of the complete records, without their newlines, in order.
    pub complete: Vec<Vec<u8>>,
}

/// A line of `generate --format jsonl`.
#[derive(Deserialize)]
struct GeneratedLine {
    text: String,
    ended: bool,
    /// Distinguishes such a line from a log record that happens to have a text.
    #[serde(rename = "verdict")]
    _verdict: String,
}

/// Reads `path` (`-`: standard input), one record per line; keeps at most `sample` complete ones, drawn with the seed.
///
/// # Errors
/// The file cannot be read, contains no record, or begins as JSON lines of `generate` and does not continue so.
pub fn read_generated(path: &Path, form: Form, sample: usize, seed: u64) -> Result<GeneratedFile> {
    let source: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(stdin()),
        _ => Box::new(File::open(path).map_err(|e| Error::io("read the generated records from", path, e))?),
    };
    let mut reader = BufReader::new(source);
    let (mut summary, mut reservoir) = (Summary::default(), Reservoir::new(sample, seed));
    let (mut line, mut number, mut as_lines) = (Vec::new(), 0u64, false);
    while next_line(&mut reader, &mut line).map_err(|e| Error::io("read the generated records from", path, e))? {
        number += 1;
        let parsed = if number == 1 || as_lines { serde_json::from_slice::<GeneratedLine>(&line).ok() } else { None };
        as_lines = if number == 1 { parsed.is_some() } else { as_lines };
        let ended = match (parsed, as_lines) {
            (Some(parsed), _) => {
                line = parsed.text.into_bytes();
                parsed.ended
            }
            (None, false) => true,
            (None, true) => {
                return Err(Error::failed(format!(
                    "{}:{number}: expected a JSON line with text, ended and verdict as in the lines before (generate --format \
                     jsonl), found something else; is the file truncated or mixed?",
                    path.display()
                )));
            }
        };
        let verdict = verdict(&line, ended, form);
        summary.add(&verdict);
        if verdict != Verdict::Truncated {
            reservoir.offer(|| line.clone());
        }
    }
    if summary.records == 0 {
        return Err(Error::failed(format!(
            "{}: contains no records; expected one per line, as `logwright generate` prints them",
            path.display()
        )));
    }
    Ok(GeneratedFile { summary, tells_truncation: as_lines, complete: reservoir.into_sample() })
}

/// Reads the next line without its line end, or only the beginning of a line that is too long; false at the end.
fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    if reader.by_ref().take(LONGEST).read_until(b'\n', line)? == 0 {
        return Ok(false);
    }
    if line.last() != Some(&b'\n') {
        reader.skip_until(b'\n')?;
    }
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    line.truncate(text.strip_suffix(b"\r").unwrap_or(text).len());
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], form: Form) -> Result<GeneratedFile> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("generated");
        std::fs::write(&path, text).unwrap();
        read_generated(&path, form, 100, 1)
    }

    #[test]
    fn raw_lines_are_records() {
        let file = read(b"{\"a\":1}\r\n{\n\n{\"b\":\"\xff\"}", Form::Json).unwrap();
        assert_eq!(file.summary, Summary { records: 4, complete: 4, parsed: 1 });
        assert_eq!(file.complete, [&b"{\"a\":1}"[..], b"{", b"", b"{\"b\":\"\xff\"}"]);
        assert!(!file.tells_truncation);
    }

    #[test]
    fn json_lines_tell_what_was_cut_off() {
        let lines = br#"{"index":0,"text":"{\"a\":1}","tokens":3,"ended":true,"verdict":"valid"}
{"index":1,"text":"{\"a\":","tokens":3,"ended":false,"verdict":"truncated"}
"#;
        let file = read(lines, Form::Json).unwrap();
        assert_eq!(file.summary, Summary { records: 2, complete: 1, parsed: 1 });
        assert_eq!(file.complete, [b"{\"a\":1}"]);
        assert!(file.tells_truncation);
        let error = read(&[&lines[..], b"{\"a\":1}\n"].concat(), Form::Json).err().unwrap().to_string();
        assert!(error.contains("generated:3: expected a JSON line"), "{error}");
    }

    #[test]
    fn a_record_with_a_text_is_still_a_record() {
        let file = read(b"{\"text\":\"x\",\"ended\":true}\n", Form::Json).unwrap();
        assert_eq!(file.complete, [b"{\"text\":\"x\",\"ended\":true}"]);
    }

    #[test]
    fn an_empty_file_is_an_error_and_a_huge_line_a_broken_record() {
        assert!(read(b"", Form::Json).err().unwrap().to_string().contains("contains no records"));
        let huge = [&vec![b'x'; LONGEST as usize + 5][..], b"\n{}\n"].concat();
        let file = read(&huge, Form::Json).unwrap();
        assert_eq!(file.summary, Summary { records: 2, complete: 2, parsed: 1 });
        assert_eq!(file.complete[0].len(), LONGEST as usize);
    }
}
