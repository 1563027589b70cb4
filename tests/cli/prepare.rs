//! `logwright prepare` end to end: the data folders it writes and its error messages.

use crate::common::{Said, logwright, real_logs, sampled_logs, text_of};
use logwright::dataset::Dataset;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A folder with one input and a place for the output.
struct Case {
    dir: TempDir,
    input: PathBuf,
}

impl Case {
    fn new(content: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("input.log");
        fs::write(&input, content).unwrap();
        Self { dir, input }
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn prepare_from(&self, inputs: &[&Path], stdin: &[u8], flags: &[&str]) -> Said {
        let mut command = logwright();
        command.arg("prepare").args(inputs).arg("--out").arg(self.out()).args(flags);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A program that refuses its flags does not read.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        let output = child.wait_with_output().unwrap();
        assert!(output.stdout.is_empty(), "messages belong on stderr");
        output.into()
    }

    fn prepare(&self, flags: &[&str]) -> Said {
        self.prepare_from(&[&self.input], b"", flags)
    }

    /// Checks that a run fails and leaves only the files that existed before.
    #[track_caller]
    fn fails(&self, code: i32, flags: &[&str], parts: &[&str]) {
        self.prepare(flags).has(code, parts);
        self.nothing_left();
    }

    #[track_caller]
    fn nothing_left(&self) {
        let names: Vec<_> = fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["input.log"], "nothing half-written is left");
    }

    fn open(&self) -> Dataset {
        Dataset::open(&self.out()).unwrap()
    }

