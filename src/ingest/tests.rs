//! Tests of `read_records` as a whole, on real files.

use crate::ingest::*;
use indicatif::ProgressBar;
use proptest::prelude::*;
use std::io::Write;

pub(super) fn read_with(bytes: &[u8], options: &ReadOptions) -> crate::Result<(Vec<Vec<u8>>, ReadReport)> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let mut records = Vec::new();
    let report = read_records(&[file.path().to_path_buf()], options, &ProgressBar::hidden(), &mut |record| {
        records.push(record.to_vec());
        Ok(())
    })?;
    Ok((records, report))
}

fn records(bytes: &[u8]) -> Vec<String> {
    let (records, _) = read_with(bytes, &ReadOptions::default()).unwrap();
    records.into_iter().map(|r| String::from_utf8(r).unwrap()).collect()
}

fn error(bytes: &[u8]) -> String {
    read_with(bytes, &ReadOptions::default()).unwrap_err().to_string()
}

fn error_as(bytes: &[u8], format: InputFormat) -> String {
    let options = ReadOptions { format: Some(format), ..Default::default() };
    read_with(bytes, &options).unwrap_err().to_string()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn lines_keep_their_bytes() {
    assert_eq!(records(b"a b\r\n\n  c\t\nlast"), ["a b", "  c\t", "last"]);
    assert_eq!(records(b"{\"a\" : 1.0e5}\n{\"b\":\"\xc3\xa9\"}\r\n"), ["{\"a\" : 1.0e5}", "{\"b\":\"\u{e9}\"}"]);
    assert_eq!(records(b"\xef\xbb\xbfx\n"), ["x"]);
    let (raw, report) = read_with(b"a\0b\n\xff\n\n \n", &ReadOptions::default()).unwrap();
    assert_eq!(raw, [b"a\0b".to_vec(), b"\xff".to_vec()]);
    assert_eq!((report.nul_records, report.invalid_utf8_records, report.empty_lines), (1, 1, 2));
    assert_eq!((report.records, report.bytes), (2, 6));
}

#[test]
fn documents_become_lines() {
    let want = ["{\"a\":1.50,\"b\":\"x y\"}", "{\"c\":[1,2]}"];
    assert_eq!(records(b"[{\"a\": 1.50, \"b\": \"x y\"},\n {\"c\": [1, 2]}]"), want);
    assert_eq!(records(b"{\"Records\": [{\"a\": 1.50, \"b\": \"x y\"}, {\"c\": [1, 2]}], \"n\": {\"x\": [1]}}"), want);
    assert_eq!(records(b"{\n \"a\": 1.50,\n \"b\": \"x y\"\n}\n{\n \"c\": [1, 2]\n}"), want);
    assert_eq!(records(b"{\"@odata.c\": {\"x\": 1}, \"value\": [\n{\"c\": [1, 2]}]}"), want[1..]);
    assert_eq!(records(b"{\n \"events\": [0, 1], \"b\": \"q\\\"}\"\n}"), ["{\"events\":[0,1],\"b\":\"q\\\"}\"}"]);
    assert_eq!(records(b"[]\n[{\"a\":1}]"), ["{\"a\":1}"]);
    let hits = b"{\"took\": 3, \"hits\": {\"total\": {\"n\": 2}, \"hits\": [{\"_id\": 1}, {\"_id\": 2}], \"x\": []}, \"y\": {}}";
    assert_eq!(records(hits), ["{\"_id\":1}", "{\"_id\":2}"]);
    // An object that only looks like a wrapper stays whole.
    let text = b"[{\"data\": {\"items\": 1}, \"b\": 2}]\n{\"data\":{\"a\": {}}, \"data\":{}, \"items\": [{\"c\": 1}], \"d\": 1}";
    assert_eq!(
        records(text),
        ["{\"data\":{\"items\":1},\"b\":2}", "{\"data\":{\"a\": {}}, \"data\":{}, \"items\": [{\"c\": 1}], \"d\": 1}"]
    );
    let json = ReadOptions { format: Some(InputFormat::Json), ..Default::default() };
    let text = b"{\"data\": {\"a\": {}}, \"hits\": {}, \"items\": [{\"c\": 1}], \"d\": 1}\n";
    assert_eq!(read_with(text, &json).unwrap().0, [b"{\"c\":1}".to_vec()]);
}

#[test]
fn tables_become_objects() {
    let csv = ReadOptions { format: Some(InputFormat::Csv), ..Default::default() };
    let rows = read_with(b"time,user,,user\n1,\"a \"\"b\"\"\",x,y\n2,\"c\nd\",,\n", &csv).unwrap().0;
    assert_eq!(
        rows.iter().map(|row| std::str::from_utf8(row).unwrap()).collect::<Vec<_>>(),
        [
            r#"{"time":"1","user":"a \"b\"","column_3":"x","user_2":"y"}"#,
            r#"{"time":"2","user":"c\nd","column_3":"","user_2":""}"#
        ]
    );
    let ragged = b"time,user\n1,a\n2,b,c\n";
    assert!(error_as(ragged, InputFormat::Csv).contains(":3:1: expected 2 fields as in the header, found 3"));
    let keep = ReadOptions { format: Some(InputFormat::Csv), bad_records: BadRecords::Keep, ..Default::default() };
    let (kept, _) = read_with(ragged, &keep).unwrap();
    assert_eq!(kept[1], br#"{"time":"2","user":"b","column_3":"c"}"#);
    let (lossy, report) = read_with(b"time,user\n1,\xff\n", &csv).unwrap();
    assert_eq!((lossy[0].as_slice(), report.lossy_rows), ("{\"time\":\"1\",\"user\":\"\u{fffd}\"}".as_bytes(), 1));
    let utf8 = ReadOptions { require_utf8: true, ..csv };
    let message = read_with(b"time,user\n1,a\n2,\xff\n", &utf8).unwrap_err().to_string();
    assert!(message.contains(":3: byte 1") && message.contains("not valid UTF-8"), "{message}");
    let first = r#"{"time":"1","user":"bob"}"#;
    assert_eq!(records(b"sep=;\r\ntime;user\r\n1;bob\r\n2;al\r\n3;jo\r\n")[0], first);
    assert_eq!(records(b"time;user\n1;bob\n2;al\n3;jo\n").len(), 3);
}

#[test]
fn rows_below_a_line_of_names_become_objects() {
    let iis = b"#Software: IIS\r\n#Fields: date cs(User-Agent) sc-status\r\n2026-01-01 \"A b\" 200\r\n#Date: x\r\n\
        #Fields: date sc-status\r\n2026-01-02 404\r\n";
    let want = [
        r#"{"date":"2026-01-01","cs(User-Agent)":"A b","sc-status":"200"}"#,
        r#"{"date":"2026-01-02","sc-status":"404"}"#,
    ];
    assert_eq!(records(iis), want);
    let zeek =
        b"#separator \\x09\n#fields\tts\tid.orig_h\tnote\n#types\ttime\taddr\tstring\n1.5\t::1\t\"q\n#close\tx\n";
    assert_eq!(records(zeek), [r#"{"ts":"1.5","id.orig_h":"::1","note":"\"q"}"#]);
    assert!(error_as(b"#fields\ta\tb\n1\t2\t3\n", InputFormat::W3c).contains(":2:1: expected 2 fields"));
    assert!(error_as(b"1 2\n", InputFormat::W3c).contains(":1:1: expected a line #Fields"));
    let small = ReadOptions { max_record_bytes: 30, ..Default::default() };
    let message = read_with(b"#Fields: a b\n\x01\x01\x01\x01 2\n", &small).unwrap_err().to_string();
    assert!(message.contains(":2: a record longer than 30 bytes"), "{message}");
    let many = "#fields".to_string() + &"\tx".repeat(20_000) + "\n" + &"1\t".repeat(19_999) + "1\n";
    assert!(records(many.as_bytes())[0].ends_with(r#","x_19999":"1","x_20000":"1"}"#));
    let utf8 = ReadOptions { require_utf8: true, ..Default::default() };
    let message = read_with(b"#Fields: a b\n1 \xff\n", &utf8).unwrap_err().to_string();
    assert!(message.contains(":2: byte 3"), "{message}");
    // Without a line of names, lines that begin with # are records like others.
    assert_eq!(records(b"#!/bin/sh\n#Field\n"), ["#!/bin/sh", "#Field"]);
}

#[test]
fn an_open_quote_does_not_swallow_the_rest() {
    for bad in [&b"t,u\n1,a\n2,\"b\n3,c\n4,d\n"[..], b"t,u\n1,a\n2,\"\"\"b\n"] {
        let message = error_as(bad, InputFormat::Csv);
        assert!(message.contains(":3:1: a quote of the row that begins here is never closed"), "{message}");
    }
    assert!(error_as(b"\"t,u\n1,a\n", InputFormat::Csv).contains(":1:1: a quote"));
    let csv = ReadOptions { format: Some(InputFormat::Csv), ..Default::default() };
    for good in [&b"t,u\n1,\"b\""[..], b"t,u\n1,a\"b\n", b"t,u\n\"1\"\"\",2"] {
        assert_eq!(read_with(good, &csv).unwrap().1.records, 1);
    }
}

#[test]
fn an_object_that_may_be_an_event_is_a_wrapper_where_nothing_follows() {
    let lines = "{\"id\":1,\"items\":[{\"x\":1}]}\n{\"items\":[],\"id\":2}\n{\"items\":[{\"x\":2}]}\n";
    assert_eq!(records(lines.as_bytes()), lines.lines().collect::<Vec<_>>());
    let pretty: Vec<_> = lines.lines().map(|line| line.replace("{\"i", "{\n\"i")).collect();
    assert_eq!(records(pretty.join("\n").as_bytes()), lines.lines().collect::<Vec<_>>());
    // The first line is longer than the bytes that are examined at first.
    let long = format!("{{\"items\":[{{\"x\":\"{}\"}}],\"id\":1}}\n", "y".repeat(200_000)).repeat(2);
    assert_eq!(records(long.as_bytes()), long.lines().collect::<Vec<_>>());
    let first = &long[..long.len() / 2];
    assert_eq!(records(first.as_bytes()), [&first[10..first.len() - 10]]);
    let want = ["{\"a\":1}", "{\"b\":[2]}"];
    assert_eq!(records(b"{\"count\": 60, \"Records\": [{\"a\": 1}, {\"b\": [2]}], \"c\": {\"d\": 1}}\n"), want);
    assert_eq!(records(b"{\"Records\":[{\"a\":1}]}{\"Records\":[{\"b\":[2]}]}"), want);
    assert_eq!(records(b"{\"id\":1,\"items\":[]}"), ["{\"id\":1,\"items\":[]}"], "facts of its own stay");
    assert!(error(b"{\"Records\":[]}").contains("no complete record"));
    assert!(error(b"{\"Records\":[{\"a\":1}],\"b").contains("cut in the middle"));
}

#[test]
fn wrappers_may_follow_one_another_in_any_arrangement() {
    let want = ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"];
    for text in [
        "{\"Records\":[{\"a\":1},{\"b\": 2}]}\n{\"Records\":[]}\n{\"Records\":[{\"c\":3}],\"n\":1}\n",
        "[{\"Records\":[{\"a\":1},{\"b\":2}]},{\"logEvents\":[{\"c\":3}]}]",
        "{\n\"value\": [{\"a\":1}], \"@odata.nextLink\": \"x\"}\n{\n\"value\": [{\"b\":2},{\"c\":3}]\n}",
        "{\"events\":[{\"a\":1},{\"b\":2}],\"nextToken\":\"t\"}{\"events\":[{\"c\":3}]}",
        "{\"took\":1,\"hits\":{\"total\":{\"value\":2},\"hits\":[{\"a\":1},{\"b\":2}]}}\n{\"took\":1,\"hits\":{\"hits\":[{\"c\":3}]}}\n",
        "{\"a\":1}{\"b\":2}\n{\"c\":3}",
        "{\"a\":1}\n[{\"b\":2}]{\n\"c\": 3}",
    ] {
        assert_eq!(records(text.as_bytes()), want, "{text}");
    }
    let lines = "{\"Records\":[{\"a\":1}]}\n{\"Records\":[{\"a\":1}]}\n";
    let options = ReadOptions { format: Some(InputFormat::Jsonl), ..Default::default() };
    assert_eq!(read_with(lines.as_bytes(), &options).unwrap().1.records, 2, "--format jsonl takes no line apart");
}

/// What is broken takes no other record with it.
#[test]
fn broken_objects_leave_the_next_one_whole() {
    let skip = ReadOptions { bad_records: BadRecords::Skip, ..Default::default() };
    for (text, good, bad) in [
        ("{\"a\":1}\n{\"a\":\n{\"b\":2}\n{\"c\":3}\n", 3, 1),
        ("{\"a\":1}\n{\"a\":\"x\n{\"b\":2}\n", 2, 1),
        ("{\"a\":1}\n{\"a\":1\n{\"b\":2}\n", 2, 1),
        ("{\"a\":1}\n{\"b\":[1,", 1, 1),
        ("{\"a\":1}\n{\"b\":[1,\n", 1, 1),
        ("{\n \"a\": 1,\n \"b\" 2,\n \"c\": 3\n}\n{\n \"a\": 1\n}\n{\"b\":2}", 2, 1),
        ("[{\"a\": 10 20, \"b\": fal se},{\"a\": - 1},{\"b\":2},\n\"x\", {\"a\":\"}\" \"]\"}]\n{\"c\":3}", 2, 4),
        ("{\"a\":1}}\n{\"b\":2}\n", 1, 1),
        ("{\"Records\":[{\"a\":1},{\"a\" 1},{\"b\":2}]}\n{\"Records\":[{\"c\":3}] x\n{\"d\":4}\n", 4, 2),
        ("{\"a\":1}\n[{\"b\":2},]\n{\"c\":3}\n", 3, 1),
        ("{\"a\":1}\n{\"a\":\"\u{7f}\"}\n\u{feff}{\"b\":2}\n", 2, 1),
    ] {
        let (found, report) = read_with(text.as_bytes(), &skip).unwrap();
        assert_eq!((found.len(), report.bad_records), (good, bad), "{text} {found:?} {:?}", report.bad_places);
        assert!(found.iter().all(|record| serde_json::from_slice::<serde_json::Value>(record).is_ok()));
        let keep = ReadOptions { bad_records: BadRecords::Keep, ..Default::default() };
        assert!(read_with(text.as_bytes(), &keep).unwrap().0.len() as u64 >= good as u64, "{text}");
    }
}

/// Wrappers in wrappers, megabytes deep, take one pass and a bounded stack, also on the small stack of a thread.
#[test]
fn nested_wrappers_take_the_time_of_their_length() {
    for text in [b"{\"hits\":".repeat(500_000), b"{\"data\":[".repeat(500_000), b"[{\"data\":".repeat(500_000)] {
        let begin = std::time::Instant::now();
        let read = std::thread::spawn(move || read_with(&text, &ReadOptions::default()).err().map(|e| e.to_string()));
        let message = read.join().unwrap().expect("too deep");
        assert!(message.contains("127 levels"), "{message}");
        assert!(begin.elapsed() < std::time::Duration::from_secs(5), "{:?}", begin.elapsed());
    }
    // A wrapper with many other members, whose names are compared with one another.
    let many: String = (0..50_000).map(|i| format!(",\"k{i}\":{i}")).collect();
    let begin = std::time::Instant::now();
    assert_eq!(records(format!("{{\"Records\":[{{\"a\":1}}]{many}}}").as_bytes()), ["{\"a\":1}"]);
    assert!(begin.elapsed() < std::time::Duration::from_secs(5));
}

#[test]
fn what_is_no_text_is_refused_unless_asked_for() {
    for (bytes, what) in [
        (b"\x7fELF\x02\x01\x01".to_vec(), "a program (ELF)"),
        (gzip(&gzip(b"x\n")), "gzip inside gzip"),
        ("{\"a\":1}\n".bytes().flat_map(|b| [b, 0]).collect(), "UTF-16 without a byte order mark"),
    ] {
        let message = error(&bytes);
        assert!(message.contains(what) && message.contains("--format text"), "{message}");
        let text = ReadOptions { format: Some(InputFormat::Text), ..Default::default() };
        assert!(read_with(&bytes, &text).is_ok());
    }
}

#[test]
fn the_longest_record_limit_may_be_any_number() {
    let options = ReadOptions { max_record_bytes: usize::MAX, ..Default::default() };
    for text in [&b"a\nb\n"[..], b"{\"a\":1}\n{\"b\":2}\n", b"[{\"a\":1},{\"b\":2}]"] {
        assert_eq!(read_with(text, &options).unwrap().1.records, 2);
    }
}

#[test]
fn compression_is_found_by_content() {
    let mut members = gzip(b"one\n");
    members.extend(gzip(b"two\n"));
    assert_eq!(records(&members), ["one", "two"]);
    assert_eq!(records(&zstd::encode_all(&b"one\ntwo\n"[..], 1).unwrap()), ["one", "two"]);
}

#[test]
fn bad_records_fail_are_left_out_or_kept() {
    let mixed = b"{\"a\":1}\nJan 1 text\n{\"a\":2}\n{\"a\":}\n[1]\n";
    let message = error(mixed);
    for part in [":2:1: expected a JSON object", "JSON lines", "mixes formats", "--bad-records skip"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains("Jan"), "messages hold no record contents: {message}");
    assert!(error(b"{\"a\":1}\n{\"a\":}\n").contains(":2:6: expected one whole JSON object"));
    let with = |bad_records| read_with(mixed, &ReadOptions { bad_records, ..Default::default() }).unwrap();
    let (left, report) = with(BadRecords::Skip);
    assert_eq!((left.len(), report.bad_records, report.sources[0].skipped), (2, 3, 3));
    assert!(report.bad_places[1].ends_with(":4:6"), "{:?}", report.bad_places);
    let (kept, report) = with(BadRecords::Keep);
    assert_eq!((kept.len(), report.bad_records, report.sources[0].skipped), (5, 3, 0));
    assert_eq!(kept[1], b"Jan 1 text");
    let (elements, _) = read_with(
        b"[{\"a\":1}, 7, {\"b\" 2}, {\"c\":3}]",
        &ReadOptions { bad_records: BadRecords::Skip, ..Default::default() },
    )
    .unwrap();
    assert_eq!(elements, [b"{\"a\":1}".to_vec(), b"{\"c\":3}".to_vec()]);
}

#[test]
fn cut_and_damaged_input_is_named_with_its_place() {
    let array = b"[{\"a\":1},\n{\"b\":2},\n{\"c\":";
    let message = error(array);
    assert!(message.contains(":3:6: the JSON is cut") && message.contains("2 records read so far"), "{message}");
    assert!(error(b"[{\"a\":1}").contains("cut in the middle"));
    assert!(error(b"{\"a\":1,\n\"b\":").contains("cut in the middle"));
    assert!(error(b"[{\"a\":1}]\nplain").contains(":2:1: expected a JSON object or array, found 'p'"));
    assert!(error(b"[{\"a\":1} {\"b\":2}]").contains("expected , or ]"));
    let lines: String = (0..50_000).map(|i| format!("line {}\n", i * 7919 % 10007)).collect();
    let whole = gzip(lines.as_bytes());
    let message = error(&whole[..whole.len() / 2]);
    assert!(message.contains("gzip data is truncated") && !message.contains("(0 records"), "{message}");
    let whole = zstd::encode_all(lines.as_bytes(), 1).unwrap();
    assert!(error(&whole[..whole.len() / 2]).contains("zstd data is truncated"));
    assert!(error(&gzip(b"a\n")[..12]).contains("gzip data is truncated"));
}

#[test]
fn what_cannot_be_logs_is_refused() {
    assert!(error(b"").contains("the file is empty"));
    assert!(error(b"\n \r\n\n").contains("no complete record (3 empty lines"));
    assert!(error(b"[]").contains("no complete record"));
    assert!(error(b"\xff\xfe\0\0{\0\0\0").contains("iconv -f UTF-32"));
    assert!(error(b"PK\x03\x04....").contains("zip archive"));
    let utf8 = ReadOptions { require_utf8: true, ..Default::default() };
    let message = read_with(b"ok\nab\xff\n", &utf8).unwrap_err().to_string();
    assert!(message.contains(":2: byte 3") && message.contains("--tokenizer"), "{message}");
}

#[test]
fn long_records_are_refused_in_every_format() {
    let options = |format| ReadOptions { format: Some(format), max_record_bytes: 100, ..Default::default() };
    let long = "x".repeat(200_000);
    let fits = format!("{}\r\n", "x".repeat(100));
    let report = read_with(fits.as_bytes(), &options(InputFormat::Text)).unwrap().1;
    assert_eq!((report.records, report.empty_lines), (1, 0), "the line end does not count");
    for (text, format, line) in [
        (format!("a\n{long}"), InputFormat::Text, 2),
        (format!("{{\"a\":1}}\n{{\"a\":\"{long}\"}}"), InputFormat::Jsonl, 2),
        (format!("[{{\"a\":1}},\n\n{{\"a\":\"{long}\"}}]"), InputFormat::Json, 3),
        (format!("a,b\n1,\"{long}"), InputFormat::Csv, 2),
    ] {
        let message = read_with(text.as_bytes(), &options(format)).unwrap_err().to_string();
        assert!(message.contains(&format!(":{line}: ")) && message.contains("--max-record-bytes"), "{message}");
    }
}

#[test]
fn the_prefix_stands_before_the_record() {
    let prefix = |field: &str| ReadOptions { prefixes: vec![str::parse(field).unwrap()], ..Default::default() };
    let (records, report) = read_with(b"{\"u\":\"bob\"}\n{\"v\":1}\n", &prefix("u")).unwrap();
    assert_eq!(records, [b"bob {\"u\":\"bob\"}".to_vec(), b"- {\"v\":1}".to_vec()]);
    assert_eq!(report.missing_prefix, [1]);
    let message = read_with(b"{\"u\":1}\n", &prefix("x.y")).unwrap_err().to_string();
    assert!(message.contains("--prefix-field x.y"), "{message}");
}

/// Bytes that resemble logs more often than random bytes do.
fn log_like() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        "\"",
        "\\",
        ",",
        ":",
        "\n",
        "\r\n",
        " ",
        "\t",
        "1",
        "a",
        "\"k\":",
        "{\"Records\":[",
        "\0",
        "\u{feff}",
        "\u{e9}",
        "true",
        "{\"a\":1}\n",
    ]);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        prop::collection::vec(pieces, 0..60).prop_map(|parts| parts.concat().into_bytes()),
    ]
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(".*", inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn the_reader_never_panics(bytes in log_like(), format in prop::option::of(any::<prop::sample::Index>()), skip in any::<bool>()) {
        let formats = <InputFormat as clap::ValueEnum>::value_variants();
        let bad_records = if skip { BadRecords::Skip } else { BadRecords::Keep };
        let options =
            ReadOptions { format: format.map(|format| *format.get(formats)), bad_records, max_record_bytes: 64, ..Default::default() };
        if let Ok((records, report)) = read_with(&bytes, &options) {
            prop_assert_eq!(records.len() as u64, report.records);
            prop_assert!(records.iter().all(|r| !r.contains(&b'\n')));
        }
    }

    /// What is read once stays as it is: each record is a line of JSON lines, whatever was around it.
    #[test]
    fn records_of_json_are_json_lines(bytes in log_like(), json in any::<bool>()) {
        let format = if json { InputFormat::Json } else { InputFormat::Jsonl };
        let options = ReadOptions { format: Some(format), bad_records: BadRecords::Skip, ..Default::default() };
        if let Ok((records, report)) = read_with(&bytes, &options) {
            prop_assert_eq!(report.sources[0].skipped, report.bad_records);
            // A carriage return before the line end is white space around the object the first time, and its end the second.
            prop_assume!(!records.iter().any(|record| record.ends_with(b"\r")));
            let lines = records.iter().flat_map(|record| [record, &b"\n"[..]].concat()).collect::<Vec<_>>();
            let strict = ReadOptions { format: Some(InputFormat::Jsonl), ..Default::default() };
            prop_assert_eq!(read_with(&lines, &strict).unwrap().0, records);
        }
    }

    #[test]
    fn white_space_goes_and_the_value_stays(values in prop::collection::vec(json_value(), 1..5)) {
        // A key of its own keeps each value from looking like a wrapper of records.
        let objects: Vec<_> = values.into_iter().map(|v| serde_json::json!({"k": v})).collect();
        let pretty = serde_json::to_string_pretty(&objects).unwrap();
        let compact: Vec<_> = objects.iter().map(|o| o.to_string()).collect();
        prop_assert_eq!(records(pretty.as_bytes()), compact.clone());
        let stream: String = objects.iter().map(|o| serde_json::to_string_pretty(o).unwrap() + "\n").collect();
        let options = ReadOptions { format: Some(InputFormat::Json), ..Default::default() };
        let (streamed, _) = read_with(stream.as_bytes(), &options).unwrap();
        prop_assert_eq!(streamed, compact.into_iter().map(String::into_bytes).collect::<Vec<_>>());
    }
}

#[cfg(feature = "xz")]
mod xz {
    use super::*;

    fn pack(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn xz_is_unpacked() {
        let text = "one line\n".repeat(100_000);
        let packed = pack(text.as_bytes());
        let (records, report) = read_with(&packed, &ReadOptions::default()).unwrap();
        assert_eq!((records.len(), report.sources[0].compression), (100_000, Compression::Xz));
        // Several streams, and the zeros that may stand between them.
        let two = [&packed[..], &[0; 8], &pack(b"more\n")].concat();
        assert_eq!(read_with(&two, &ReadOptions::default()).unwrap().0.len(), 100_001);
    }

    #[test]
    fn damaged_xz_is_an_error() {
        let packed = pack("one line\n".repeat(100_000).as_bytes());
        let mut flipped = packed.clone();
        flipped[packed.len() / 2] ^= 1;
        for bytes in [&packed[..packed.len() - 1], &packed[..100], &flipped, &[&packed[..], b"rest"].concat()] {
            let message = read_with(bytes, &ReadOptions::default()).unwrap_err().to_string();
            assert!(message.contains("the xz data is truncated or damaged"), "{message}");
        }
    }
}
