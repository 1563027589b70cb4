//! What the program leaves behind, whom it lets read it, and what it never touches: permissions, signals, locks, links, broken
//! outputs.

use crate::common::{SMALL, Said, corpus, logwright, names, run};
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const BYTES: &str = "--tokenizer bytes";
const PROGRAM: &str = env!("CARGO_BIN_EXE_logwright");

/// A corpus, its data folder, and a run of two steps.
fn trained() -> TempDir {
    let home = corpus(60, BYTES);
    run(home.path(), &format!("train --data data --out run {SMALL} --steps 2")).has(0, &[]);
    home
}

/// Runs a line of shell in `folder`, with the program as $0.
fn shell(folder: &Path, line: &str) -> Said {
    Command::new("bash").args(["-c", line, PROGRAM]).current_dir(folder).output().unwrap().into()
}

fn lines(n: usize) -> Vec<u8> {
    (0..n).flat_map(|i| format!("{{\"i\":{i},\"user\":\"u{}@example.org\"}}\n", i % 7).into_bytes()).collect()
}

/// `prepare` with its input held open: it has begun, and waits.
struct Waiting {
    child: Child,
    home: PathBuf,
}

impl Waiting {
    fn start(home: &Path, flags: &str) -> Self {
        let mut command = logwright();
        command.args(["prepare", "-", "--out", "data", "--tokenizer", "bytes"]).args(flags.split_whitespace());
        command.current_dir(home).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // More than every buffer holds, so that some of it is on the disk.
        child.stdin.as_mut().unwrap().write_all(&lines(100_000)).unwrap();
        let waiting = Waiting { child, home: home.to_owned() };
        for _ in 0..1000 {
            if waiting.staged().is_some() {
                return waiting;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("no staged folder in {home:?}");
    }

    fn staged(&self) -> Option<PathBuf> {
        let name = names(&self.home).into_iter().find(|name| name.starts_with(".data.partial-"))?;
        Some(self.home.join(name))
    }

    fn signal(&self, signal: i32) {
        send(&self.child, signal);
    }

    fn end(mut self) -> Said {
        drop(self.child.stdin.take());
        self.child.wait_with_output().unwrap().into()
    }

    /// Waits without an end of the input.
    fn ended(mut self) -> i32 {
        let _open = self.child.stdin.take();
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

fn send(child: &Child, signal: i32) {
    // SAFETY: sends a signal to a child that has not been waited for, so the number is still its own.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

/// Every file and folder below `folder`, and it itself.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    let mut at = 0;
    while at < found.len() {
        if found[at].is_dir() {
            found.extend(fs::read_dir(&found[at]).unwrap().map(|entry| entry.unwrap().path()));
        }
        at += 1;
    }
    found
}

#[track_caller]
fn assert_modes(folder: &Path, file: u32, inner: u32) {
    for path in below(folder) {
        let expected = if path.is_dir() { inner } else { file };
        assert_eq!(mode(&path), expected, "{}: {:o}, expected {expected:o}", path.display(), mode(&path));
    }
}

#[test]
fn a_log_that_cannot_be_written_ends_no_work() {
    let home = corpus(60, BYTES);
    let no_reader = "2> >(exec true)";
    for (number, stderr) in ["2>/dev/full", no_reader, "2>&-"].iter().enumerate() {
        // With a pause, so that the reader of the pipe has left.
        let line = format!(
            "{{ sleep 0.2; exec \"$0\" train --data data --out run{number} {SMALL} --steps 3 --eval-every 1; }} {stderr}"
        );
        assert_eq!(shell(home.path(), &line).code, 0, "{stderr}");
        assert!(home.path().join(format!("run{number}/last/model.safetensors")).exists(), "{stderr}");
        let line = format!("\"$0\" score --model run{number} corpus.jsonl {stderr}");
        assert_eq!(shell(home.path(), &line).out.lines().count(), 60, "{stderr}");
        // A failure keeps its exit code.
        assert_eq!(shell(home.path(), &format!("\"$0\" score --model none x {stderr}")).code, 1, "{stderr}");
        assert_eq!(shell(home.path(), &format!("\"$0\" score --modle {stderr}")).code, 2, "{stderr}");
    }
    // The log goes nowhere else: descriptor 2 belongs to no file of the run.
    assert!(
        !fs::read_to_string(home.path().join("run2/config.toml")).unwrap().contains("finished at step"),
        "a message"
    );
}

#[test]
fn a_closed_standard_output_is_noticed() {
    let home = corpus(60, BYTES);
    shell(home.path(), "\"$0\" synth -n 3 >&-").has(1, &["standard output is closed", "redirect it"]);
    shell(home.path(), "\"$0\" --help >&-").has(1, &["standard output is closed"]);
    shell(home.path(), "\"$0\" --help >/dev/full").has(1, &["cannot write to stdout"]);
    // The remedy works, also where a parent opened /dev/null as Rust's runtime would; a command without results needs none.
    shell(home.path(), "\"$0\" synth -n 3 >/dev/null").has(0, &[]);
    shell(home.path(), "\"$0\" synth -n 3 1<>/dev/null").has(0, &[]);
    shell(home.path(), "\"$0\" prepare corpus.jsonl --out other --tokenizer bytes >&-").has(0, &[]);
}

#[test]
fn what_holds_logs_is_for_its_owner() {
    let home = corpus(60, BYTES);
    let commands = [
        format!(
            "prepare corpus.jsonl --out a/data {BYTES} --canaries 2 --pseudonymise --key-file key --write-records shared"
        ),
        format!("train --data a/data --out b/run {SMALL} --steps 2"),
        "train --data a/data --out b/run --resume".into(),
        "score --model b/run corpus.jsonl --calibrate corpus.jsonl --fpr 0.1 --explain-html b/odd.html".into(),
        "evaluate --model b/run --data a/data --report c/report".into(),
        "evaluate --model b/run --text corpus.jsonl --logits c/logits".into(),
    ];
    for (umask, flag, file, folder) in
        [("000", "", 0o600, 0o700), ("077", "--mode 0640", 0o640, 0o750), ("022", "--mode 666", 0o666, 0o777)]
    {
        for line in &commands {
            shell(home.path(), &format!("umask {umask}; \"$0\" {line} {flag}")).has(0, &[]);
        }
        ["a", "b", "c"].iter().for_each(|name| assert_modes(&home.path().join(name), file, folder));
        assert_eq!(mode(&home.path().join("key")), 0o600, "a key is for nobody else");
        let shared = 0o666 & !u32::from_str_radix(umask, 8).unwrap();
        assert_eq!(mode(&home.path().join("shared")), shared, "what is written to be shared follows the umask");
        ["a", "b", "c"].iter().for_each(|name| fs::remove_dir_all(home.path().join(name)).unwrap());
    }
    for mode in ["0060", "0400", "0755", "rw", "01600", ""] {
        run(home.path(), &format!("prepare corpus.jsonl --out a --mode={mode}")).has(2, &["--mode", "such as 0640"]);
    }
}

#[test]
fn the_demo_is_for_its_owner_and_one_at_a_time() {
    let home = tempfile::tempdir().unwrap();
    let line = "\"$0\" demo --out demo --records 200 --steps 1 --samples 1 --vocab-size 300";
    shell(home.path(), &format!("umask 000; {line}")).has(0, &[]);
    assert_modes(&home.path().join("demo"), 0o600, 0o700);
    shell(home.path(), &format!("flock demo/.logwright-demo {line}")).has(1, &["another demo is writing this folder"]);
    fs::write(home.path().join("victim"), "kept").unwrap();
    fs::remove_file(home.path().join("demo/.logwright-demo")).unwrap();
    symlink("../victim", home.path().join("demo/.logwright-demo")).unwrap();
    shell(home.path(), line).has(1, &["a symbolic link; remove it"]);
    assert_eq!(fs::read_to_string(home.path().join("victim")).unwrap(), "kept");
}

/// Runs the program as a user who owns nothing here. Only root can become one; others take the permissions away from
/// themselves.
fn stranger(home: &Path, closed: &Path, line: &str) -> Said {
    // SAFETY: asks for a number.
    let is_root = unsafe { libc::geteuid() } == 0;
    let before = mode(closed);
    let program = home.join("program");
    if is_root && !program.exists() {
        // The build folder may lie where others cannot reach it.
        fs::copy(PROGRAM, &program).unwrap();
    }
    let mut command = if is_root { Command::new(&program) } else { logwright() };
    match is_root {
        true => drop(command.uid(65534).gid(65534)),
        false => fs::set_permissions(closed, fs::Permissions::from_mode(0o000)).unwrap(),
    }
    let said = command.args(line.split_whitespace()).current_dir(home).output().unwrap().into();
    fs::set_permissions(closed, fs::Permissions::from_mode(before)).unwrap();
    said
}

#[test]
fn a_reader_without_permission_is_told_which_file_and_what_to_do() {
    let home = trained();
    let at = |path: &str| home.path().join(path);
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(at("corpus.jsonl"), fs::Permissions::from_mode(0o644)).unwrap();
    let remedy = "its owner can let you read it (chmod)";
    let train = format!("train --data data --out other {SMALL} --steps 1");
    stranger(home.path(), &at("data"), &train).has(1, &["cannot read data", "denied", remedy]);
    stranger(home.path(), &at("run"), "score --model run corpus.jsonl").has(1, &["cannot read run", remedy]);
    // One level is open and the next is not.
    for (opened, closed) in [("data", "data/meta.json"), ("run", "run/best")] {
        fs::set_permissions(at(opened), fs::Permissions::from_mode(0o755)).unwrap();
        let line = if opened == "data" { train.as_str() } else { "score --model run corpus.jsonl" };
        stranger(home.path(), &at(closed), line).has(1, &[closed, "denied", remedy]);
    }
    fs::set_permissions(at("run/best"), fs::Permissions::from_mode(0o755)).unwrap();
    stranger(home.path(), &at("run/best/config.json"), "score --model run corpus.jsonl")
        .has(1, &["run/best/config.json", remedy]);
    // What cannot be written in the end is not computed first.
    fs::set_permissions(at("run/best/config.json"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir(at("closed")).unwrap();
    for name in ["closed", "run"] {
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o555)).unwrap();
    }
    for line in [
        "score --model run corpus.jsonl --explain-html closed/page.html",
        "score --model run --calibrate corpus.jsonl",
        "evaluate --model run --text corpus.jsonl --report closed",
        "evaluate --model run --text corpus.jsonl --logits closed/x",
        "synth -n 3 --labels closed/labels",
    ] {
        let said = stranger(home.path(), &at("data"), line);
        said.has(1, &["cannot write", "denied", "choose a folder in which you may write"]);
        assert!(said.out.is_empty(), "{line}: {}", said.out);
    }
    fs::set_permissions(at("run"), fs::Permissions::from_mode(0o755)).unwrap();
    // The remedy that the message names.
    let again = format!("prepare corpus.jsonl --out data {BYTES} --overwrite --mode 0644");
    run(home.path(), &again).has(0, &[]);
    let open = stranger(home.path(), &at("run/best/config.json"), &train);
    open.has(0, &[]);
}

#[test]
fn an_interrupted_prepare_leaves_nothing() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let home = tempfile::tempdir().unwrap();
        let waiting = Waiting::start(home.path(), "--pseudonymise --key-file key --write-records out.jsonl");
        let staged = waiting.staged().unwrap();
        assert_eq!((mode(&staged), names(&staged).len()), (0o700, 0), "the copy of the logs has no name");
        waiting.signal(signal);
        assert_eq!(waiting.ended(), 130);
        assert_eq!(names(home.path()), ["key"]);
    }
}

#[test]
fn what_a_killed_prepare_left_is_swept() {
    let home = tempfile::tempdir().unwrap();
    let flags = "--pseudonymise --key-file key --write-records out.jsonl";
    let waiting = Waiting::start(home.path(), flags);
    let staged = waiting.staged().unwrap();
    assert!(names(&staged).is_empty(), "the copy of the logs has no name");
    let beside = |start: &str| names(home.path()).iter().filter(|name| name.starts_with(start)).count();
    assert_eq!((beside(".data."), beside(".out.jsonl.")), (2, 1), "lock, folder, records");
    waiting.signal(libc::SIGKILL);
    waiting.ended();
    assert_eq!((beside(".data."), beside(".out.jsonl.")), (2, 1), "a kill leaves them");
    fs::write(home.path().join("input"), lines(50)).unwrap();
    run(home.path(), &format!("prepare input --out data {BYTES} {flags}")).has(0, &["removed", "a killed run"]);
    assert_eq!(names(home.path()), ["data", "input", "key", "out.jsonl"]);
}

#[test]
fn two_prepares_of_one_folder() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("input"), lines(50)).unwrap();
    let first = Waiting::start(home.path(), "");
    let second = format!("prepare input --out data {BYTES}");
    run(home.path(), &second).has(1, &["--out", "data: another process is writing this folder"]);
    run(home.path(), &format!("prepare input --out other {BYTES}")).has(0, &[]);
    first.end().has(0, &["100000 records"]);
    assert_eq!(names(home.path()), ["data", "input", "other"]);
}

