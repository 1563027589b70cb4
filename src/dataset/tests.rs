//! Tests of data folders as a whole: `Dataset` reads what `prepare` writes, and detects damage.

use super::splitmix::mix;
use super::*;
use crate::engine::IGNORE;
use indicatif::ProgressBar;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A corpus of `n` records of varied length, and options that prepare it with the byte tokenizer.
fn corpus(n: u64) -> (TempDir, PrepareOptions, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let records: Vec<String> = (0..n).map(|i| format!("{i} {}", "x".repeat((mix(i, 0, 0) % 40) as usize))).collect();
    let input = dir.path().join("a.log");
    fs::write(&input, records.join("\n")).unwrap();
    let mut options = PrepareOptions::new(vec![input.display().to_string()], dir.path().join("data"));
    options.tokenizer = crate::tokens::TokenizerKind::Bytes;
    (dir, options, records)
}

fn prepared(options: &PrepareOptions) -> Dataset {
    prepare(options, &ProgressBar::hidden()).unwrap();
    Dataset::open(&options.out).unwrap()
}

fn text(data: &Dataset, split: &Split, i: u64) -> String {
    let offsets = split.offsets(i, 2).unwrap();
    let mut ids = vec![0; (offsets[1] - offsets[0]) as usize];
    split.read(offsets[0], &mut ids).unwrap();
    String::from_utf8(data.tokenizer.decode(&ids)).unwrap()
}

fn all(data: &Dataset, split: &Split) -> Vec<String> {
    (0..split.records()).map(|i| text(data, split, i)).collect()
}

#[test]
fn records_come_back_across_shards() {
    let (_dir, mut options, records) = corpus(200);
    options.shard_tokens = 97;
    let data = prepared(&options);
    assert!(data.meta.train.shards > 20, "{:?}", data.meta.train);
    let want: Vec<String> = records.iter().map(|r| format!("{r}\n")).collect();
    let got = [all(&data, &data.train), all(&data, &data.val)].concat();
    assert_eq!(got, want);
    assert_eq!((data.train.records(), data.val.records()), (180, 20));
    assert_eq!(data.train.bytes() + data.val.bytes(), want.concat().len() as u64);
    assert_eq!(data.meta.longest_record, want.iter().map(|r| r.len() as u64).max().unwrap());
    assert!(!options.out.join("records.tmp").exists());
}

#[test]
fn a_random_split_is_seeded_and_exact() {
    let (_dir, mut options, records) = corpus(200);
    options.split = SplitMode::Random;
    let one = prepared(&options);
    assert_eq!((one.train.records(), one.val.records()), (180, 20));
    let mut both = [all(&one, &one.train), all(&one, &one.val)].concat();
    assert_ne!(both.last().unwrap().trim_end(), records.last().unwrap());
    both.sort();
    let mut want: Vec<String> = records.iter().map(|r| format!("{r}\n")).collect();
    want.sort();
    assert_eq!(both, want);
    options.out.set_file_name("other");
    options.seed = 1;
    let other = prepared(&options);
    assert_ne!(all(&other, &other.val), all(&one, &one.val));
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let (dir, mut options, _) = corpus(300);
    options.shard_tokens = 500;
    let files = |folder: &PathBuf| {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names.into_iter().map(|n| (n.clone(), fs::read(folder.join(n)).unwrap())).collect::<Vec<_>>()
    };
    prepared(&options);
    let first = files(&options.out);
    options.out = dir.path().join("again");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    pool.install(|| prepared(&options));
    assert_eq!(first, files(&options.out));
}

#[test]
fn random_windows_are_slices_of_the_stream() {
    let (_dir, options, _) = corpus(100);
    let data = prepared(&options);
    let sampler = Sampler::new(Windows::Random, 16, 5);
    let drawn = |number| {
        let (mut tokens, mut targets) = (vec![0; 16], vec![0; 16]);
        sampler.draw(&data.train, number, &mut tokens, &mut targets).unwrap();
        (tokens, targets)
    };
    let mut stream = vec![0; data.train.tokens() as usize];
    data.train.read(0, &mut stream).unwrap();
    for (tokens, targets) in (0..4).map(drawn) {
        assert_eq!(tokens[1..], targets[..15]);
        assert!(stream.windows(17).any(|w| w[..16] == tokens && w[1..] == targets));
    }
    assert_eq!(drawn(3), drawn(3));
    assert_ne!(drawn(3), drawn(4));
}

