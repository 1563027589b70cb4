//! What the end-to-end tests share: running the program, and a small prepared corpus.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;

/// The built program.
pub fn logwright() -> Command {
    Command::new(env!("CARGO_BIN_EXE_logwright"))
}

/// What a run of the program said, and its exit code.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Said {
    /// Requires the exit code and every part of the message, and that nothing panicked.
    #[track_caller]
    pub fn has(&self, code: i32, parts: &[&str]) -> &Self {
        assert_eq!(self.code, code, "{}", self.err);
        for part in parts {
            assert!(self.err.contains(part), "expected '{part}' in: {}", self.err);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }
}

/// Runs the program in `folder`; paths in `line` may not hold spaces.
pub fn run(folder: &Path, line: &str) -> Said {
    logwright().args(line.split_whitespace()).current_dir(folder).output().unwrap().into()
}

/// A folder with `corpus.jsonl` (synthetic sign-ins) and `data/`, prepared with `flags`.
pub fn corpus(records: usize, flags: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = run(folder.path(), &format!("synth -n {records}"));
    made.has(0, &[]);
    std::fs::write(folder.path().join("corpus.jsonl"), made.out).unwrap();
    run(folder.path(), &format!("prepare corpus.jsonl --out data {flags}")).has(0, &[]);
    folder
}

/// Flags of a model that trains in moments.
pub const SMALL: &str = "--layers 1 --heads 2 --channels 16 --context 48 --batch 2 --warmup 2 --eval-windows 4";

pub fn losses(run: &Path) -> Vec<(u64, f64)> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    text.lines().map(line).map(|v| (v["step"].as_u64().unwrap(), v["loss"].as_f64().unwrap_or(f64::NAN))).collect()
}

/// Names in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

/// A file or folder of the real logs; tests that ask for it are ignored where `build.rs` found none.
pub fn real_logs(name: &str) -> PathBuf {
    // Absent where the build found none.
    let folder: Option<&str> = option_env!("LOGWRIGHT_REAL_LOGS");
    Path::new(folder.expect("these tests are ignored where the real logs are absent")).join(name)
}

/// A file of the sample of the real logs, which is always there (`tests/data/`).
pub fn sampled_logs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The text of a file, unpacked if its name says that it is packed.
pub fn text_of(path: &Path) -> String {
    let mut file = std::fs::File::open(path).unwrap();
    let mut text = String::new();
    match path.extension().is_some_and(|suffix| suffix == "gz") {
        true => flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap(),
        false => file.read_to_string(&mut text).unwrap(),
    };
    text
}

/// Lines of a child as they come, within half a minute.
pub struct Lines(pub std::sync::mpsc::Receiver<String>);

impl Lines {
    pub fn of(child: &mut Child) -> Self {
        let (sender, receiver) = std::sync::mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Lines(receiver)
    }

    #[track_caller]
    pub fn next(&self) -> serde_json::Value {
        serde_json::from_str(&self.0.recv_timeout(Duration::from_secs(30)).expect("a line")).unwrap()
    }
}