#[test]
fn what_appears_during_prepare_is_not_replaced() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("input"), lines(50)).unwrap();
    let first = Waiting::start(home.path(), "");
    fs::create_dir(home.path().join("data")).unwrap();
    fs::write(home.path().join("data/mine"), "kept").unwrap();
    first.end().has(2, &["--out data: this already exists"]);
    assert_eq!(names(&home.path().join("data")), ["mine"]);
    fs::remove_dir_all(home.path().join("data")).unwrap();
    // Another data folder than the one that was to be replaced.
    run(home.path(), &format!("prepare input --out data {BYTES}")).has(0, &[]);
    let second = Waiting::start(home.path(), "--overwrite");
    fs::rename(home.path().join("data"), home.path().join("moved")).unwrap();
    run(home.path(), &format!("prepare input --out third {BYTES}")).has(0, &[]);
    fs::rename(home.path().join("third"), home.path().join("data")).unwrap();
    second.end().has(1, &["in the meantime", "it is left alone"]);
    assert!(fs::read_to_string(home.path().join("data/meta.json")).unwrap().contains("\"records\": 45"));
    assert_eq!(names(home.path()), ["data", "input", "moved"]);
}

#[test]
fn overwriting_deletes_only_own_files() {
    let home = corpus(60, BYTES);
    let again = format!("prepare corpus.jsonl --out data {BYTES} --overwrite");
    let add: [fn(&Path); 3] = [
        |path| fs::write(path, "kept").unwrap(),
        |path| fs::create_dir(path).unwrap(),
        |path| symlink("train.idx", path).unwrap(),
    ];
    for (name, add) in ["notes.txt", "run", "val-00009.bin"].iter().zip(add) {
        let foreign = home.path().join("data").join(name);
        add(&foreign);
        run(home.path(), &again).has(2, &[&format!("data/{name}"), "--overwrite would delete it"]);
        assert!(foreign.symlink_metadata().is_ok());
        fs::rename(&foreign, home.path().join("moved")).unwrap();
        run(home.path(), &again).has(0, &[]);
        let _ = fs::remove_dir(home.path().join("moved")).or_else(|_| fs::remove_file(home.path().join("moved")));
    }
    // A link as the target: the folder that it leads to is replaced.
    fs::rename(home.path().join("data"), home.path().join("disk")).unwrap();
    symlink("disk", home.path().join("data")).unwrap();
    run(home.path(), &again).has(0, &[]);
    assert!(home.path().join("data").is_symlink() && home.path().join("disk/meta.json").exists());
}

