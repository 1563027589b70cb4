//! Inputs as people have them, all invented (`tests/field`): how many events each holds, and what is said of it. `prepare`, and
//! `score` of the file and of standard input, agree on every one.

use crate::common::{SMALL, Said, logwright, run};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

struct Row {
    input: &'static str,
    flags: &'static str,
    records: u64,
    /// Bad records that are left out.
    bad: u64,
    /// What `prepare` says.
    says: &'static [&'static str],
}

const fn row(input: &'static str, records: u64, says: &'static [&'static str]) -> Row {
    Row { input, flags: "", records, bad: 0, says }
}

const fn bad(input: &'static str, records: u64, bad: u64, says: &'static [&'static str]) -> Row {
    Row { input, flags: "--bad-records skip", records, bad, says }
}

const ROWS: &[Row] = &[
    row("01utf16/events.json", 12, &["JSON lines"]),
    row("01utf16/events.json.gz", 12, &["JSON lines"]),
    row("02ual/audit.csv", 12, &["CSV", "the names of 4 columns"]),
    row(
        "03numbers/dup.jsonl",
        20,
        &["JSON lines", "14 records of the training split with the same name twice in an object"],
    ),
    row(
        "03numbers/nanall.jsonl",
        40,
        &["nanall.jsonl:1:6: expected one whole JSON object", "each is read as text", "--format jsonl"],
    ),
    row("04concat/small.json", 40, &["JSON"]),
    row("04concat/batches.json", 8, &["JSON"]),
    row("05bulk/bulk.ndjson", 20, &["20 operations of _bulk requests"]),
    row("06journald/journal.json", 20, &["7 arrays of bytes that became text"]),
    row("07docker/c-json.log", 40, &["JSON lines"]),
    row("07docker/partial.log", 10, &["10 parts of lines, joined"]),
    row("10cri/levels.log", 20, &["text lines"]),
    row("10cri/partial.log", 10, &["lines of containers (CRI)", "10 parts of lines, joined"]),
    row("11syslog/octet.log", 10, &["syslog messages with their lengths"]),
    row("12gz/zeros.gz", 12, &[]),
    row("13zst/long30.zst", 2000, &[]),
    row(
        "19csv/excel.csv",
        10,
        &["CSV", "the header has no name for the last field of the rows; it is called column_6"],
    ),
    row(
        "20trace/app.log",
        10,
        &["records of several lines", "--record-start ''", "30 lines of continued events, joined"],
    ),
    Row { input: "20trace/app.log", flags: "--format text", records: 40, bad: 0, says: &["text lines"] },
    Row { input: "20trace/app.log", flags: "--record-start=", records: 40, bad: 0, says: &["text lines"] },
    Row { input: "20trace/app.log", flags: "--record-start=^.*ERROR", records: 10, bad: 0, says: &[] },
    row("24splunk/export.json", 20, &["JSON lines", "opened as fields: result._raw (20); --open ''"]),
    Row {
        input: "24splunk/export.json",
        flags: "--open=result.x",
        records: 20,
        bad: 0,
        says: &["--open result.x: no string"],
    },
    row(
        "25cw/sub.json",
        20,
        &[
            "opened as fields: message (20)",
            "20 records from 4 wrappers of arrays of records",
            "left out: \"logGroup\"",
        ],
    ),
    row("25cw/trail_lines.jsonl", 20, &["20 records from 4 wrappers"]),
    row("26cef/cef.log", 20, &["CEF or LEEF events"]),
    row("26cef/leef1.log", 12, &["CEF or LEEF events"]),
    row("27tables/type.csv", 4, &["CSV", "2 lines #TYPE", "1 repeated header"]),
    row("27tables/repeated.csv", 12, &["CSV", "2 repeated headers"]),
    row("27tables/vpc.log", 5, &["a table with spaces between its cells"]),
    row("27tables/spaced-names.csv", 3, &["CSV"]),
    row("29nul/small.log", 30, &["1 hole of NUL bytes"]),
    bad("37json/deep129.jsonl", 2, 1, &["deep129.jsonl:2:636"]),
    bad("37json/glued.json", 2, 1, &["glued.json:3:10"]),
    bad("37json/latin.jsonl", 2, 1, &["latin.jsonl:2:7"]),
    bad("37json/wrapped.json", 2, 1, &["wrapped.json:2:10"]),
    row("38archive/skippable.zst", 60, &[]),
];

fn field(input: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/field").join(input)
}

fn prepared(home: &Path, input: &str, flags: &str, stdin: Stdio) -> Said {
    let mut command = logwright();
    command.args(["prepare", input, "--out", "data", "--overwrite", "--tokenizer", "bytes", "--val-fraction", "0.3"]);
    command.args(flags.split_whitespace()).current_dir(home).stdin(stdin).output().unwrap().into()
}

fn stdin(input: &str) -> Stdio {
    fs::File::open(field(input)).unwrap().into()
}

/// A tiny model of JSON records, which knows bytes.
fn model() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    prepared(home.path(), field("04concat/small.json").to_str().unwrap(), "", Stdio::null()).has(0, &[]);
    run(home.path(), &format!("train --data data --out run --steps 2 {SMALL}")).has(0, &[]);
    home
}

#[test]
fn every_event_is_a_record_or_told() {
    let home = tempfile::tempdir().unwrap();
    for Row { input, flags, records, bad, says } in ROWS {
        let path = field(input);
        let said = prepared(home.path(), path.to_str().unwrap(), flags, Stdio::null());
        said.has(0, says).has(0, &[&format!(" {records} records (")]);
        if *bad > 0 {
            said.has(0, &[&format!("{bad} bad record")]);
            prepared(home.path(), path.to_str().unwrap(), "", Stdio::null()).has(1, &["--bad-records skip"]);
        }
        prepared(home.path(), "-", flags, stdin(input)).has(0, &[&format!(" {records} records (")]);
    }
}

#[test]
fn a_file_and_a_pipe_get_the_same_answers() {
    let home = model();
    // What lines begin a record is the model's to know, so the trace is left to another test.
    for Row { input, records, bad, .. } in ROWS.iter().filter(|row| row.records < 100 && !row.input.contains("trace")) {
        let mut command = logwright();
        command.args(["score", "--model", "run", "--aggregate", "mean"]).arg(field(input)).current_dir(home.path());
        let file = Said::from(command.output().unwrap());
        file.has(0, &[]);
        assert_eq!(file.out.lines().count() as u64, records + bad, "{input}: {}", file.err);
        let mut command = logwright();
        command.args(["score", "--model", "run", "--aggregate", "mean"]).current_dir(home.path());
        let pipe = Said::from(command.stdin(stdin(input)).output().unwrap());
        assert_eq!(file.out, pipe.out, "{input}");
        if *bad > 0 {
            assert_eq!(file.out.matches("\"error\":\"line ").count() as u64, *bad, "{}", file.out);
        }
    }
}

/// JSON in strings is fields of its own, and strings again wherever a record leaves the program.
#[test]
fn opened_strings_are_written_back() {
    let home = tempfile::tempdir().unwrap();
    let (input, written) = (field("24splunk/export.json"), home.path().join("p.out"));
    let flags = "--pseudonymise --key-file key --write-records p.out";
    fs::write(home.path().join("keep.toml"), "builtin = false\n").unwrap();
    prepared(home.path(), input.to_str().unwrap(), &format!("{flags} --rules keep.toml"), Stdio::null()).has(0, &[]);
    assert_eq!(fs::read_to_string(&written).unwrap(), fs::read_to_string(&input).unwrap());
    prepared(home.path(), input.to_str().unwrap(), flags, Stdio::null()).has(0, &[]);
    let text = fs::read_to_string(&written).unwrap();
    for line in text.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let inner: serde_json::Value = serde_json::from_str(record["result"]["_raw"].as_str().unwrap()).unwrap();
        assert_eq!(inner["eventName"], "ConsoleLogin");
    }
    assert!(!text.contains("mkowalczyk") && !text.contains('\r'), "{text}");

    prepared(
        home.path(),
        input.to_str().unwrap(),
        "--prefix-field user=result._raw.userIdentity.userName",
        Stdio::null(),
    )
    .has(0, &[]);
    run(home.path(), &format!("train --data data --out run --steps 40 {SMALL}")).has(0, &[]);
    let said = run(home.path(), "generate --model run --schema learned --where user=squigley -n 3 --only-valid");
    said.has(0, &[]);
    for line in said.out.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let inner: serde_json::Value = serde_json::from_str(record["result"]["_raw"].as_str().unwrap()).unwrap();
        assert_eq!(inner["userIdentity"]["userName"], "squigley", "{line}");
    }
    fs::write(home.path().join("generated"), said.out).unwrap();
    let said = run(home.path(), "evaluate --model run --data data --generated generated");
    said.has(0, &[]);
    assert!(said.out.contains("\"result._raw.eventName\""), "{}", said.out);
    let said = run(home.path(), &format!("score --model run --explain {}", input.display()));
    assert!(said.out.contains("result._raw."), "{}", said.out);
}

