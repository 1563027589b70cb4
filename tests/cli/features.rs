//! What needs a cargo feature: what a build without it says, that what it says works, and what a build with it reads.

use crate::common::{Said, logwright};
use std::fs;
use std::path::Path;
use std::process::Stdio;

/// Three lines {"a":1}, {"a":2} and {"a":3}, as `xz -9` packs them.
const THREE: &[u8] = b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4F\x02\0\x21\x01\x1c\0\0\0\x10\xcf\x58\xcc\xe0\0\x17\0\x12\x5d\0\x3d\x88\x88\x22\
    \x37\x28\xa4\x18\x8e\xa3\xaf\x21\x83\x5f\x15\x73\xa0\0\0\0\0\x8f\xb3\x6f\xa6\x3e\x0f\xae\x52\0\x01\x2e\x18\x51\x24\xed\x38\
    \x1f\xb6\xf3\x7d\x01\0\0\0\0\x04\x59\x5a";

const PREPARE: &str = "--out data --overwrite --tokenizer bytes --val-fraction 0.4";

fn prepare(home: &Path, input: &str, stdin: Stdio) -> Said {
    let mut command = logwright();
    command.args(["prepare", input]).args(PREPARE.split(' ')).current_dir(home).stdin(stdin).output().unwrap().into()
}

/// A named file that a build cannot read is an error, one in a folder is left out; and the command that the message names reads it.
#[cfg(not(all(feature = "evtx", feature = "parquet", feature = "xz")))]
fn refused(feature: &str, file: &Path, records: u64) {
    let home = file.parent().unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    let said = prepare(home, name, Stdio::null());
    said.has(1, &["which this build of logwright does not read", &format!("--features {feature}")]);
    let logs = home.join("logs");
    fs::create_dir_all(&logs).unwrap();
    fs::write(logs.join("a.log"), "{\"a\":1}\n{\"a\":2}\n").unwrap();
    fs::copy(file, logs.join(name)).unwrap();
    prepare(home, "logs", Stdio::null()).has(0, &["(left out)", &format!("--features {feature}"), " 2 records ("]);
    let remedy = said.err.split_once("pipe it in: ").and_then(|(_, rest)| rest.split_once("; or build")).unwrap().0;
    let remedy = remedy.replace("logwright", env!("CARGO_BIN_EXE_logwright")).replace("...", PREPARE);
    let done = std::process::Command::new("sh").args(["-c", &remedy]).current_dir(home).output().unwrap();
    Said::from(done).has(0, &[&format!(" {records} records (")]);
}

/// A log of Windows, with 17 events.
fn event_log() -> Vec<u8> {
    let mut log = Vec::new();
    let packed = fs::File::open(crate::common::sampled_logs("language_pack.evtx.gz")).unwrap();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed), &mut log).unwrap();
    log
}

#[test]
#[cfg(not(feature = "xz"))]
fn xz_is_refused_with_what_reads_it() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("three.log.xz");
    fs::write(&file, THREE).unwrap();
    refused("xz", &file, 3);
    let said = prepare(home.path(), "-", fs::File::open(&file).unwrap().into());
    said.has(1, &["stdin: this is xz", "xz -dc FILE |"]);
}

#[test]
#[cfg(not(feature = "evtx"))]
#[ignore = "needs evtx_dump (cargo install evtx)"]
fn event_logs_are_refused_with_what_reads_them() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("setup.evtx");
    fs::write(&file, event_log()).unwrap();
    refused("evtx", &file, 17);
}

#[test]
#[cfg(not(feature = "parquet"))]
#[ignore = "needs duckdb"]
fn parquet_is_refused_with_what_reads_it() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("three.parquet");
    let make = format!("COPY (SELECT unnest([1, 2, 3]) AS a) TO '{}'", file.display());
    assert!(std::process::Command::new("duckdb").args(["-c", &make]).status().unwrap().success());
    refused("parquet", &file, 3);
}

/// The records that `prepare` and `score` find in a file, in the same file in a pipe, and in it packed with gzip, in a folder.
#[cfg(any(feature = "evtx", feature = "parquet", feature = "xz"))]
fn read_everywhere(name: &str, bytes: &[u8], records: u64) {
    use std::io::Write;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(name);
    fs::write(&file, bytes).unwrap();
    let open = || Stdio::from(fs::File::open(&file).unwrap());
    let found = format!(" {records} records (");
    prepare(home.path(), "-", open()).has(0, &[&found]);
    fs::create_dir(home.path().join("logs")).unwrap();
    fs::copy(&file, home.path().join("logs").join(name)).unwrap();
    prepare(home.path(), "logs", Stdio::null()).has(0, &[&found]);
    prepare(home.path(), name, Stdio::null()).has(0, &[&found]);
    crate::common::run(home.path(), &format!("train --data data --out run --steps 2 {}", crate::common::SMALL))
        .has(0, &[]);
    let score = |input: &str, stdin| {
        let mut command = logwright();
        command.args(["score", "--model", "run", "--aggregate", "mean", input]).current_dir(home.path()).stdin(stdin);
        let said = Said::from(command.output().unwrap());
        assert_eq!(said.has(0, &[]).out.lines().count() as u64, records);
        said.out
    };
    let scores = score(name, Stdio::null());
    assert_eq!(scores, score("-", open()));
    if !name.ends_with(".xz") {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(bytes).unwrap();
        fs::write(home.path().join("packed.gz"), packed.finish().unwrap()).unwrap();
        assert_eq!(scores, score("packed.gz", Stdio::null()));
        crate::common::run(home.path(), &format!("score --model run --follow {name}")).has(2, &["is read as a whole"]);
    }
    crate::common::run(home.path(), &format!("evaluate --model run --data data --generated {name}")).has(0, &[]);
}

#[test]
#[cfg(feature = "xz")]
fn xz_is_read() {
    read_everywhere("three.log.xz", THREE, 3);
}

#[test]
#[cfg(feature = "evtx")]
fn event_logs_are_read() {
    read_everywhere("setup.evtx", &event_log(), 17);
}

#[test]
#[cfg(feature = "parquet")]
fn parquet_is_read() {
    use parquet::data_type::{ByteArray, ByteArrayType};
    use parquet::file::writer::SerializedFileWriter;
    let schema = parquet::schema::parser::parse_message_type("message m { required binary user (UTF8); }").unwrap();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema.into(), Default::default()).unwrap();
    let users: Vec<ByteArray> = (0..40).map(|user| ByteArray::from(format!("user {user}").as_str())).collect();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&users, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    read_everywhere("users.parquet", &writer.into_inner().unwrap(), 40);
}