#[test]
fn a_lock_that_is_a_link_empties_nothing() {
    let home = corpus(60, BYTES);
    fs::write(home.path().join("victim"), "kept").unwrap();
    fs::create_dir(home.path().join("run")).unwrap();
    symlink("../victim", home.path().join("run/.lock")).unwrap();
    symlink("victim", home.path().join(".new.lock")).unwrap();
    let train = format!("train --data data --out run {SMALL} --steps 1");
    run(home.path(), &train).has(1, &["run/.lock", "a symbolic link; remove it"]);
    let prepare = format!("prepare corpus.jsonl --out new {BYTES}");
    run(home.path(), &prepare).has(1, &[".new.lock", "a symbolic link; remove it"]);
    assert_eq!(fs::read_to_string(home.path().join("victim")).unwrap(), "kept");
    fs::remove_file(home.path().join("run/.lock")).unwrap();
    fs::remove_file(home.path().join(".new.lock")).unwrap();
    run(home.path(), &train).has(0, &[]);
    run(home.path(), &prepare).has(0, &[]);
}

#[test]
fn outputs_never_replace_inputs() {
    let home = trained();
    let at = |path: &str| home.path().join(path);
    fs::create_dir(at("logs")).unwrap();
    fs::copy(at("corpus.jsonl"), at("logs/a.jsonl")).unwrap();
    symlink("corpus.jsonl", at("link.jsonl")).unwrap();
    fs::hard_link(at("corpus.jsonl"), at("hard.jsonl")).unwrap();
    fs::create_dir(at("report")).unwrap();
    fs::copy(at("corpus.jsonl"), at("report/evaluation.json")).unwrap();
    let pseudonyms = "--pseudonymise --key-file key --tokenizer bytes --out other";
    let refused = [
        ("score --model run corpus.jsonl --explain-html corpus.jsonl".to_string(), "would replace it"),
        ("score --model run corpus.jsonl --explain-html ./logs/../corpus.jsonl".into(), "would replace it"),
        ("score --model run corpus.jsonl --explain-html link.jsonl".into(), "would replace it"),
        ("score --model run corpus.jsonl --explain-html hard.jsonl".into(), "would replace it"),
        ("score --model run logs --explain-html logs/a.jsonl".into(), "which the command reads"),
        ("score --model run logs/*.jsonl --explain-html logs/a.jsonl".into(), "would replace it"),
        ("score --model run corpus.jsonl --explain-html run/best/model.safetensors".into(), "which the command reads"),
        (
            "score --model run/best corpus.jsonl --explain-html run/best/tokenizer.json".into(),
            "which the command reads",
        ),
        ("score --model run logs --calibrate corpus.jsonl --explain-html corpus.jsonl".into(), "would replace it"),
        ("score --model run corpus.jsonl --explain-html /dev/null".into(), "the name of a file to create"),
        ("evaluate --model run --text corpus.jsonl --logits corpus.jsonl".into(), "would replace it"),
        ("evaluate --model run --text corpus.jsonl --logits run/best/config.json".into(), "which the command reads"),
        (
            "evaluate --model run --data data --generated report/evaluation.json --report report".into(),
            "would replace it",
        ),
        ("evaluate --model run --data data --report data/report".into(), "it lies in data"),
        (format!("train --data data --out data/run {SMALL} --steps 1"), "it lies in data"),
        (format!("train --data data --out data {SMALL} --steps 1"), "it lies in data"),
        (format!("train --data data --init-from run/best --out run/best/new {SMALL} --steps 1"), "it lies in run/best"),
        (format!("prepare corpus.jsonl {pseudonyms} --write-records corpus.jsonl"), "would replace it"),
        (format!("prepare corpus.jsonl {pseudonyms} --write-records other/records"), "it lies in other"),
        (format!("prepare corpus.jsonl {pseudonyms} --write-records /dev/full"), "the name of a file to create"),
        ("synth -n 3 --labels /dev/null".into(), "the name of a file to create"),
    ];
    let contents = |path: &PathBuf| (path.clone(), path.is_file().then(|| fs::read(path).unwrap()));
    let before: Vec<_> = below(home.path()).iter().map(contents).collect();
    for (line, part) in refused {
        let said = run(home.path(), &line);
        said.has(2, &[part]);
        let after: Vec<_> = below(home.path()).iter().map(contents).collect();
        assert!(before == after, "{line} changed something");
    }
    // What the messages ask for: another name.
    run(home.path(), "score --model run corpus.jsonl --explain-html run/odd.html").has(0, &[]);
}