#[test]
fn random_starts_reach_both_ends() {
    let (_dir, options, _) = corpus(20);
    let data = prepared(&options);
    let context = data.val.tokens() as usize - 2;
    let sampler = Sampler::new(Windows::Random, context, 1);
    let (mut tokens, mut targets) = (vec![0; context], vec![0; context]);
    let mut stream = vec![0; data.val.tokens() as usize];
    data.val.read(0, &mut stream).unwrap();
    let mut seen = [false; 2];
    for index in 0..50 {
        sampler.draw(&data.val, index, &mut tokens, &mut targets).unwrap();
        let start = usize::from(tokens != stream[..context]);
        assert_eq!(
            (&tokens[..], &targets[..]),
            (&stream[start..start + context], &stream[start + 1..start + 1 + context])
        );
        seen[start] = true;
    }
    assert_eq!(seen, [true, true]);
}

#[test]
fn an_epoch_of_record_windows_visits_each_start_once() {
    let (_dir, options, _) = corpus(150);
    let data = prepared(&options);
    let split = &data.train;
    let context = 16;
    let offsets = split.offsets(0, usize::MAX).unwrap();
    let starts: Vec<u64> = offsets.windows(2).flat_map(|record| (record[0]..record[1]).step_by(context)).collect();
    let mut stream = vec![data.meta.separator];
    stream.resize(1 + split.tokens() as usize, 0);
    split.read(0, &mut stream[1..]).unwrap();
    let window = |start: u64| {
        let mut tokens = stream[start as usize..stream.len().min(start as usize + context)].to_vec();
        let mut targets = stream[start as usize + 1..stream.len().min(start as usize + 1 + context)].to_vec();
        tokens.truncate(targets.len());
        tokens.resize(context, data.meta.separator);
        targets.resize(context, IGNORE);
        (tokens, targets)
    };
    let mut want: Vec<_> = starts.iter().map(|&s| window(s)).collect();
    let sampler = Sampler::new(Windows::Records, context, 9);
    let epoch = |number: usize| -> Vec<_> {
        let draw = |i: usize| {
            let (mut tokens, mut targets) = (vec![0; context], vec![0; context]);
            sampler.draw(split, (number * starts.len() + i) as u64, &mut tokens, &mut targets).unwrap();
            (tokens, targets)
        };
        (0..starts.len()).map(draw).collect()
    };
    let (mut first, mut second) = (epoch(0), epoch(1));
    assert_ne!(first, second);
    [&mut want, &mut first, &mut second].into_iter().for_each(|windows| windows.sort());
    assert_eq!(first, want);
    assert_eq!(second, want);
}

#[test]
fn a_cover_holds_every_target_once() {
    let (_dir, options, _) = corpus(150);
    let data = prepared(&options);
    let split = &data.train;
    let mut stream = vec![0; split.tokens() as usize];
    split.read(0, &mut stream).unwrap();
    for (windows, context) in
        [(Windows::Random, 16), (Windows::Records, 16), (Windows::Records, 64), (Windows::Records, 100_000)]
    {
        let sampler = Sampler::new(windows, context, 0);
        let mut covered = Vec::new();
        for i in 0..sampler.cover(split).unwrap() {
            let (mut tokens, mut targets) = (vec![0; context], vec![0; context]);
            sampler.window(split, i, &mut tokens, &mut targets).unwrap();
            let length = targets.iter().position(|&t| t == IGNORE).unwrap_or(context);
            assert!(length > 0 && targets[length..].iter().all(|&t| t == IGNORE));
            assert_eq!(tokens[1..length], targets[..length - 1]);
            if context == 64 {
                assert_eq!((tokens[0], targets[length - 1]), (10, 10), "whole records only");
            }
            covered.extend_from_slice(&targets[..length]);
        }
        let from = usize::from(windows == Windows::Random);
        assert!(covered == stream[from..], "{windows:?} {context}");
    }
}

