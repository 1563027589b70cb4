//! Every file that the program reads, each with a command that reads it.

use super::damage::Kind::{self, *};
use crate::common::{SMALL, corpus, names, run};
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// A file and a command that reads it, both seen from the home folder.
pub struct Target {
    pub file: &'static str,
    pub kind: Kind,
    pub command: &'static str,
}

const fn target(file: &'static str, kind: Kind, command: &'static str) -> Target {
    Target { file, kind, command }
}

const TRAIN: &str = "train --data data --out out --steps 1 --layers 1 --heads 2 --channels 16 --context 48 --batch 2 --eval-windows 1 --device cpu";
const RESUME: &str = "train --data data --out run --steps 4 --resume --device cpu";
const GENERATE: &str = "generate --model run/best -n 1 --max-tokens 8 --device cpu";
const MERGE: &str = "merge parts/1 parts/2 --key-file key --out out";
const SCORE: &str = "score --model run three.jsonl --device cpu";

/// The files. A command is spelt out where it is not one of the above.
pub static TARGETS: &[Target] = &[
    // Raw logs in every format: any bytes are some log, unless the container is broken.
    target("corpus.jsonl", Log, "prepare corpus.jsonl --tokenizer bytes --out out"),
    target("corpus.json", Log, "prepare corpus.json --tokenizer bytes --out out"),
    target("corpus.csv", Log, "prepare corpus.csv --tokenizer bytes --out out"),
    target("corpus.w3c", Log, "prepare corpus.w3c --tokenizer bytes --out out"),
    target("corpus.log", Log, "prepare corpus.log --tokenizer bytes --out out"),
    target("corpus.jsonl", Log, "prepare corpus.jsonl --pseudonymise --key-file key --out out"),
    target("corpus.log", Log, "prepare corpus.log --pseudonymise --key-file key --out out"),
    target("corpus.jsonl.gz", Packed, "prepare corpus.jsonl.gz --tokenizer bytes --out out"),
    target("corpus.jsonl.zst", Packed, "prepare corpus.jsonl.zst --tokenizer bytes --out out"),
    target("three.jsonl", Log, SCORE),
    target("three.jsonl", Log, "evaluate --model run/best --data data --generated three.jsonl --device cpu"),
    // A data folder.
    target("data/meta.json", Json, TRAIN),
    target("data/records.json", Json, TRAIN),
    target("data/tokenizer.json", Json, TRAIN),
    target("data/train.idx", Sealed, TRAIN),
    target("data/val.idx", Sealed, TRAIN),
    target("data/train-00000.bin", Sealed, TRAIN),
    target("data/val-00000.bin", Sealed, TRAIN),
    target("data/train.idx", Resealed, TRAIN),
    target("data/val.idx", Resealed, TRAIN),
    target("data/train-00000.bin", Resealed, TRAIN),
    target("data/val-00000.bin", Resealed, "evaluate --model run/best --data data --device cpu"),
    target("data/meta.json", Json, "evaluate --model run/best --data data --device cpu"),
    target("data/tokenizer.json", Json, "prepare corpus.jsonl --tokenizer-from data --out out"),
    target("data/records.json", Json, "prepare corpus.jsonl --tokenizer-from data --out out"),
    target("bpe/tokenizer.json", Json, "prepare corpus.jsonl --tokenizer-from bpe --out out"),
    target("char/tokenizer.json", Json, "prepare corpus.jsonl --tokenizer-from char --out out"),
    target("planted/canaries.json", Json, "evaluate --model run/best --data planted --device cpu"),
    // Parts of a corpus.
    target("parts/1/part.json", Json, MERGE),
    target("parts/2/records.spool", Sealed, MERGE),
    target("parts/2/names.sealed", Sealed, MERGE),
    // A model folder, with checksums and, as other programs write them, without.
    target("run/best/config.json", Json, GENERATE),
    target("run/best/tokenizer.json", Json, GENERATE),
    target("run/best/records.json", Json, GENERATE),
    target("run/best/checksums.json", Json, GENERATE),
    target("run/best/model.safetensors", Sealed, GENERATE),
    target("foreign/config.json", Json, "generate --model foreign -n 1 --max-tokens 8 --device cpu"),
    target("foreign/model.safetensors", Tensors, "generate --model foreign -n 1 --max-tokens 8 --device cpu"),
    target("foreign/model.safetensors", Tensors, "score --model foreign three.jsonl --device cpu"),
    target(
        "foreign/config.json",
        Json,
        "train --data data --out out --init-from foreign --steps 1 --batch 1 --device cpu",
    ),
    target(
        "run/best/records.json",
        Json,
        "generate --model run/best -n 1 --max-tokens 8 --schema learned --device cpu",
    ),
    // A run that is resumed.
    target("run/config.toml", Toml, RESUME),
    target("run/metrics.jsonl", Log, RESUME),
    target("run/last/train_state.json", Json, RESUME),
    target("run/last/optimizer.safetensors", Sealed, RESUME),
    target("run/last/model.safetensors", Sealed, RESUME),
    target("run/last/config.json", Json, RESUME),
    // What users write, and what the program learnt.
    target("run/calibration.json", Json, SCORE),
    target("run/known.json", Json, SCORE),
    target("run/known.json", Json, "known-good list --model run"),
    target("finding.json", Text, "known-good add --model run --scope field --reason x --from finding.json"),
    target("settings.toml", Toml, "train --data data --out out --config settings.toml --steps 1 --device cpu"),
    target("rules.toml", Toml, "prepare corpus.jsonl --out out --pseudonymise --key-file key --rules rules.toml"),
    target("key", Text, "prepare corpus.jsonl --out out --pseudonymise --key-file key"),
    target("schema.json", Json, "generate --model run/best -n 1 --max-tokens 40 --schema schema.json --device cpu"),
    target("prompts", Text, "generate --model run/best -n 1 --max-tokens 8 --prompts prompts --device cpu"),
    target("labels.jsonl", Text, "evaluate --model run --data data --labels labels.jsonl --device cpu"),
];