#[test]
fn names_of_files_do_not_control_the_terminal() {
    let home = trained();
    let name = OsString::from_vec(b"a\x1b]0;title\x07\r\nERROR forged\xc2\x9b31m\xe2\x80\xae.jsonl".to_vec());
    fs::write(home.path().join(&name), "{\"x\":1}\nbroken\n").unwrap();
    let score = |flags: &[&str], second: &OsString| -> Said {
        let mut command = logwright();
        command.args(["score", "--model", "run"]).args(flags).arg("corpus.jsonl").arg(second);
        command.current_dir(home.path()).output().unwrap().into()
    };
    let is_safe = |text: &str| {
        let controls = |c: char| c.is_control() && c != '\n' || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!text.contains(controls) && !text.contains("\nERROR forged"), "{text:?}");
        assert!(text.contains("forged"), "the name is there: {text:?}");
    };
    is_safe(&score(&["--explain"], &name).out);
    let absent = OsString::from_vec(b"absent\x1b[31m\r\nERROR forged\x7f".to_vec());
    is_safe(&score(&[], &absent).err);
    let mut unknown = OsString::from("--");
    unknown.push(&absent);
    is_safe(&score(&[], &unknown).err);
}

#[test]
fn nohup_outlives_its_terminal() {
    let home = corpus(60, BYTES);
    let flags = format!("--data data --out run {SMALL} --steps 1000000 --save-every 0 --eval-every 0");
    let line = format!("trap '' HUP; exec \"$0\" train {flags}");
    let mut command = Command::new("bash");
    let mut child =
        command.args(["-c", &line, PROGRAM]).current_dir(home.path()).stderr(Stdio::null()).spawn().unwrap();
    let steps = || fs::read_to_string(home.path().join("run/metrics.jsonl")).unwrap_or_default().lines().count();
    let reaches = |child: &mut Child, step: usize| {
        while steps() < step && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        steps() >= step
    };
    assert!(reaches(&mut child, 1));
    send(&child, libc::SIGHUP);
    // A run that obeys the signal stops after the step that it is in.
    let later = steps() + 500;
    assert!(reaches(&mut child, later), "the terminal is gone, and the run goes on");
    send(&child, libc::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