#[test]
fn a_context_longer_than_the_data_is_an_error() {
    let (_dir, options, _) = corpus(20);
    let data = prepared(&options);
    let tokens = data.val.tokens() as usize;
    assert!(Sampler::new(Windows::Random, tokens - 1, 0).check(&data.val).is_ok());
    assert!(Sampler::new(Windows::Records, tokens, 0).check(&data.val).is_ok());
    let error = Sampler::new(Windows::Random, tokens, 0).check(&data.val).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    for part in [format!("{tokens} tokens"), format!("({})", tokens + 1), "(val)".into(), "--windows records".into()] {
        assert!(error.to_string().contains(&part), "{error}");
    }
}

#[test]
fn a_fingerprint_is_of_the_tokens_and_the_tokenizer() {
    let (dir, mut options, _) = corpus(60);
    let first = prepared(&options).fingerprint();
    let moved = dir.path().join("moved.log");
    fs::rename(&options.inputs[0], &moved).unwrap();
    (options.inputs, options.out) = (vec![moved.clone()], dir.path().join("again"));
    assert_eq!(prepared(&options).fingerprint(), first, "moving the logs changes nothing");
    options.out = dir.path().join("chars");
    options.tokenizer = crate::tokens::TokenizerKind::Char;
    assert_ne!(prepared(&options).fingerprint(), first);
    fs::write(&moved, fs::read_to_string(&moved).unwrap().replacen("x", "y", 1)).unwrap();
    options.out = dir.path().join("other");
    options.tokenizer = crate::tokens::TokenizerKind::Bytes;
    assert_ne!(prepared(&options).fingerprint(), first);
}

/// Writes `file` of a data folder anew: `change` gets its payload as numbers, and the header counts and checksums the result.
fn rewrite<T: bytemuck::Pod>(file: &Path, change: &dyn Fn(&mut Vec<T>)) {
    let bytes = fs::read(file).unwrap();
    let mut numbers: Vec<T> = bytes[64..].chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect();
    change(&mut numbers);
    let payload: &[u8] = bytemuck::cast_slice(&numbers);
    let mut header = bytes[..64].to_vec();
    header[16..24].copy_from_slice(&(numbers.len() as u64).to_le_bytes());
    header[24..28].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
    fs::write(file, [&header, payload].concat()).unwrap();
}

#[test]
fn numbers_that_contradict_each_other_are_refused_in_spite_of_good_checksums() {
    let (_dir, options, _) = corpus(60);
    prepared(&options);
    let refused = |file: &str, change: &dyn Fn(&Path)| {
        let path = options.out.join(file);
        let whole = fs::read(&path).unwrap();
        change(&path);
        let message = Dataset::open(&options.out).err().unwrap_or_else(|| panic!("{file}: taken")).to_string();
        fs::write(&path, whole).unwrap();
        assert!(message.contains("run prepare again"), "{message}");
        message
    };
    let index = |change: &dyn Fn(&mut Vec<u64>)| refused("train.idx", &|path| rewrite(path, change));
    assert!(index(&|v| v[0] = 1).contains("train.idx: the first record begins at token 1"));
    assert!(index(&|v| v[7] = v[6]).contains("train.idx: positions of records must increase"));
    assert!(index(&|v| v[7] = 1 << 60).contains("train.idx: positions of records must increase"));
    assert!(
        index(&|v| *v.last_mut().unwrap() = u64::MAX)
            .contains("train.idx: the last record ends at token 18446744073709551615")
    );
    assert!(index(&|v| v.push(u64::MAX)).contains("disagree"));
    assert!(index(&|v| v.clear()).contains("disagree"));
    let tokens = refused("val-00000.bin", &|path| rewrite::<u16>(path, &|v| v[5] = 256));
    assert!(tokens.contains("val-00000.bin: token 256 lies outside the vocabulary of 256"), "{tokens}");
    let short = refused("val-00000.bin", &|path| rewrite::<u16>(path, &|v| v.truncate(5)));
    assert!(short.contains("disagree"), "{short}");
    for (member, value) in [
        ("records", "0"),
        ("records", "18446744073709551615"),
        ("tokens", "18446744073709551615"),
        ("bytes", "0"),
        ("characters", "18446744073709551615"),
        ("shards", "0"),
        ("shards", "4294967295"),
        ("longest_record", "3"),
        ("val_fraction", "-1"),
        ("format_version", "7"),
    ] {
        let message = refused("meta.json", &|path| {
            let text = fs::read_to_string(path).unwrap();
            let at = text.find(&format!("\"{member}\": ")).unwrap() + member.len() + 4;
            let end = at + text[at..].find([',', '\n']).unwrap();
            fs::write(path, format!("{}{value}{}", &text[..at], &text[end..])).unwrap();
        });
        assert!(message.contains("meta.json"), "{member}: {message}");
    }
    assert!(Dataset::open(&options.out).is_ok(), "the tests put all back");
}