/// Only what was opened is closed: carriage returns of text, and of JSON that is left closed, stay.
#[test]
fn carriage_returns_are_written_as_they_came() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("keep.toml"), "builtin = false\n").unwrap();
    for (text, flags) in [
        ("progress 1\r\r 2\rdone\nnext\rline\n", ""),
        ("{\"a\":\r1}\n{\"a\":\"[\\\"x\\\"]\"}\n", ""),
        ("{\"a\":\r1}\n{\"a\":\"[\\\"x\\\"]\"}\n", "--open="),
        ("{\"a\":1}\n{\"a\":\r2\n{\"a\":\"[\\\"x\\\"]\"}\n", "--bad-records=keep --format=jsonl"),
    ] {
        fs::write(home.path().join("in.log"), text).unwrap();
        let flags = format!("{flags} --pseudonymise --key-file key --rules keep.toml --write-records out.log");
        prepared(home.path(), "in.log", &flags, Stdio::null()).has(0, &[]);
        assert_eq!(fs::read_to_string(home.path().join("out.log")).unwrap(), text);
    }
}

/// Labelled logs are read as those of the model were: events of several lines are one record each.
#[test]
fn labelled_logs_are_read_like_the_training_records() {
    let home = tempfile::tempdir().unwrap();
    let input = field("20trace/app.log");
    prepared(home.path(), input.to_str().unwrap(), "", Stdio::null()).has(0, &[" 10 records ("]);
    run(home.path(), &format!("train --data data --out run --steps 2 {SMALL}")).has(0, &[]);
    fs::write(home.path().join("labels"), "0\n0\n0\n0\n1\n0\n0\n0\n0\n1\n").unwrap();
    let line = format!("evaluate --model run --data data --labelled {} --labels labels", input.display());
    let said = run(home.path(), &line);
    said.has(0, &[]);
    assert!(said.out.contains("\"attacks\":2,\"normals\":8"), "{}", said.out);
}