/// A folder with every file that is read.
pub struct Home(tempfile::TempDir);

impl Home {
    /// A copy of a home that is made once, for one thread to damage.
    pub fn copy() -> Self {
        static MADE: OnceLock<tempfile::TempDir> = OnceLock::new();
        let copy = tempfile::tempdir().unwrap();
        copy_folder(MADE.get_or_init(make).path(), copy.path());
        Home(copy)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.path().join(file)).unwrap()
    }

    /// Removes what a command wrote, and puts the run back to where it was.
    pub fn tidy(&self) {
        for name in ["out", "run"] {
            let _ = fs::remove_dir_all(self.path().join(name));
        }
        copy_folder(&self.path().join("kept"), &self.path().join("run"));
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

fn make() -> tempfile::TempDir {
    let home = corpus(60, "--tokenizer bytes");
    let path = home.path();
    let in_home = |line: &str| {
        run(path, line).has(0, &[]);
    };
    let text = fs::read_to_string(path.join("corpus.jsonl")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let write = |name: &str, bytes: &[u8]| fs::write(path.join(name), bytes).unwrap();
    write("three.jsonl", (lines[..3].join("\n") + "\n").as_bytes());
    write("corpus.json", format!("{{\"Records\": [\n{}\n]}}\n", lines.join(",\n")).as_bytes());
    write("corpus.csv", table(",", "time,user,size\n").as_bytes());
    write("corpus.w3c", table(" ", "#Version: 1.0\n#Fields: time user size\n").as_bytes());
    write("corpus.log", table(" sshd[12]: Accepted for ", "").as_bytes());
    write("corpus.jsonl.gz", &gzip(text.as_bytes()));
    write("corpus.jsonl.zst", &zstd::encode_all(text.as_bytes(), 3).unwrap());
    write(
        "settings.toml",
        b"warmup = 1\nlayers = 1\nheads = 2\nchannels = 16\ncontext = 48\nbatch = 2\neval_windows = 1\n",
    );
    write("rules.toml", b"field = [{ path = \"appDisplayName\", action = \"keep\" }]\ncommon_words = [\"teams\"]\n");
    write("schema.json", br#"{"type":"object","properties":{"a":{"type":"integer","minimum":0,"maximum":9}},"required":["a"],"additionalProperties":false}"#);
    in_home(&format!("train --data data --out run {SMALL} --steps 2 --device cpu"));
    in_home("score --model run --calibrate corpus.jsonl --fpr 0.1 --device cpu");
    let finding = run(path, "score --model run three.jsonl --device cpu").out;
    write("finding.json", finding.lines().next().unwrap().as_bytes());
    in_home("known-good add --model run --scope field --reason x --from finding.json");
    in_home("known-good add --model run --scope record --reason y --from finding.json");
    in_home("known-bad add --model run --reason z --path a --value b");
    write("finding.json", finding.lines().last().unwrap().as_bytes());
    in_home("prepare corpus.jsonl --out named --pseudonymise --key-file key");
    fs::remove_dir_all(path.join("named")).unwrap();
    for part in [1, 2] {
        in_home(&format!(
            "prepare corpus.jsonl --out parts/{part} --part {part}/2 --pseudonymise --key-file key --tokenizer bytes"
        ));
    }
    in_home("prepare corpus.jsonl --out bpe --vocab-size 300");
    in_home("prepare corpus.jsonl --out char --tokenizer char");
    in_home("prepare corpus.jsonl --out planted --tokenizer-from data --canaries 2");
    write("prompts", b"{\"time\n{\n");
    write("labels.jsonl", "0\n".repeat(6).as_bytes());
    copy_folder(&path.join("run/best"), &path.join("foreign"));
    fs::remove_file(path.join("foreign/checksums.json")).unwrap();
    copy_folder(&path.join("run"), &path.join("kept"));
    home
}

/// Rows of three cells.
fn table(separator: &str, head: &str) -> String {
    let row = |i: u32| ["2026-01-02T03:04:05Z".into(), format!("user{}", i % 7), (i * 37).to_string()].join(separator);
    head.to_string() + &(0..50).map(|i| row(i) + "\n").collect::<String>()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut packed, bytes).unwrap();
    packed.finish().unwrap()
}