#[test]
fn a_file_that_is_cut_short_later_is_an_error_of_the_read() {
    for windows in [Windows::Random, Windows::Records] {
        let (_dir, options, _) = corpus(60);
        let data = prepared(&options);
        let sampler = Sampler::new(windows, 16, 5);
        let (mut tokens, mut targets) = (vec![0; 16], vec![0; 16]);
        fs::File::options().write(true).open(options.out.join("train-00000.bin")).unwrap().set_len(70).unwrap();
        let mut draw = || sampler.draw(&data.train, 1, &mut tokens, &mut targets);
        let message = draw().unwrap_err().to_string();
        assert!(message.contains("train-00000.bin: cannot read"), "{message}");
        fs::remove_dir_all(&options.out).unwrap();
        assert!(sampler.draw(&data.val, 1, &mut tokens, &mut targets).is_ok(), "what is open can be read");
    }
}

#[test]
fn damage_is_named() {
    let (_dir, mut options, _) = corpus(60);
    options.shard_tokens = 300;
    prepared(&options);
    let damage = |file: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let path = options.out.join(file);
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let message = Dataset::open(&options.out).err().expect(file).to_string();
        fs::write(&path, whole).unwrap();
        assert!(message.contains(file) && message.contains("run prepare again"), "{message}");
        message
    };
    for file in ["train-00001.bin", "val-00000.bin", "train.idx", "val.idx"] {
        assert!(damage(file, &|b| b[0] ^= 1).contains("bad magic"));
        assert!(damage(file, &|b| b[8] = 9).contains("wrong version: expected 1, found 9"));
        assert!(damage(file, &|b| b[12] = 3).contains("wrong width"));
        assert!(damage(file, &|b| b[70] ^= 1).contains("checksum mismatch"));
        assert!(damage(file, &|b| b.truncate(b.len() - 3)).contains("truncated"));
        assert!(damage(file, &|b| b.truncate(20)).contains("shorter than a header"));
        assert!(damage(file, &|b| b.clear()).contains(file));
        assert!(damage(file, &|b| b[28] ^= 1).contains("belongs elsewhere"));
    }
    damage("meta.json", &|b| b.truncate(40));
    damage("meta.json", &|b| b.clear());
    damage("tokenizer.json", &|b| b.truncate(3));
    assert!(Dataset::open(&options.out).is_ok(), "the tests put all back");
    fs::rename(options.out.join("train-00001.bin"), options.out.join("x")).unwrap();
    let message = Dataset::open(&options.out).err().unwrap().to_string();
    assert!(message.contains("train-00001.bin") && message.contains("run prepare again"), "{message}");
    let message = Dataset::open(&options.out.join("none")).err().unwrap().to_string();
    assert!(message.contains("no such data folder"), "{message}");
}