#[test]
fn a_dictionary_is_asked_for_and_what_it_unpacks_is_read() {
    let home = tempfile::tempdir().unwrap();
    let path = field("13zst/dictionary.zst");
    let said = prepared(home.path(), path.to_str().unwrap(), "", Stdio::null());
    said.has(1, &["compressed with a dictionary", "zstd -dc -D DICTIONARY"]);
    let (packed, dictionary) = (fs::read(&path).unwrap(), fs::read(field("13zst/dictionary")).unwrap());
    let mut reader = zstd::stream::read::Decoder::with_dictionary(&packed[..], &dictionary).unwrap();
    let mut file = fs::File::create(home.path().join("unpacked")).unwrap();
    std::io::copy(&mut reader, &mut file).unwrap();
    let unpacked = fs::File::open(home.path().join("unpacked")).unwrap();
    prepared(home.path(), "-", "", unpacked.into()).has(0, &[" 8 records ("]);
}

/// What a message says to do about a file works as it is printed.
#[test]
fn remedies_work_as_printed() {
    let home = tempfile::tempdir().unwrap();
    let events: String = (0..20).map(|i| format!("{{\"n\":{i},\"s\":\"é\"}}\n")).collect();
    let units: Vec<u16> = events.encode_utf16().collect();
    let wide: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let wider: Vec<u8> =
        ['\u{feff}'].into_iter().chain(events.chars()).flat_map(|c| (c as u32).to_le_bytes()).collect();
    fs::write(home.path().join("wide.log"), &wide).unwrap();
    fs::write(home.path().join("wider.log"), wider).unwrap();
    fs::write(home.path().join("app.log"), &events).unwrap();
    fs::write(home.path().join("cut.log.gz"), gzipped(events.repeat(2000).as_bytes())).unwrap();
    shell(home.path(), "tar -cf logs.tar app.log && mkdir unpacked");
    let half = fs::read(home.path().join("cut.log.gz")).unwrap();
    fs::write(home.path().join("cut.log.gz"), &half[..half.len() / 2]).unwrap();
    for (input, remedy, command, read) in [
        ("wider.log", "iconv -f UTF-32 -t UTF-8 wider.log > utf8.log", "", "utf8.log"),
        ("wide.log", "iconv -f UTF-16LE", "iconv -f UTF-16LE -t UTF-8 wide.log > utf8.log", "utf8.log"),
        ("logs.tar", "unpack it (tar -xf) and name the folder", "tar -xf logs.tar -C unpacked", "unpacked"),
        (
            "cut.log.gz",
            "`gzip -dc cut.log.gz > part.log`",
            "gzip -dc cut.log.gz > part.log; true",
            "part.log --bad-records skip",
        ),
    ] {
        prepared(home.path(), input, "", Stdio::null()).has(1, &[remedy]);
        shell(home.path(), if command.is_empty() { remedy } else { command });
        run(home.path(), &format!("prepare {read} --out data --overwrite --tokenizer bytes")).has(0, &["data written"]);
    }
}