    /// All records, training first, as text.
    fn records(&self) -> Vec<String> {
        let data = self.open();
        let mut text = Vec::new();
        for split in [&data.train, &data.val] {
            let mut ids = vec![0; split.tokens() as usize];
            split.read(0, &mut ids).unwrap();
            text.extend(data.tokenizer.decode(&ids));
        }
        String::from_utf8(text).unwrap().lines().map(String::from).collect()
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn json_lines(n: usize) -> String {
    (0..n).map(|i| format!("{{\"i\":{i},\"user\":{{\"name\":\"u{}@x.org\"}}}}\n", i % 7)).collect()
}

const BYTES: &[&str] = &["--tokenizer", "bytes"];
const HALF: &[&str] = &["--tokenizer", "bytes", "--val-fraction", "0.5"];

#[test]
fn files_of_different_formats_make_one_corpus() {
    let case = Case::new(json_lines(4).as_bytes());
    let more = tempfile::tempdir().unwrap();
    fs::write(more.path().join("1.gz"), gzip(b"[{\"a\": 1},\n {\"a\": 2}]")).unwrap();
    fs::write(more.path().join("2.csv"), "time,user\n1,bob\n2,al\n3,jo\n").unwrap();
    fs::write(more.path().join("3"), zstd::encode_all(&b"Jan 1 host sshd: ok\r\n\nlast"[..], 1).unwrap()).unwrap();
    let said = case.prepare_from(&[&case.input, more.path(), Path::new("-")], b"from stdin", BYTES);
    said.has(0, &["12 records (11 train, 1 val)", "B of logs in", "tokens/record", "1 empty line skipped"]);
    said.has(0, &["as the names of 2 columns; --format text", "3: plain text among inputs of JSON"]);
    let records = case.records();
    assert_eq!(records[3..6], [r#"{"i":3,"user":{"name":"u3@x.org"}}"#, r#"{"a":1}"#, r#"{"a":2}"#]);
    assert_eq!(records[6], r#"{"time":"1","user":"bob"}"#);
    assert_eq!(records[9..], ["Jan 1 host sshd: ok", "last", "from stdin"]);
    let meta = fs::read_to_string(case.out().join("meta.json")).unwrap();
    let meta: serde_json::Value = serde_json::from_str(&meta).unwrap();
    let formats: Vec<_> = meta["sources"].as_array().unwrap().iter().map(|s| s["format"].as_str().unwrap()).collect();
    assert_eq!(formats, ["jsonl", "json", "csv", "text", "text"]);
    assert_eq!(meta["sources"][1]["compression"], "gzip");
}

#[test]
fn a_prefix_stands_before_each_record() {
    let case = Case::new(json_lines(20).as_bytes());
    let flags = ["--tokenizer", "char", "--prefix-field", "user=user.name,before=@"];
    case.prepare(&flags).has(0, &["20 records"]);
    assert!(case.records()[8].starts_with("u1 {\"i\":8,"), "{:?}", case.records()[8]);
    let data = case.open();
    assert_eq!(data.records.prefixes[0].field(), "user.name");
    case.prepare(&["--overwrite", "--prefix-field", "none"]).has(2, &["--prefix-field none", "check its path"]);
    case.prepare(&["--prefix-field", "a,up"]).has(2, &["before=TEXT"]);
}

#[test]
fn an_existing_folder_is_replaced_only_when_asked() {
    let case = Case::new(json_lines(20).as_bytes());
    case.prepare(BYTES).has(0, &[]);
    case.prepare(BYTES).has(2, &["already exists", "--overwrite"]);
    fs::write(&case.input, json_lines(40)).unwrap();
    case.prepare(&["--tokenizer", "bytes", "--overwrite"]).has(0, &["40 records"]);
    assert_eq!(case.open().train.records(), 36);
    assert_eq!(fs::read_dir(case.dir.path()).unwrap().count(), 2, "the old folder is gone");
    fs::write(&case.input, "").unwrap();
    case.prepare(&["--tokenizer", "bytes", "--overwrite"]).has(1, &["empty"]);
    assert_eq!(case.open().train.records(), 36, "a failed run leaves the old folder whole");
    fs::write(case.out().join("meta.json"), "{\"name\": \"someone else's\"}").unwrap();
    case.prepare(&["--overwrite"]).has(2, &["not a data folder"]);
    fs::remove_file(case.out().join("meta.json")).unwrap();
    case.prepare(&["--overwrite"]).has(2, &["not a data folder"]);
    assert!(case.out().join("train.idx").exists(), "what is not ours stays");
}

#[test]
fn its_own_output_is_no_input() {
    let case = Case::new(json_lines(20).as_bytes());
    for flags in [BYTES, &["--tokenizer", "bytes", "--overwrite"]] {
        case.prepare_from(&[case.dir.path()], b"", flags).has(0, &["20 records"]);
    }
    let own = case.out().join("meta.json");
    case.prepare_from(&[&own], b"", &["--overwrite"])
        .has(2, &["meta.json: this is in the folder that is being written"]);
}

/// Nothing in a folder makes it hang, fail or panic: pipes, dangling links, names that are not UTF-8.
#[test]
fn folders_with_unusual_entries() {
    use std::os::unix::ffi::OsStringExt;
    let case = Case::new(b"first\nsecond\n");
    let not_utf8 = std::ffi::OsString::from_vec(b"odd\xff.log".to_vec());
    fs::write(case.dir.path().join(&not_utf8), "third\n").unwrap();
    assert!(Command::new("mkfifo").arg(case.dir.path().join("pipe.log")).status().unwrap().success());
    std::os::unix::fs::symlink("nowhere", case.dir.path().join("link.log")).unwrap();
    let warnings = ["3 records", "pipe.log: left out, it is not a regular file", "link.log: left out, it is a link"];
    case.prepare_from(&[case.dir.path()], b"", HALF).has(0, &warnings);
    let again: Vec<&str> = HALF.iter().chain(&["--overwrite"]).copied().collect();
    case.prepare_from(&[&case.dir.path().join("*.log")], b"", &again).has(0, &warnings);
    case.prepare_from(&[case.dir.path(), &case.input], b"", &again)
        .has(0, &["input.log: named more than once, but read only once"]);
    case.prepare_from(&[&case.dir.path().join(&not_utf8), &case.input], b"", &again).has(0, &["3 records"]);
}

#[test]
fn what_is_left_out_or_doubtful_is_reported() {
    Case::new(b"{\"id\":1,\"items\":[{\"x\":1},{\"x\":2}],\"n\":2}\n").prepare(HALF).has(
        0,
        &["2 records", "only the records of the array are read; these other members are left out: \"id\", \"n\""],
    );
    Case::new(b"<Event>\n<Id/>\n").prepare(HALF).has(0, &["seems to be XML"]);
    let syslog = Case::new(b"<34>Oct 11 su: failed\n<34>Oct 12 su: failed\n").prepare(HALF);
    assert!(!syslog.err.contains("XML"), "{}", syslog.err);
    Case::new(b"# notes\n1 2\n").prepare(HALF).has(0, &["the lines that begin with # are kept"]);
    Case::new(b"#Fields: a b\n1 2\n3 4\n").prepare(HALF).has(0, &["rows below a line #Fields", "2 records"]);
    Case::new(b"{\"a\":1}").fails(2, BYTES, &["input.log: 1 record of 8 bytes, read as JSON lines", "--format"]);
    let lossy = ["--tokenizer", "bytes", "--val-fraction", "0.5", "--format", "csv"];
    Case::new(b"t,u\n1,\xff\n2,b\n").prepare(&lossy).has(0, &["1 row of tables with bytes that are not UTF-8"]);
    let case = Case::new(b"t,u\n1,\xff\n2,b\n");
    case.fails(1, &["--tokenizer", "char", "--format", "csv"], &["input.log:2: byte 1", "not valid UTF-8"]);
    let huge = ["--tokenizer", "bytes", "--val-fraction", "0.5", "--max-record-bytes", "18446744073709551615"];
    Case::new(b"a\nb\n").prepare(&huge).has(0, &["2 records"]);
}

#[test]
fn empty_and_missing_inputs() {
    Case::new(b"").fails(1, BYTES, &["input.log: the file is empty"]);
    Case::new(&gzip(b"")).fails(1, BYTES, &["input.log: the file is empty"]);
    Case::new(b"\n\n\r\n").fails(1, BYTES, &["no complete record (3 empty lines"]);
    let case = Case::new(b"x");
    let folder = tempfile::tempdir().unwrap();
    case.prepare_from(&[folder.path()], b"", BYTES).has(1, &["holds no files"]);
    case.prepare_from(&[&folder.path().join("none")], b"", BYTES).has(1, &["none: no such file or folder"]);
    case.prepare_from(&[&folder.path().join("*.log")], b"", BYTES).has(1, &["no file matches"]);
    case.prepare_from(&[Path::new("-")], b"", BYTES).has(1, &["stdin: the file is empty"]);
    case.prepare_from(&[], b"", BYTES).has(2, &["INPUT"]);
    // A file that opens but cannot be read, also for root.
    case.prepare_from(&[Path::new("/proc/self/mem")], b"", BYTES)
        .has(1, &["/proc/self/mem: cannot continue reading at line 1"]);
    case.nothing_left();
}

#[test]
fn one_line_of_50_megabytes() {
    let mut content = b"first\n".to_vec();
    content.resize(50_000_000, b'x');
    let case = Case::new(&content);
    case.fails(1, BYTES, &["input.log:2: a record longer than 16777216 bytes", "--max-record-bytes"]);
    case.prepare(&["--tokenizer", "bytes", "--max-record-bytes", "60000000", "--val-fraction", "0.5"])
        .has(0, &["2 records", "longest 49999995"]);
    case.prepare(&["--overwrite", "--max-record-bytes", "0"])
        .has(2, &["'0' for '--max-record-bytes <N>': expected a whole number from 1"]);
}

#[test]
fn nul_bytes_and_invalid_utf8() {
    let content = b"a\0b\nc\xff\xfed\nplain\n";
    let case = Case::new(content);
    case.prepare(HALF).has(0, &["1 record with NUL bytes", "1 record with bytes that are not UTF-8"]);
    let data = case.open();
    let mut ids = vec![0; data.train.tokens() as usize];
    data.train.read(0, &mut ids).unwrap();
    assert_eq!(data.tokenizer.decode(&ids), content[..data.train.bytes() as usize]);
    let case = Case::new(content);
    case.fails(1, &["--tokenizer", "char"], &["input.log:2: byte 2", "not valid UTF-8", "--tokenizer bpe or bytes"]);
}

#[test]
fn truncated_and_cut_input() {
    let whole = gzip((0..20_000).map(|i| format!("{}\n", i * 7919 % 10007)).collect::<String>().as_bytes());
    let parts =
        ["input.log: cannot continue reading at line", "records read so far", "truncated", "fetch the file again"];
    Case::new(&whole[..whole.len() / 2]).fails(1, BYTES, &parts);
    let cut = ["input.log:2:5: the JSON is cut in the middle", "1 record read so far", "repair or fetch"];
    Case::new(b"[{\"a\":1},\n{\"b\"").fails(1, BYTES, &cut);
}

#[test]
fn mixed_formats() {
    let case = Case::new(b"{\"a\":1}\nJan 1 secret text\n{\"a\":2}\n");
    let parts = ["input.log:2:1: expected a JSON object", "mixes formats", "--bad-records skip", "--format"];
    case.fails(1, BYTES, &parts);
    assert!(!case.prepare(BYTES).err.contains("secret"), "messages hold no record contents");
    let half = |flags: &[&'static str]| case.prepare(&[HALF, &["--overwrite"], flags].concat());
    half(&["--bad-records", "skip"]).has(0, &["1 bad record left out", "input.log:2:1"]);
    assert_eq!(case.records(), ["{\"a\":1}", "{\"a\":2}"]);
    half(&["--bad-records", "keep"]).has(0, &["kept", "3 records"]);
    half(&["--format", "text"]).has(0, &["3 records"]);
}

#[test]
fn wrong_use() {
    let case = Case::new(json_lines(8).as_bytes());
    case.fails(2, &["--tokenizer", "bytes", "--val-fraction", "0.01"], &["leaves 8 for training and 0 for validation"]);
    case.fails(2, &["--tokenizer", "bytes", "--val-fraction", "0.99"], &["leaves 0 for training"]);
    case.fails(2, &["--val-fraction", "1.5"], &["'1.5' for '--val-fraction <F>': expected a number from 0 to 1"]);
    case.fails(2, &["--val-fraction", "NaN"], &["'NaN' for '--val-fraction <F>'"]);
    case.fails(2, &["--tokenizer", "char", "--vocab-size", "100"], &["--vocab-size is for --tokenizer bpe"]);
}

#[test]
fn logs_that_give_fewer_tokens_than_wanted_give_those() {
    let case = Case::new(json_lines(8).as_bytes());
    case.prepare(&["--vocab-size", "50000"]).has(0, &["a vocabulary of 50000: BPE found nothing more to merge at"]);
    // The default is as many as there are.
    assert!(!case.prepare(&["--overwrite"]).has(0, &[]).err.contains("WARN"));
    assert_eq!(case.records().len(), 8);
}

#[test]
fn folders_that_cannot_be_written() {
    let case = Case::new(json_lines(8).as_bytes());
    let mut command = logwright();
    let output = command.arg("prepare").arg(&case.input).args(["--out", "/proc/data"]).output().unwrap();
    Said::from(output).has(1, &["--out /proc/data: cannot create it in /proc"]);
    let under_a_file = case.input.join("data");
    let mut command = logwright();
    let output = command.arg("prepare").arg(&case.input).arg("--out").arg(under_a_file).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    case.nothing_left();
}

/// RLIMIT_FSIZE simulates a full disk: writes beyond a size fail (because the signal is ignored).
#[test]
fn a_full_disk_is_named_and_leaves_nothing() {
    let case = Case::new(json_lines(100_000).as_bytes());
    // A block is 512 or 1024 bytes, depending on the shell; either limit is below the size of the temporary file.
    let script = r#"trap '' 25; ulimit -f 1000; exec "$0" prepare "$1" --out "$2" --tokenizer bytes"#;
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(env!("CARGO_BIN_EXE_logwright")).arg(&case.input).arg(case.out());
    let output = command.output().unwrap();
    Said::from(output)
        .has(1, &["cannot write", "data.partial-", "File too large", "free some space or put --out on another disk"]);
    case.nothing_left();
}

#[test]
fn damaged_data_folders_are_refused() {
    let case = Case::new(json_lines(50).as_bytes());
    case.prepare(BYTES).has(0, &[]);
    for file in ["train-00000.bin", "val-00000.bin", "train.idx", "val.idx", "tokenizer.json", "meta.json"] {
        let path = case.out().join(file);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let message = Dataset::open(&case.out()).err().expect(file).to_string();
        assert!(message.contains(file) && message.contains("run prepare again"), "{message}");
        fs::write(&path, &whole).unwrap();
    }
    case.open();
}

#[test]
fn sampled_logs_are_read() {
    let case = Case::new(b"x");
    let said = case.prepare_from(&[&sampled_logs("azure_ad.jsonl.gz")], b"", &["--tokenizer", "char"]);
    said.has(0, &["JSON lines", "60 records (54 train, 6 val)"]);
    let characters = text_of(&sampled_logs("azure_ad.jsonl.gz")).chars().count() as u64;
    let data = case.open();
    assert_eq!(data.meta.train.characters + data.meta.val.characters, characters);
    let said = case.prepare_from(&[&sampled_logs("*.gz")], b"", &["--tokenizer", "bytes", "--overwrite"]);
    said.has(0, &["apache.log.gz: text lines, 40 records", "windows.jsonl.gz: JSON lines, 5 records"]);
}

#[test]
#[cfg_attr(not(real_logs), ignore = "needs the real logs (CONTRIBUTING.md)")]
fn real_logs_are_read() {
    let case = Case::new(b"x");
    let said = case.prepare_from(&[&real_logs("azure-ad/azure_ad.jsonl")], b"", &["--tokenizer", "char"]);
    said.has(0, &["JSON lines", "250 records (225 train, 25 val)", "710230 tokens"]);
    let data = case.open();
    assert_eq!(data.meta.train.characters + data.meta.val.characters, 710_230);
    let logs = ["apache/*.gz", "cloudtrail/*.gz", "hdfs-sessions/*.gz", "stratus/*.gz", "windows-attack/*.gz"];
    let globs = logs.map(real_logs);
    let paths: Vec<&Path> = globs.iter().map(PathBuf::as_path).collect();
    let said = case.prepare_from(&paths, b"", &["--tokenizer", "bytes", "--overwrite"]);
    said.has(0, &["apache.log.gz: text lines, 10000 records", "T1047_atomic_red_team.jsonl.gz: JSON lines"]);
}
