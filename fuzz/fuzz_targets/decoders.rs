//! Bytes as a log file: nothing panics, no line is lost, records of JSON stay what they are when they are read again.

#![no_main]

use indicatif::ProgressBar;
use libfuzzer_sys::fuzz_target;
use logwright::ingest::{BadRecords, Compression, InputFormat, ReadOptions, ReadReport, RecordStart, read_records};
use std::path::PathBuf;
use std::sync::LazyLock;

static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("logwright-fuzz-{}.log", std::process::id())));

const FORMATS: [Option<InputFormat>; 13] = [
    None,
    Some(InputFormat::Jsonl),
    Some(InputFormat::Json),
    Some(InputFormat::Text),
    Some(InputFormat::Csv),
    Some(InputFormat::Tsv),
    Some(InputFormat::W3c),
    Some(InputFormat::Spaced),
    Some(InputFormat::Syslog),
    Some(InputFormat::Cri),
    Some(InputFormat::Cef),
    Some(InputFormat::Evtx),
    Some(InputFormat::Parquet),
];

fn read(bytes: &[u8], options: &ReadOptions) -> Option<(Vec<Vec<u8>>, ReadReport)> {
    std::fs::write(&*FILE, bytes).expect("the folder of temporary files can be written");
    let mut records = Vec::new();
    let report = read_records(&[FILE.clone()], options, &ProgressBar::hidden(), &mut |record| {
        records.push(record.to_vec());
        Ok(())
    });
    report.ok().map(|report| (records, report))
}

/// The first byte chooses the format, the second the other options.
fuzz_target!(|data: &[u8]| {
    let [format, flags, bytes @ ..] = data else { return };
    let options = ReadOptions {
        format: FORMATS[usize::from(*format) % FORMATS.len()],
        bad_records: if flags & 1 == 0 { BadRecords::Skip } else { BadRecords::Keep },
        max_record_bytes: if flags & 2 == 0 { 1 << 20 } else { 64 },
        record_start: if flags & 4 == 0 { RecordStart::Lines } else { RecordStart::Find },
        ..Default::default()
    };
    let Some((records, report)) = read(bytes, &options) else { return };
    assert_eq!(records.len() as u64, report.records);
    assert!(records.iter().all(|record| !record.contains(&b'\n')));
    let source = &report.sources[0];
    let is_utf8 = [&b"\xff\xfe"[..], b"\xfe\xff", b"\xef\xbb\xbf"].iter().all(|mark| !bytes.starts_with(mark));
    let plain = source.compression == Compression::None && is_utf8;
    match source.format {
        InputFormat::Text if plain && report.record_starts.is_empty() => assert_eq!(records, lines(bytes)),
        InputFormat::Json | InputFormat::Jsonl if flags & 1 == 0 => again(&records, &options),
        _ => {}
    }
});

/// The lines of a text that are not empty; NULs in front are a hole.
fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    let line = |line: &[u8]| {
        let line = &line[line.iter().take_while(|&&byte| byte == 0).count()..];
        line.strip_suffix(b"\r").unwrap_or(line).to_vec()
    };
    text.split(|&byte| byte == b'\n').map(line).filter(|line| !line.trim_ascii().is_empty()).collect()
}

fn again(records: &[Vec<u8>], options: &ReadOptions) {
    // A carriage return before the line end is white space around the object the first time, and its end the second.
    if records.is_empty() || records.iter().any(|record| record.ends_with(b"\r")) {
        return;
    }
    let lines: Vec<u8> = records.iter().flat_map(|record| [record, &b"\n"[..]].concat()).collect();
    let strict = ReadOptions { format: Some(InputFormat::Jsonl), bad_records: BadRecords::Fail, ..options.clone() };
    assert_eq!(read(&lines, &strict).expect("records are lines of JSON").0, records);
}