#[track_caller]
fn shell(folder: &Path, command: &str) {
    assert!(Command::new("sh").args(["-c", command]).current_dir(folder).status().unwrap().success(), "{command}");
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// A folder is read as far as it can be; a file that is named must be a log.
#[test]
fn a_folder_leaves_out_what_is_no_log() {
    let home = tempfile::tempdir().unwrap();
    let logs = home.path().join("logs");
    fs::create_dir(&logs).unwrap();
    fs::write(logs.join("a.log"), "{\"a\":1}\n{\"a\":2}\n").unwrap();
    let mut archive = vec![0; 512];
    archive[..5].copy_from_slice(b"a.log");
    archive[148..156]
        .copy_from_slice(format!("{:06o}\0 ", 8 * 32 + b"a.log".iter().map(|&b| u32::from(b)).sum::<u32>()).as_bytes());
    for (name, bytes, what) in [
        ("empty.zip", &b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"[..], "an empty zip archive"),
        ("old.tar", &archive, "a tar archive"),
        ("program", b"\x7fELF\x02\x01\x01\0", "a program (ELF)"),
    ] {
        fs::write(logs.join(name), bytes).unwrap();
        prepared(home.path(), &format!("logs/{name}"), "", Stdio::null()).has(1, &[what]);
        prepared(home.path(), "logs", "", Stdio::null()).has(0, &[what, "(left out)", " 2 records ("]);
    }
}
